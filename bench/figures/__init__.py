"""All figures, in the order in which they run."""

from bench.figures import accept, fanout, hot, latency, memory, ping, reaction, slow, watcher, workers
from bench.figures.base import Figure

FIGURES: tuple[Figure, ...] = (
    fanout.FIGURE,
    reaction.FIGURE,
    accept.FIGURE,
    memory.FIGURE,
    hot.FIGURE,
    latency.FIGURE,
    latency.TWO,
    ping.FIGURE,
    ping.TWO,
    slow.FIGURE,
    workers.FIGURE,
    watcher.FIGURE,
)
