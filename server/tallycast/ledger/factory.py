"""The ledger's reader and writer for a store: standalone or cluster.

Owns the choice. Does not depend on what is read and written.
"""

from tallycast.engine.cluster.store import ClusterEngine
from tallycast.engine.store import Store
from tallycast.ledger.cluster.writer import ClusterReader, ClusterWriter
from tallycast.ledger.reader import Reader
from tallycast.ledger.writer import Writer


def writer_of(store: Store) -> Writer | ClusterWriter:
    """The one way by which reactions get into the store."""
    return ClusterWriter(store) if isinstance(store, ClusterEngine) else Writer(store)


def reader_of(store: Store) -> Reader | ClusterReader:
    """The one way by which stored state is read."""
    return ClusterReader(store) if isinstance(store, ClusterEngine) else Reader(store)
