"""The audit trail on a real engine."""

import time
from typing import Any

import pytest
from tallycast.engine import keys
from tallycast.engine.store import Store
from tallycast.ledger import trail
from tallycast.ledger.trail import Entry, entries, note

from tests.support.names import NAMES


async def every(link: Store) -> list[Entry]:
    return [entry async for page in entries(link) for entry in page]


async def test_every_action_in_order(link: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "PAGE", 3)
    assert await every(link) == []
    for number in range(10):
        await note(link, "sha256:0123", "reset", "blog", item=f"posts/é {number}")
    await note(link, "sha256:0123", "erase", "blog", member=keys.member("u:42"))
    *resets, erase = await every(link)
    assert [(entry.actor, entry.action, entry.site, entry.item, entry.member) for entry in resets] == [
        ("sha256:0123", "reset", "blog", f"posts/é {number}", "") for number in range(10)
    ]
    assert (erase.item, erase.member) == ("", keys.member("u:42").hex())
    assert abs(erase.at / 1000 - time.time()) < 60
    assert "u:42" not in str(erase)


async def test_the_oldest_make_room(link: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "MAX_ENTRIES", 200)
    for number in range(1000):
        await note(link, "me", "reset", "blog", item=str(number))
    kept = await every(link)
    # About as many: the engine drops whole nodes of its stream.
    assert 200 <= len(kept) <= 400
    assert [entry.item for entry in kept] == [str(number) for number in range(1000 - len(kept), 1000)]


async def test_what_is_no_entry_is_shown_as_far_as_it_goes(link: Store, client: Any) -> None:
    await client.xadd(NAMES.trail, {"who": b"\xff", "else": "x"})
    ((_, *rest),) = await every(link)
    assert rest == ["\ufffd", "", "", "", "", ""]
