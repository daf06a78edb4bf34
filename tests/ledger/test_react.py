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
VISITORS = tuple(keys.member(visitor) for visitor in ("a:1", "a:2", "u:3"))
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
        self.pubsub = self.client.pubsub(ignore_subscribe_messages=True)
        self.pubsub.psubscribe("tc:*")
        self.drain()

    def teardown(self) -> None:
        if hasattr(self, "pubsub"):
            self.pubsub.close()

    def drain(self) -> list[tuple[bytes, Any]]:
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
    def batch(self, wishes: list[tuple[Site, str, bytes, int, int]]) -> None:
        asked = [
            Wish(site, item, visitor, None if k < 0 else site.kinds[k % len(site.kinds)], origin, print)
            for site, item, visitor, k, origin in wishes
        ]
        now, answers = self.run(asked, FAR)
        expected, touched, personal = [], {}, []
        for wish in asked:
            where = (wish.site, wish.item)
            before = self.model.get(where, Item())
            after = self.model[where] = react(before, wish.member, wish.reaction, now)
            expected.append(Receipt(after.version, after.counts(wish.site.kinds)))
            if after is not before:
                touched[where] = after
                channel = keys.person_channel(wish.site.name, wish.member)
                change = [wish.item, after.version, wish.reaction or "", wish.origin]
                personal.append((channel, change))
        assert list(receipts(asked, answers)) == expected
        heard = self.drain()
        assert [news for news in heard if news[0].startswith(keys.PERSON_PREFIX)] == personal
        shown = {channel: news for channel, news in heard if not channel.startswith(keys.PERSON_PREFIX)}
        assert shown.keys() == {keys.item_key(site.name, item) for site, item in touched}
        for (site, item), after in touched.items():
            news = shown[keys.item_key(site.name, item)]
            version, counts = news
            assert version == after.version
            assert {kind: counts.get(kind, 0) for kind in site.kinds} == after.counts(site.kinds)
        assert len(heard) == len(personal) + len(touched), "an item is published once a batch"

    @rule(site=st.sampled_from(SITES), item=st.sampled_from(ITEMS), visitor=st.sampled_from(VISITORS))
    def too_late(self, site: Site, item: str, visitor: bytes) -> None:
        assert len(self.run([Wish(site, item, visitor, site.kinds[0], 0, print)], PAST)) == 1
        assert self.drain() == []

    @invariant()
    def stored_is_what_the_rule_says(self) -> None:
        for (site, item), model in getattr(self, "model", {}).items():
            key = keys.item_key(site.name, item)
            held = self.client.hgetall(key)
            state = held.pop(b"", None)
            version, counts = msgpack.unpackb(state) if state else (0, {})
            assert version == model.version
            assert {member: kind.decode() for member, kind in held.items()} == model.held
            assert {kind: counts.get(kind, 0) for kind in site.kinds} == model.counts(site.kinds)
            for member in model.held:
                index = keys.index_key(site.name, member)
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
        key = keys.item_key("default", "a")
        client.hset(key, "", msgpack.packb([ahead, {}]))
        batch = Batch([Wish(Site(), "a", who, "like", 0, print) for who in VISITORS[:2]])
        _, answers = msgpack.unpackb(
            client.eval(REACT.text, len(batch.names), *batch.names, FAR, batch.packed)
        )
        assert answers == [ahead + 1, 1, 0, ahead + 2, 2, 0]


def test_an_error_leaves_everything_as_it_was(engine: str) -> None:
    """Lua does not roll back what a script wrote before it failed."""
    with Redis.from_url(engine) as client:
        good = [Wish(Site(), item, VISITORS[0], "like", 0, print) for item in ("a", "c")]
        client.set(keys.item_key("default", "b"), "not a hash")
        batch = Batch([good[0], Wish(Site(), "b", VISITORS[0], "like", 0, print), good[1]])
        with pytest.raises(ResponseError):
            client.eval(REACT.text, len(batch.names), *batch.names, FAR, batch.packed)
        assert client.keys("*") == [keys.item_key("default", "b")]


def test_who_may_not_publish_still_counts(engine: str) -> None:
    with Redis.from_url(engine) as client:
        client.acl_setuser(
            "mute", enabled=True, nopass=True, commands=["+@all"], keys=["*"], reset_channels=True
        )
        try:
            with Redis.from_url(engine, username="mute", password="x") as mute:
                batch = Batch([Wish(Site(), "a", VISITORS[0], "like", 0, print)])
                _, answers = msgpack.unpackb(
                    mute.eval(REACT.text, len(batch.names), *batch.names, FAR, batch.packed)
                )
            assert answers[1:] == [1, 0]
            assert client.hlen(keys.item_key("default", "a")) == 2, "the state and a member"
        finally:
            client.acl_deluser("mute")


def test_a_kind_that_is_no_longer_configured_is_let_go(engine: str) -> None:
    old, new = Site("s", kinds=("like", "love")), Site("s", kinds=("like", "dislike"))
    with Redis.from_url(engine) as client:
        for site, kind in ((old, "love"), (new, "dislike")):
            batch = Batch([Wish(site, "a", VISITORS[0], kind, 0, print)])
            _, answers = msgpack.unpackb(
                client.eval(REACT.text, len(batch.names), *batch.names, FAR, batch.packed)
            )
        assert answers[1:] == [0, 1]
        stored = client.hget(keys.item_key("s", "a"), "")
        assert msgpack.unpackb(stored)[1] == {"love": 0, "dislike": 1}


def test_a_count_is_never_below_nothing(engine: str) -> None:
    """A store in which the state was lost, and who holds what was not."""
    with Redis.from_url(engine) as client:
        client.hset(keys.item_key("default", "a"), VISITORS[0], "like")
        wished = [
            Wish(Site(), "a", VISITORS[0], None, 0, print),
            Wish(Site(), "a", VISITORS[1], "like", 0, print),
        ]
        batch = Batch(wished)
        _, answers = msgpack.unpackb(
            client.eval(REACT.text, len(batch.names), *batch.names, FAR, batch.packed)
        )
        assert [receipt.counts["like"] for receipt in receipts(wished, answers)] == [0, 1]
