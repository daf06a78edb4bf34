"""Names that some languages treat specially, as kinds, items, sites and visitors, on every path of a server.

The order of kinds is the configured one, in the bytes of every answer: a client may show them in that order.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest
from websockets.typing import Subprotocol

from tests.cli.test_command import tallycast
from tests.client.tokens import bearer, visitor_token_blocking
from tests.client.websocket import BlockingConnection, connect_blocking
from tests.conftest import listed
from tests.support.process import ServerProcess, clean_environment

KINDS = ["5", "4", "3", "10", "-1", "constructor", "valueOf", "__proto__", "toString", "[bold]", " a;b ", "☃"]
ITEMS = ["__proto__", "constructor", "7", "toString", "[bold]", "{a}", "item"]
SITE = "constructor"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    kinds = json.dumps(KINDS, ensure_ascii=False)
    file = f'[sites.{SITE}]\norigins = ["*"]\nkinds = {kinds}\nitems = ".*"\n'
    limits = f'[sites.{SITE}.limits]\nreactions = "10000/s burst 10000"\nmessages = "10000/s burst 10000"\n'
    (folder / "tallycast.toml").write_text(file + limits)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with listed(ServerProcess(folder, flags=["--config", str(folder / "tallycast.toml")])) as process:
        yield process.start()


def in_order(counts: dict[str, int]) -> bool:
    """Whether the map that was read, in the order of its bytes, has the site's kinds in theirs."""
    return list(counts) == KINDS


def answer(page: BlockingConnection, form: Any, message: dict[str, Any]) -> dict[str, Any]:
    """The answer to a message, in a wire format; every map of counts on the way is in order."""
    raw = form.packb(message) if form is msgpack else form.dumps(message)
    page.send(raw)
    while True:
        data = page.recv(timeout=40)
        frame: dict[str, Any] = form.unpackb(data) if form is msgpack else form.loads(data)
        assert in_order(frame.get("counts", dict.fromkeys(KINDS))), frame
        if frame.get("ref") == message["ref"]:
            return frame


@pytest.mark.parametrize("form", [json, msgpack], ids=["json", "msgpack"])
def test_over_a_socket(server: ServerProcess, form: Any) -> None:
    subprotocol = Subprotocol(f"tallycast.v1.{form.__name__}")
    token = visitor_token_blocking(server.url, SITE)
    before = held(server, ITEMS[0])
    with connect_blocking(f"{server.ws_url}/ws?site={SITE}&item=7", subprotocols=[subprotocol]) as page:
        watch = {"type": "watch", "items": ITEMS, "since": dict.fromkeys(ITEMS, 1), "ref": 1}
        assert answer(page, form, watch)["type"] == "watching"
        assert answer(page, form, {"type": "auth", "token": token, "ref": 2})["type"] == "ready"
        for ref, kind in enumerate(KINDS, 3):
            for item in ITEMS:
                message = {"type": "react", "item": item, "reaction": kind, "ref": ref}
                ack = answer(page, form, message)
                assert (ack["item"], ack["reaction"]) == (item, kind), ack
                assert ack["counts"][kind] == before[kind] + 1
        refused = answer(page, form, {"type": "react", "item": "7", "reaction": "hasOwnProperty", "ref": 99})
        assert refused["code"] == "bad_reaction"


def held(server: ServerProcess, item: str, token: str | None = None) -> dict[str, int]:
    headers = {} if token is None else bearer(token)
    params = {"site": SITE, "item": item}
    (one,) = httpx.get(f"{server.url}/v1/items", params=params, headers=headers).json()["items"]
    assert one["item"] == item
    assert in_order(one["counts"])
    return dict(one["counts"])


def test_over_http(server: ServerProcess) -> None:
    token = visitor_token_blocking(server.url, SITE)
    headers = bearer(token)
    for kind in KINDS:
        params = {"site": SITE, "item": "http"}
        put = httpx.put(
            f"{server.url}/v1/reaction", params=params, json={"reaction": kind}, headers=headers
        ).json()
        assert in_order(put["counts"])
        assert put["counts"] == {**dict.fromkeys(KINDS, 0), kind: 1}
        assert held(server, "http") == put["counts"]
    url = f"{server.url}/v1/stream?site={SITE}&item=http"
    with httpx.stream("GET", url) as stream:
        data = next(line for line in stream.iter_lines() if line.startswith("data:"))
    assert in_order(json.loads(data.removeprefix("data:"))["counts"])
    (mine,) = httpx.get(f"{server.url}/v1/me?site={SITE}", headers=headers).text.splitlines()
    assert (json.loads(mine)["item"], json.loads(mine)["reaction"]) == ("http", KINDS[-1])
    assert httpx.delete(f"{server.url}/v1/me?site={SITE}", headers=headers).json() == {"erased": 1}
    assert not any(held(server, "http").values())


def test_of_an_import(server: ServerProcess, folder: Path) -> None:
    header = ";".join(f'"{kind}"' for kind in ["item", *KINDS])
    (folder / "starts.csv").write_text(f"{header}\nstart;{';'.join(str(at) for at in range(len(KINDS)))}\n")
    votes = [{"item": "votes", "visitor": f"u:{kind}", "reaction": kind} for kind in KINDS]
    (folder / "votes.ndjson").write_text("".join(f"{json.dumps(vote)}\n" for vote in votes))
    more = ["--site", SITE, "--config", str(folder / "tallycast.toml"), "--data", str(server.data)]
    for name in ("starts.csv", "votes.ndjson"):
        done = tallycast("import", str(folder / name), *more)
        assert (done.returncode, done.stderr) == (0, "")
    assert held(server, "start") == dict(zip(KINDS, range(len(KINDS)), strict=True))
    assert held(server, "votes") == dict.fromkeys(KINDS, 1)
    audit = tallycast("audit", "--all", "--site", SITE, "--data", str(server.data))
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_of_the_harness(server: ServerProcess, tmp_path: Path) -> None:
    options = {"connections": "20", "items": "4", "reactions": "40/s", "duration": "1s", "warmup": "0s"}
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tallycast", "load", server.url, "--site", SITE, "--json", str(report)]
    for name, value in options.items():
        command += [f"--{name}", value]
    done = subprocess.run(
        [*command, "--html", str(tmp_path / "report.html")],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    checks = {check["name"]: check["passed"] for check in json.loads(report.read_text())["checks"]}
    assert checks["acked"] is checks["counts"] is checks["answers"] is True, done.stdout + done.stderr
