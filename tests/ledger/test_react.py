"""The script beside the readable rule: hypothesis drives both, and they must never differ.

The script runs on a real engine, from the very bytes the writer makes.
"""

from typing import Any

import hypothesis.strategies as st
import msgpack
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis
from redis.exceptions import ResponseError

from server.ledger import keys
from server.ledger.engine import Script
from server.ledger.writer import Batch, Receipt, Wish, receipts
from server.rules.reactions import Item, react
from server.rules.sites import Site

SITES = (Site("default"), Site("polls", kinds=("yes", "no", "maybe")))
ITEMS = ("a", "b}", "{c", "é")
VISITORS = ("a:1", "a:2", "u:3")
REACT = Script("react.lua")
FAR = 2**53
PAST = 1


class ScriptAndRule(RuleBasedStateMachine):
    """One machine, two ledgers: the engine's and a dictionary of the rule's items."""

    client: Any

    @initialize()
    def start(self) -> None:
        self.client.flushdb()
        self.model: dict[tuple[Site, str], Item] = {}
        self.published: dict[tuple[Site, str], list[dict[str, Any]]] = {}
        self.personal: list[tuple[bytes, dict[str, Any]]] = []
        self.pubsub = self.client.pubsub(ignore_subscribe_messages=True)
        self.pubsub.psubscribe("tc:*")
        self.drain()

    def teardown(self) -> None:
        if hasattr(self, "pubsub"):
            self.pubsub.close()

    def drain(self) -> list[tuple[bytes, dict[str, Any]]]:
        """All that was published: a marker of ours comes last."""
        self.client.publish("tc:marker", b"")
        heard = []
        while True:
            message = self.pubsub.get_message(timeout=5)
            if message is None:
                continue
            if message["channel"] == b"tc:marker":
                return heard
            heard.append((message["channel"], msgpack.unpackb(message["data"])))

    def run(self, wishes: list[Wish], deadline: int) -> Any:
        batch = Batch(wishes)
        return msgpack.unpackb(
            self.client.eval(REACT.text, len(batch.names), *batch.names, deadline, batch.packed)
        )

    @rule(
        wishes=st.lists(
            st.tuples(
                st.sampled_from(SITES),
                st.sampled_from(ITEMS),
                st.sampled_from(VISITORS),
                st.integers(-1, 2),
                st.integers(0, 2**53 - 1),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def batch(self, wishes: list[tuple[Site, str, str, int, int]]) -> None:
        asked = [
            Wish(site, item, visitor, None if k < 0 else site.kinds[k % len(site.kinds)], origin, print)
            for site, item, visitor, k, origin in wishes
        ]
        now, answers = self.run(asked, FAR)
        expected, touched, personal = [], {}, []
        for wish in asked:
            where = (wish.site, wish.item)
            before = self.model.get(where, Item())
            after = self.model[where] = react(before, wish.visitor, wish.reaction, now)
            expected.append(Receipt(after.version, after.counts(wish.site.kinds)))
            if after is not before:
                touched[where] = after
                channel = keys.person_channel(wish.site.name, keys.member(wish.visitor))
                change = {
                    "item": wish.item,
                    "version": after.version,
                    "reaction": wish.reaction or "",
                    "origin": wish.origin,
                }
                personal.append((channel, change))
        assert list(receipts(asked, answers)) == expected
        heard = self.drain()
        assert [news for news in heard if news[0].startswith(keys.PERSON_PREFIX)] == personal
        shown = {channel: news for channel, news in heard if not channel.startswith(keys.PERSON_PREFIX)}
        assert shown.keys() == {keys.item_channel(site.name, item) for site, item in touched}
        for (site, item), after in touched.items():
            news = shown[keys.item_channel(site.name, item)]
            assert news["version"] == after.version
            assert {kind: news["counts"].get(kind, 0) for kind in site.kinds} == after.counts(site.kinds)
        assert len(heard) == len(personal) + len(touched), "an item is published once a batch"

    @rule(site=st.sampled_from(SITES), item=st.sampled_from(ITEMS), visitor=st.sampled_from(VISITORS))
    def too_late(self, site: Site, item: str, visitor: str) -> None:
        assert len(self.run([Wish(site, item, visitor, site.kinds[0], 0, print)], PAST)) == 1
        assert self.drain() == []

    @invariant()
    def stored_is_what_the_rule_says(self) -> None:
        for (site, item), model in getattr(self, "model", {}).items():
            key = keys.item_channel(site.name, item)
            stored = self.client.get(key + b":s")
            state = msgpack.unpackb(stored) if stored else {"version": 0, "counts": {}}
            held = {who: what.decode() for who, what in self.client.hgetall(key + b":m").items()}
            assert state["version"] == model.version
            assert held == {keys.member(who): what for who, what in model.held.items()}
            counts = model.counts(site.kinds)
            assert {kind: state["counts"].get(kind, 0) for kind in site.kinds} == counts
            for visitor in model.held:
                index = keys.index_key(site.name, keys.member(visitor))
                assert self.client.zscore(index, item) is not None, "the index is a superset of what is held"


@pytest.mark.timeout(300)
def test_the_script_never_differs_from_the_rule(engine: str) -> None:
    with Redis.from_url(engine) as client:

        class Machine(ScriptAndRule):
            pass

        Machine.client = client
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=500,
                stateful_step_count=12,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_the_version_rises_when_the_engine_clock_is_behind(engine: str) -> None:
    """A store that was written by a host whose clock ran ahead."""
    ahead = 4 * 10**15
    with Redis.from_url(engine) as client:
        key = keys.item_channel("default", "a")
        client.set(key + b":s", msgpack.packb({"version": ahead, "counts": {}}))
        batch = Batch([Wish(Site(), "a", who, "like", 0, print) for who in ("a:1", "a:2")])
        _, answers = msgpack.unpackb(
            client.eval(REACT.text, len(batch.names), *batch.names, FAR, batch.packed)
        )
        assert answers == [ahead + 1, 1, 0, ahead + 2, 2, 0]


def test_an_error_leaves_everything_as_it_was(engine: str) -> None:
    """Lua does not roll back what a script wrote before it failed."""
    with Redis.from_url(engine) as client:
        good = [Wish(Site(), item, "a:1", "like", 0, print) for item in ("a", "c")]
        client.set(keys.item_channel("default", "b") + b":m", "not a hash")
        batch = Batch([good[0], Wish(Site(), "b", "a:1", "like", 0, print), good[1]])
        with pytest.raises(ResponseError):
            client.eval(REACT.text, len(batch.names), *batch.names, FAR, batch.packed)
        assert client.keys("*:s") == []
        assert client.keys("*:m") == [keys.item_channel("default", "b") + b":m"]


def test_who_may_not_publish_still_counts(engine: str) -> None:
    with Redis.from_url(engine) as client:
        client.acl_setuser(
            "mute", enabled=True, nopass=True, commands=["+@all"], keys=["*"], reset_channels=True
        )
        try:
            with Redis.from_url(engine, username="mute", password="x") as mute:
                batch = Batch([Wish(Site(), "a", "a:1", "like", 0, print)])
                _, answers = msgpack.unpackb(
                    mute.eval(REACT.text, len(batch.names), *batch.names, FAR, batch.packed)
                )
            assert answers[1:] == [1, 0]
            assert client.hlen(keys.item_channel("default", "a") + b":m") == 1
        finally:
            client.acl_deluser("mute")


def test_a_kind_that_is_no_longer_configured_is_let_go(engine: str) -> None:
    old, new = Site("s", kinds=("like", "love")), Site("s", kinds=("like", "dislike"))
    with Redis.from_url(engine) as client:
        for site, kind in ((old, "love"), (new, "dislike")):
            batch = Batch([Wish(site, "a", "a:1", kind, 0, print)])
            _, answers = msgpack.unpackb(
                client.eval(REACT.text, len(batch.names), *batch.names, FAR, batch.packed)
            )
        assert answers[1:] == [0, 1]
        stored = client.get(keys.item_channel("s", "a") + b":s")
        assert msgpack.unpackb(stored)["counts"] == {"love": 0, "dislike": 1}
