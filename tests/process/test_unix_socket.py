"""The listening Unix socket: its file, and a whole server on it."""

import os
import signal
import socket
import stat
import threading
from pathlib import Path

import httpx
import pytest
from tallycast.config.errors import SettingsError, StartError
from tallycast.process import listener
from tallycast.process.listener import listen_at
from tallycast.process.probe import NotHealthy, check
from tallycast.process.unix_socket import Owner, UnixListener, owner

from tests.cli.test_health import health_command
from tests.client.tokens import bearer
from tests.client.websocket import connect_blocking
from tests.conftest import MakeServer
from tests.support.process import ServerProcess
from tests.support.waiting import wait_for

ANYBODY = Owner()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "t.sock")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "IN_USE_WAIT", 0.2)


def connected(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


def connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


async def refusal(path: str, error: type[Exception] = StartError) -> str:
    with pytest.raises(error) as caught:
        await listen_at(path, 0o660, ANYBODY)
    return str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
async def test_its_mode_is_the_one_given(path: str, mode: int) -> None:
    before = os.umask(0o077)
    try:
        with await listen_at(path, mode, ANYBODY) as one:
            assert stat.S_IMODE(os.stat(path).st_mode) == mode
            assert listener.url(one, "/tally/") == f"unix:{path}"
            assert listener.is_loopback(one)
            assert connects(path)
    finally:
        os.umask(before)


async def test_its_owner_is_the_one_given(path: str) -> None:
    """To change the user takes root; a group of one's own does not."""
    wanted = Owner(10001, 10002) if os.getuid() == 0 else Owner(group=os.getgroups()[-1])
    with await listen_at(path, 0o660, wanted):
        found = os.stat(path)
        assert found.st_gid == wanted.group
        assert found.st_uid == (wanted.user if os.getuid() == 0 else os.getuid())


def test_owners() -> None:
    assert owner(None) == ANYBODY
    assert owner("root") == Owner(0, -1)
    assert owner("0:root") == Owner(0, 0)
    assert owner(":12") == Owner(-1, 12)
    for wrong in ("no-such-user", ":no-such-group"):
        with pytest.raises(SettingsError, match=r"^--socket-owner: .*no-such"):
            owner(wrong)
    assert owner("4294967294") == Owner(2**32 - 2, -1)
    for wrong in ("4294967295", "0:4294967295", "9" * 30):
        with pytest.raises(SettingsError, match=r"^--socket-owner: expected a number up to 4294967294, not "):
            owner(wrong)


async def test_a_socket_that_a_killed_server_left_is_replaced(path: str) -> None:
    UnixListener.bind_at(path, 0o660, ANYBODY).close()
    assert not connects(path)
    with await listen_at(path, 0o660, ANYBODY):
        assert connects(path)


async def test_a_live_socket_is_not(path: str) -> None:
    """Also when its queue is full."""
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(path)
        live.listen(0)
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            for client in (first, second):
                client.setblocking(False)
                client.connect_ex(path)
            said = f"{path} is in use: stop the process that listens there, or choose another --host"
            assert await refusal(path) == said
    assert Path(path).is_socket()  # noqa: ASYNC240


async def test_a_live_socket_that_ends_in_time(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "IN_USE_WAIT", 30.0)
    first = UnixListener.bind_at(path, 0o660, ANYBODY)
    real, tries = UnixListener.bind_at, 0

    def bind(path: str, mode: int, owner: Owner) -> UnixListener:
        nonlocal tries
        tries += 1
        if tries == 2:
            first.close()
        return real(path, mode, owner)

    monkeypatch.setattr(UnixListener, "bind_at", bind)
    with await listen_at(path, 0o660, ANYBODY):
        assert (tries, connects(path)) == (2, True)


async def test_what_is_not_a_socket_stays(tmp_path: Path) -> None:
    file, link, folder = tmp_path / "file", tmp_path / "link", tmp_path / "folder"
    file.write_text("mine")
    link.symlink_to(file)
    folder.mkdir()
    for path in (file, link, folder):
        assert await refusal(str(path)) == (f"{path} is not a socket: remove it, or choose another --host")
    assert file.read_text() == "mine"
    assert await refusal(str(tmp_path / "no" / "t.sock")) == (
        f"cannot listen on {tmp_path}/no/t.sock: no such file or directory"
    )


async def test_an_owner_that_cannot_be_leaves_no_file(path: str) -> None:
    with pytest.raises(OverflowError):
        await listen_at(path, 0o660, Owner(2**40))
    assert not Path(path).exists()  # noqa: ASYNC240


async def test_only_one_of_many_gets_it(path: str) -> None:
    """However many start at once on a stale socket."""
    UnixListener.bind_at(path, 0o660, ANYBODY).close()
    barrier, got = threading.Barrier(8), []

    def start() -> None:
        barrier.wait()
        try:
            got.append(UnixListener.bind_at(path, 0o660, ANYBODY))
        except OSError:
            pass

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert connects(path)
    got[0].close()


def test_it_removes_its_own_file_and_no_other(path: str) -> None:
    with UnixListener.bind_at(path, 0o660, ANYBODY) as first:
        os.unlink(path)
        with UnixListener.bind_at(path, 0o660, ANYBODY) as second:
            first.remove()
            assert connects(path)
            second.remove()
            assert not os.path.exists(path)
            second.remove()


# A whole server


def http(path: str) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://tally.test")


def test_a_server_on_a_unix_socket(make_server: MakeServer, path: str) -> None:
    """Two workers share it; all transports work; the file is gone in the end, and a stale one replaced."""
    flags = ["--host", f"unix:{path}", "--socket-mode", "600", "--workers", "2", "--base-path", "/tally"]
    server: ServerProcess = make_server(flags=flags)
    assert server.url == f"unix:{path}"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with (
        http(path) as client,
        connect_blocking("ws://tally.test/tally/ws?item=u", sock=connected(path)) as watcher,
    ):
        token = client.post("/v1/visitors").raise_for_status().json()["token"]
        put = {"params": {"item": "u"}, "json": {"reaction": "like"}}
        client.put("/v1/reaction", **put, headers=bearer(token)).raise_for_status()  # type: ignore[arg-type]
        watcher.next("counts", counts={"like": 1, "dislike": 0})
        with client.stream("GET", "/v1/stream", params={"item": "u"}) as stream:
            assert next(stream.iter_lines()) == "event: counts"
        assert client.get("/tally/openapi.json").status_code == 200
    assert health_command("--ready", TALLYCAST_HOST=f"unix:{path}").stdout == "ready\n"

    second = make_server(flags=flags, start=False)
    second.start(wait=False)
    assert second.wait() == 1
    assert f"{path} is in use" in second.output()

    server.kill()
    server.family_is_gone()
    # A thread of a process that has ended may be the last to close it.
    wait_for(lambda: not connects(path), "nothing accepts connections")
    assert os.path.exists(path)
    with pytest.raises(NotHealthy, match=f"^unix:{path}: connection refused$"):
        check(f"unix:{path}", 0, ready=False)
    server.restart()
    with http(path) as client:
        assert client.get("/v1/items", params={"item": "u"}).json()["items"][0]["counts"]["like"] == 1
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait() == 0
    assert not os.path.exists(path)
