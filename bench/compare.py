"""This tree and another revision of it as contenders of the same figures, in one run.

Owns the folder of the other revision, and the conversion of figures. The other revision runs with this tree's
interpreter and packages. Does not depend on what a figure measures.
"""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.contenders.base import Contender
from bench.contenders.tallycast import TALLYCAST, Tree, served_by
from bench.errors import UnavailableError
from bench.figures.base import Figure, Metric, Sample, Scale, Steps
from bench.programs import BUILD, HERE


@contextmanager
def revision(name: str) -> Iterator[Contender]:
    """Unpack a revision, as git names it, and yield its server.

    Raises:
        UnavailableError: git knows no such revision.
    """
    archive = subprocess.run(["git", "archive", name], cwd=HERE.parent, capture_output=True, check=False)
    if archive.returncode:
        raise UnavailableError(archive.stderr.decode(errors="replace").strip())
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="revision-", dir=BUILD) as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(folder, filter="data")
        yield replace(TALLYCAST, key="before", label=name, start=served_by(1, tree=Tree(Path(folder))))


def compare(figure: Figure, before: Contender) -> Figure | None:
    """Return the figure with this tree and ``before`` as contenders.

    None where Tallycast is not one of several. It has no budgets: they are for this tree alone.
    """
    if TALLYCAST not in figure.contenders:
        return None

    def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
        measured = yield from figure.measure(contender, scale, folder)
        sample = Sample()
        for metric, values in measured.values.items():
            for row, value in values.items():
                key = TALLYCAST.key if row == contender.key else row
                sample.values[f"{metric} {key}"] = {contender.key: value}
        return sample

    contenders = (replace(TALLYCAST, label="this tree"), before)
    rows = {contender.key: contender.label for contender in contenders}
    metrics = tuple(split for metric in figure.metrics for split in _split(metric, rows))
    return replace(figure, metrics=metrics, contenders=contenders, measure=measure)


def _split(metric: Metric, rows: dict[str, str]) -> Iterator[Metric]:
    """Make a metric of each row that is Tallycast's."""
    for row, label in metric.rows.items():
        if row == TALLYCAST.key or TALLYCAST.key not in metric.rows:
            title = metric.title if row == TALLYCAST.key else f"{metric.title}: {label}"
            yield Metric(f"{metric.key} {row}", title, metric.short, metric.unit, rows)
