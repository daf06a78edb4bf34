"""The shape ``choice``: a visitor holds at most one kind per item. A readable reference.

``react.lua`` implements it inside the engine; the tests compare both. A write sets a state and never toggles
it, so a retry or a duplicate is harmless. Does not depend on how reactions are stored.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tallycast.contract.errors import BadReaction


@dataclass(frozen=True, slots=True)
class Item:
    """The state of an item.

    Attributes:
        held: The kind that each visitor holds.
        version: Time of the last change, in µs since 1970; 0: never changed.
        base: The starting counts of an import.
    """

    held: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    version: int = 0
    base: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def counts(self, kinds: tuple[str, ...]) -> dict[str, int]:
        """The number of visitors per kind, added to the base; every kind of the site is present."""
        counter = Counter(self.held.values())
        return {kind: counter[kind] + self.base.get(kind, 0) for kind in kinds}


def react(item: Item, visitor: str, apply: str | None, now: int) -> Item:
    """Set the kind that ``visitor`` holds to ``apply`` (None: nothing) at ``now`` (µs).

    Setting the same kind again changes nothing, the version included.
    """
    if item.held.get(visitor) == apply:
        return item
    held = {holder: kind for holder, kind in item.held.items() if holder != visitor}
    if apply is not None:
        held[visitor] = apply
    return replace(item, held=MappingProxyType(held), version=max(item.version + 1, now))


def merge(item: Item, visitor: str, account: str, now: int) -> Item:
    """Move what ``visitor`` holds to ``account`` at ``now`` (µs), unless that holds a kind already."""
    if visitor not in item.held:
        return item
    held = {account: item.held[visitor]} | {
        holder: kind for holder, kind in item.held.items() if holder != visitor
    }
    return replace(item, held=MappingProxyType(held), version=max(item.version + 1, now))


def start(item: Item, base: Mapping[str, int], now: int) -> Item:
    """Set the starting counts at ``now`` (µs). They replace earlier ones."""
    if {kind: count for kind, count in item.base.items() if count} == {k: c for k, c in base.items() if c}:
        return item
    return replace(item, base=MappingProxyType(dict(base)), version=max(item.version + 1, now))


def check_reaction(reaction: object, kinds: tuple[str, ...]) -> str | None:
    """Return ``reaction`` when it is one of ``kinds`` or None.

    Raises:
        BadReaction: it is not.
    """
    if reaction is None or (isinstance(reaction, str) and reaction in kinds):
        return reaction
    raise BadReaction(f"a reaction is one of {', '.join(kinds)}, or null")
