"""The data folder: one holder at a time, and readable words from the engine's log."""

import os
from pathlib import Path

import pytest
from tallycast.engine.embedded.folder import LOG_LIMIT, SOCKET_PATH_LIMIT, DataFolder, EngineNote
from tallycast.engine.store import EngineError


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def said(folder: DataFolder, text: str) -> DataFolder:
    """The folder whose engine has said this since its start."""
    folder.path.mkdir(exist_ok=True)
    folder.log.write_text("1:M 01 Jan 2026 00:00:00.000 # an earlier run\n")
    log = folder.open_log()
    os.write(log, text.encode())
    os.close(log)
    return folder


def test_it_is_made_for_this_user_alone(folder: DataFolder) -> None:
    assert folder.take()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.release()


def test_one_holder_at_a_time(folder: DataFolder) -> None:
    assert folder.take()
    other = DataFolder(folder.path)
    assert not other.take()
    assert other.holder() == str(os.getpid())
    other.release()
    assert not other.take()
    folder.release()
    assert other.take()
    other.release()


def test_an_unknown_holder(folder: DataFolder) -> None:
    assert folder.holder() == "unknown"


def test_the_engine_has_a_lock_of_its_own(folder: DataFolder) -> None:
    assert folder.take()
    lock = folder.take_engine_lock()
    assert lock is not None
    assert folder.take_engine_lock() is None
    folder.release()
    assert folder.take_engine_lock() is None
    os.close(lock)
    again = folder.take_engine_lock()
    assert again is not None
    os.close(again)


def test_word_of_the_engine(folder: DataFolder) -> None:
    assert folder.noted_engine() is None
    assert folder.take()
    lock = folder.take_engine_lock()
    assert lock is not None
    note = EngineNote(123, Path("/a b/ü.sock"))
    folder.note_engine(lock, EngineNote(1234567, Path("/a/much/longer/path/of/an/earlier/engine.sock")))
    folder.note_engine(lock, note)
    assert folder.noted_engine() == note
    os.close(lock)
    folder.release()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x", "socket": ""}', '{"pid": 1}', "null", "\xff"])
def test_a_note_that_is_none(folder: DataFolder, text: str) -> None:
    folder.path.mkdir()
    (folder.path / "engine.lock").write_bytes(text.encode("latin-1"))
    assert folder.noted_engine() is None


def test_a_short_path_has_its_socket_inside() -> None:
    folder = DataFolder(Path("/srv/tally"))
    assert folder.socket() == Path("/srv/tally/engine.sock")


@pytest.mark.parametrize("name", ["x" * 120, "\udcff"], ids=["long", "not UTF-8"])
def test_another_path_has_it_in_a_private_folder(name: str) -> None:
    folder = DataFolder(Path("/srv") / name)
    socket = folder.socket()
    assert len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert folder.socket() == socket
    socket.touch()
    folder.release()
    assert not socket.parent.exists()


def test_the_private_folder_of_a_killed_server_is_removed(tmp_path: Path) -> None:
    killed, folder = (DataFolder(tmp_path / ("x" * 120)) for _ in range(2))
    assert killed.take()
    lock = killed.take_engine_lock()
    assert lock is not None
    left = killed.socket()
    killed.note_engine(lock, EngineNote(1, left))
    os.close(lock)
    folder.forget_engine()
    assert not left.parent.exists()


def test_only_what_is_ours_is_removed(folder: DataFolder, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    kept = tmp_path / "tallycast-kept"
    kept.mkdir()
    (kept / "file").touch()
    assert folder.take()
    lock = folder.take_engine_lock()
    assert lock is not None
    for place in (mine, kept):
        folder.note_engine(lock, EngineNote(1, place / "engine.sock"))
        folder.forget_engine()
        assert place.exists()
    os.close(lock)
    folder.release()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("8:M 23 Nov 2026 05:02:58.389 # Bad file format: repair it\n", "Bad file format: repair it"),
        (
            "8:M 23 Nov 2026 05:02:58.388 # WARNING Memory overcommit must be enabled!\n"
            "8:M 23 Nov 2026 05:02:58.389 # Cannot write\n"
            "8:M 23 Nov 2026 05:02:58.390 * bye\n",
            "Cannot write",
        ),
        ("8:M 23 Nov 2026 05:02:58.389 * only this\n", "only this"),
        (
            "\n*** FATAL CONFIG FILE ERROR ***\n>>> 'dir'\nNo such file\n",
            "*** FATAL CONFIG FILE ERROR *** >>> 'dir' No such file",
        ),
        ("", "it gave no reason"),
    ],
)
def test_why_an_engine_ended(folder: DataFolder, text: str, reason: str) -> None:
    assert said(folder, text).reason() == reason


def test_the_tail_of_the_log(folder: DataFolder) -> None:
    said(folder, "".join(f"8:M 23 Nov 2026 05:02:58.389 * line {n}\n" for n in range(9)))
    assert folder.log_tail(2) == ["line 7", "line 8"]
    folder.log.unlink()
    assert folder.log_tail() == []


def test_a_big_log_is_turned(folder: DataFolder) -> None:
    folder.path.mkdir()
    folder.log.write_bytes(b"x" * (LOG_LIMIT + 1))
    assert folder.take()
    folder.release()
    assert not folder.log.exists()
    assert (folder.path / "engine.log.1").stat().st_size == LOG_LIMIT + 1


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(EngineError, match=r"^cannot use the data folder .*/file/data: not a directory$"):
        DataFolder(file / "data").take()


def test_a_lock_that_cannot_be_written(folder: DataFolder) -> None:
    (folder.path / "server.lock").mkdir(parents=True)
    with pytest.raises(EngineError, match=r"data: is a directory \(.*/server.lock\)$"):
        folder.take()


@pytest.mark.parametrize("zeros", [0, 1, 65_535, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("kept", [b"", b"*1\r\n$4\r\nPING\r\n", b"\0\0x"])
def test_zeros_are_cut_off_the_last_part_alone(tmp_path: Path, kept: bytes, zeros: int) -> None:
    folder = DataFolder(tmp_path)
    parts = tmp_path / "appendonlydir"
    parts.mkdir()
    assert folder.cut_zeros() == 0
    before, last = parts / "appendonly.aof.9.incr.aof", parts / "appendonly.aof.10.incr.aof"
    for part in (last, before):
        part.write_bytes(kept + bytes(zeros))
    assert folder.cut_zeros() == zeros
    assert last.read_bytes() == kept
    assert before.read_bytes() == kept + bytes(zeros)
