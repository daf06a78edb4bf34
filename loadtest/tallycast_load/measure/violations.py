"""Violations of the contract by the server, counted by name, with a few examples of each.

Pure. The checks go by these names.
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

# How a connection failed, not a violation.
CUT = "closed during the handshake"

# The close code of a connection that ended without a close frame (RFC 6455, section 7.4.1).
ABNORMAL = 1006

EXAMPLES = 3


class Violations:
    """Counts and examples by name, as plain data."""

    def __init__(self, found: Mapping[str, tuple[int, list[str]]] | None = None) -> None:
        self.found: dict[str, tuple[int, list[str]]] = dict(found or {})

    def add(self, name: str, example: str, number: int = 1) -> None:
        """Count a violation; ``example`` says where."""
        count, examples = self.found.get(name, (0, []))
        self.found[name] = (count + number, [*examples, example][:EXAMPLES])

    def merge(self, found: Mapping[str, tuple[int, list[str]]]) -> None:
        """Add the violations of another process."""
        for name, (number, examples) in found.items():
            count, known = self.found.get(name, (0, []))
            self.found[name] = (count + number, [*known, *examples][:EXAMPLES])

    def count(self, name: str) -> int:
        """How often a violation occurred."""
        return self.found.get(name, (0, []))[0]

    def describe(self, *names: str) -> list[str]:
        """One line for each of these violations that occurred."""
        return [
            f"{name}: {count:,} time{'s' if count != 1 else ''}, such as {'; '.join(examples)}"
            for name, (count, examples) in self.found.items()
            if name in names
        ]
