"""All of a visitor, the admin API and the command line on a cluster: as on one engine. Two workers."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from tallycast.engine import keys

from tests.cli.test_command import tallycast
from tests.client.tokens import bearer
from tests.client.websocket import connect_blocking
from tests.conftest import listed
from tests.ledger.support import stored
from tests.support.cluster import Cluster
from tests.support.names import NAMES
from tests.support.process import ServerProcess
from tests.support.signing import SECRET, user_token

KEY = "the admin key of the tests"
CONFIG = f"""
[sites.default]
origins = ["*"]
admin_keys = ["sha256:{sha256(KEY.encode()).hexdigest()}"]
[sites.default.limits]
reactions = "1000/s burst 10000"
[[sites.default.tokens]]
algorithm = "HS256"
secret = "{SECRET}"
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("cluster") / "tallycast.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="module")
def server(ring: Cluster, config: Path) -> Iterator[ServerProcess]:
    flags = ["--workers", "2", "--config", str(config)]
    with listed(ServerProcess(config.parent, flags=flags, env={"REDIS_URL": ring.url})) as process:
        yield process.start()


@pytest.fixture
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def stranger(http: httpx.Client) -> str:
    return str(http.post("/v1/visitors").raise_for_status().json()["token"])


def react(http: httpx.Client, token: str, item: str, reaction: str) -> httpx.Response:
    return http.put("/v1/reaction", params={"item": item}, json={"reaction": reaction}, headers=bearer(token))


def admin(http: httpx.Client, what: str, item: str | None = None, **more: Any) -> httpx.Response:
    params = {} if item is None else {"item": item}
    return http.post(f"/v1/admin/{what}", params=params, headers=bearer(KEY), **more)


def held(http: httpx.Client, token: str) -> dict[str, str]:
    lines = http.get("/v1/me", headers=bearer(token)).raise_for_status().text.splitlines()
    return {line["item"]: line["reaction"] for line in map(json.loads, lines)}


def shown(http: httpx.Client, items: list[str]) -> list[tuple[int, int]]:
    answer = http.get("/v1/items", params=[("item", item) for item in items]).raise_for_status()
    return [(one["counts"]["like"], one["counts"]["dislike"]) for one in answer.json()["items"]]


def check(ring: Cluster, items: list[str]) -> None:
    """Counts are the membership."""
    for item in items:
        state, members = stored(ring.owner(NAMES.item_key("default", item)).client, "default", item)
        kinds = list(members.values())
        assert all(count == kinds.count(kind) for kind, count in state.counts.items()), item


def test_a_person_from_the_first_vote_to_the_last_trace(
    server: ServerProcess, ring: Cluster, http: httpx.Client
) -> None:
    items = [f"me/{number}" for number in range(30)]
    assert len({ring.owner(NAMES.item_key("default", item)) for item in items}) == 3
    mine, ann, other = stranger(http), user_token("ann"), stranger(http)
    for item in items:
        react(http, mine, item, "like")
        react(http, other, item, "like")
    react(http, ann, items[0], "dislike")
    assert admin(http, "freeze", items[1]).json()["frozen"]
    with (
        connect_blocking(f"{server.ws_url}/ws?item={items[0]}") as page,
        connect_blocking(f"{server.ws_url}/ws") as tab,
    ):
        page.next("counts", counts={"like": 2, "dislike": 1})
        # On a frozen item, too: no reaction is taken there, but a visitor has become known.
        assert tab.ask("auth", token=ann, merge=mine)["type"] == "ready"
        page.next("counts", counts={"like": 1, "dislike": 1})
        assert held(http, ann) == {items[0]: "dislike"} | dict.fromkeys(items[1:], "like")
        assert http.get("/v1/me", headers=bearer(mine)).status_code == 401
        check(ring, items)
        assert http.delete("/v1/me", headers=bearer(ann)).json() == {"erased": 30}
        page.next("counts", counts={"like": 1, "dislike": 0})
    assert held(http, ann) == {}
    assert shown(http, items) == [(1, 0)] * 30
    check(ring, items)
    index = NAMES.index_key("default", keys.member("u:ann"))
    assert not ring.owner(index).client.exists(index)
    assert react(http, ann, items[2], "like").status_code == 200


def test_the_admin_api(server: ServerProcess, ring: Cluster, http: httpx.Client) -> None:
    item, zero = "admin/1", {"like": 0, "dislike": 0}
    one, ann = stranger(http), user_token("ben")
    react(http, one, item, "like")
    with (
        connect_blocking(f"{server.ws_url}/ws?item={item}") as page,
        connect_blocking(f"{server.ws_url}/ws?item={item}") as tab,
    ):
        page.next("counts", counts={"like": 1, "dislike": 0})
        assert tab.ask("auth", token=ann)["type"] == "ready"
        for what in ("reset", "remove"):
            react(http, ann, item, "like")
            tab.next("mine", reaction="like")
            answer = admin(http, what, item)
            assert (answer.status_code, answer.json()["counts"]) == (200, zero)
            page.next("counts", counts=zero)
            tab.next("mine", item=item, reaction=None)
        react(http, ann, item, "dislike")
        tab.next("mine", reaction="dislike")
        assert admin(http, "erase", json={"visitor": "u:ben"}).json() == {"erased": 1}
        page.next("counts", counts=zero)
        tab.next("mine", item=item, reaction=None)
    assert admin(http, "freeze", item).json()["frozen"]
    assert react(http, ann, item, "like").json()["code"] == "forbidden"
    assert not admin(http, "unfreeze", item).json()["frozen"]
    check(ring, [item])
    done = tallycast("audit", env={"REDIS_URL": ring.url})
    whats = [line.split()[2] for line in done.stdout.splitlines() if line.endswith(f"  {item}")]
    assert whats == ["reset", "remove", "freeze", "unfreeze"]
    assert f"  erase     default  visitor {keys.member('u:ben').hex()}\n" in done.stdout


def test_an_import_is_for_one_engine(ring: Cluster, http: httpx.Client, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "votes.csv"
    file.write_text("item,visitor,reaction\nimported/1,u:1,like\n")
    given = ["import", str(file), "--config", str(config)]
    done = tallycast(*given, env={"REDIS_URL": ring.url})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tallycast: an import needs a standalone engine")
    assert done.stderr.count("\n") == 1
    assert shown(http, ["imported/1"]) == [(0, 0)]
    assert tallycast(*given, "--dry-run", env={"REDIS_URL": ring.url}).returncode == 0


def test_what_was_imported_into_one_engine_goes_to_a_cluster(
    ring: Cluster, http: httpx.Client, config: Path, tmp_path: Path, engine: str
) -> None:
    """As docs/admin.md says: with MIGRATE, key by key, which is what `--cluster import` does."""
    items = [f"moved/{number}" for number in range(50)]
    file = tmp_path / "votes.csv"
    rows = [f"{item},u:{visitor},like" for item in items for visitor in range(10)]
    file.write_text("\n".join(["item,visitor,reaction", *rows]))
    done = tallycast("import", str(file), "--config", str(config), env={"REDIS_URL": engine})
    assert done.returncode == 0, done.stderr
    with Redis.from_url(engine) as source:
        for key in source.scan_iter(match=b"tc:{*"):
            node = ring.owner(key)
            source.execute_command("MIGRATE", "127.0.0.1", node.port, key, 0, 5000, "COPY", "REPLACE")
    assert shown(http, items) == [(10, 0)] * 50
    check(ring, items)
    assert held(http, user_token("3")) == dict.fromkeys(items, "like")
    assert react(http, user_token("3"), items[0], "dislike").json()["counts"] == {"like": 9, "dislike": 1}
    check(ring, items)
