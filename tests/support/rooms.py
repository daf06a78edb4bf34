"""The parts a session or a stream is given, for tests of the web layer without an app around it."""

from collections.abc import Callable
from typing import Any

from tallycast.access.admission import Admission
from tallycast.access.guard import Guard
from tallycast.domain.limits import Caps
from tallycast.domain.sites import Site
from tallycast.fanout.hub import Hub
from tallycast.fanout.visitors import VisitorChannels
from tallycast.services.services import Rooms
from tallycast.transport.coalescer import WriteCoalescer
from tallycast.transport.drain import Drain
from tallycast.transport.timer_wheel import TimerWheel
from tallycast.transport.websocket.parser import SharedParser

from tests.support.names import NAMES


def rooms(clock: Callable[[], float], **given: Any) -> Rooms:
    """Rooms of the parts that are given, and beside them of what does nothing, or what needs no other part.

    ``clock`` gives seconds; a call that is to come later comes at once.
    """
    nothing: Any = lambda *_: None  # noqa: E731
    timers: TimerWheel[Any] = given.get("timers") or TimerWheel(clock)
    parts: dict[str, Any] = {
        "namespace": NAMES,
        "guard": Guard({"default": Site()}, b"s" * 32),
        "admission": Admission(Caps(), clock),
        "hub": Hub(NAMES.item_channel, nothing, nothing, lambda _, call: call()),
        "visitors": VisitorChannels(nothing, nothing),
        "timers": timers,
        "drain": Drain(timers),
        "coalescer": WriteCoalescer(nothing),
        "parser": SharedParser(),
        "write": nothing,
        "read": nothing,
        "merge": nothing,
        "visitor_reactions": None,
        "admin_actions": None,
        "ready": lambda: True,
        "soon": nothing,
    }
    return Rooms(**parts | given)
