"""The writer and the reader of reactions for a store.

Owns the choice of the implementation. Does not depend on what is read and written.
"""

from tallycast.engine.store import Scripts
from tallycast.ledger.cluster.reader import ClusterReader
from tallycast.ledger.cluster.writer import ClusterWriter
from tallycast.ledger.reader import Reader, StandaloneReader
from tallycast.ledger.writer import StandaloneWriter, Writer


def build_writer(store: Scripts) -> Writer:
    """The writer of all reactions into the store."""
    return (ClusterWriter if store.partitioned else StandaloneWriter)(store)


def build_reader(store: Scripts) -> Reader:
    """The reader of the state in the store."""
    return (ClusterReader if store.partitioned else StandaloneReader)(store)
