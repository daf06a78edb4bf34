"""Environment variables that look like settings and are not.

Owns the names that Kubernetes injects for a Service, and Docker for a link, into every container beside it:
for a Service called ``tallycast``, ``TALLYCAST_PORT=tcp://10.96.0.10:8000`` and a dozen more
(https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables). Does not depend on
which settings there are: their names are arguments.
"""

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import NamedTuple

PREFIX = "TALLYCAST_"
# Read by other commands, not by the server.
OF_OTHER_COMMANDS = frozenset(("TALLYCAST_TOKEN_KEY",))

# Similarity (0 to 1) of a name to the one that it is a misspelling of.
SIMILARITY = 0.85

# The only injected name that is also a setting's, for a Service called tallycast or tallycast-metrics. The
# value distinguishes them: a port is not an address.
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
    """Whether a variable with a setting's name has a value that a platform injects."""
    return bool(_PORT.fullmatch(name) and _ADDRESS.fullmatch(value))


def ignored(environment: Mapping[str, str], settings: Collection[str]) -> list[Ignored]:
    """The variables that look like settings and have no effect, without injected names of no setting."""
    found = []
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name in OF_OTHER_COMMANDS or not value:
            continue
        if name in settings:
            if is_injected(name, value):
                found.append(Ignored(name, "an address injected for a service or link of this name"))
        elif not is_injected(name, value) and not _INJECTED.fullmatch(name):
            close = get_close_matches(name, settings, 1, SIMILARITY)
            hint = f"; did you mean {close[0]}?" if close else ""
            found.append(Ignored(name, f"there is no such setting{hint}"))
    return found
