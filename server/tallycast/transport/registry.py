"""The transports of a worker.

Owns their names, and the number of open connections of each. Does not depend on what a transport is.

A transport registers its name, its wire format and, where it has one, a faster way to write one frame to many
connections. Its connections are what the hub and the timer wheel call: ``deliver`` and ``mark_stale`` for
updates, ``on_tick`` for liveness, ``bye``, ``close_gracefully`` and ``abort`` for the drain. The conversation
itself is ``Session`` where the client can send, a subscription otherwise.
"""

from collections.abc import Iterator

from tallycast.fanout.topic import Broadcast, Codec, no_broadcast


class Transport:
    """A registered transport.

    ``codec`` is the wire format; transports with the same one share encoded frames. ``broadcast`` writes a
    frame to many connections of this transport at once, and returns those that are left to ``deliver``.
    ``open`` is the number of open connections.
    """

    __slots__ = ("broadcast", "codec", "name", "open")

    def __init__(self, name: str, codec: Codec, broadcast: Broadcast) -> None:
        self.name = name
        self.codec = codec
        self.broadcast = broadcast
        self.open = 0


class Registry:
    """The transports of a worker, by name."""

    def __init__(self) -> None:
        self._transports: dict[str, Transport] = {}

    def __iter__(self) -> Iterator[Transport]:
        return iter(self._transports.values())

    def register(self, name: str, codec: Codec, broadcast: Broadcast = no_broadcast) -> Transport:
        """Add a transport. ``name`` is its label in the metrics.

        Raises:
            ValueError: there is one of that name.
        """
        if name in self._transports:
            raise ValueError(f"a transport is registered as {name!r} already: choose another name")
        transport = self._transports[name] = Transport(name, codec, broadcast)
        return transport

    def connections(self) -> dict[str, int]:
        """The number of open connections, by transport."""
        return {transport.name: transport.open for transport in self}
