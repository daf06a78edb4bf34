"""Lines from a file, a pipe, and what cannot be read."""

import os
from pathlib import Path

import pytest

from server.bulk.rows import LONGEST_LINE
from server.bulk.source import Source
from server.errors import ImportFailed


def test_lines_and_how_far_they_are(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1234\n\n67")
    with Source(file) as source:
        assert source.share == 0
        read = [(line, source.share) for line in source.lines()]
    assert read == [(b"1234\n", 5 / 8), (b"\n", 6 / 8), (b"67", 1.0)]


def test_a_line_without_end_is_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a\n" + b"x" * 100_000 + b"\nb\n" + b"y" * LONGEST_LINE + b"\n" + b"z" * 20_000)
    with Source(file) as source:
        a, long, b, just, last = source.lines()
        assert source.share == 1
    assert (a, b) == (b"a\n", b"b\n")
    assert [len(line) for line in (long, just, last)] == [LONGEST_LINE + 1] * 3


def test_a_pipe_does_not_say_how_much_comes(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"a\nb\n")
    os.close(theirs)
    with Source(Path(f"/dev/fd/{ours}")) as source:
        assert list(source.lines()) == [b"a\n", b"b\n"]
        assert source.share is None
    os.close(ours)


@pytest.mark.parametrize(("name", "reason"), [("gone", "no such file or directory"), (".", "is a directory")])
def test_what_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    with pytest.raises(ImportFailed, match=f"^{path}: {reason}$"):
        Source(path)
