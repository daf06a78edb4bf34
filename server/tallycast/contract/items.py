"""Item ids.

Owns the one check that every path uses: 1 to 256 bytes of UTF-8, no control characters (U+0000 to U+001F and
U+007F to U+009F), no lone surrogates. Ids are compared byte by byte, never normalised. Does not depend on
sites.
"""

import re

from tallycast.contract.errors import BadItem

MAX_BYTES = 256
SHORTENED = "embed.js shortens longer ones on https pages only"

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def check_item(item: object) -> str:
    """Return ``item`` when it is an item id.

    Raises:
        BadItem: it is not; the refusal carries the id if it can be sent back to the client.
    """
    if not isinstance(item, str):
        raise BadItem("an item id is a string")
    if not item:
        raise BadItem("an item id has at least 1 byte")
    # Nearly every id is ASCII without control characters, and needs no encoding.
    if len(item) <= MAX_BYTES and item.isascii() and item.isprintable():
        return item
    if _FORBIDDEN.search(item):
        raise BadItem("an item id has no control characters and is valid Unicode", item=_repeatable(item))
    if len(item.encode()) > MAX_BYTES:
        # The widget writes this to the page's console.
        raise BadItem(f"an item id has at most {MAX_BYTES} bytes of UTF-8 ({SHORTENED})")
    return item


def _repeatable(item: str) -> str | None:
    """The id, if an error can carry it: not too long, and encodable."""
    try:
        return item if len(item.encode()) <= MAX_BYTES else None
    except UnicodeEncodeError:
        return None
