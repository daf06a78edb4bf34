"""Behind a real nginx, as ``deploy/nginx.conf`` has it: on a Unix socket, below a path, and by address."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.client.websocket import connect_blocking
from tests.conftest import MakeServer
from tests.support.nginx import nginx


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.sock"


def uses(url: str, host: str, prefix: str = "") -> None:
    """A page's requests, its socket and its event stream."""
    with httpx.Client(base_url=url, headers={"Host": host}) as http:
        for where in ("/", "/embed.js", "/v1/items?item=a", "/readyz"):
            assert http.get(prefix + where).status_code == 200, where
        with http.stream("GET", f"{prefix}/v1/stream?item=a") as stream:
            assert next(stream.iter_lines()) == "event: counts"
    to_nginx = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    with connect_blocking(f"ws://{host}{prefix}/ws?item=a", sock=to_nginx) as watcher:
        watcher.next("counts")


@pytest.mark.parametrize("strips", [True, False], ids=["taken off", "passed on"])
def test_on_a_name_and_below_a_path(
    make_server: MakeServer, tmp_path: Path, path: Path, *, strips: bool
) -> None:
    base = [] if strips else ["--base-path", "/tally"]
    make_server(flags=["--host", f"unix:{path}", *base])
    with nginx(tmp_path, f"unix:{path}", strips=strips) as url:
        uses(url, "tally.example")
        uses(url, "example.org", "/tally")


def newcomers(url: str, addresses: list[str | None]) -> Iterator[int]:
    for address in addresses:
        headers = {} if address is None else {"X-Forwarded-For": address}
        yield httpx.post(f"{url}/v1/visitors", headers=headers).status_code


@pytest.mark.parametrize(
    ("trusted", "answers"),
    [
        # nginx appends 127.0.0.1, which is trusted: what stands before it is the client.
        ("unix,127.0.0.1", [201, 201, 429]),
        # The peer is not believed: everybody is one client.
        ("127.0.0.1", [201, 429, 429]),
    ],
)
def test_limits_by_address_on_a_unix_socket(
    make_server: MakeServer, tmp_path: Path, path: Path, trusted: str, answers: list[int]
) -> None:
    limit = ["--address-visitors", "1/h burst 1"]
    make_server(flags=["--host", f"unix:{path}", "--forwarded-allow-ips", trusted, *limit])
    with nginx(tmp_path, f"unix:{path}") as url:
        assert list(newcomers(url, ["198.51.100.1", "198.51.100.2", "198.51.100.1"])) == answers
    # Without any proxy's header it is this machine itself, which has no limits by address.
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://x") as direct:
        assert [direct.post("/v1/visitors").status_code for _ in range(3)] == [201, 201, 201]
