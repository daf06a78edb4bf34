"""The parts a session or a stream is given, for tests of the web layer without an app around it."""

from collections.abc import Callable
from typing import Any

from server.admission import Admission
from server.guard import Guard
from server.hub import Hub
from server.people import People
from server.rules.limits import Caps
from server.rules.sites import Site
from server.web.drain import Drain
from server.web.inbound import Shared
from server.web.outbox import Outbox
from server.web.rooms import Rooms
from server.web.rounds import Rounds
from tests.support.names import NAMES


def rooms(clock: Callable[[], float], **given: Any) -> Rooms:
    """Rooms of the parts that are given, and beside them of what does nothing, or what needs no other part.

    ``clock`` gives seconds; a call that is to come later comes at once.
    """
    nothing: Any = lambda *_: None  # noqa: E731
    rounds: Rounds[Any] = given.get("rounds") or Rounds(clock)
    parts: dict[str, Any] = {
        "namespace": NAMES,
        "guard": Guard({"default": Site()}, b"s" * 32),
        "admission": Admission(Caps(), clock),
        "hub": Hub(NAMES.item_channel, nothing, nothing, lambda _, call: call()),
        "people": People(nothing, nothing),
        "rounds": rounds,
        "drain": Drain(rounds),
        "outbox": Outbox(nothing),
        "parser": Shared(),
        "write": nothing,
        "read": nothing,
        "merge": nothing,
        "holdings": None,
        "deeds": None,
        "ready": lambda: True,
        "soon": nothing,
    }
    return Rooms(**parts | given)
