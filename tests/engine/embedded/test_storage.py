"""The socket and the files of an embedded engine are deleted or replaced while it runs: real files."""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from tallycast.engine.embedded import server
from tallycast.engine.embedded.server import EmbeddedEngine
from tallycast.engine.embedded.storage import StorageWatch

from tests.support.waiting import eventually


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedEngine]:
    monkeypatch.setattr(server, "WATCH_INTERVAL", 0.05)
    engine = EmbeddedEngine(tmp_path / "data")
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
async def kept(engine: EmbeddedEngine) -> AsyncIterator["Redis"]:
    """A client whose connection was there before."""
    async with Redis.from_url(engine.url, single_connection_client=True) as client:
        await client.set("key", "before")
        yield client


def delete(path: Path) -> None:
    path.unlink()


def replace_by_a_file(path: Path) -> None:
    path.unlink()
    path.write_text("not a socket")


def replace_by_a_socket(path: Path) -> None:
    path.rename(path.with_name("moved.sock"))


async def never(_watch: StorageWatch) -> bool:
    """A watch that notices nothing."""
    return False


async def value(engine: EmbeddedEngine) -> bytes | None:
    """What a new connection reads."""
    try:
        async with Redis.from_url(engine.url) as client:
            found: bytes | None = await client.get("key")
            return found
    except RedisError:
        return None


async def reads(engine: EmbeddedEngine, wanted: bytes) -> None:
    async def does() -> bool:
        return await value(engine) == wanted

    await eventually(does)


async def restarted(engine: EmbeddedEngine) -> None:
    """Stop it and start it, so that all there is comes from the disk."""
    await engine.stop()
    await engine.start()


@pytest.mark.parametrize("harm", [delete, replace_by_a_file, replace_by_a_socket])
async def test_a_socket_that_leads_nowhere_is_made_anew(
    engine: EmbeddedEngine, kept: Redis, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    pid = engine.pid
    harm(tmp_path / "data" / "engine.sock")
    await reads(engine, b"before")
    assert engine.pid != pid


async def test_a_folder_at_the_sockets_path_is_named_and_left_alone(
    engine: EmbeddedEngine, kept: Redis, tmp_path: Path
) -> None:
    path = tmp_path / "data" / "engine.sock"
    with structlog.testing.capture_logs() as logs:
        path.unlink()
        path.mkdir()
        await eventually(lambda: any(entry["event"] == "engine restart failed" for entry in logs))
    path.rmdir()
    await reads(engine, b"before")


async def test_a_private_folder_that_was_tidied_up_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd-tmpfiles does it, where the data folder's path is too long for a socket."""
    monkeypatch.setattr(server, "WATCH_INTERVAL", 0.05)
    with tempfile.TemporaryDirectory() as folder:
        engine = EmbeddedEngine(Path(folder) / ("long" * 30))
        await engine.start()
        private = engine._folder._private
        assert private is not None
        async with Redis.from_url(engine.url) as client:
            await client.set("key", "before")
        shutil.rmtree(private)
        await reads(engine, b"before")
        assert private.stat().st_mode & 0o777 == 0o700
        await engine.stop()
        assert not private.exists()


async def test_deleted_files_are_written_anew(engine: EmbeddedEngine, kept: Redis, tmp_path: Path) -> None:
    pid = engine.pid
    shutil.rmtree(tmp_path / "data" / "appendonlydir")

    async def accepts() -> bool:
        complete = (tmp_path / "data" / "appendonlydir" / "appendonly.aof.manifest").exists()
        try:
            return complete and bool(await kept.set("key", "after"))
        except ResponseError:
            return False

    await eventually(accepts)
    assert engine.pid == pid, "nothing was disconnected"
    await restarted(engine)
    assert await value(engine) == b"after"


@pytest.mark.parametrize("whole_folder", [False, True])
async def test_a_deleted_lock_is_made_anew(monkeypatch: pytest.MonkeyPatch, whole_folder: bool) -> None:
    """Where the socket is elsewhere it is not missed with the folder, but the lock is."""
    monkeypatch.setattr(server, "WATCH_INTERVAL", 0.05)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / ("long" * 30)
        engine = EmbeddedEngine(folder)
        await engine.start()
        async with Redis.from_url(engine.url) as client:
            await client.set("key", "before")
        if whole_folder:
            shutil.rmtree(folder)
        else:
            (folder / "engine.lock").unlink()
        await eventually((folder / "engine.lock").exists)
        await reads(engine, b"before")
        assert server.running_engine(folder) == engine.url
        assert server.DataFolder(folder).take_engine_lock() is None, "a successor has to wait"
        await engine.stop()


@pytest.mark.parametrize("moved", [False, True])
async def test_a_deleted_or_moved_folder_is_made_anew_with_all_that_was_confirmed(
    engine: EmbeddedEngine, kept: Redis, moved: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    if moved:
        folder.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(folder)
    # On an old connection, to deleted files, as it may be in the moment before it is noticed.
    try:
        await kept.set("key", "meanwhile")
        confirmed = b"meanwhile"
    except RedisError:
        confirmed = b"before"
    await reads(engine, confirmed)
    await restarted(engine)
    assert await value(engine) == confirmed
    assert not server.DataFolder(folder).take(), "another server is still kept out"


async def test_another_folder_with_data_is_not_touched_and_nothing_is_confirmed(
    engine: EmbeddedEngine, kept: Redis, tmp_path: Path
) -> None:
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    folder.rename(elsewhere)
    (folder / "appendonlydir").mkdir(parents=True)
    (folder / "appendonlydir" / "backup").write_text("foreign")

    async def refuses() -> bool:
        try:
            await kept.set("key", "now")
        except ResponseError as error:
            return "NOREPLICAS" in str(error)
        return False

    await eventually(refuses)
    assert [path.name for path in folder.rglob("*")] == ["appendonlydir", "backup"]
    shutil.rmtree(folder)
    elsewhere.rename(folder)

    async def accepts() -> bool:
        return not await refuses()

    await eventually(accepts)
    await restarted(engine)
    assert await value(engine) == b"now"


async def test_files_that_were_replaced_are_not_touched_and_nothing_is_confirmed(
    engine: EmbeddedEngine, kept: Redis, tmp_path: Path
) -> None:
    """As rsync and tar replace them: the engine still writes to those that have no name any more."""
    files = list((tmp_path / "data" / "appendonlydir").iterdir())
    with structlog.testing.capture_logs() as logs:
        for file in files:
            copy = file.with_name("copy")
            shutil.copy(file, copy)
            copy.rename(file)
        await eventually(lambda: any(entry.get("found") == "other files of the same names" for entry in logs))

    async def refuses() -> bool:
        try:
            await kept.set("key", "lost")
        except ResponseError as error:
            return "NOREPLICAS" in str(error)
        return False

    await eventually(refuses)
    assert list((tmp_path / "data" / "appendonlydir").iterdir()) == files
    await restarted(engine)
    assert await value(engine) == b"before"


async def test_an_engine_that_dies_without_its_files_is_not_started_on_none(
    engine: EmbeddedEngine, kept: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It dies before anything is noticed.
    monkeypatch.setattr(StorageWatch, "look", never)
    files = tmp_path / "data" / "appendonlydir"
    with structlog.testing.capture_logs() as logs:
        files.rename(tmp_path / "elsewhere")
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        await eventually(lambda: any("are missing" in entry.get("reason", "") for entry in logs))
        assert engine.pid is None
    (tmp_path / "elsewhere").rename(files)
    await reads(engine, b"before")


async def test_files_that_cannot_be_written_anew_are_tried_again(
    engine: EmbeddedEngine, kept: Redis, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    with structlog.testing.capture_logs() as logs:
        shutil.rmtree(folder)
        folder.write_text("in the way")
        await eventually(lambda: any("not repaired" in entry["event"] for entry in logs))
        with pytest.raises(ResponseError, match="NOREPLICAS"):
            await kept.set("key", "lost")
    folder.unlink()
    await reads(engine, b"before")
