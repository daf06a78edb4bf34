"""What a worker takes, with a clock of its own."""

import pytest
from tallycast.access.admission import Admission
from tallycast.contract.errors import RateLimited, Refusal, Unavailable
from tallycast.domain.addresses import Client
from tallycast.domain.limits import Caps
from tallycast.domain.rates import Rate

from tests.access.conftest import Clock

HERE = Client("127.0.0.1", forwarded=False)
OFFICE = Client("192.0.2.7", forwarded=False)
CAPS = Caps(
    connections=20,
    address_connections=5,
    address_arrivals=Rate(1, 10),
    address_requests=Rate(2, 4),
    address_visitors=Rate(1, 3),
)


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(CAPS, clock)


def another(number: int) -> Client:
    return Client(f"198.51.100.{number}", forwarded=False)


def refusal(admission: Admission, client: Client) -> Refusal | None:
    """Why a connection of a client's must not stay, if so. It is there to stay."""
    return admission.assign(admission.add_connection(client), client)


def test_connections_in_all(admission: Admission) -> None:
    assert [admission.add_connection(HERE).refusal for _ in range(20)] == [None] * 20
    crowded = [admission.add_connection(another(1)), admission.add_connection(HERE)]
    assert all(slot.counted and isinstance(slot.refusal, Unavailable) for slot in crowded)
    slot = admission.add_connection(HERE)
    assert not slot.counted
    assert isinstance(slot.refusal, Unavailable)
    assert slot.refusal.retry_after
    # A connection that is refused takes a place until it is gone, and one that was not counted does not.
    admission.remove_connection(HERE)
    assert admission.add_connection(HERE).refusal is not None
    for _ in range(2):
        admission.remove_connection(HERE)
    admission.remove_connection(another(1))
    assert admission.add_connection(HERE).refusal is None


def test_an_early_connection_stays_though_others_wait(admission: Admission) -> None:
    """A crowd that comes at once: as many as there is room for are let in, and not none."""
    places = [admission.add_connection(HERE) for _ in range(22)]
    found = [admission.assign(slot, HERE) for slot in places]
    assert [kind is None for kind in found] == [True] * 20 + [False] * 2


def test_connections_of_one_address(admission: Admission) -> None:
    places = [admission.add_connection(OFFICE) for _ in range(7)]
    assert [slot.refusal is None for slot in places] == [True] * 5 + [False] * 2
    assert [slot.counted for slot in places] == [True] * 6 + [False]
    assert isinstance(places[5].refusal, RateLimited)
    assert isinstance(places[6].refusal, Unavailable)
    assert isinstance(admission.assign(places[5], OFFICE), RateLimited)
    assert admission.add_connection(another(1)).refusal is None
    assert admission.add_connection(HERE).refusal is None
    admission.remove_connection(OFFICE)
    admission.remove_connection(OFFICE)
    assert admission.add_connection(OFFICE).refusal is None


def test_one_address_does_not_take_the_room_of_all(admission: Admission) -> None:
    for _ in range(100):
        admission.add_connection(OFFICE)
    assert [admission.add_connection(HERE).refusal for _ in range(14)] == [None] * 14


def test_a_trusted_proxy_is_not_an_address(admission: Admission) -> None:
    """Its connections count for the clients that stay on them, and for none while none does."""
    places = [admission.add_connection(None) for _ in range(14)]
    assert [admission.assign(slot, OFFICE) for slot in places[:5]] == [None] * 5
    assert isinstance(admission.assign(places[5], OFFICE), RateLimited)
    with pytest.raises(Unavailable):
        admission.assign(places[6], OFFICE)
    assert admission.assign(places[6], another(1)) is None
    for slot in places[4:6]:
        admission.release(slot, OFFICE)
    assert admission.assign(places[4], OFFICE) is None
    assert [admission.add_connection(None).refusal for _ in range(6)] == [None] * 6
    for client in (*[OFFICE] * 5, another(1), *[None] * 14):
        admission.remove_connection(client)
    assert not admission._at_address
    assert admission._connections == 0


def test_new_connections_of_one_address(admission: Admission, clock: Clock) -> None:
    def come_and_go() -> object:
        found = refusal(admission, OFFICE)
        admission.remove_connection(OFFICE)
        return found

    assert [come_and_go() for _ in range(10)] == [None] * 10
    found = come_and_go()
    assert isinstance(found, RateLimited)
    assert found.retry_after == pytest.approx(1.0)
    clock.now += 1.0
    assert come_and_go() is None
    assert isinstance(come_and_go(), RateLimited)


def test_what_is_refused_has_budgets_of_its_own(admission: Admission, clock: Clock) -> None:
    for _ in range(10):
        assert admission.refuse_upgrade(admission.add_connection(OFFICE), OFFICE)
    assert not admission.refuse_upgrade(admission.add_connection(OFFICE), OFFICE), "closed at once"
    assert not admission._at_address
    for _ in range(4):
        admission.refused_request(OFFICE)
    with pytest.raises(RateLimited):
        admission.refused_request(OFFICE)
    for _ in range(4):
        admission.page_request(OFFICE)
    with pytest.raises(RateLimited):
        admission.page_request(OFFICE)
    # And nothing of that is missing.
    for _ in range(4):
        admission.request(OFFICE)
    assert refusal(admission, OFFICE) is None
    clock.now += 1.0
    assert admission.refuse_upgrade(admission.add_connection(OFFICE), OFFICE)
    # This machine has no limits here either.
    assert all(admission.refuse_upgrade(admission.add_connection(another(1)), HERE) for _ in range(7))


def test_nothing_is_kept_of_connections_that_are_gone(admission: Admission) -> None:
    for number in range(200):
        refusal(admission, another(number))
        admission.remove_connection(another(number))
    assert not admission._at_address


def test_guessing_is_slow(admission: Admission, clock: Clock) -> None:
    """A wrong admin key costs more than the request: up to a burst is owed, whatever was left."""
    admission.request(OFFICE)
    for _ in range(100):
        admission.wrong_admin_key(OFFICE)
        admission.wrong_admin_key(HERE)
    with pytest.raises(RateLimited) as caught:
        admission.request(OFFICE)
    assert caught.value.retry_after == pytest.approx(2.5)
    admission.request(another(1))
    admission.request(HERE)
    clock.now += 2.5
    admission.request(OFFICE)


def test_requests_and_newcomers_of_one_address(admission: Admission, clock: Clock) -> None:
    for let_in, burst in ((admission.request, 4), (admission.new_visitor, 3)):
        for client in (OFFICE, another(1)):
            for _ in range(burst):
                let_in(client)
            with pytest.raises(RateLimited) as caught:
                let_in(client)
            assert caught.value.retry_after
        for _ in range(50):
            let_in(HERE)
    clock.now += 1.0
    admission.new_visitor(OFFICE)


def test_an_ipv6_household_is_one_address(admission: Admission) -> None:
    for number in range(3):
        admission.new_visitor(Client(f"2001:db8:0:1::{number}", forwarded=True))
    with pytest.raises(RateLimited):
        admission.new_visitor(Client("2001:db8:0:1:ffff::1", forwarded=False))
    admission.new_visitor(Client("2001:db8:0:2::1", forwarded=False))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine_is_exempt_only_when_it_does_not_stand_between(
    admission: Admission, address: str
) -> None:
    for _ in range(50):
        admission.new_visitor(Client(address, forwarded=False))
    for _ in range(3):
        admission.new_visitor(Client(address, forwarded=True))
    with pytest.raises(RateLimited):
        admission.new_visitor(Client(address, forwarded=True))


def test_clients_without_an_address_share_one_bucket(admission: Admission) -> None:
    for forwarded in (True, False, True):
        admission.new_visitor(Client("", forwarded))
    with pytest.raises(RateLimited):
        admission.new_visitor(Client("", forwarded=False))
