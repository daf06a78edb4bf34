"""What a server did that the contract forbids, counted by name, with a few examples of each.

Pure. The oracle judges by these names; nothing else may be a fault of the server.
"""

from collections.abc import Mapping

WENT_DOWN = "a version went down"
REPEATED = "a version came twice"
TWO_COUNTS = "one version had two sets of counts"
LOST = "a connection was lost without a close code"
ANSWERED_TWICE = "a reaction was answered twice"
UNANSWERED = "a reaction was never answered"
WRONG_ANSWER = "an answer did not fit its reaction"
UNREADABLE = "a message was not one of the contract"
NOT_WATCHED = "counts came of an item that was not watched"

# A connection that never was one.
CUT = "closed during the handshake"

# How a connection ends that was just cut (RFC 6455, section 7.4.1).
ABNORMAL = 1006

EXAMPLES = 3


class Faults:
    """Counts and examples; picklable as plain lists."""

    def __init__(self, found: Mapping[str, tuple[int, list[str]]] | None = None) -> None:
        self.found: dict[str, tuple[int, list[str]]] = dict(found or {})

    def add(self, name: str, example: str, number: int = 1) -> None:
        """It happened; ``example`` says where."""
        count, examples = self.found.get(name, (0, []))
        self.found[name] = (count + number, [*examples, example][:EXAMPLES])

    def merge(self, found: Mapping[str, tuple[int, list[str]]]) -> None:
        """Take over what another process found."""
        for name, (number, examples) in found.items():
            count, known = self.found.get(name, (0, []))
            self.found[name] = (count + number, [*known, *examples][:EXAMPLES])

    def count(self, name: str) -> int:
        """How often it happened."""
        return self.found.get(name, (0, []))[0]

    def told(self, *names: str) -> list[str]:
        """One line for each of the names that happened."""
        return [
            f"{name}: {count:,} time{'s' if count != 1 else ''}, such as {'; '.join(examples)}"
            for name, (count, examples) in self.found.items()
            if name in names
        ]
