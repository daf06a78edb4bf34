"""Bytes from a file, a pipe, and what cannot be read."""

import os
from hashlib import sha256
from pathlib import Path

import pytest
from tallycast.ledger.bulk_import.errors import ImportFailed
from tallycast.ledger.bulk_import.source import BLOCK, Source


def test_blocks_and_how_far_they_are(tmp_path: Path) -> None:
    file, data = tmp_path / "file", os.urandom(BLOCK + 1)
    file.write_bytes(data)
    with Source(file) as source:
        for _ in range(2):
            assert source.share == 0
            read = [(block, source.share) for block in source.blocks()]
            assert b"".join(block for block, _ in read) == data
            assert read[-1][1] == 1.0
            assert source.digest == sha256(data).hexdigest()
            assert source.rewind()


def test_a_pipe_does_not_say_how_much_comes() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"a\nb\n")
    with Source(Path(f"/dev/fd/{ours}")) as source:
        blocks = source.blocks()
        # What is there comes before the end does.
        assert next(blocks) == b"a\nb\n"
        os.close(theirs)
        assert list(blocks) == []
        assert source.share is None
        assert not source.rewind()
    os.close(ours)


@pytest.mark.parametrize(("name", "reason"), [("gone", "no such file or directory"), (".", "is a directory")])
def test_what_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    with pytest.raises(ImportFailed, match=f"^{path}: {reason}$"):
        Source(path)
