"""Two deployments that share an engine never hear each other: by database, and by prefix.

Each is an engine's user that may touch nothing but the deployment's own keys and channels: a name without
the prefix, or without the database, is refused, and the test that needs it fails.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from redis import Redis
from tallycast.cli.audit import recount
from tallycast.config.settings import Settings
from tallycast.engine.factory import is_cluster
from tallycast.engine.keys import Namespace

from tests.cli.test_command import tallycast
from tests.client.messages import new_item
from tests.client.tokens import bearer
from tests.client.websocket import BlockingConnection, connect_blocking
from tests.conftest import listed
from tests.support.cluster import cluster
from tests.support.engine import private_engine
from tests.support.process import ServerProcess
from tests.support.scrape import FLAGS, scrape
from tests.support.signing import SECRET, user_token
from tests.support.waiting import wait_for

KEY = "the admin key of both"
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
ZERO = {"like": 0, "dislike": 0}

Frame = dict[str, Any]


class Deployment(NamedTuple):
    """A server, the environment that it runs in, what that says, and its names."""

    server: ServerProcess
    env: dict[str, str]
    settings: Settings
    names: Namespace
    http: httpx.Client

    def react(self, user: str, item: str, reaction: str) -> httpx.Response:
        return self.send("PUT", "/v1/reaction", user_token(user), item, json={"reaction": reaction})

    def admin(self, what: str, item: str) -> httpx.Response:
        return self.send("POST", f"/v1/admin/{what}", KEY, item)

    def send(self, method: str, path: str, token: str, item: str = "", **more: Any) -> httpx.Response:
        params = {"item": item} if item else {}
        headers = bearer(token) if token else {}
        return self.http.request(method, self.server.url + path, params=params, headers=headers, **more)

    def is_ready(self) -> bool:
        return self.send("GET", "/readyz", "").status_code == 200

    def shown(self, item: str) -> dict[str, int]:
        counts: dict[str, int] = self.send("GET", "/v1/items", "", item).json()["items"][0]["counts"]
        return counts

    def open(self, item: str) -> BlockingConnection:
        return connect_blocking(f"{self.server.ws_url}/ws?item={item}")


class Pair(NamedTuple):
    """Two deployments, and the clients of what they share: each of its nodes, or of its databases."""

    deployments: tuple[Deployment, Deployment]
    clients: list[Any]


def sign_in(tab: BlockingConnection, user: str) -> None:
    assert tab.ask("auth", token=user_token(user))["type"] == "ready"


def _databases(folder: Path) -> Iterator[Pair]:
    with private_engine() as url:
        clients = [Redis.from_url(url, db=number) for number in (0, 1)]
        places = [(f"unix://U:x@{url.removeprefix('unix://')}?db={number}", "", number) for number in (0, 1)]
        yield from _both(folder, clients[:1], clients, places)


def _prefixes(folder: Path) -> Iterator[Pair]:
    with private_engine() as url:
        place = f"unix://U:x@{url.removeprefix('unix://')}"
        clients = [Redis.from_url(url)]
        yield from _both(folder, clients, clients, [(place, "", 0), (place, "staging:", 0)])


def _cluster(folder: Path) -> Iterator[Pair]:
    with cluster() as ring:
        nodes = [node.client for node in ring.nodes]
        primaries = [node.client for node in ring.primaries]
        place = ring.url.replace("redis://", "redis://U:x@")
        yield from _both(folder, nodes, primaries, [(place, "blue.", 0), (place, "green.", 0)])


def _both(
    folder: Path, nodes: list[Any], clients: list[Any], places: list[tuple[str, str, int]]
) -> Iterator[Pair]:
    """``places``: each deployment's URL, prefix and database. Their engine's users are made on ``nodes``."""
    file = folder / "tallycast.toml"
    file.write_text(CONFIG)
    http = httpx.Client(timeout=30)
    made: list[Deployment] = []
    for number, (url, prefix, database) in enumerate(places):
        user = f"user{number}"
        for node in nodes:
            allowed = (f"~{prefix}tc:*", f"&{prefix}tc:*@{database}")
            node.execute_command("ACL", "SETUSER", user, "on", ">x", "+@all", *allowed)
        engine = url.replace("U:x", f"{user}:x")
        env = {"REDIS_URL": engine, "TALLYCAST_PREFIX": prefix, "TALLYCAST_CONFIG": str(file)}
        server = ServerProcess(folder / user, flags=FLAGS, env=env)
        settings = Settings(redis_url=engine, prefix=prefix or None, config=file)
        server.data.parent.mkdir()
        made.append(Deployment(server, env, settings, Namespace(prefix, database), http))
    with listed(made[0].server), listed(made[1].server):
        for one in made:
            one.server.start()
        yield Pair((made[0], made[1]), clients)
    for closed in (http, *clients):
        closed.close()


@pytest.fixture(
    scope="module", params=[_databases, _prefixes, _cluster], ids=["databases", "prefixes", "cluster"]
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    arrangement: Callable[[Path], Iterator[Pair]] = request.param
    yield from arrangement(tmp_path_factory.mktemp("pair"))


def check_that_reactions_stay(one: Deployment, other: Deployment, item: str) -> None:
    """Watchers of either are shown its own counts, and a visitor of both what is held there."""
    with one.open(item) as page, other.open(item) as others_page, other.open(item) as others_tab:
        sign_in(others_tab, "ann")
        one.react("ann", item, "like").raise_for_status()
        page.until("counts", counts={"like": 1, "dislike": 0})
        other.react("ben", item, "dislike").raise_for_status()
        other.react("ann", item, "dislike").raise_for_status()
        shown = others_page.until("counts", counts={"like": 0, "dislike": 2})
        answer = others_tab.until("mine", reaction="dislike")
    assert not any(frame["counts"]["like"] for frame in shown if frame["type"] == "counts"), shown
    assert not any(frame["reaction"] == "like" for frame in answer if frame["type"] == "mine"), answer
    assert (one.shown(item), other.shown(item)) == ({"like": 1, "dislike": 0}, {"like": 0, "dislike": 2})


def test_reactions(pair: Pair) -> None:
    for one, other in permutations(pair.deployments):
        check_that_reactions_stay(one, other, new_item())


def test_reactions_after_the_links_were_lost(pair: Pair) -> None:
    one, other = pair.deployments
    item = new_item()
    with one.open(item) as page, other.open(item) as others_page:
        for each in (page, others_page):
            each.until("counts")
        for client in pair.clients:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        one.react("ann", item, "like").raise_for_status()
        other.react("ann", item, "dislike").raise_for_status()
        shown = page.until("counts", counts={"like": 1, "dislike": 0})
        others = others_page.until("counts", counts={"like": 0, "dislike": 1})
    assert not any(frame["counts"]["dislike"] for frame in shown)
    assert not any(frame["counts"]["like"] for frame in others)
    wait_for(lambda: all(each.is_ready() for each in pair.deployments), "links that work again")
    check_that_reactions_stay(one, other, new_item())


def test_freezing_resetting_and_removing(pair: Pair) -> None:
    one, other = pair.deployments
    item = new_item()
    with one.open(item) as page, other.open(item) as others_tab:
        for each in pair.deployments:
            each.react("ann", item, "like").raise_for_status()
        sign_in(others_tab, "ann")
        assert one.admin("freeze", item).json()["frozen"]
        assert one.react("ben", item, "like").status_code == 403
        for what in ("reset", "remove"):
            assert one.admin(what, item).json()["counts"] == ZERO
        page.until("counts", counts=ZERO)
        other.react("ben", item, "dislike").raise_for_status()
        received = others_tab.until("counts", counts={"like": 1, "dislike": 1})
    assert not any(frame["type"] == "mine" and frame["reaction"] is None for frame in received), received


def test_visitors(pair: Pair) -> None:
    """Their tokens, what they hold, and that they become an account, are one deployment's."""
    one, other = pair.deployments
    items = [new_item() for _ in range(3)]
    strangers = [each.send("POST", "/v1/visitors", "").json()["token"] for each in pair.deployments]
    for each, token in zip(pair.deployments, strangers, strict=True):
        for item in items:
            each.send("PUT", "/v1/reaction", token, item, json={"reaction": "like"}).raise_for_status()
    assert other.send("GET", "/v1/me", strangers[0]).status_code == 401
    with one.open(items[0]) as tab:
        assert tab.ask("auth", token=user_token("eve"), merge=strangers[0])["type"] == "ready"
    assert one.send("GET", "/v1/me", strangers[0]).status_code == 401
    assert len(one.send("GET", "/v1/me", user_token("eve")).text.splitlines()) == 3
    assert other.send("GET", "/v1/me", user_token("eve")).text == ""
    assert one.send("DELETE", "/v1/me", user_token("eve")).json() == {"erased": 3}
    assert [other.shown(item)["like"] for item in items] == [1, 1, 1]


def test_the_command_line(pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it revokes, counts, lists and imports is one deployment's."""
    one, other = pair.deployments
    for item in (new_item() for _ in range(3)):
        one.react("ann", item, "like").raise_for_status()
    for each in pair.deployments:
        items = len(set(_items(each, pair)))
        assert recount(each.settings, [], everything=True, site=None) == 0
        said = capsys.readouterr().out.splitlines()
        assert said[-1] == f"{items} items audited: all counts are right."
    tokens = [user_token("zoe"), user_token("zoe")]
    assert tallycast("revoke", "--sub", "zoe", env=one.env).returncode == 0
    wait_for(lambda: one.send("GET", "/v1/me", tokens[0]).status_code == 401, "the revocation")
    assert other.send("GET", "/v1/me", tokens[1]).status_code == 200
    trails = [tallycast("audit", env=each.env).stdout for each in pair.deployments]
    assert [" revoke " in trail for trail in trails] == [True, False]
    if is_cluster(one.settings.redis_url or ""):
        return  # There is no import there.
    file, item = tmp_path / "votes.csv", new_item()
    file.write_text(f"item,visitor,reaction\n{item},u:1,like\n")
    done = tallycast("import", str(file), env=one.env)
    assert done.returncode == 0, done
    assert (one.shown(item), other.shown(item)) == ({"like": 1, "dislike": 0}, ZERO)


def _items(one: Deployment, pair: Pair) -> Iterator[tuple[str, str]]:
    """The items in a deployment's database that have its prefix."""
    clients = pair.clients if len(pair.clients) != 2 else [pair.clients[one.names.channel_suffix == b"@1"]]
    for client in clients:
        for name in map(one.names.parse, client.keys("*")):
            if name is not None:
                yield name.site, name.item


def test_metrics_and_health(pair: Pair) -> None:
    one = pair.deployments[0]
    before = [scrape(each.server) for each in pair.deployments]
    one.react("ann", new_item(), "like").raise_for_status()
    after = [scrape(each.server) for each in pair.deployments]
    acked = [found.get_one("reactions_total", "acked") for found in (*before, *after)]
    assert acked[2:] == [acked[0] + 1, acked[1]]
    for each in pair.deployments:
        found = scrape(each.server)
        assert (found.get_one("engine_up"), found.get_one("engine_writable")) == (1, 1)
        assert each.is_ready()
        if each.settings.prefix:
            assert f", prefix {each.settings.prefix}\n" in each.server.output()


def test_every_name_belongs_to_one_deployment(pair: Pair) -> None:
    """Of whatever is stored and followed, once everything was done that leaves something behind."""
    item = new_item()
    for one in pair.deployments:
        for number in range(60):  # more than one bucket has
            one.react(str(number), item, "like").raise_for_status()
        assert one.admin("reset", item).status_code == 200
        one.react("ann", item, "like").raise_for_status()
    one, other = pair.deployments
    heads = {each.names.item_key("", "")[:-3] for each in pair.deployments}
    ends = {each.names.channel_suffix for each in pair.deployments}
    with one.open(item) as page, other.open(item) as others_page:
        for tab in (page, others_page):
            sign_in(tab, "ann")
        keys = {key for client in pair.clients for key in client.keys("*")}
        channels = {
            channel
            for client in pair.clients
            for kind in ("CHANNELS", "SHARDCHANNELS")
            for channel in client.execute_command("PUBSUB", kind)
        }
    for names, every in ((keys, heads), (channels, heads)):
        assert {head for name in names for head in every if name.startswith(head)} == every
        assert all(any(name.startswith(head) for head in every) for name in names), names
    assert {channel[channel.rindex(b"@") :] for channel in channels} == ends
    for each in pair.deployments:
        assert each.names.item_channel("default", item) in channels
        for refused in ("NOPERM", "permission", "engine refused", "Traceback"):
            assert refused not in each.server.output()
