"""Builds the fan-out of a worker.

Owns its wiring. Does not depend on the subscribers.
"""

from collections.abc import Callable

from tallycast.engine.store import Store
from tallycast.fanout.fanout import Fanout
from tallycast.ledger.factory import Ledger


def build(engine: Store, ledger: Ledger, call_later: Callable[[float, Callable[[], None]], object]) -> Fanout:
    """The fan-out of the updates of an engine. ``call_later`` is like ``loop.call_later``."""
    return Fanout(engine.feed, ledger.reader.submit, engine.namespace, call_later, engine.age)
