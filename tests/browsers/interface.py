"""What a browser can be asked for, whichever it is. Owns the names; each browser's module implements them.

Does not depend on how a browser is driven, nor on the widget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Preferences:
    """What a person has set in their browser or system."""

    dark: bool = False


class Window(Protocol):
    """One visible page. Coordinates are CSS pixels of the viewport."""

    async def open(self, url: str) -> None:
        """Navigate, and wait for the load event."""

    async def back(self) -> None:
        """Begin to go back in the history."""

    async def call(self, function: str, arguments: str) -> str:
        """Run an async function that takes a string and returns one."""

    async def is_named(self, element: str, name: str) -> bool:
        """Whether the browser computes this accessible name for the element that a function returns."""

    async def move(self, x: float, y: float) -> None:
        """Move the mouse."""

    async def click(self, x: float, y: float) -> None: ...

    async def press(self, key: str) -> None:
        """Press and release one of ``KEYS``, or the key of a character."""

    async def resize(self, width: int, height: int) -> None:
        """Set the size of the viewport."""

    async def screenshot(self) -> bytes:
        """The viewport as a PNG."""

    async def close(self) -> None: ...


class Person(Protocol):
    """A profile of its own: storage and cookies are shared by its windows, and with nothing else."""

    async def window(self) -> Window: ...
    async def close(self) -> None: ...


class Browser(Protocol):
    """One kind of browser. ``close`` ends every process that it started."""

    async def person(self, preferences: Preferences) -> Person: ...
    async def close(self) -> None: ...


# Named keys, as WebDriver writes them.
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "Space": " "}


def pointer_actions(x: float, y: float, *, click: bool) -> list[dict[str, object]]:
    """Move the mouse, and click there if asked to: actions of WebDriver, classic and BiDi."""
    move = {"type": "pointerMove", "x": round(x), "y": round(y)}
    press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}] if click else []
    return [{"type": "pointer", "id": "mouse", "actions": [move, *press]}]


def key_actions(key: str) -> list[dict[str, object]]:
    """Press and release a key: actions of WebDriver, classic and BiDi."""
    value = KEYS.get(key, key)
    actions = [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
    return [{"type": "key", "id": "keyboard", "actions": actions}]
