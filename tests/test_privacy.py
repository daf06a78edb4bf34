"""Everything is done to a server, right and wrong; then what it said is searched for what it must not say."""

import base64
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import jwt
import pytest
from redis import Redis
from tallycast.engine.embedded.server import running_engine
from tallycast.engine.keys import member

from tests.cli.test_command import tallycast
from tests.client.tokens import bearer, visitor_token_blocking
from tests.client.websocket import connect_blocking
from tests.conftest import MakeServer
from tests.support.names import NAMES
from tests.support.process import ServerProcess
from tests.support.signing import SECRET, private_key, private_pem
from tests.support.waiting import wait_for

SUBJECT = "reader-4711"
ADDRESS = "198.51.100.77"
SITES = f"""
[sites.blog]
origins = ["https://blog.example"]
[[sites.blog.tokens]]
algorithm = "HS256"
secret = "{SECRET}"
[[sites.blog.tokens]]
algorithm = "RS256"
jwks = "http://127.0.0.1:9/keys?secret=in-the-address"
"""


def signed(key: Any = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    now = int(time.time())
    whole = {"sub": SUBJECT, "aud": "blog", "iat": now, "exp": now + 600} | claims
    return jwt.encode(whole, key, algorithm)


class Talker:
    """A client that does everything there is, and notes what must stay between the two."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.http = httpx.Client(
            base_url=server.url, headers={"X-Forwarded-For": ADDRESS}, params={"site": "blog"}
        )
        self.private: list[str] = [ADDRESS, SUBJECT, SECRET, "in-the-address"]

    def stranger(self) -> str:
        made = self.http.post("/v1/visitors").raise_for_status().json()
        self.private += [made["visitor"], made["token"]]
        return str(made["token"])

    def over_http(self, token: str) -> None:
        self.private.append(token)
        headers = bearer(token)
        for method, path, body in (
            ("GET", "/v1/items", None),
            ("PUT", "/v1/reaction", {"reaction": "like"}),
            ("PUT", "/v1/reaction", {"reaction": 7}),
            ("DELETE", "/v1/reaction", None),
            ("POST", "/v1/visitors", None),
            ("GET", f"/v1/{token}", None),
            ("GET", "/v1/nothing", None),
        ):
            self.http.request(
                method, path, params={"site": "blog", "item": "a", "token": token}, json=body, headers=headers
            )

    def over_a_socket(self, *messages: dict[str, Any]) -> None:
        with connect_blocking(
            f"{self.server.ws_url}/ws?site=blog&item=a", additional_headers={"X-Forwarded-For": ADDRESS}
        ) as page:
            for message in messages:
                page.ask(message.pop("type"), **message)

    def in_the_query(self, token: str) -> None:
        """A token has no business there; some try."""
        with connect_blocking(f"{self.server.ws_url}/ws?site=nope&token={token}") as page:
            page.closed()

    def nonsense(self, token: str) -> None:
        address = urlsplit(self.server.url)
        for data in (
            b"garbage " + token.encode() + b"\r\n\r\n",
            b"GET /ws?token="
            + token.encode()
            + b" HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ):
            with socket.create_connection((address.hostname, address.port), timeout=10) as raw:
                raw.sendall(data)
                raw.settimeout(10)
                while raw.recv(4096):
                    pass


@pytest.mark.parametrize("asked", [False, True], ids=["as it is", "addresses asked for"])
def test_nothing_private_is_ever_said(make_server: MakeServer, tmp_path: Path, asked: bool) -> None:
    file = tmp_path / "tallycast.toml"
    file.write_text(SITES)
    flags = ["--workers", "2", "--config", str(file), *(["--log-addresses"] if asked else [])]
    server = make_server(flags=flags)
    talker = Talker(server)
    mine, known, unknown = talker.stranger(), signed(), signed(private_key("RS256"), "RS256")
    expired = signed(exp=1)
    for token in (mine, known, unknown, expired, mine[:-3]):
        talker.over_http(token)
        talker.in_the_query(token)
    talker.over_a_socket(
        {"type": "auth", "token": mine},
        {"type": "react", "item": "a", "reaction": "like"},
        {"type": "auth", "token": unknown},
        {"type": "auth", "token": expired},
        {"type": "nonsense", "token": mine},
        {"type": "auth", "token": known, "merge": mine},
        {"type": "auth", "token": known, "merge": mine},
        {"type": "react", "item": "a", "reaction": None},
    )
    talker.nonsense(mine)
    done = tallycast(
        "revoke", "--config", str(file), "--data", str(server.data), "--site", "blog", "--sub", SUBJECT
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert SUBJECT not in done.stdout
    # What the engine holds is broken, and the engine too.
    person = NAMES.visitor_channel("blog", member(f"u:{SUBJECT}"))
    with Redis.from_url(running_engine(server.data)) as client:
        with connect_blocking(f"{server.ws_url}/ws?site=blog&item=a") as page:
            newer = signed(iat=int(time.time()) + 5)
            talker.private.append(newer)
            page.ask("auth", token=newer)
            wait_for(lambda: client.publish(person, b"nonsense"), "a worker that follows the visitor")
            wait_for(lambda: "malformed update ignored" in server.output(), "its complaint")
        client.set("tc:{blog:a}", "not a hash")
    talker.over_http(signed(sub="another"))
    private = tmp_path / "private.pem"
    private.write_text(private_pem(private_key("RS256")))
    file.write_text(SITES + f'secret = "{SECRET}"\n')
    os.kill(server.pid, signal.SIGHUP)
    wait_for(lambda: "sites file rejected" in server.output(), "the complaint about the file")
    assert server.engine is not None
    os.kill(server.engine, signal.SIGKILL)
    talker.over_http(known)
    talker.http.close()
    server.terminate()

    said = server.output()
    for complaint in ("key set not fetched", "engine refused a command", "engine died"):
        assert complaint in said, "the test has not done everything"
    digest = member(f"u:{SUBJECT}")
    talker.private += [digest.hex(), base64.b64encode(digest).decode(), digest.decode(errors="replace")]
    for private_thing in talker.private:
        for form in (private_thing, quote(private_thing)):
            assert form not in said, form
    assert "Traceback" not in said


def test_what_is_private_is_in_no_address(server: ServerProcess) -> None:
    """Nothing here redirects, or hands out a link with anything in it."""
    token = visitor_token_blocking(server.url)
    for path in ("/v1/items?item=a", "/v1/visitors", "/v1", "/v1/", "/nothing", "/embed.js"):
        answer = httpx.get(f"{server.url}{path}", headers=bearer(token))
        assert "location" not in answer.headers
        assert token not in answer.text
    # In the query it is not accepted.
    answer = httpx.put(f"{server.url}/v1/reaction?item=a&token={token}", json={"reaction": "like"})
    assert answer.status_code == 401
