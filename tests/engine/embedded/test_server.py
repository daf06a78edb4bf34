"""The embedded engine: real processes, real files, real kills."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from tallycast.engine.embedded import server
from tallycast.engine.embedded.folder import DataFolder, EngineNote
from tallycast.engine.embedded.server import EmbeddedEngine, find_binary
from tallycast.engine.store import EngineError

from tests.support import processes
from tests.support.waiting import eventually


async def ask(engine: EmbeddedEngine, *words: str) -> Any:
    async with Redis.from_url(engine.url, decode_responses=True) as client:
        return await client.execute_command(*words)


async def answers(engine: EmbeddedEngine) -> bool:
    try:
        return bool(await ask(engine, "PING"))
    except RedisError:
        return False


async def back(engine: EmbeddedEngine, dead: int) -> None:
    """Wait until another process than the dead one serves."""
    await eventually(lambda: engine.pid not in (dead, None))
    await eventually(lambda: answers(engine))


async def much_to_read(engine: EmbeddedEngine, tmp_path: Path) -> None:
    """Fill the data folder so that the engine's next start takes a while."""
    await engine.start()
    await engine.stop()
    with next((tmp_path / "data" / "appendonlydir").glob("*.incr.aof")).open("ab") as file:
        for number in range(300_000):
            file.write(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$6\r\n%06d\r\n" % number)


@contextmanager
def an_orphan(data: Path, *, private: bool = False) -> Iterator[int]:
    """An engine on a data folder whose server is gone, and that was not told to end."""
    folder = DataFolder(data)
    assert folder.take()
    lock = folder.take_engine_lock()
    assert lock is not None
    socket = folder.socket()
    process = subprocess.Popen(
        [find_binary(), *server._arguments(folder, socket, "64mb")],
        pass_fds=(lock,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    folder.note_engine(lock, EngineNote(process.pid, socket))
    os.close(lock)
    # What is left of a server after SIGKILL: its lock is free, its files are as they were.
    folder._private = None
    folder.release()
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


async def test_it_serves_as_it_promises(engine: EmbeddedEngine) -> None:
    await engine.start()
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory": str(1 << 30),
        "maxmemory-policy": "noeviction",
        "port": "0",
        "unixsocketperm": "700",
    }
    for name, value in wanted.items():
        assert (await ask(engine, "CONFIG", "GET", name))[name] == value
    assert engine.version.split()[0] in ("Valkey", "Redis")
    assert engine.pid is not None
    assert os.getsid(engine.pid) == engine.pid  # Ctrl+C does not reach it.


async def test_no_other_user_reads_the_data(engine: EmbeddedEngine, tmp_path: Path) -> None:
    await engine.start()
    await ask(engine, "SET", "secret", "x")
    for path in (tmp_path / "data").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_data_outlives_it(engine: EmbeddedEngine, tmp_path: Path) -> None:
    await engine.start()
    await ask(engine, "SET", "key", "value")
    await engine.stop()
    assert engine.pid is None
    again = EmbeddedEngine(tmp_path / "data")
    await again.start()
    try:
        assert await ask(again, "GET", "key") == "value"
    finally:
        await again.stop()


async def test_killed_it_comes_back_with_what_it_confirmed(engine: EmbeddedEngine) -> None:
    await engine.start()
    for number in range(4):
        await ask(engine, "SET", f"key-{number}", str(number))
        pid = engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await back(engine, pid)
        assert [await ask(engine, "GET", f"key-{n}") for n in range(number + 1)] == [
            str(n) for n in range(number + 1)
        ]


async def test_it_comes_back_when_it_could_not_at_first(engine: EmbeddedEngine, tmp_path: Path) -> None:
    await engine.start()
    pid = engine.pid
    assert pid is not None
    manifest = tmp_path / "data" / "appendonlydir" / "appendonly.aof.manifest"
    good = manifest.read_bytes()
    manifest.write_text("nonsense\n")
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: "nonsense" in (tmp_path / "data" / "engine.log").read_text())
    manifest.write_bytes(good)
    await back(engine, pid)


async def test_stop_ends_it_and_start_works_again(engine: EmbeddedEngine) -> None:
    await engine.stop()
    for _ in range(2):
        await engine.start()
        pid = engine.pid
        assert pid is not None
        await engine.stop()
        assert not processes.is_alive(pid)


async def test_one_that_does_not_stop_is_killed(engine: EmbeddedEngine) -> None:
    await engine.start()
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await engine.stop(wait=0.1)
    assert not processes.is_alive(pid)


async def test_kill_is_final(engine: EmbeddedEngine) -> None:
    await engine.start()
    pid = engine.pid
    assert pid is not None
    engine.kill()
    await engine.stop()
    assert engine.pid is None
    assert not processes.is_alive(pid)


async def test_a_folder_that_another_holds(
    engine: EmbeddedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "FOLDER_WAIT", 0.1)
    await engine.start()
    with pytest.raises(EngineError, match=rf"is in use by another server \(process {os.getpid()}\)"):
        await EmbeddedEngine(tmp_path / "data").start()
    assert await ask(engine, "PING")


async def test_a_predecessor_that_is_just_leaving(engine: EmbeddedEngine, tmp_path: Path) -> None:
    await engine.start()
    successor = EmbeddedEngine(tmp_path / "data")
    starting = asyncio.create_task(successor.start())
    await asyncio.sleep(0)
    await engine.stop()
    await starting
    try:
        assert await ask(successor, "PING")
    finally:
        await successor.stop()


@pytest.mark.parametrize("length", [0, 120], ids=["socket inside", "socket outside"])
async def test_an_orphan_is_ended_first(tmp_path: Path, length: int) -> None:
    data = tmp_path / ("x" * length) / "data"
    with an_orphan(data) as pid:
        note = DataFolder(data).noted_engine()
        assert note is not None
        await eventually(note.socket.exists)
        async with Redis.from_url(f"unix://{note.socket}") as client:
            await client.set("key", "value")
        engine = EmbeddedEngine(data)
        await engine.start()
        try:
            assert not processes.is_alive(pid)
            assert await ask(engine, "GET", "key") == "value"
        finally:
            await engine.stop()
    assert length == 0 or not note.socket.parent.exists()


async def test_an_orphan_that_does_not_stop(
    engine: EmbeddedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ORPHAN_WAIT", 0.1)
    with an_orphan(tmp_path / "data") as pid:
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EngineError, match=rf"does not stop \(process {pid}\)"):
            await engine.start()
    await engine.start()


def test_it_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from tallycast.engine.embedded.server import EmbeddedEngine\n"
        "async def main():\n    engine = EmbeddedEngine(Path(sys.argv[1]))\n    await engine.start()\n"
        "    print(engine.pid, flush=True)\n    await asyncio.sleep(3600)\nasyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "data"], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert processes.is_alive(pid)
        parent.kill()
    processes.wait_until_gone([pid])


def test_a_parent_that_died_too_early_leaves_no_engine() -> None:
    launched = subprocess.run(
        [sys.executable, "-I", "-S", server._LAUNCH, "1", "/bin/true"], capture_output=True, check=False
    )
    assert launched.returncode == 1
    assert b"the parent process is gone" in launched.stderr


async def test_a_long_path(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path / ("x" * 120) / "a b #?%")
    await engine.start()
    socket = DataFolder(tmp_path / ("x" * 120) / "a b #?%").noted_engine()
    assert socket is not None
    assert await ask(engine, "PING")
    await engine.stop()
    assert not socket.socket.parent.exists()


async def test_a_strange_path(tmp_path: Path) -> None:
    # pytest's folder is long already.
    engine = EmbeddedEngine(tmp_path / "a b #?%'\"ü")
    await engine.start()
    assert await ask(engine, "PING")
    await engine.stop()


async def test_half_a_command_at_the_end_is_cut_off(engine: EmbeddedEngine, tmp_path: Path) -> None:
    await engine.start()
    await ask(engine, "SET", "key", "value")
    await engine.stop()
    log = next((tmp_path / "data" / "appendonlydir").glob("*.incr.aof"))
    whole = log.read_bytes()
    log.write_bytes(whole + b"*3\r\n$3\r\nSET\r\n$3\r\nk")
    with structlog.testing.capture_logs() as answer:
        await engine.start()
    assert await ask(engine, "GET", "key") == "value"
    assert [f"offset {len(whole)}" in line["engine_log"] for line in answer if "engine_log" in line] == [True]


@pytest.mark.parametrize("torn", [b"", b"*3\r\n$3\r\nSET\r\n$3\r\nk"], ids=["whole", "torn"])
async def test_zeros_at_the_end_are_cut_off(engine: EmbeddedEngine, tmp_path: Path, torn: bytes) -> None:
    """A file system may have made the file longer before what was written in it was safe."""
    await engine.start()
    await ask(engine, "SET", "key", "value")
    await engine.stop()
    log = next((tmp_path / "data" / "appendonlydir").glob("*.incr.aof"))
    with log.open("ab") as file:
        file.write(torn + bytes(5000))
    with structlog.testing.capture_logs() as answer:
        await engine.start()
    assert await ask(engine, "GET", "key") == "value"
    assert [line["bytes"] for line in answer if "bytes" in line] == [5000]


async def test_it_is_ready_only_when_everything_is_read(
    engine: EmbeddedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await much_to_read(engine, tmp_path)
    monkeypatch.setattr(server, "PROGRESS_INTERVAL", 0.0)
    with structlog.testing.capture_logs() as answer:
        await engine.start()
    assert await ask(engine, "GET", "key") == "299999"
    assert "engine loading" in [line["event"] for line in answer]


async def test_a_start_can_be_called_off(engine: EmbeddedEngine, tmp_path: Path) -> None:
    await much_to_read(engine, tmp_path)
    for attempt in range(20):
        starting = asyncio.create_task(engine.start())
        # At a different moment each time: before it has a socket, while it reads, when it is about to answer.
        await asyncio.wait({starting}, timeout=attempt * 0.01)
        starting.cancel()
        await asyncio.wait({starting}, timeout=5)
        assert starting.done()
        assert engine.pid is None or not starting.cancelled()
        await engine.stop()


async def test_a_broken_file_is_named(engine: EmbeddedEngine, tmp_path: Path) -> None:
    await engine.start()
    await ask(engine, "SET", "key", "value")
    await engine.stop()
    log = next((tmp_path / "data" / "appendonlydir").glob("*.incr.aof"))
    broken = b"rubbish" + log.read_bytes()
    log.write_bytes(broken)
    what = r"is damaged, and nothing was changed\. Restore a backup, .*Bad file format .*incr\.aof"
    with pytest.raises(EngineError, match=what) as caught:
        await engine.start()
    assert "\n" not in str(caught.value)
    assert log.read_bytes() == broken
    # And the folder is free again.
    assert DataFolder(tmp_path / "data").take()
