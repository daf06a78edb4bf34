"""How fast `tallycast import` is: rows of reactions into a fresh server on this machine.

For items drawn evenly, and by Zipf's law (the n-th as often as 1/n): the rows a second that it tells itself,
and the processor time of the import and of the engine. Then the same file once more, of which nothing is new.
"""

import argparse
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.process import ServerProcess, clean_environment

ITEMS, VISITORS = 20_000, 200_000


def rows(many: int, spread: str, *, times: bool) -> Iterator[str]:
    """A file's lines."""
    chance = random.Random(1)
    weights = [1 / (n + 1) for n in range(ITEMS)] if spread == "zipf" else [1.0] * ITEMS
    items = chance.choices(range(ITEMS), cum_weights=list(accumulate(weights)), k=many)
    yield "item,visitor,reaction,time\n" if times else "item,visitor,reaction\n"
    for number, item in enumerate(items):
        time = f",{1_700_000_000 + number}" if times else ""
        reaction = "like" if chance.random() < 0.8 else "dislike"
        yield f"posts/{item},u:{chance.randrange(VISITORS)},{reaction}{time}\n"


def processor_time(pid: int) -> float:
    """What a process has used so far (s)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(server: ServerProcess, file: Path, many: int, what: str) -> None:
    """Import the file and print what it took."""
    assert server.engine is not None
    engine, ours = processor_time(server.engine), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "server", "import", str(file), "--data", str(server.data)]
    said = subprocess.check_output(command, text=True, env=clean_environment(), stderr=subprocess.STDOUT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - ours.ru_utime - ours.ru_stime
    rate = re.search(r"([\d,]+) rows/s", said)
    assert rate is not None, said
    of_engine = processor_time(server.engine) - engine
    print(
        f"{what:<22}{rate[1]:>8} rows/s{used / many * 1e6:>9.1f}{of_engine / many * 1e6:>9.1f} µs a row",
        flush=True,
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", action="store_true", help="rows say since when they hold")
    parser.add_argument("--spread", choices=("zipf", "even"), action="append")
    given = parser.parse_args()
    print(f"{'':<22}{'':>15}{'import':>9}{'engine':>9} processor time")
    for spread in given.spread or ("zipf", "even"):
        folder = Path(tempfile.mkdtemp(prefix="tallycast-rate-"))
        try:
            file = folder / "votes.csv"
            file.write_text("".join(rows(given.rows, spread, times=given.times)))
            with ServerProcess(folder).start() as server:
                measure(server, file, given.rows, f"{spread}, new rows")
                measure(server, file, given.rows, f"{spread}, the same again")
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
