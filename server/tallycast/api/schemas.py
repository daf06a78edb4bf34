"""The bodies of the API's requests and answers, as typed structs.

Owns their fields, in the order of the JSON, and the schemas of the OpenAPI document. Does not depend on the
endpoints, which validate requests.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tallycast.contract.items import MAX_BYTES
from tallycast.contract.messages import MAX_SAFE_INTEGER

ItemId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_BYTES,
        pattern=r"^[^\u0000-\u001f\u007f-\u009f]+$",
        description=f"1 to {MAX_BYTES} bytes of UTF-8 without control characters.",
        examples=["posts/42"],
    ),
]
Version = Annotated[
    int,
    Meta(
        ge=0,
        le=MAX_SAFE_INTEGER,
        description="Commit time of the item's last change, µs since 1970; 0 for an item without reactions.",
    ),
]
Counts = Annotated[
    dict[str, Annotated[int, Meta(ge=0)]],
    Meta(description="Every configured kind, always.", examples=[{"like": 3, "dislike": 1}]),
]
_KIND = Meta(description="A kind of the site, or null for none.")
Reaction = Annotated[str | None, _KIND]


class Struct(msgspec.Struct, frozen=True):
    """The root of all bodies."""


class Visitor(Struct, frozen=True):
    """An anonymous visitor and its token."""

    visitor: Annotated[str, Meta(description="`a:…`")]
    token: str
    expires: Annotated[int, Meta(description="Seconds since 1970.")]


class Item(Struct, frozen=True):
    """The counts of an item; with a token, the bearer's reaction too."""

    item: ItemId
    version: Version
    counts: Counts
    reaction: Reaction | UnsetType = UNSET


class Items(Struct, frozen=True):
    """Items in the order of the request."""

    items: list[Item]


class SetReaction(Struct, frozen=True):
    """The body of a PUT: the new reaction, or null for none."""

    # Not `Reaction`, which msgspec would check: a value of another type is a bad_reaction, no bad_message.
    reaction: Annotated[Any, _KIND, Meta(extra_json_schema={"type": ["string", "null"]})]


class Ack(Struct, frozen=True):
    """A committed reaction, and the item's counts with it."""

    item: ItemId
    reaction: Reaction
    version: Version
    counts: Counts


class HeldReaction(Struct, frozen=True):
    """A line of the export of a visitor's reactions."""

    item: ItemId
    version: Version
    reaction: Reaction


class Erased(Struct, frozen=True):
    """How many reactions were erased."""

    erased: Annotated[int, Meta(ge=0)]


class ManagedItem(Struct, frozen=True):
    """An item as its administrators see it."""

    item: ItemId
    version: Version
    counts: Counts
    frozen: bool


class EraseVisitor(Struct, frozen=True):
    """The body of a request about a visitor, whose id is in no URL."""

    visitor: Annotated[
        str,
        Meta(
            description="As tokens name visitors: `u:` and your user's id (1 to 128 bytes), or `a:…`.",
            examples=["u:42"],
            # Not `pattern=`, which msgspec would check: the endpoint's own message says which ids are valid.
            extra_json_schema={"pattern": "^(u:.{1,128}|a:[A-Za-z0-9_-]{22})$"},
        ),
    ]


class Health(Struct, frozen=True):
    """The answer to a health check."""

    status: str
