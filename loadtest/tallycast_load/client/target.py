"""The server to test: its URL parsed, its address, and the source addresses of connections to it.

Pure but for resolving the name and probing this machine's addresses.
"""

import errno
import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from tallycast_load.plan.errors import LoadError

# One source address has some 28,000 ports for connections to one listener, and not all are free.
CONNECTIONS_PER_ADDRESS = 5000
MAX_ADDRESSES = 250
# Unescaped characters of a path (RFC 3986, section 3.3), without the dot segments that clients and proxies
# remove.
_SEGMENT = r"(?!(?:\.|%2[eE]){1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,;=:@%-]+"
_PATH = re.compile(f"(/{_SEGMENT})*/?")


class Target(NamedTuple):
    """A server. ``address`` is that of ``host``; ``prefix`` is the path before the API's own."""

    tls: bool
    host: str
    port: int
    prefix: str
    address: str

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Parse ``http(s)://host[:port][/prefix]`` and resolve the host.

        Raises:
            LoadError: the URL is not valid, or the host unknown.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port, path = parts.port, _PATH.fullmatch(parts.path)
        except ValueError:
            raise _invalid(url) from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise _invalid(url)
        if path is None or parts.username is not None:
            raise _invalid(url)
        tls = parts.scheme == "https"
        port = port or (443 if tls else 80)
        try:
            addresses = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except UnicodeError:  # an empty label, or an invalid character
            raise _invalid(url) from None
        except OSError as error:
            raise LoadError(f"{parts.hostname}: {(error.strerror or str(error)).lower()}") from None
        addresses.sort(key=lambda entry: entry[0] != socket.AF_INET)
        return cls(tls, parts.hostname, port, parts.path.rstrip("/"), str(addresses[0][4][0]))

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL, without a trailing slash."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}"

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, as far as its address says."""
        return ipaddress.ip_address(self.address).is_loopback

    def websocket(self, site: str) -> str:
        """The URL of the WebSocket."""
        return f"{self.url.replace('http', 'ws', 1)}/ws?site={quote(site, safe='')}"

    def path(self, path: str, site: str, items: "list[str] | tuple[str, ...]" = ()) -> str:
        """The target of a request: path and query."""
        query = "".join(f"&item={quote(item, safe='')}" for item in items)
        return f"{self.prefix}{path}?site={quote(site, safe='')}{query}"

    def sources(self, connections: int) -> list[str]:
        """Source addresses for so many connections, used in turn; empty where the system chooses.

        All of 127.0.0.0/8 is local on Linux, and each address has ports of its own.
        """
        number = min(-(-connections // CONNECTIONS_PER_ADDRESS), MAX_ADDRESSES)
        if number < 2 or not self.is_loopback or ":" in self.address:
            return []
        wanted = [f"127.0.0.{host + 1}" for host in range(number)]
        return [source for source in wanted if _usable(source)]


def _invalid(url: str) -> LoadError:
    expected = "URL: expected one such as https://tally.example or https://example.org/tally"
    if "@" in url:
        return LoadError(f"{expected}, without user and password")
    return LoadError(f"{expected} (no query, no fragment, no '.', '..' or empty segment), not {url!r}")


def _usable(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True
