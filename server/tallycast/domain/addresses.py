"""Client addresses of requests, directly or through proxies.

A proxy appends the address of its peer to X-Forwarded-For; what is to the left of that was sent by the peer,
which can send anything. So the client is the rightmost address that is not a trusted proxy's, and a peer that
is not trusted is itself the client, whatever its header says. Does not depend on where connections come from,
nor on which proxies are trusted.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal, NamedTuple

# The peer on a Unix socket, which has no address; the same word in lists of proxies. nginx writes "unix:".
UNIX: Final = "unix"
NONE = "none"

Address = IPv4Address | IPv6Address | Literal["unix"]
Networks = tuple[IPv4Network | IPv6Network | Literal["unix"], ...]

# Longer than any chain of proxies; a header may be longer.
MAX_HOPS = 32


class Client(NamedTuple):
    """The client of a request.

    Attributes:
        address: In canonical form; "" if unknown.
        forwarded: Whether the request had a forwarding header, so that a proxy may be between.
    """

    address: str
    forwarded: bool


def networks(text: str) -> Networks:
    """Parse a list such as ``127.0.0.1, 10.0.0.0/8, unix``; ``none`` is the empty list.

    Raises:
        ValueError: it is not such a list.
    """
    if text.strip() == NONE:
        return ()
    parts = (part.strip() for part in text.split(","))
    return tuple(UNIX if part == UNIX else ip_network(part) for part in parts)


def client(peer: str, forwarded: Sequence[str], trusted: Networks) -> Client:
    """The client of a request.

    Args:
        peer: The address at the other end of the connection.
        forwarded: The values of the X-Forwarded-For headers, in order.
        trusted: The trusted proxies.
    """
    if not forwarded:
        return _direct(peer)
    found = _address(peer)
    if found is None:
        return Client("", forwarded=True)
    hops = ",".join(forwarded).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    while hops and _is_in(found, trusted):
        hop = _address(hops.pop())
        if hop is None:
            break  # A trusted proxy does not name its peer: the proxy is the nearest known address.
        found = hop
    return Client(str(found), forwarded=True)


@lru_cache(1024)
def owner(peer: str, trusted: Networks) -> Client | None:
    """The client that a connection counts for, whatever requests it carries; None: a trusted proxy."""
    found = _address(peer)
    return None if found is not None and _is_in(found, trusted) else _direct(peer)


@lru_cache(1024)
def prefix(client: Client) -> str | None:
    """What a client is counted as: an IPv4 address, or the /64 of an IPv6 address, which one household has.

    "" if the address is unknown. None: a client on this machine that is not behind a proxy.
    """
    if client.address == UNIX:
        return UNIX if client.forwarded else None
    if not client.address:
        return ""
    address = ip_address(client.address)
    if address.is_loopback and not client.forwarded:
        return None
    return str(address) if address.version == 4 else str(ip_network((int(address), 64), strict=False))


def network(prefix: str) -> str:
    """The network of a ``prefix`` that may have one owner: /24 of IPv4, /48 of IPv6."""
    if prefix in ("", UNIX):
        return prefix
    inside = ip_network(prefix)
    return str(inside.supernet(new_prefix=24 if inside.version == 4 else 48))


# Most requests are from a recent peer; the cache also shares the objects.
@lru_cache(1024)
def _direct(peer: str) -> Client:
    found = _address(peer)
    return Client("" if found is None else str(found), forwarded=False)


def _address(text: str) -> Address | None:
    """Parse an address with or without a port, as proxies write it."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    if text == UNIX:
        return UNIX
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _is_in(address: Address, trusted: Networks) -> bool:
    if address == UNIX:
        return UNIX in trusted
    return any(address in one for one in trusted if one != UNIX)
