"""What came and went, in numbers.

Owns the counts of connections, reactions and disconnects. Must not know who they are of.
"""

from collections import defaultdict

from tallycast.contract.codec import EVENTS, JSON, MSGPACK
from tallycast.contract.errors import CloseCode, Refusal

TRANSPORTS = {JSON.index: "ws-json", MSGPACK.index: "ws-msgpack", EVENTS.index: "sse"}
ACKED = "acked"
# RFC 6455, section 7.4.1: the page was left, no code was given, there was no closing handshake.
GOING_AWAY, NO_CODE, LOST = 1001, 1005, 1006
CODES = frozenset((*CloseCode, GOING_AWAY, NO_CODE, LOST))


class ConnectionStats:
    """One worker's.

    ``open`` is by the number of the wire format, ``reactions`` by ``ACKED`` or the refusal's code, ``closed``
    by close code.
    """

    def __init__(self) -> None:
        self.open = [0] * len(TRANSPORTS)
        self.reactions: defaultdict[str, int] = defaultdict(int)
        self.closed: defaultdict[int, int] = defaultdict(int)

    def reacted(self, answer: object) -> None:
        """A reaction was acknowledged, or it was refused: then ``answer`` is the refusal."""
        self.reactions[answer.code if isinstance(answer, Refusal) else ACKED] += 1

    def connections(self) -> dict[str, int]:
        """How many are open, by transport."""
        return {name: self.open[wire] for wire, name in TRANSPORTS.items()}

    def outcomes(self) -> dict[str, int]:
        """How many reactions had each outcome, those that never happened included."""
        return {ACKED: 0, **{kind.code: 0 for kind in Refusal.__subclasses__()}, **self.reactions}

    def disconnects(self) -> dict[str, int]:
        """How many sockets ended with each close code. Peers make up codes: those are "other"."""
        found = {str(int(code)): self.closed.get(code, 0) for code in sorted(CODES)}
        return {**found, "other": sum(count for code, count in self.closed.items() if code not in CODES)}
