"""Environment variables whose names begin like settings of this server and which are none.

Owns the names that Kubernetes injects for a Service, and Docker for a link, into every container beside it:
for a Service called ``tallycast`` they are ``TALLYCAST_PORT=tcp://10.96.0.10:8000`` and a dozen more
(https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables). Does not depend on
what the settings are; their names are handed in.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import NamedTuple

PREFIX = "TALLYCAST_"
# Read by other commands than the server.
OF_OTHER_COMMANDS = frozenset(("TALLYCAST_TOKEN_KEY",))

# How alike two names are for one to be a misspelt other (0 to 1).
CLOSE = 0.85

# The one injected name that is also a setting's, for a Service called tallycast or tallycast-metrics: its
# value tells them apart, because no port is an address.
_PORT = re.compile(r"\w+_PORT")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://[^/]+:\d+")
_INJECTED = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|NAME|ENV_\w+)"
)


class Ignored(NamedTuple):
    """A variable that has no effect, and why."""

    name: str
    reason: str


def is_injected(name: str, value: str) -> bool:
    """Whether the variable has a setting's name, and the value that a platform gives to such a name."""
    return bool(_PORT.fullmatch(name) and _ADDRESS.fullmatch(value))


def ignored(environment: Mapping[str, str], settings: Collection[str]) -> list[Ignored]:
    """The variables that look like settings and have no effect, other than those injected names that no
    setting has."""
    found = []
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name in OF_OTHER_COMMANDS or not value:
            continue
        if name in settings:
            if is_injected(name, value):
                found.append(Ignored(name, "an address injected for a service or link of that name"))
        elif not is_injected(name, value) and not _INJECTED.fullmatch(name):
            close = get_close_matches(name, settings, 1, CLOSE)
            hint = f"; did you mean {close[0]}?" if close else ""
            found.append(Ignored(name, f"there is no such setting{hint}"))
    return found
