"""The reaction rule, as a readable reference.

``react.lua`` does this inside the engine; the tests run both side by side. A wish is a state, never a flip:
granting it twice is the same as granting it once, so a retry or a duplicate is harmless.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tallycast.contract.errors import BadReaction


@dataclass(frozen=True, slots=True)
class Item:
    """One item: who holds what, and the version of its last change (µs since 1970; 0: untouched).

    ``base`` are the counts that it started from, where it was imported with some.
    """

    held: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    version: int = 0
    base: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def counts(self, kinds: tuple[str, ...]) -> dict[str, int]:
        """Counts are the membership, counted, beside the base; every kind of the site is present."""
        counter = Counter(self.held.values())
        return {kind: counter[kind] + self.base.get(kind, 0) for kind in kinds}


def react(item: Item, visitor: str, apply: str | None, now: int) -> Item:
    """The item after ``visitor`` wished to hold ``apply`` (``None``: nothing) at ``now`` (µs).

    Setting what is already set changes nothing, the version included.
    """
    if item.held.get(visitor) == apply:
        return item
    held = {who: what for who, what in item.held.items() if who != visitor}
    if apply is not None:
        held[visitor] = apply
    return replace(item, held=MappingProxyType(held), version=max(item.version + 1, now))


def merge(item: Item, visitor: str, account: str, now: int) -> Item:
    """The item after what ``visitor`` holds became ``account``'s, whose own reaction stays (``now``: µs)."""
    if visitor not in item.held:
        return item
    held = {account: item.held[visitor]} | {who: what for who, what in item.held.items() if who != visitor}
    return replace(item, held=MappingProxyType(held), version=max(item.version + 1, now))


def start(item: Item, base: Mapping[str, int], now: int) -> Item:
    """The item after it was said at ``now`` (µs) what it starts from. That is set, never added."""
    if {kind: count for kind, count in item.base.items() if count} == {k: c for k, c in base.items() if c}:
        return item
    return replace(item, base=MappingProxyType(dict(base)), version=max(item.version + 1, now))


def check_reaction(reaction: object, kinds: tuple[str, ...]) -> str | None:
    """Return ``reaction`` when it is one of ``kinds`` or ``None``.

    Raises:
        BadReaction: it is neither.
    """
    if reaction is None or (isinstance(reaction, str) and reaction in kinds):
        return reaction
    raise BadReaction(f"a reaction is one of {', '.join(kinds)}, or null")
