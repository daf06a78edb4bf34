"""A whole import from a file or a pipe into a store of the test's."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

import pytest
from tallycast.contract.errors import Refusal
from tallycast.domain.sites import Site
from tallycast.ledger.bulk_import import job
from tallycast.ledger.bulk_import.errors import ImportFailed
from tallycast.ledger.bulk_import.importer import WINDOW
from tallycast.ledger.bulk_import.rows import Start, Vote
from tallycast.ledger.bulk_import.source import Source

ROWS = [f"i{number},u:1,like\n".encode() for number in range(2 * WINDOW)]
# In cp1252, behind more than is read before the first row is stored.
DATA = b"item,visitor,reaction\n" + b"".join(ROWS) + "é,u:1,like\n".encode("cp1252")
REASON = f"line {2 * WINDOW + 2}: byte 0xE9 is not utf-8: say which encoding it has"


class Store:
    def __init__(self) -> None:
        self.lines: set[int] = set()
        self.notes: list[str] = []

    async def take(self, batch: Sequence[Vote | Start]) -> Sequence[Refusal | None]:
        self.lines.update(row.line for row in batch)
        return [None] * len(batch)

    async def note(self, what: str, _more: str) -> None:
        self.notes.append(what)


async def run(path: Path, store: Store, encoding: str | None = None, first: int = 1) -> bool:
    with Source(path) as source:
        return await job.run(source, job.Form(encoding), Site(), first, store.take, store.note)


async def test_nothing_is_stored_of_a_file_that_is_not_in_its_encoding(tmp_path: Path) -> None:
    store, file = Store(), tmp_path / "votes.csv"
    file.write_bytes(DATA)
    with pytest.raises(ImportFailed, match=f"^{REASON}"):
        await run(file, store)
    assert (store.lines, store.notes) == (set(), [])
    # It was said what to do about it, and both ways do it.
    assert await run(file, store, "cp1252")
    assert len(store.lines) == len(ROWS) + 1
    assert not await run(file, store, "utf-8")


async def test_a_pipe_stops_where_its_encoding_ends_and_says_so(tmp_path: Path) -> None:
    """It can be read only once. What came before may be stored, and it goes on from there."""
    store = Store()
    ours, theirs = os.pipe()
    writer = Thread(target=lambda: (os.write(theirs, DATA), os.close(theirs)))
    writer.start()
    with pytest.raises(ImportFailed) as caught:
        await run(Path(f"/dev/fd/{ours}"), store)
    writer.join()
    os.close(ours)
    found = re.match(rf"stopped at line (\d+): {REASON}.* go on with --from (\d+)$", str(caught.value))
    assert found is not None, caught.value
    first = int(found[1])
    assert 1 < first == int(found[2])
    assert set(range(2, first)) <= store.lines
    assert store.notes == ["import", "imported"]
    file = tmp_path / "votes.csv"
    file.write_bytes(DATA)
    assert await run(file, store, "cp1252", first)
    assert store.lines == set(range(2, 2 * WINDOW + 3))


async def test_a_pipe_with_a_wrong_header_is_not_begun() -> None:
    store = Store()
    ours, theirs = os.pipe()
    os.write(theirs, b"item,visitor,reactoin\na,u:1,like\n")
    os.close(theirs)
    with pytest.raises(ImportFailed, match=r"^line 1: the header: 'reactoin' is none of"):
        await run(Path(f"/dev/fd/{ours}"), store)
    os.close(ours)
    assert (store.lines, store.notes) == (set(), [])
