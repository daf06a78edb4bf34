"""One frame to many sockets, with as little Python as there can be for each of them.

Owns the write of an update to all who can be written to at once. Whoever cannot is given back, to be asked
one by one. Must not know items, versions, or what is in a frame.
"""

import os
from collections.abc import Sequence
from itertools import repeat

from tallycast.fanout.topic import NO_FD, Subscriber

_FAILED = -1


class FdSubscriber:
    """What is looked at of every connection for every update; a base class, so that it comes first in memory.

    There it shares a line of the processor's cache with what Python itself looks at of an object.
    """

    __slots__ = ("fd", "watches_many", "wire")

    def __init__(self, wire: int) -> None:
        self.wire = wire
        self.fd = NO_FD
        self.watches_many = False


def broadcast(frame: bytes, subscribers: Sequence[Subscriber], alone: bool) -> Sequence[Subscriber]:
    """Write the frame; gives those who could not be written to.

    ``alone``: no other item is being swept, so whoever watches several need not wait for another frame.
    """
    if alone:
        descriptors = [subscriber.fd for subscriber in subscribers]
    else:
        descriptors = [NO_FD if one.watches_many else one.fd for one in subscribers]
    left: list[Subscriber] = []
    if NO_FD in descriptors:
        both = list(zip(subscribers, descriptors, strict=True))
        left = [subscriber for subscriber, descriptor in both if descriptor == NO_FD]
        subscribers = [subscriber for subscriber, descriptor in both if descriptor != NO_FD]
        descriptors = [descriptor for descriptor in descriptors if descriptor != NO_FD]
    sent = _write(frame, descriptors)
    if sent.count(len(frame)) < len(sent):
        for subscriber, size in zip(subscribers, sent, strict=True):
            if size == _FAILED:
                left.append(subscriber)
            elif size < len(frame):
                subscriber.overflow(frame[size:])
    return left


def _write(frame: bytes, descriptors: Sequence[int]) -> list[int]:
    """How much of the frame each descriptor took; ``_FAILED`` where it is full or its peer is gone."""
    sent: list[int] = []
    following = iter(descriptors)
    while len(sent) < len(descriptors):
        try:
            # A loop of the interpreter's own. What it had written before an error is in the list.
            sent.extend(map(os.write, following, repeat(frame)))
        except OSError:
            sent.append(_FAILED)
    return sent
