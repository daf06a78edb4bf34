"""Builds the ledger of a worker: the reader and writer of reactions, and their upkeep.

Owns the choice of the implementations, and the wiring. Does not depend on the services above.
"""

from typing import NamedTuple

from tallycast.engine.store import Scripts, Store
from tallycast.ledger.auditor import Auditor
from tallycast.ledger.cluster.reader import ClusterReader
from tallycast.ledger.cluster.writer import ClusterWriter
from tallycast.ledger.merge import Merger
from tallycast.ledger.reader import Reader, StandaloneReader
from tallycast.ledger.visitor_reactions import VisitorReactions
from tallycast.ledger.writer import StandaloneWriter, Writer
from tallycast.observability.measures import Snapshot


class Ledger(NamedTuple):
    """The parts of a ledger."""

    reader: Reader
    writer: Writer
    merger: Merger
    auditor: Auditor
    visitor_reactions: VisitorReactions

    def measure(self, found: Snapshot) -> None:
        """Add the measurements of the ledger."""
        sizes = self.writer.sizes
        found.histogram("batch_size", sizes.bounds, sizes.counts, sizes.total)
        found.count("merges_resumed", {"": self.merger.resumed})
        found.count("audited_items", {"": self.auditor.checked})
        found.count("audit_repairs", {"": self.auditor.repairs})
        found.count("audit_failures", {"": self.auditor.failed})

    async def close(self) -> None:
        """Wait for what is under way."""
        await self.merger.close()
        await self.writer.close()
        await self.reader.close()


def build(store: Store) -> Ledger:
    """The ledger in an engine."""
    reader, writer, merger = build_reader(store), build_writer(store), Merger(store)
    visitor_reactions = VisitorReactions(store, reader.submit, writer.submit, merger.finish_pending_merges)
    return Ledger(reader, writer, merger, Auditor(store), visitor_reactions)


def build_writer(store: Scripts) -> Writer:
    """The writer of all reactions into the store."""
    return (ClusterWriter if store.partitioned else StandaloneWriter)(store)


def build_reader(store: Scripts) -> Reader:
    """The reader of the state in the store."""
    return (ClusterReader if store.partitioned else StandaloneReader)(store)
