"""The shared listener: which address, and what is said when it cannot be had."""

import errno
import socket

import pytest
from tallycast.config.errors import StartError
from tallycast.process import listener

HOSTS = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "localhost": "127.0.0.1"}
try:  # Many containers have no IPv6.
    socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    HOSTS |= {"::1": "[::1]", "::": "[::1]"}
except OSError:
    pass


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "IN_USE_WAIT", 0.2)


@pytest.mark.parametrize(("host", "shown"), HOSTS.items())
async def test_it_accepts_where_its_url_says(host: str, shown: str) -> None:
    with await listener.listen(host, 0) as sock:
        port = sock.getsockname()[1]
        assert listener.url(sock) == f"http://{shown}:{port}/"
        with socket.create_connection((shown.strip("[]"), port), 5) as client, sock.accept()[0] as accepted:
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"


@pytest.mark.parametrize("host", [host for host in ("0.0.0.0", "::") if host in HOSTS])
async def test_every_address_includes_those_of_ipv4(host: str) -> None:
    with await listener.listen(host, 0) as sock:
        socket.create_connection(("127.0.0.1", sock.getsockname()[1]), 5).close()


async def test_a_port_in_use() -> None:
    with await listener.listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(StartError, match=rf"^port {port} on 127\.0\.0\.1 is in use: "):
            await listener.listen("127.0.0.1", port)


async def test_a_port_that_becomes_free_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = await listener.listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    tries = 0

    def bind(family: int, address: tuple[object, ...]) -> socket.socket:
        nonlocal tries
        tries += 1
        if tries == 2:
            first.close()
        return real(family, address)

    real = listener._bind
    monkeypatch.setattr(listener, "IN_USE_WAIT", 30.0)
    monkeypatch.setattr(listener, "_bind", bind)
    with await listener.listen("127.0.0.1", port) as second:
        assert second.getsockname()[1] == port
    assert tries == 2


async def test_an_address_of_another_machine() -> None:
    with pytest.raises(StartError, match=r"^host 192\.0\.2\.1 is not an address of this machine"):
        await listener.listen("192.0.2.1", 0)


async def test_a_host_name_that_does_not_resolve() -> None:
    with pytest.raises(StartError, match=r"^host no\.such\.host\.invalid: "):
        await listener.listen("no.such.host.invalid", 0)


def test_other_reasons_are_said_too() -> None:
    assert "requires privileges" in listener.refused(OSError(errno.EACCES, "Permission denied"), "h", 80)
    assert listener.refused(OSError(errno.EMFILE, "Too many files"), "h", 8) == (
        "cannot listen on h, port 8: too many files"
    )
