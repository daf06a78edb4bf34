"""The script beside the readable rule: hypothesis drives both, and they must never differ.

The script runs on a real engine, from the very bytes the writer makes.
"""

from collections import Counter
from typing import Any

import hypothesis.strategies as st
import msgpack
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis
from redis.exceptions import ResponseError
from tallycast.contract.errors import Forbidden, RateLimited, Refusal
from tallycast.domain.sites import Site
from tallycast.engine import keys
from tallycast.engine.scripts import Script
from tallycast.ledger.layout import LUA
from tallycast.ledger.writer import Batch, Committed, SetReaction, decode_answers
from tallycast.signals.choice import Item, react, start

from tests.ledger.support import bucket_keys, cramped, sequence, stored
from tests.support.names import NAMES
from tests.support.waiting import wait_for

SITES = (Site("default"), Site("polls", kinds=("yes", "no", "maybe")))
ITEMS = ("a", "b}", "{c", "é")
VISITORS = tuple(keys.member(f"a:{number}") for number in range(9))
REACT, READ, RESET, REMOVE, START, FREEZE = (
    Script(LUA, f"{name}.lua", "layout.lua")
    for name in ("react", "read", "reset", "remove", "start", "freeze")
)
CRAMPED = cramped(REACT, 1)
FAR = 2**53
PAST = 1


class ScriptAndRule(RuleBasedStateMachine):
    """One machine, two ledgers: the engine's and a dictionary of the rule's items.

    The engine's has buckets of one member on average, so it splits them all the time.
    """

    client: Any
    most = 0  # buckets that an item had

    @initialize()
    def start(self) -> None:
        self.client.flushdb()
        self.model: dict[tuple[Site, str], Item] = {}
        self.frozen: set[tuple[Site, str]] = set()
        self.pubsub = self.client.pubsub(ignore_subscribe_messages=True)
        self.pubsub.psubscribe("tc:*")
        self.drain()

    def teardown(self) -> None:
        if hasattr(self, "pubsub"):
            self.pubsub.close()

    def drain(self) -> list[tuple[bytes, Any]]:
        """All that was published: a marker of ours comes last."""
        self.client.publish("tc:marker", b"")
        received = []
        while True:
            message = self.pubsub.get_message(timeout=5)
            if message is None:
                continue
            if message["channel"] == b"tc:marker":
                return received
            received.append((message["channel"], msgpack.unpackb(message["data"])))

    def run(self, reactions: list[SetReaction], deadline: int) -> Any:
        batch = Batch(NAMES, reactions)
        return msgpack.unpackb(
            self.client.eval(CRAMPED.text, len(batch.keys), *batch.keys, deadline, *batch.arguments)
        )

    @rule(
        reactions=st.lists(
            st.tuples(
                st.sampled_from(SITES),
                st.sampled_from(ITEMS),
                st.sampled_from(VISITORS),
                st.integers(-1, 2),
                st.integers(0, 2**53 - 1),
            ),
            min_size=1,
            max_size=10,
        )
    )
    def batch(self, reactions: list[tuple[Site, str, bytes, int, int]]) -> None:
        asked = [
            SetReaction(
                site, item, visitor, None if k < 0 else site.kinds[k % len(site.kinds)], connection_id, print
            )
            for site, item, visitor, k, connection_id in reactions
        ]
        now, (answers, made) = self.run(asked, FAR)
        expected, touched, personal = [], {}, []
        new: Counter[Site] = Counter()
        for set_reaction in asked:
            where = (set_reaction.site, set_reaction.item)
            if where in self.frozen:
                expected.append(Forbidden)
                continue
            before = self.model.get(where, Item())
            after = self.model[where] = react(before, set_reaction.member, set_reaction.reaction, now)
            expected.append(Committed(after.version, after.counts(set_reaction.site.kinds)))
            if after is not before:
                new[set_reaction.site] += before.version == 0
                touched[where] = after
                channel = NAMES.visitor_channel(set_reaction.site.name, set_reaction.member)
                change = [
                    set_reaction.item,
                    after.version,
                    set_reaction.reaction or "",
                    set_reaction.connection_id,
                ]
                personal.append((channel, change))
        answered = decode_answers(asked, answers)
        assert [type(one) if isinstance(one, Refusal) else one for one in answered] == expected
        assert made == [new[site] for site in dict.fromkeys(set_reaction.site for set_reaction in asked)]
        received = self.drain()
        assert [news for news in received if news[0].startswith(NAMES.visitors)] == personal
        shown = {channel: news for channel, news in received if not channel.startswith(NAMES.visitors)}
        assert shown.keys() == {NAMES.item_channel(site.name, item) for site, item in touched}
        for (site, item), after in touched.items():
            news = shown[NAMES.item_channel(site.name, item)]
            version, counts = news
            assert version == after.version
            assert {kind: counts.get(kind, 0) for kind in site.kinds} == after.counts(site.kinds)
        assert len(received) == len(personal) + len(touched), "an item is published once a batch"

    @rule(site=st.sampled_from(SITES), item=st.sampled_from(ITEMS), visitor=st.sampled_from(VISITORS))
    def too_late(self, site: Site, item: str, visitor: bytes) -> None:
        assert len(self.run([SetReaction(site, item, visitor, site.kinds[0], 0, print)], PAST)) == 1
        assert self.drain() == []

    @rule(site=st.sampled_from(SITES), item=st.sampled_from(ITEMS), deadline=st.sampled_from((FAR, PAST)))
    def reset(self, site: Site, item: str, deadline: int) -> None:
        key = NAMES.item_key(site.name, item)
        before = stored(self.client, site.name, item)[0]
        now, *answer = msgpack.unpackb(self.client.eval(RESET.text, 1, key, deadline, NAMES.channel_suffix))
        received = self.drain()
        if deadline == PAST or not before.version:
            assert answer == ([] if deadline == PAST else [[0, 0, 1]])
            assert received == []
            return
        version = max(before.version + 1, now)
        self.model[site, item] = Item(version=version)
        assert answer == [[version, before.generation, before.buckets]]
        assert received == [
            (NAMES.item_channel(site.name, item), [version, dict.fromkeys(before.counts, 0), True])
        ]

    @rule(site=st.sampled_from(SITES), item=st.sampled_from(ITEMS), deadline=st.sampled_from((FAR, PAST)))
    def remove(self, site: Site, item: str, deadline: int) -> None:
        """Only what was not touched since it was reset; nothing is published."""
        key = NAMES.item_key(site.name, item)
        before = stored(self.client, site.name, item)
        _, *answer = msgpack.unpackb(self.client.eval(REMOVE.text, 1, key, deadline))
        assert self.drain() == []
        model = self.model.get((site, item), Item())
        if deadline == PAST or model.held or any(model.base.values()) or before[0].buckets > 1:
            assert answer == ([] if deadline == PAST else [0])
            assert stored(self.client, site.name, item) == before
            return
        assert answer == [1]
        assert not self.client.exists(key)
        self.model[site, item] = Item()
        self.frozen.discard((site, item))

    @rule(
        site=st.sampled_from(SITES),
        bases=st.dictionaries(
            st.sampled_from(ITEMS),
            st.lists(st.sampled_from((0, 1, 10**15)), min_size=3, max_size=3),
            min_size=1,
        ),
        deadline=st.sampled_from((FAR, FAR, PAST)),
    )
    def begin(self, site: Site, bases: dict[str, list[int]], deadline: int) -> None:
        names = [NAMES.item_key(site.name, item) for item in bases]
        flat = [base for counts in bases.values() for base in counts[: len(site.kinds)]]
        packed = msgpack.packb([site.kinds, flat])
        given = deadline, packed, NAMES.channel_suffix
        now, *answer = msgpack.unpackb(self.client.eval(START.text, len(names), *names, *given))
        received = dict(self.drain())
        if deadline == PAST:
            assert (answer, received) == ([], {})
            return
        for version, (item, counts) in zip(answer[0], bases.items(), strict=True):
            where, channel = (site, item), NAMES.item_channel(site.name, item)
            before = self.model.get(where, Item())
            if where in self.frozen:
                assert version == -2
                assert channel not in received
                continue
            after = self.model[where] = start(before, dict(zip(site.kinds, counts, strict=False)), now)
            assert version == after.version
            assert (channel in received) is (after is not before)
            if channel in received:
                assert received[channel][0] == version
                shown = {kind: received[channel][1].get(kind, 0) for kind in site.kinds}
                assert shown == after.counts(site.kinds)

    @rule(
        site=st.sampled_from(SITES),
        item=st.sampled_from(ITEMS[:1]),
        frozen=st.booleans(),
        deadline=st.sampled_from((FAR, PAST)),
    )
    def freeze(self, site: Site, item: str, frozen: bool, deadline: int) -> None:
        key = NAMES.item_key(site.name, item)
        _, *answer = msgpack.unpackb(self.client.eval(FREEZE.text, 1, key, deadline, int(frozen)))
        assert self.drain() == []
        was = (site, item) in self.frozen
        if deadline == PAST:
            assert answer == []
        else:
            assert answer == [int(was is not frozen)]
            (self.frozen.add if frozen else self.frozen.discard)((site, item))

    @rule(site=st.sampled_from(SITES))
    def read(self, site: Site) -> None:
        names = [NAMES.item_key(site.name, item) for item in ITEMS for _ in VISITORS]
        reply = self.client.eval(READ.text, len(names), *names, *(VISITORS * len(ITEMS)))
        held = msgpack.unpackb(reply, raw=True)[1][1::2]
        models = [self.model.get((site, item), Item()) for item in ITEMS]
        assert [kind.decode() for kind in held] == [
            model.held.get(member, "") for model in models for member in VISITORS
        ]

    @invariant()
    def stored_is_what_the_rule_says(self) -> None:
        for (site, item), model in getattr(self, "model", {}).items():
            state, held = stored(self.client, site.name, item)
            assert state.version == model.version
            assert held == model.held
            assert state.frozen is ((site, item) in self.frozen)
            assert {kind: state.shown(kind) for kind in site.kinds} == model.counts(site.kinds)
            members = Counter(model.held.values())
            assert {kind: state.counts.get(kind, 0) for kind in site.kinds} == {
                k: members[k] for k in site.kinds
            }
            ScriptAndRule.most = max(ScriptAndRule.most, state.buckets)
            for member in model.held:
                index = NAMES.index_key(site.name, member)
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
                max_examples=300,
                stateful_step_count=12,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        assert Machine.most > 3, "buckets were split"


def test_what_a_cut_off_split_left_behind_is_not_taken_for_members(engine: str) -> None:
    with Redis.from_url(engine) as client:
        client.hset(NAMES.bucket_key("default", "a", 0, 1), keys.member("a:stale"), 1)
        batch = Batch(NAMES, [SetReaction(Site(), "a", visitor, "like", 0, print) for visitor in VISITORS])
        client.eval(CRAMPED.text, len(batch.keys), *batch.keys, FAR, *batch.arguments)
        state, held = stored(client, "default", "a")
        assert state.buckets == len(VISITORS)
        assert held == dict.fromkeys(VISITORS, "like")


@pytest.mark.parametrize("item", ["x", "x" * 256], ids=["short", "long"])
def test_buckets_stay_compact(engine: str, item: str) -> None:
    """In the engine's compact encoding, and under the least limit of it that an engine has by default."""
    with Redis.from_url(engine) as client:
        sha = client.script_load(REACT.text)
        for start in range(0, 6000, 500):
            visitors = [keys.member(f"u:{number}") for number in range(start, start + 500)]
            batch = Batch(
                NAMES, [SetReaction(Site(), item, visitor, "dislike", 0, print) for visitor in visitors]
            )
            client.evalsha(sha, len(batch.keys), *batch.keys, FAR, *batch.arguments)
        state, held = stored(client, "default", item)
        assert len(held) == 6000
        names = bucket_keys(state, "default", item)
        assert max(client.hlen(name) for name in names) <= 128
        assert {client.object("encoding", name) for name in names} == {b"listpack"}


def test_the_version_rises_when_the_engine_clock_is_behind(engine: str) -> None:
    """A store that was written by a host whose clock ran ahead."""
    ahead = 4 * 10**15
    with Redis.from_url(engine) as client:
        key = NAMES.item_key("default", "a")
        client.hset(key, "", sequence(ahead, 0, 0, 1, 0))
        batch = Batch(
            NAMES, [SetReaction(Site(), "a", visitor, "like", 0, print) for visitor in VISITORS[:2]]
        )
        _, (answers, _) = msgpack.unpackb(
            client.eval(REACT.text, len(batch.keys), *batch.keys, FAR, *batch.arguments)
        )
        assert answers == [ahead + 1, 1, 0, ahead + 2, 2, 0]


def test_no_more_new_items_than_there_may_be(engine: str) -> None:
    """A reaction that is there already, or taking back what is not, makes none."""
    with Redis.from_url(engine) as client:

        def run(*asked: tuple[Site, str, str | None]) -> tuple[list[Committed | Refusal], list[int]]:
            reactions = [
                SetReaction(site, item, VISITORS[0], reaction, 0, print) for site, item, reaction in asked
            ]
            batch = Batch(NAMES, reactions, new_items=lambda site: 1 if site is SITES[0] else 2)
            packed = client.eval(REACT.text, len(batch.keys), *batch.keys, FAR, *batch.arguments)
            _, (answers, made) = msgpack.unpackb(packed)
            return list(decode_answers(reactions, answers)), made

        one, other = SITES[0], SITES[1]
        kind = one.kinds[0]
        response, made = run(
            *((one, "a", kind), (one, "b", None), (one, "b", kind), (one, "a", None)),
            *((other, "a", other.kinds[0]), (other, "b", other.kinds[0]), (other, "c", other.kinds[0])),
        )
        assert made == [1, 2]
        refused = [at for at, answer in enumerate(response) if isinstance(answer, RateLimited)]
        assert refused == [2, 6]
        names = {NAMES.item_key(site.name, item) for site, item in ((one, "a"), (other, "a"), (other, "b"))}
        found = set(client.keys("tc:{*"))
        assert {name for name in found if not name.startswith(b"tc:{@")} == names
        assert client.zrange(NAMES.index_key(one.name, VISITORS[0]), 0, -1) == [b"a"]
        response, made = run((one, "a", kind), (one, "b", kind))
        assert (made, isinstance(response[1], Committed)) == ([1], True), (
            "what is there already takes no room"
        )


def test_an_error_leaves_everything_as_it_was(engine: str) -> None:
    """Lua does not roll back what a script wrote before it failed."""
    with Redis.from_url(engine) as client:
        good = [SetReaction(Site(), item, VISITORS[0], "like", 0, print) for item in ("a", "c")]
        client.set(NAMES.item_key("default", "b"), "not a hash")
        batch = Batch(NAMES, [good[0], SetReaction(Site(), "b", VISITORS[0], "like", 0, print), good[1]])
        with pytest.raises(ResponseError):
            client.eval(REACT.text, len(batch.keys), *batch.keys, FAR, *batch.arguments)
        assert client.keys("*") == [NAMES.item_key("default", "b")]


def test_a_user_that_may_not_publish_still_counts(engine: str) -> None:
    with Redis.from_url(engine) as client:
        client.acl_setuser(
            "mute", enabled=True, nopass=True, commands=["+@all"], keys=["*"], reset_channels=True
        )
        try:
            with Redis.from_url(engine, username="mute", password="x") as mute:
                batch = Batch(NAMES, [SetReaction(Site(), "a", VISITORS[0], "like", 0, print)])
                _, (answers, _) = msgpack.unpackb(
                    mute.eval(REACT.text, len(batch.keys), *batch.keys, FAR, *batch.arguments)
                )
            assert answers[1:] == [1, 0]
            assert client.hlen(NAMES.item_key("default", "a")) == 2, "the state and a member"
        finally:
            client.acl_deluser("mute")


def test_a_kind_that_is_no_longer_configured_is_let_go(engine: str) -> None:
    old, new = Site("s", kinds=("like", "love")), Site("s", kinds=("like", "dislike"))
    with Redis.from_url(engine) as client:
        for site, kind in ((old, "love"), (new, "dislike")):
            batch = Batch(NAMES, [SetReaction(site, "a", VISITORS[0], kind, 0, print)])
            _, (answers, _) = msgpack.unpackb(
                client.eval(REACT.text, len(batch.keys), *batch.keys, FAR, *batch.arguments)
            )
        assert answers[1:] == [0, 1]
        assert stored(client, "s", "a")[0].counts == {"love": 0, "dislike": 1}


def test_a_count_is_never_below_nothing(engine: str) -> None:
    """A store in which the count was lost, and what visitors hold was not."""
    with Redis.from_url(engine) as client:
        client.hset(NAMES.item_key("default", "a"), "", sequence(1, 0, 0, 1, 0, "like", 0))
        client.hset(NAMES.item_key("default", "a"), VISITORS[0], 1)
        writes = [
            SetReaction(Site(), "a", VISITORS[0], None, 0, print),
            SetReaction(Site(), "a", VISITORS[1], "like", 0, print),
        ]
        batch = Batch(NAMES, writes)
        _, (answers, _), _, drifted = msgpack.unpackb(
            client.eval(REACT.text, len(batch.keys), *batch.keys, FAR, *batch.arguments)
        )
        assert [answer.counts["like"] for answer in decode_answers(writes, answers)] == [0, 1]
        assert drifted == [batch.keys[0].decode()], "and it is reported"


def test_more_kinds_than_a_site_has_at_any_time(engine: str) -> None:
    """Changes the kinds again and again."""
    sites = [Site("s", kinds=tuple(f"{year}-{number}" for number in range(12))) for year in range(3)]
    with Redis.from_url(engine) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(NAMES.item_channel("s", "a"))
        counts = {}
        for site in sites:
            for number, kind in enumerate(site.kinds):
                batch = Batch(
                    NAMES, [SetReaction(site, "a", keys.member(f"{kind}:{number}"), kind, 0, print)]
                )
                _, (answers, _) = msgpack.unpackb(
                    client.eval(CRAMPED.text, len(batch.keys), *batch.keys, FAR, *batch.arguments)
                )
                counts[kind] = 1
                message = wait_for(lambda: pubsub.get_message(timeout=1), "the item's message")
                assert msgpack.unpackb(message["data"]) == [answers[0], counts]
        state, held = stored(client, "s", "a")
        assert state.counts == counts
        assert len(held) == 36
