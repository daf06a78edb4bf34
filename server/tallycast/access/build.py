"""Builds the access control of a worker.

Owns its wiring. Does not depend on what asks for admission.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tallycast.access.admission import Admission
from tallycast.access.guard import Guard
from tallycast.access.keysets import KeySets
from tallycast.access.revocations import Revocations
from tallycast.domain.limits import Caps
from tallycast.domain.sites import Site
from tallycast.engine.store import Store


class Access(NamedTuple):
    """The access control of a worker."""

    guard: Guard
    admission: Admission
    revocations: Revocations
    key_sets: KeySets

    async def close(self) -> None:
        """Cancel what is under way."""
        await self.key_sets.close()


def build(
    engine: Store,
    sites: Mapping[str, Site],
    secret: bytes,
    caps: Caps,
    clock: Callable[[], float],
    on_revoked: Callable[[str, bytes, float], None],
) -> Access:
    """The access control of sites.

    Args:
        engine: where revocations are.
        sites: the sites, by name.
        secret: what tokens of anonymous visitors are signed with.
        caps: the limits of connections, and by address.
        clock: a monotonic time (s), for the rate limits.
        on_revoked: called for each new revocation; see ``Revocations``.
    """
    key_sets, revocations = KeySets(), Revocations(engine, on_revoked)
    guard = Guard(sites, secret, keys=key_sets, revoked=revocations.at)
    return Access(guard, Admission(caps, clock), revocations, key_sets)
