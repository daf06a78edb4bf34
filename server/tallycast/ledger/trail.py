"""The audit trail: what administrators and operators did.

Owns a stream in the engine to which entries are only added; the engine stamps them with its own time, which
keeps their order. Of a visitor it has the member, not the id. Does not depend on what the actions are.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

from tallycast.engine.store import Commands

# About so many entries are kept: some 20 MB. Older ones are in the servers' logs.
MAX_ENTRIES = 100_000
PAGE = 1000
# The names of an entry's fields in the stream, in the order of ``Entry``.
_FIELDS = ("who", "what", "site", "item", "member", "more")


class Entry(NamedTuple):
    """One action: when (ms since 1970), by which actor, on which site, and on which item or visitor if any.

    ``member`` is the visitor's, see ``keys``, in hex digits. ``details`` is free text.
    """

    at: int
    actor: str
    action: str
    site: str
    item: str
    member: str
    details: str


async def note(
    store: Commands,
    actor: str,
    action: str,
    site: str,
    *,
    item: str = "",
    member: bytes = b"",
    details: str = "",
) -> None:
    """Add an entry. Added before the action, so that no action is missing.

    Raises:
        Unavailable: the engine did not confirm.
    """
    values = (actor, action, site, item, member.hex(), details)
    fields = [word for pair in zip(_FIELDS, values, strict=True) for word in pair]
    await store.execute("XADD", store.namespace.trail, "MAXLEN", "~", MAX_ENTRIES, "*", *fields)


async def entries(store: Commands) -> AsyncIterator[list[Entry]]:
    """All entries that are kept, the oldest first, in pages.

    Raises:
        Unavailable: the engine did not answer.
    """
    after = "-"
    while page := await store.execute("XRANGE", store.namespace.trail, after, "+", "COUNT", PAGE):
        yield [_entry(stamp, fields) for stamp, fields in page]
        after = f"({page[-1][0].decode()}"


def _entry(stamp: bytes, fields: dict[bytes, bytes]) -> Entry:
    # Any client of the engine can write there.
    texts = (fields.get(name.encode(), b"").decode(errors="replace") for name in _FIELDS)
    return Entry(int(stamp.partition(b"-")[0]), *texts)
