"""Runs figures: rounds, and in each round every contender, with a different one first each time.

Owns the order, the alternation and the recording of failures. Does not depend on what a figure measures, nor
on how progress is shown.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.contenders.base import Contender
from bench.errors import InvalidMeasurementError, UnavailableError
from bench.figures.base import SET_UP, Figure, Scale, Steps
from bench.programs import BUILD
from bench.results import FigureResult

# Called when a contender takes a step, with its label and the round, and after its last one (True).
OnProgress = Callable[[str, int, bool], None]
# Set-ups at a time: more would only wait for one another on a small machine.
CONCURRENT_SETUPS = 2


def run(figure: Figure, scale: Scale, rounds: int, on_progress: OnProgress) -> FigureResult:
    """Run all rounds of a figure, or as many as it has at most."""
    rounds = rounds_of(figure, rounds)
    result = FigureResult(figure, rounds)
    started = time.monotonic()
    for turn in range(rounds):
        with _temporary_folder() as folder:
            _Round(result, scale, turn, folder, on_progress).run()
    result.seconds = time.monotonic() - started
    return result


def rounds_of(figure: Figure, rounds: int) -> int:
    """Return how many rounds of a figure are run when ``rounds`` are asked for."""
    return min(rounds, figure.max_rounds) if figure.max_rounds else rounds


def rotate(contenders: Sequence[Contender], turn: int) -> list[Contender]:
    """Return the contenders, beginning with another one each round."""
    first = turn % len(contenders)
    return [*contenders[first:], *contenders[:first]]


class _Round:
    """One round: a contender takes its next step when all others have taken theirs.

    Set-ups run concurrently, measurements one at a time.
    """

    def __init__(
        self, result: FigureResult, scale: Scale, turn: int, folder: Path, on_progress: OnProgress
    ) -> None:
        self._result = result
        self._turn = turn
        self._on_progress = on_progress
        self._steps: dict[Contender, Steps] = {}
        for contender in rotate(result.figure.contenders, turn):
            own = folder / contender.key
            own.mkdir()
            self._steps[contender] = result.figure.measure(contender, scale, own)

    def run(self) -> None:
        """Run the steps of all contenders to their end."""
        following: dict[Contender, str | None] = dict.fromkeys(self._steps, SET_UP)
        try:
            with ThreadPoolExecutor(CONCURRENT_SETUPS) as pool:
                while self._steps:
                    setups = [contender for contender in self._steps if following[contender] == SET_UP]
                    measuring = [contender for contender in self._steps if following[contender] != SET_UP]
                    following.update(zip(setups, pool.map(self._step, setups), strict=True))
                    following.update((contender, self._step(contender)) for contender in measuring)
                    for contender in [contender for contender in self._steps if following[contender] is None]:
                        self._steps.pop(contender).close()
                        self._on_progress(contender.label, self._turn, True)
        finally:
            for steps in self._steps.values():
                steps.close()

    def _step(self, contender: Contender) -> str | None:
        """Take a contender's next step. Returns the kind of the one after it; None when it was the last."""
        self._on_progress(contender.label, self._turn, False)
        if contender.key in self._result.unavailable:
            return None
        try:
            return next(self._steps[contender])
        except StopIteration as end:
            self._result.add(contender.key, self._turn, end.value)
        except UnavailableError as error:
            self._result.unavailable[contender.key] = str(error)
        except (InvalidMeasurementError, AssertionError, OSError) as error:
            failures = self._result.failures.setdefault(contender.key, [])
            failures.append(_one_line(str(error) or repr(error)))
        return None


def _one_line(reason: str) -> str:
    """Shorten a reason to one line: its first, and the last one of a log that it quotes."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    # Not where temporary files go: that may be memory, where a sync costs nothing.
    BUILD.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=BUILD))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
