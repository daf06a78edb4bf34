"""Takes the figures: rounds, and in each round every contender, a different one first each time.

Owns the order, the alternation and the account of failures. Must not know what a figure measures, nor how
progress is shown.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.contenders.base import Contender
from bench.errors import Unavailable, Wrong
from bench.figures.base import SET_UP, Figure, Scale, Steps
from bench.programs import BUILD
from bench.results import Found

# Called when a contender has its turn, with its label and the round, and when that is over for good (True).
Says = Callable[[str, int, bool], None]
# Set-ups at a time: more would only wait for one another on a small machine.
TOGETHER = 2


def take(figure: Figure, scale: Scale, rounds: int, says: Says) -> Found:
    """All rounds of one figure, or as many as it ever needs."""
    rounds = rounds_of(figure, rounds)
    found = Found(figure, rounds)
    started = time.monotonic()
    for turn in range(rounds):
        with _folder() as folder:
            _round(found, scale, turn, folder, says)
    found.seconds = time.monotonic() - started
    return found


def rounds_of(figure: Figure, rounds: int) -> int:
    """How many rounds of a figure are taken when so many are asked for."""
    return min(rounds, figure.enough) if figure.enough else rounds


def in_turn(contenders: Sequence[Contender], turn: int) -> list[Contender]:
    """The contenders, beginning with another one each round."""
    first = turn % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def _round(found: Found, scale: Scale, turn: int, folder: Path, says: Says) -> None:
    """Each contender takes a step when all the others have taken theirs; set-ups are done together."""
    under_way: dict[Contender, Steps] = {}
    for contender in in_turn(found.figure.contenders, turn):
        own = folder / contender.key
        own.mkdir()
        under_way[contender] = found.figure.measure(contender, scale, own)

    def step(contender: Contender) -> str | None:
        """What the contender's next step will be; ``None`` when that was its last."""
        says(contender.label, turn, False)
        if contender.key in found.absent:
            return None
        return _step(found, contender, under_way[contender], turn)

    following: dict[Contender, str | None] = dict.fromkeys(under_way, SET_UP)
    try:
        with ThreadPoolExecutor(TOGETHER) as pool:
            while under_way:
                setting_up = [contender for contender in under_way if following[contender] == SET_UP]
                measuring = [contender for contender in under_way if following[contender] != SET_UP]
                following.update(zip(setting_up, pool.map(step, setting_up), strict=True))
                following.update((contender, step(contender)) for contender in measuring)
                for contender in [contender for contender in under_way if following[contender] is None]:
                    under_way.pop(contender).close()
                    says(contender.label, turn, True)
    finally:
        for steps in under_way.values():
            steps.close()


def _step(found: Found, contender: Contender, steps: Steps, turn: int) -> str | None:
    """Take one step; what the next one will be, ``None`` when it was the last."""
    try:
        return next(steps)
    except StopIteration as end:
        found.add(contender.key, turn, end.value)
    except Unavailable as error:
        found.absent[contender.key] = str(error)
    except (Wrong, AssertionError, OSError) as error:
        found.wrong.setdefault(contender.key, []).append(_in_short(str(error) or repr(error)))
    return None


def _in_short(reason: str) -> str:
    """A reason in one line: what it is, and the last word of a log that it quotes."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"


@contextmanager
def _folder() -> Iterator[Path]:
    # Beside the programs and not where temporary files go: that may be memory, where a sync costs nothing.
    BUILD.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=BUILD))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
