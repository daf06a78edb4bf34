"""This tree beside another revision of it, in the same figures and the same run.

Owns where the other revision's code is put, and how a figure of ours becomes one of both. Its code runs with
this tree's interpreter and packages. Must not know what a figure measures.
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
from bench.contenders.ours import OURS, Tree, served_by
from bench.errors import Unavailable
from bench.figures.base import Figure, Metric, Sample, Scale, Steps
from bench.programs import BUILD, HERE


@contextmanager
def revision(name: str) -> Iterator[Contender]:
    """The server as it was in a revision, as git names it.

    Raises:
        Unavailable: git knows no such revision.
    """
    packed = subprocess.run(["git", "archive", name], cwd=HERE.parent, capture_output=True, check=False)
    if packed.returncode:
        raise Unavailable(packed.stderr.decode(errors="replace").strip())
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="revision-", dir=BUILD) as folder:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
            tar.extractall(folder, filter="data")
        yield replace(OURS, key="before", label=name, start=served_by(1, tree=Tree(Path(folder))))


def compared(figure: Figure, before: Contender) -> Figure | None:
    """The figure with our server twice, as it is and as it was; ``None`` where ours is not one of many.

    There are no budgets in it: they are of this tree alone.
    """
    if OURS not in figure.contenders:
        return None
    contenders = (replace(OURS, label="this tree"), before)
    rows = {contender.key: contender.label for contender in contenders}
    metrics = tuple(
        Metric(
            f"{metric.key} {row}",
            metric.title if row == OURS.key else f"{metric.title}: {label}",
            metric.short,
            metric.unit,
            rows,
        )
        for metric in figure.metrics
        for row, label in metric.rows.items()
        if row == OURS.key or OURS.key not in metric.rows
    )

    def measure(contender: Contender, scale: Scale, folder: Path) -> Steps:
        found = yield from figure.measure(contender, scale, folder)
        sample = Sample()
        for metric, values in found.values.items():
            for row, value in values.items():
                at = OURS.key if row == contender.key else row
                sample.values[f"{metric} {at}"] = {contender.key: value}
        return sample

    return replace(figure, metrics=metrics, contenders=contenders, measure=measure)
