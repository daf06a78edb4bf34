"""Measures `tallycast import`: reactions into a fresh server on this machine.

For items drawn evenly, and by Zipf's law (the n-th as often as 1/n): rows a second as the import reports
them, and the CPU time of the import and of the engine (µs a row). Then the same file again, which changes
nothing.
"""

import argparse
import random
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.usage import cpu_used
from tests.support.process import ServerProcess, clean_environment

ITEMS, VISITORS = 20_000, 200_000


def rows(count: int, distribution: str, *, times: bool) -> Iterator[str]:
    """Yield the lines of a file with so many reactions."""
    generator = random.Random(1)
    weights = [1 / (n + 1) for n in range(ITEMS)] if distribution == "zipf" else [1.0] * ITEMS
    items = generator.choices(range(ITEMS), cum_weights=list(accumulate(weights)), k=count)
    yield "item,visitor,reaction,time\n" if times else "item,visitor,reaction\n"
    for number, item in enumerate(items):
        time = f",{1_700_000_000 + number}" if times else ""
        reaction = "like" if generator.random() < 0.8 else "dislike"
        yield f"posts/{item},u:{generator.randrange(VISITORS)},{reaction}{time}\n"


def measure(server: ServerProcess, file: Path, count: int, title: str) -> None:
    """Import a file of so many rows and print the cost."""
    assert server.engine is not None
    command = [sys.executable, "-m", "tallycast", "import", str(file), "--data", str(server.data)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with cpu_used({"engine": server.engine}) as used:
        output = subprocess.check_output(
            command, text=True, env=clean_environment(), stderr=subprocess.STDOUT
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rate = re.search(r"([\d,]+) rows/s", output)
    assert rate is not None, output
    each, engine = seconds / count * 1e6, used["engine"] / count * 1e6
    print(f"{title:<22}{rate[1]:>8} rows/s{each:>9.1f}{engine:>9.1f} µs a row", flush=True)


def main() -> None:
    """Measure each distribution on a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", action="store_true", help="add a column with the time of each reaction")
    parser.add_argument("--spread", choices=("zipf", "even"), action="append", help="may be repeated")
    options = parser.parse_args()
    print(f"{'':<22}{'':>15}{'import':>9}{'engine':>9} CPU time")
    for distribution in options.spread or ("zipf", "even"):
        with tempfile.TemporaryDirectory(prefix="tallycast-rate-") as name:
            file = Path(name) / "votes.csv"
            file.write_text("".join(rows(options.rows, distribution, times=options.times)))
            with ServerProcess(Path(name)).start() as server:
                measure(server, file, options.rows, f"{distribution}, new rows")
                measure(server, file, options.rows, f"{distribution}, the same again")


if __name__ == "__main__":
    main()
