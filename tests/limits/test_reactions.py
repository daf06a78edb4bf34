"""Limits of reactions: of a visitor, of a connection, of new items, and of the engine's memory."""

import httpx
from redis import Redis

from tests.client.tokens import bearer, visitor_token
from tests.conftest import MakeServer
from tests.limits.support import check_limited, client, is_limited, opening
from tests.support.process import ServerProcess


async def test_reactions_of_one_visitor_by_all_ways(tight: ServerProcess) -> None:
    async with client(tight) as http, opening(tight) as line, opening(tight) as other:
        mine = await visitor_token(http)
        headers = bearer(mine)
        for one in (line, other):
            assert (await one.ask("auth", token=mine))["type"] == "ready"
        for one in (line, other):
            for reaction in ("like", None):
                done = await one.ask("react", item="ways", reaction=reaction)
                assert done["type"] == "ack"
        path = "/v1/reaction?item=ways"
        last = await http.put(path, json={"reaction": "like"}, headers=headers)
        assert last.status_code == 200
        for one in (line, other):
            answer = await one.ask("react", item="ways", reaction="dislike")
            assert is_limited(answer)
            assert answer["item"] == "ways"
        check_limited(await http.put(path, json={"reaction": "dislike"}, headers=headers))
        check_limited(await http.delete(path, headers=headers))
        (item,) = (await http.get("/v1/items?item=ways")).json()["items"]
        assert (item["version"], item["counts"]) == (last.json()["version"], {"like": 1, "dislike": 0})
        # The budget is that visitor's only.
        assert (await other.ask("auth", token=await visitor_token(http)))["type"] == "ready"
        assert (await other.ask("react", item="ways", reaction="like"))["type"] == "ack"


async def test_reactions_of_one_connection_of_many_visitors(make_server: MakeServer) -> None:
    folder_server = make_server(start=False)
    config = folder_server.data.parent / "sites.toml"
    config.write_text('[sites.default]\norigins = ["*"]\n[sites.default.limits]\nreactions = "1/m burst 5"\n')
    folder_server._flags += ["--config", str(config)]
    server = folder_server.start()
    async with client(server) as http, opening(server) as line:
        answers = []
        for _ in range(7):
            assert (await line.ask("auth", token=await visitor_token(http)))["type"] == "ready"
            answers.append(await line.ask("react", item="many", reaction="like"))
        assert [answer["type"] for answer in answers] == ["ack"] * 5 + ["error"] * 2
        assert is_limited(answers[-1])


async def test_new_items_of_a_site(tight: ServerProcess) -> None:
    async with client(tight) as http:
        headers = bearer(await visitor_token(http, "few"))

        async def react(item: str) -> httpx.Response:
            path = f"/v1/reaction?site=few&item={item}"
            return await http.put(path, json={"reaction": "like"}, headers=headers)

        assert [(await react(f"posts/{n}")).status_code for n in range(2)] == [200, 200]
        answer = await react("posts/3")
        check_limited(answer)
        assert answer.json()["item"] == "posts/3"
        assert (await react("posts/1")).status_code == 200, "it is there already"
        assert (await react("pages/1")).json()["code"] == "bad_item"
        (item,) = (await http.get("/v1/items?site=few&item=posts/3")).json()["items"]
        assert item["version"] == 0


async def test_a_full_engine_loses_nothing(make_server: MakeServer) -> None:
    """Above its memory reactions are answer, reading goes on, and what was acknowledged is there."""
    server = make_server(flags=["--engine-memory", "64mb"])
    async with client(server) as http:
        headers = bearer(await visitor_token(http))
        path = "/v1/reaction?item=full"
        first = await http.put(path, json={"reaction": "like"}, headers=headers)
        assert first.status_code == 200
        with Redis.from_url(f"unix://{server.data / 'engine.sock'}") as engine:
            assert int(engine.config_get("maxmemory")["maxmemory"]) == 64 * 2**20
            engine.config_set("maxmemory", "1mb")
            answer = await http.put(path, json={"reaction": "dislike"}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            async with opening(server, query="?item=full") as line:
                shown = await line.next()
                assert (shown["version"], shown["counts"]) == (
                    first.json()["version"],
                    {"like": 1, "dislike": 0},
                )
            engine.config_set("maxmemory", "64mb")
        again = await http.put(path, json={"reaction": "dislike"}, headers=headers)
        assert again.json()["counts"] == {"like": 0, "dislike": 1}
