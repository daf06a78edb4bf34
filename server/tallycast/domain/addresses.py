"""Which address a request came from, when it may have come through proxies.

A proxy appends to X-Forwarded-For whom it got the request from; what stands to the left of that is what it
was told, and anybody can tell it anything. So the rightmost address that is not one of a trusted proxy is the
client's, and a peer that is not trusted is the client itself, whatever its header says. Must not know where
connections come from, nor what is trusted.
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

# No chain of proxies is longer; a header may be.
MOST_HOPS = 32


class Client(NamedTuple):
    """Who a request came from: the address in its canonical form, "" where there is none.

    ``forwarded``: the request had a forwarding header, so somebody stands between, or says so.
    """

    address: str
    forwarded: bool


def networks(text: str) -> Networks:
    """The networks in a list such as ``127.0.0.1, 10.0.0.0/8, unix``; ``none`` is the empty one.

    Raises:
        ValueError: it is something else.
    """
    if text.strip() == NONE:
        return ()
    parts = (part.strip() for part in text.split(","))
    return tuple(UNIX if part == UNIX else ip_network(part) for part in parts)


def client(peer: str, forwarded: Sequence[str], trusted: Networks) -> Client:
    """Who a request came from.

    ``peer`` is the address at the other end of the connection, ``forwarded`` are the values of the
    X-Forwarded-For headers in their order.
    """
    if not forwarded:
        return _direct(peer)
    found = _address(peer)
    if found is None:
        return Client("", forwarded=True)
    hops = ",".join(forwarded).rsplit(",", MOST_HOPS)[-MOST_HOPS:]
    while hops and _is_in(found, trusted):
        said = _address(hops.pop())
        if said is None:
            break  # A trusted proxy does not know: nearer than this one nobody can be named.
        found = said
    return Client(str(found), forwarded=True)


@lru_cache(1024)
def owner(peer: str, trusted: Networks) -> Client | None:
    """Who a connection counts for, whatever comes on it; ``None`` where that is a trusted proxy's."""
    found = _address(peer)
    return None if found is not None and _is_in(found, trusted) else _direct(peer)


@lru_cache(1024)
def prefix(client: Client) -> str | None:
    """What a client is counted as: an IPv4 address itself, the /64 of an IPv6 one, which is one household's.

    "" is a client that has none that is known, ``None`` one on this machine itself and not behind a proxy.
    """
    if client.address == UNIX:
        return UNIX if client.forwarded else None
    if not client.address:
        return ""
    address = ip_address(client.address)
    if address.is_loopback and not client.forwarded:
        return None
    return str(address) if address.version == 4 else str(ip_network((int(address), 64), strict=False))


def neighbourhood(prefix: str) -> str:
    """The network around a ``prefix``, which one owner may have all of: /24 of IPv4, /48 of IPv6."""
    if prefix in ("", UNIX):
        return prefix
    inside = ip_network(prefix)
    return str(inside.supernet(new_prefix=24 if inside.version == 4 else 48))


# Most requests have a peer that was seen a moment ago; and who holds it holds the same one.
@lru_cache(1024)
def _direct(peer: str) -> Client:
    found = _address(peer)
    return Client("" if found is None else str(found), forwarded=False)


def _address(text: str) -> Address | None:
    """An address, with or without a port, as proxies write it."""
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
    return any(address in network for network in trusted if network != UNIX)
