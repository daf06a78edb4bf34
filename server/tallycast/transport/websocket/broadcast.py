"""Writes one frame to many sockets, with as little Python as possible for each of them.

Owns the write to all sockets that take it at once. The others are returned, for ``deliver`` to be called.
Does not depend on items, versions, or what is in a frame. The figure ``fanout`` of
``make bench`` is why it is written like this.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import repeat

from tallycast.transport.registry import Transport

NO_FD = -1
_FAILED = -1


class FdSubscriber(ABC):
    """What a broadcast reads of every connection; a base class, so that it comes first in memory.

    There it shares a cache line of the processor with what Python itself reads of an object.

    Attributes:
        fd: the descriptor of a socket that a frame may be written to at once, or ``NO_FD``.
        watches_many: whether the connection watches more than one item.
    """

    __slots__ = ("fd", "transport", "watches_many")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.fd = NO_FD
        self.watches_many = False

    @abstractmethod
    def overflow(self, rest: bytes) -> None:
        """Send the rest of a frame of which the socket took only the beginning."""


def broadcast(frame: bytes, subscribers: Sequence[FdSubscriber], only_topic: bool) -> Sequence[FdSubscriber]:
    """Write a frame. Returns the subscribers that it was not written to.

    ``only_topic``: no other item is being swept, so a subscriber of several need not wait for another frame.
    """
    if only_topic:
        descriptors = [subscriber.fd for subscriber in subscribers]
    else:
        descriptors = [NO_FD if one.watches_many else one.fd for one in subscribers]
    left: list[FdSubscriber] = []
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
    """The bytes that each descriptor took; ``_FAILED`` where it is full or its peer is gone."""
    sent: list[int] = []
    following = iter(descriptors)
    while len(sent) < len(descriptors):
        try:
            # A loop of the interpreter's own. What it had written before an error is in the list.
            sent.extend(map(os.write, following, repeat(frame)))
        except OSError:
            sent.append(_FAILED)
    return sent
