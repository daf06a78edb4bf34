"""The author of a change: a visitor on one connection.

Owns its names below the services. Does not depend on tokens.
"""

from typing import NamedTuple

from tallycast.engine.keys import Namespace, member


class Author(NamedTuple):
    """A visitor as the ledger and the fan-out know it.

    ``member`` stands for the visitor in the ledger, ``channel`` is where its connections are notified.
    ``connection_id`` is the connection that sends, which is not notified of its own changes; 0: none.
    """

    member: bytes
    channel: bytes
    connection_id: int = 0


def author_of(namespace: Namespace, site: str, visitor: str, connection_id: int = 0) -> Author:
    """The author that a visitor of a site is."""
    stored = member(visitor)
    return Author(stored, namespace.visitor_channel(site, stored), connection_id)
