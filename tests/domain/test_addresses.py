"""Whose address a request is counted under, and that no client can choose it."""

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given
from tallycast.domain.addresses import MAX_HOPS, Client, client, network, networks, owner, prefix

TRUSTED = networks("127.0.0.0/8, ::1, 10.0.0.0/8, fd00::/8")
PROXIES = ("127.0.0.1", "::1", "10.1.2.3", "fd00::1", "::ffff:10.9.9.9")
addresses = st.ip_addresses().map(str)
strangers = addresses.filter(lambda text: client(text, ["192.0.2.1"], TRUSTED).address != "192.0.2.1")
proxies = st.sampled_from(PROXIES)
header = st.text(max_size=200)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.1"], "198.51.100.1"),
        ("127.0.0.1", ["10.0.0.2, 10.0.0.1"], "10.0.0.2"),
        ("127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("127.0.0.1", ["[2001:DB8:0::1]:4711"], "2001:db8::1"),
        ("127.0.0.1", ['"[2001:db8::1]"'], "2001:db8::1"),
        ("127.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("127.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["unknown, 10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", ["198.51.100.1,"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("fe80::1%eth0", [], "fe80::1"),
        ("", ["198.51.100.1"], ""),
        ("unix", [], "unix"),
        ("unix", ["198.51.100.1"], "unix"),
        ("127.0.0.1", ["198.51.100.1, unix:"], "unix"),
    ],
)
def test_examples(peer: str, forwarded: list[str], address: str) -> None:
    assert client(peer, forwarded, TRUSTED) == Client(address, bool(forwarded))


@given(strangers, st.lists(header))
def test_what_a_stranger_says_is_ignored(peer: str, forwarded: list[str]) -> None:
    assert client(peer, forwarded, TRUSTED) == client(peer, [], TRUSTED)._replace(forwarded=bool(forwarded))


@given(proxies, strangers, st.lists(header), st.lists(proxies, max_size=5))
def test_an_address_further_left_hides_no_client(
    peer: str, stranger: str, forged: list[str], between: list[str]
) -> None:
    """Each proxy appends the address it got it from; the first of them got it from the client."""
    chain = [*forged, ", ".join([stranger, *between])]
    assert client(peer, chain, TRUSTED) == client(stranger, ["x"], TRUSTED)


@given(proxies, st.lists(header), st.sampled_from(["none", "192.0.2.0/24"]))
def test_no_peer_is_trusted_unless_said(peer: str, forwarded: list[str], trusted: str) -> None:
    assume(forwarded)
    assert client(peer, forwarded, networks(trusted)).address == client(peer, [], ()).address


@given(addresses, st.lists(header))
def test_the_form_is_canonical(peer: str, forwarded: list[str]) -> None:
    found = client(peer, forwarded, TRUSTED).address
    assert client(found, [], ()).address == found


def test_long_chains_are_not_followed_for_ever() -> None:
    chain = ["198.51.100.1"] + ["10.0.0.1"] * (MAX_HOPS - 1)
    assert client("127.0.0.1", [",".join(chain)], TRUSTED).address == "198.51.100.1"
    chain = ["198.51.100.1"] + ["10.0.0.1"] * 100_000
    assert client("127.0.0.1", [",".join(chain)], TRUSTED).address == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("unix", [], "unix"),
        ("unix", ["198.51.100.1"], "198.51.100.1"),
        # nginx calls a peer on a Unix socket so.
        ("unix", ["198.51.100.1, unix:"], "198.51.100.1"),
        ("unix", ["198.51.100.1, 10.0.0.1"], "10.0.0.1"),
        ("unix", ["unknown"], "unix"),
        ("10.0.0.1", ["198.51.100.1"], "10.0.0.1"),
    ],
)
def test_a_trusted_peer_on_a_unix_socket(peer: str, forwarded: list[str], address: str) -> None:
    assert client(peer, forwarded, networks("unix")) == Client(address, bool(forwarded))


def test_a_unix_socket_is_this_machine_unless_a_proxy_is_on_it() -> None:
    assert owner("unix", networks("unix")) is None
    assert owner("unix", ()) == Client("unix", forwarded=False)
    assert prefix(Client("unix", forwarded=False)) is None
    assert prefix(Client("unix", forwarded=True)) == network("unix") == "unix"


def test_networks() -> None:
    assert networks("unix, 127.0.0.1")[0] == "unix"
    assert networks(" none ") == ()
    assert [str(network) for network in networks("127.0.0.1, fd00::/8")] == ["127.0.0.1/32", "fd00::/8"]
    for wrong in ("", "*", "10.0.0.1/8", "proxy.example", "127.0.0.1;::1", "1.2.3"):
        with pytest.raises(ValueError, match=r"does not appear|has host bits|is not"):
            networks(wrong)


@given(proxies)
def test_a_trusted_proxys_connection_counts_for_no_address(peer: str) -> None:
    assert owner(peer, TRUSTED) is None
    assert owner(peer, ()) == client(peer, [], ())


@given(strangers)
def test_anybody_elses_is_the_peers(peer: str) -> None:
    assert owner(peer, TRUSTED) == client(peer, [], TRUSTED)


def test_an_unknown_peer_is_not_trusted() -> None:
    assert owner("", networks("0.0.0.0/0, ::/0")) == Client("", forwarded=False)


@pytest.mark.parametrize(
    ("address", "around"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("", ""),
    ],
)
def test_neighbourhoods(address: str, around: str) -> None:
    own = prefix(client(address, [], ()))
    assert own is not None
    assert network(own) == around
