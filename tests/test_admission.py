"""What a worker takes, with a clock of its own."""

import pytest

from server.admission import Admission
from server.errors import RateLimited, Unavailable
from server.rules.addresses import Client
from server.rules.limits import Caps
from server.rules.rates import Rate

HERE = Client("127.0.0.1", forwarded=False)
OFFICE = Client("192.0.2.7", forwarded=False)
CAPS = Caps(
    connections=20,
    address_connections=5,
    address_arrivals=Rate(1, 10),
    address_requests=Rate(2, 4),
    address_visitors=Rate(1, 3),
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(CAPS, clock)


def another(number: int) -> Client:
    return Client(f"198.51.100.{number}", forwarded=False)


def test_connections_in_all(admission: Admission) -> None:
    assert [admission.enter(HERE) for _ in range(20)] == [None] * 20
    crowded = [admission.enter(another(1)), admission.enter(HERE)]
    assert all(isinstance(refusal, Unavailable) and refusal.retry_after for refusal in crowded)
    with pytest.raises(Unavailable):
        admission.enter(HERE)
    # Who is turned away takes a place until it is gone, and whoever was not let in does not.
    admission.leave(HERE)
    assert isinstance(admission.enter(HERE), Unavailable)
    for _ in range(2):
        admission.leave(HERE)
    admission.leave(another(1))
    assert admission.enter(HERE) is None


def test_connections_of_one_address(admission: Admission) -> None:
    assert [admission.enter(OFFICE) for _ in range(5)] == [None] * 5
    assert isinstance(admission.enter(OFFICE), RateLimited)
    assert admission.enter(another(1)) is None
    assert admission.enter(HERE) is None
    admission.leave(OFFICE)
    admission.leave(OFFICE)
    assert admission.enter(OFFICE) is None


def test_new_connections_of_one_address(admission: Admission, clock: Clock) -> None:
    def come_and_go() -> object:
        refusal = admission.enter(OFFICE)
        admission.leave(OFFICE)
        return refusal

    assert [come_and_go() for _ in range(10)] == [None] * 10
    refusal = come_and_go()
    assert isinstance(refusal, RateLimited)
    assert refusal.retry_after == pytest.approx(1.0)
    clock.now += 1.0
    assert come_and_go() is None
    assert isinstance(come_and_go(), RateLimited)


def test_nothing_is_kept_of_who_has_gone(admission: Admission) -> None:
    for number in range(200):
        admission.enter(another(number))
        admission.leave(another(number))
    assert not admission._at_address


def test_requests_and_newcomers_of_one_address(admission: Admission, clock: Clock) -> None:
    for let_in, burst in ((admission.request, 4), (admission.newcomer, 3)):
        for client in (OFFICE, another(1)):
            for _ in range(burst):
                let_in(client)
            with pytest.raises(RateLimited) as caught:
                let_in(client)
            assert caught.value.retry_after
        for _ in range(50):
            let_in(HERE)
    clock.now += 1.0
    admission.newcomer(OFFICE)


def test_an_ipv6_household_is_one_address(admission: Admission) -> None:
    for number in range(3):
        admission.newcomer(Client(f"2001:db8:0:1::{number}", forwarded=True))
    with pytest.raises(RateLimited):
        admission.newcomer(Client("2001:db8:0:1:ffff::1", forwarded=False))
    admission.newcomer(Client("2001:db8:0:2::1", forwarded=False))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine_is_exempt_only_when_it_does_not_stand_between(
    admission: Admission, address: str
) -> None:
    for _ in range(50):
        admission.newcomer(Client(address, forwarded=False))
    for _ in range(3):
        admission.newcomer(Client(address, forwarded=True))
    with pytest.raises(RateLimited):
        admission.newcomer(Client(address, forwarded=True))


def test_who_has_no_address_shares_one_bucket(admission: Admission) -> None:
    for forwarded in (True, False, True):
        admission.newcomer(Client("", forwarded))
    with pytest.raises(RateLimited):
        admission.newcomer(Client("", forwarded=False))


def test_reactions_of_one_visitor(admission: Admission, clock: Clock) -> None:
    limit = Rate(10, 20)
    for visitor in (b"a", b"b"):
        for _ in range(20):
            admission.reaction(visitor, limit)
        with pytest.raises(RateLimited) as caught:
            admission.reaction(visitor, limit)
        assert caught.value.retry_after == pytest.approx(0.1)
    clock.now += 0.5
    for _ in range(5):
        admission.reaction(b"a", limit)
    with pytest.raises(RateLimited):
        admission.reaction(b"a", limit)
