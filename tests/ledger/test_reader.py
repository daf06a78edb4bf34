"""Reading on a real engine."""

from typing import Any

from tallycast.contract.errors import Unavailable
from tallycast.engine.store import Store
from tallycast.ledger import reader as reader_module
from tallycast.ledger.reader import Query, Reader, StandaloneReader, State
from tallycast.ledger.writer import Writer

from tests.ledger.support import SITE, read, set_reaction

NOTHING = {"like": 0, "dislike": 0}


async def test_many_items_and_what_one_visitor_holds(writer: Writer, reader: Reader) -> None:
    first = await set_reaction(writer, "a:1", "x", "like")
    second = await set_reaction(writer, "a:2", "y", "dislike")
    states = await read(reader, ["y", "untouched", "x", "y"], "a:1")
    assert states == [
        State(second.version, {"like": 0, "dislike": 1}, None),
        State(0, NOTHING, None),
        State(first.version, {"like": 1, "dislike": 0}, "like"),
        State(second.version, {"like": 0, "dislike": 1}, None),
    ]
    assert [state.reaction for state in await read(reader, ["x"])] == [None]


async def test_more_than_one_batch_holds(writer: Writer, reader: Reader) -> None:
    await set_reaction(writer, "a:1", "7", "like")
    states = await read(reader, [str(i) for i in range(2500)], "a:1")
    assert [i for i, state in enumerate(states) if state.reaction] == [7]


async def test_a_full_queue_refuses_at_once(link: Store) -> None:
    reader = StandaloneReader(link)
    answers: list[Any] = []
    items = ["x"] * (reader_module.CAPACITY + 1)
    reader.submit(Query(SITE, items, None, answers.append))
    assert isinstance(answers[0], Unavailable)
    await reader.close()


async def test_an_engine_that_is_full_can_be_read(writer: Writer, reader: Reader, client: Any) -> None:
    await set_reaction(writer, "a:1", "x", "like")
    await client.config_set("maxmemory", 1)
    try:
        assert (await read(reader, ["x"]))[0].counts == {"like": 1, "dislike": 0}
    finally:
        await client.config_set("maxmemory", 0)
