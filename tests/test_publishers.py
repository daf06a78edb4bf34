"""A publisher's own visitors on a whole server: tokens, key sets, expiry, revocation, on every worker."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import jwt
import pytest
from tallycast.engine.keys import member

from tests.cli.test_command import tallycast
from tests.client.tokens import bearer, visitor_token_blocking
from tests.client.websocket import connect_blocking
from tests.conftest import MakeServer
from tests.support.process import ServerProcess
from tests.support.signing import SECRET, jwk, key_set, private_key, private_pem, public_pem
from tests.support.waiting import wait_for


class Publisher:
    """The web server of a publisher, with its key set."""

    def __init__(self) -> None:
        self.keys = key_set(jwk(private_key("RS256"), "RS256", "first"))
        self.asked = 0
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(publisher.keys)))
                self.end_headers()
                self.wfile.write(publisher.keys)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    thread = Thread(target=publisher.server.serve_forever)
    thread.start()
    yield publisher
    publisher.server.shutdown()
    thread.join()
    publisher.server.server_close()


@pytest.fixture
def file(tmp_path: Path, publisher: Publisher) -> Path:
    file = tmp_path / "tallycast.toml"
    file.write_text(f'''
[sites.blog]
origins = ["*"]
[sites.blog.limits]
messages = "1000/s burst 10000"
reactions = "1000/s burst 10000"
[[sites.blog.tokens]]
algorithm = "HS256"
secret = "{SECRET}"
[[sites.blog.tokens]]
algorithm = "EdDSA"
kid = "ed"
public_key = """
{public_pem(private_key("EdDSA"))}"""
[[sites.blog.tokens]]
algorithm = "RS256"
jwks = "{publisher.url}"
[sites.other]
origins = ["*"]
[sites.service]
origins = ["*"]
[sites.service.limits]
reactions = "1000/s burst 10000"
[[sites.service.tokens]]
algorithm = "RS256"
jwks = "{publisher.url}"
audience = "https://api.example"
subject = "user_id"
''')
    return file


@pytest.fixture
def server(make_server: MakeServer, file: Path) -> ServerProcess:
    return make_server(flags=["--workers", "2", "--config", str(file)])


def made(file: Path, sub: str, *more: str) -> str:
    """A token of the command line's."""
    done = tallycast("token", "--config", str(file), "--site", "blog", "--sub", sub, *more)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def signed(
    key: Any, algorithm: str, kid: str | None = None, *, sub: str = "42", ttl: int = 60, **more: Any
) -> str:
    now = int(time.time())
    claims = {"sub": sub, "aud": "blog", "iat": now, "exp": now + ttl} | more
    payload = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers={"kid": kid} if kid else None)


def status(server: ServerProcess, token: str, site: str = "blog") -> int:
    return httpx.put(
        f"{server.url}/v1/reaction",
        params={"site": site, "item": "a"},
        json={"reaction": "like"},
        headers=bearer(token),
    ).status_code


def test_all_kinds_of_keys(server: ServerProcess, file: Path, publisher: Publisher, tmp_path: Path) -> None:
    private = tmp_path / "private.pem"
    private.write_text(private_pem(private_key("EdDSA")))
    tokens = [
        made(file, "42"),
        made(file, "42", "--key-file", str(private)),
        signed(private_key("RS256"), "RS256", "first"),
    ]
    with connect_blocking(f"{server.ws_url}/ws?site=blog&item=a") as page:
        for ref, token in enumerate(tokens):
            assert page.ask("auth", token=token, ref=ref)["visitor"] == "u:42"
            assert status(server, token) == 200
            assert status(server, token, "other") == 401
        # It is one person all along.
        assert page.ask("react", item="a", reaction="like", ref=9)["counts"]["like"] == 1
    # An unknown key is asked for, once for each worker in 30 s; here they have just asked.
    asked = publisher.asked
    assert 1 <= asked <= 2
    with connect_blocking(f"{server.ws_url}/ws?site=blog") as page:
        for number in range(200):
            token = signed(private_key("RS256", 1), "RS256", f"unknown-{number}")
            assert page.ask("auth", token=token, ref=number)["code"] == "unauthorized"
    assert publisher.asked <= 2


def test_tokens_of_an_identity_service(server: ServerProcess, file: Path, tmp_path: Path) -> None:
    """An audience that is an address, a number for the user, no time of issue."""
    key, audience = private_key("RS256"), ["https://api.example", "https://login.example/userinfo"]

    def of_service(**claims: Any) -> str:
        issue = {"iat": None, "auth_time": int(time.time()) - 60}
        given = {"sub": "abc|9", "aud": audience, "user_id": 4711} | issue | claims
        return signed(key, "RS256", "first", **given)

    with connect_blocking(f"{server.ws_url}/ws?site=service&item=a") as page:
        assert page.ask("auth", token=of_service(), ref=1)["visitor"] == "u:4711"
        reply = page.ask("auth", token=of_service(aud="https://other.example", sub="Mallory"), ref=2)
        assert (reply["code"], reply["message"]) == ("unauthorized", "the token is not one of this site's")
        reply = page.ask("auth", token=of_service(user_id={"is": "Mallory"}), ref=3)
        assert reply["code"] == "unauthorized"
        late = int(time.time()) + 2 * 86400
        reply = page.ask("auth", token=of_service(auth_time=None, exp=late), ref=4)
        assert (reply["code"], reply["message"]) == ("unauthorized", "the token ends too late")
        assert page.ask("auth", token=of_service(auth_time=None), ref=5)["visitor"] == "u:4711"
    assert status(server, of_service(), "blog") == 401
    wait_for(lambda: "user_id" in server.output(), "the log", 10)
    lines = [json.loads(line) for line in server.output().splitlines() if '"token refused"' in line]
    wrong_audience = {"claim": "aud", "found": "'https://other.example'", "expected": "'https://api.example'"}
    assert wrong_audience.items() <= lines[0].items()
    no_issue = {"claim": "exp", "expected": "at most 1 day ahead, without iat"}
    assert any(no_issue.items() <= line.items() for line in lines)
    assert "Mallory" not in server.output()
    # The command makes such a token, too, and a revocation holds for those without `iat`.
    private = tmp_path / "private.pem"
    private.write_text(private_pem(key))
    more = ["--config", str(file), "--site", "service", "--sub", "4711"]
    made = tallycast("token", *more, "--key-file", str(private)).stdout.strip()
    assert [
        status(server, token, "service") for token in (made, of_service(), of_service(auth_time=None))
    ] == [200] * 3
    assert tallycast("revoke", *more, "--data", str(server.data)).returncode == 0
    wait_for(lambda: all(status(server, of_service(), "service") == 401 for _ in range(10)), "refusals", 10)
    later = int(time.time()) + 1
    assert status(server, of_service(auth_time=later), "service") == 200
    assert status(server, of_service(nbf=later), "service") == 401
    assert status(server, of_service(auth_time=None), "service") == 401


def test_a_token_that_ends_on_an_open_socket(server: ServerProcess) -> None:
    """It was let in within the leeway, so 25 s of grace begin there; watching goes on."""
    with connect_blocking(f"{server.ws_url}/ws?site=blog&item=a") as page:
        began = time.monotonic()
        assert page.ask("auth", token=signed(SECRET, "HS256", ttl=-20), ref=1)["type"] == "ready"
        assert page.ask("react", item="a", reaction="like", ref=2)["type"] == "ack"
        reply = page.next("error", code="unauthorized")
        assert "ref" not in reply
        assert time.monotonic() - began > 24.5
        assert page.ask("react", item="a", reaction=None, ref=3)["code"] == "unauthorized"
        assert status(server, signed(SECRET, "HS256", sub="43")) == 200
        assert page.next("counts")["counts"] == {"like": 2, "dislike": 0}


def test_revoking(server: ServerProcess, file: Path) -> None:
    old, other = made(file, "42"), made(file, "43")
    with ExitStack() as stack:
        pages = [
            stack.enter_context(connect_blocking(f"{server.ws_url}/ws?site=blog&item=a")) for _ in range(8)
        ]
        for ref, page in enumerate(pages):
            assert page.ask("auth", token=old if ref else other, ref=ref)["type"] == "ready"
        done = tallycast(
            "revoke", "--config", str(file), "--data", str(server.data), "--site", "blog", "--sub", "42"
        )
        assert (done.returncode, done.stderr) == (0, "")
        noted = tallycast("audit", "--data", str(server.data)).stdout
        assert re.fullmatch(rf"\S+Z  cli:\S+ +revoke    blog  visitor {member('u:42').hex()}\n", noted), noted
        for page in pages[1:]:
            assert "ref" not in page.next("error", code="unauthorized")
            assert page.ask("watch", items=["b"], ref=1)["type"] == "watching"
        assert pages[0].ask("react", item="a", reaction="like", ref=1)["type"] == "ack"
        wait_for(lambda: all(status(server, old) == 401 for _ in range(10)), "every worker's refusal", 5)
        assert status(server, other) == 200
        new = made(file, "42")
        assert status(server, new) == 200
        assert pages[1].ask("auth", token=new, ref=2)["visitor"] == "u:42"
    # A worker that starts later knows too, and what was newer still holds.
    server.restart()
    assert [status(server, token) for token in (old, new, other)] == [401, 200, 200]


def test_a_stranger_who_signs_in_keeps_the_votes(server: ServerProcess, file: Path) -> None:
    mine, known = visitor_token_blocking(server.url, "blog"), made(file, "77")
    address = f"{server.ws_url}/ws?site=blog&item=x"
    with ExitStack() as stack:
        # Enough tabs for both workers.
        tabs = [stack.enter_context(connect_blocking(address)) for _ in range(6)]
        watcher = stack.enter_context(connect_blocking(address))
        for ref, tab in enumerate(tabs):
            assert tab.ask("auth", token=mine, ref=ref)["type"] == "ready"
        for item in "xyz":
            assert tabs[0].ask("react", item=item, reaction="like", ref=9)["type"] == "ack"
        page = stack.enter_context(connect_blocking(address))
        assert page.ask("auth", token=known, ref=1)["visitor"] == "u:77"
        assert page.ask("react", item="x", reaction="dislike", ref=2)["counts"] == {
            "like": 1,
            "dislike": 1,
        }
        for ref in (3, 4):
            assert page.ask("auth", token=known, merge=mine, ref=ref)["visitor"] == "u:77"
        watcher.next("counts", counts={"like": 0, "dislike": 1})
        held = httpx.get(
            f"{server.url}/v1/items?site=blog&item=x&item=y&item=z",
            headers=bearer(known),
        ).json()["items"]
        assert [(one["reaction"], *one["counts"].values()) for one in held] == [
            ("dislike", 0, 1),
            ("like", 1, 0),
            ("like", 1, 0),
        ]
        for tab in tabs:
            assert "ref" not in tab.next("error", code="unauthorized")
            assert tab.ask("auth", token=mine, ref=5)["code"] == "unauthorized"
        # Another account cannot have it too, and signs in without.
        other = made(file, "78")
        assert page.ask("auth", token=other, merge=mine, ref=6)["code"] == "unauthorized"
        assert page.ask("react", item="x", reaction="like", ref=7)["code"] == "unauthorized"
        assert page.ask("auth", token=other, ref=8)["visitor"] == "u:78"
    assert status(server, mine) == 401
    headers = bearer(mine)
    asked = [("GET", "items?item=x&"), ("DELETE", "reaction?item=x&"), ("POST", "visitors?")]
    for method, path in [*asked, ("GET", "me?"), ("DELETE", "me?")]:
        answer = httpx.request(method, f"{server.url}/v1/{path}site=blog", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), path


def test_nobody_takes_over_who_is_not_theirs(server: ServerProcess, file: Path) -> None:
    known, mine = made(file, "70"), visitor_token_blocking(server.url, "blog")
    elsewhere = visitor_token_blocking(server.url, "other")
    for token, site in ((mine, "blog"), (elsewhere, "other"), (made(file, "71"), "blog")):
        assert status(server, token, site) == 200
    head, _, tail = mine.rpartition(".")
    wrong = {
        "other site's": elsewhere,
        "user's": made(file, "71"),
        "forged": f"{head}.{tail[::-1]}",
        "none": "x",
    }
    with connect_blocking(f"{server.ws_url}/ws?site=blog&item=a") as page:
        for ref, token in enumerate(wrong.values()):
            assert page.ask("auth", token=known, merge=token, ref=ref)["code"] == "unauthorized"
            # It is unauthenticated then, though the other token was right.
            assert page.ask("react", item="a", reaction="like", ref=ref + 10)["code"] == "unauthorized"
        # An anonymous visitor takes over no visitor, not even itself.
        for token in (mine, visitor_token_blocking(server.url, "blog")):
            assert page.ask("auth", token=token, merge=mine, ref=20)["code"] == "forbidden"
        assert page.ask("auth", token=mine, ref=21)["type"] == "ready"
        assert page.ask("react", item="a", reaction=None, ref=22)["counts"]["like"] == 1
    assert status(server, elsewhere, "other") == 200


def test_many_tabs_sign_in_at_once_and_vote(server: ServerProcess, file: Path) -> None:
    """Whatever overtakes what: one vote for each item, and it is the account's."""
    known, mine, items = (
        made(file, "72"),
        visitor_token_blocking(server.url, "blog"),
        [f"race/{number}" for number in range(200)],
    )
    with ExitStack() as stack:
        tabs = [stack.enter_context(connect_blocking(f"{server.ws_url}/ws?site=blog")) for _ in range(6)]
        for ref, tab in enumerate(tabs):
            assert tab.ask("auth", token=mine, ref=ref)["type"] == "ready"
        for number, item in enumerate(items):
            tabs[0].post("react", item=item, reaction="like", ref=number)
        tabs[0].next(ref=len(items) - 1)
        for number, tab in enumerate(tabs):
            # The first three sign in, the others go on as the stranger as long as they may; all of them vote.
            if number < 3:
                tab.post("auth", token=known, merge=mine)
            for item in items[number::2]:
                tab.post("react", item=item, reaction="dislike")
            # Its answer comes after theirs.
            tab.post("auth", token=known, ref=1001)
        for tab in tabs:
            tab.next(ref=1001)
        assert tabs[0].ask("auth", token=known, merge=mine, ref=1002)["type"] == "ready"
        pages = [items[:100], items[100:]]
        headers = bearer(known)
        for page in pages:
            params = [("site", "blog"), *(("item", item) for item in page)]
            held = httpx.get(f"{server.url}/v1/items", params=params, headers=headers).json()["items"]
            for one in held:
                assert one["reaction"] is not None
                assert one["counts"] == {"like": 0, "dislike": 0} | {one["reaction"]: 1}, one
    assert status(server, mine) == 401


def test_who_has_an_account_can_take_everything_back(server: ServerProcess, file: Path) -> None:
    token = made(file, "90")
    me, headers = f"{server.url}/v1/me?site=blog", bearer(token)
    assert [status(server, token), status(server, token, "other")] == [200, 401]
    (line,) = httpx.get(me, headers=headers).text.splitlines()
    assert json.loads(line).items() >= {"item": "a", "reaction": "like"}.items()
    assert httpx.delete(me, headers=headers).json() == {"erased": 1}
    assert httpx.get(me, headers=headers).text == ""


WRONG = {
    "--site nope": "--site: no site 'nope'; expected one of blog, other",
    "--site other": "site other has no secret in the sites file",
    "--site blog --sub=": "--sub: expected 1 to 128 bytes",
    f"--site blog --sub={'é' * 65}": "--sub: expected 1 to 128 bytes",
    # As an argument that is not UTF-8 is read.
    "--site blog --sub=\udcff": "--sub: expected 1 to 128 bytes of UTF-8",
    "--site blog --ttl soon": "--ttl: expected a time such as",
    "--site blog --ttl 91d": "--ttl: expected a time such as",
    "--site blog --key-file gone.pem": "--key-file: gone.pem: no such file",
    "--site blog --key-file .": "--key-file: .: is a directory",
    "--config gone.toml": "gone.toml: no such file or directory",
}


@pytest.mark.parametrize(("arguments", "line"), WRONG.items(), ids=WRONG)
def test_a_token_that_cannot_be_made(file: Path, arguments: str, line: str) -> None:
    refused(line, "token", "--config", str(file), "--sub", "1", *arguments.split())


@pytest.mark.parametrize(
    ("site", "line"),
    [
        ("default", "--config: required, because a token is signed with a key of the sites file"),
        ("blog", "--site: no site 'blog' without a sites file: give the file with --config"),
    ],
)
def test_no_token_without_a_file_of_sites(site: str, line: str) -> None:
    refused(line, "token", "--sub", "1", "--site", site)


def test_a_public_key_signs_nothing(file: Path, tmp_path: Path) -> None:
    public = tmp_path / "public.pem"
    public.write_text(public_pem(private_key("EdDSA")))
    more = ["--site", "blog", "--sub", "1", "--key-file", str(public)]
    refused(f"--key-file: {public}: not a private key", "token", "--config", str(file), *more)


def test_nothing_is_revoked_where_no_server_runs(file: Path, tmp_path: Path) -> None:
    more = ["--site", "blog", "--sub", "1", "--data", str(tmp_path)]
    refused(f"no server runs on the data folder {tmp_path}", "revoke", "--config", str(file), *more)


def refused(line: str, *arguments: str) -> None:
    done = tallycast(*arguments)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.startswith(f"tallycast: {line}"), done.stderr
    assert done.stderr.count("\n") == 1
