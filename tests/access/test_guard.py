"""The guard's checks, with a clock of its own."""

import contextlib
from collections.abc import Callable, Sequence
from hashlib import sha256

import jwt
import pytest
from structlog.testing import capture_logs
from tallycast.access.guard import Guard
from tallycast.access.token_log import INTERVAL
from tallycast.contract.errors import (
    BadItem,
    Forbidden,
    Refusal,
    TooManyItems,
    Unauthorized,
    Unavailable,
    UnknownSite,
)
from tallycast.domain import tokens
from tallycast.domain.limits import Limits
from tallycast.domain.patterns import ItemPattern
from tallycast.domain.sites import Site
from tallycast.domain.tokens import Key, KeySet

from tests.access.conftest import Clock
from tests.support.signing import SECRET, private_key

SITE = Site("blog", origins=frozenset({"https://blog.example"}))
OTHER = Site("other")


@pytest.fixture
def guard(clock: Clock) -> Guard:
    return Guard({"blog": SITE, "other": OTHER}, b"s" * 32, clock)


def identify(guard: Guard, site: Site, token: str) -> tokens.Identity:
    """The identity, or the refusal raised; it must come at once."""
    answers: list[tokens.Identity | Refusal] = []
    guard.identify(site, token, answers.append)
    (answer,) = answers
    if isinstance(answer, Refusal):
        raise answer
    return answer


def test_sites_by_name(guard: Guard) -> None:
    assert guard.site("blog") is SITE
    for name in ("", "Blog", "nope", "default"):
        with pytest.raises(UnknownSite):
            guard.site(name)


def test_origins(guard: Guard) -> None:
    guard.check_origin(SITE, None)
    guard.check_origin(SITE, "https://blog.example")
    for origin in ("https://evil.example", "null", ""):
        with pytest.raises(Forbidden):
            guard.check_origin(SITE, origin)


def test_items_of_a_message_once_each_and_not_too_many(guard: Guard) -> None:
    assert guard.check_items(SITE, ["b", "a", "b"]) == ["b", "a"]
    assert guard.check_items(SITE, []) == []
    full = [str(i) for i in range(100)]
    assert guard.check_items(SITE, full) == full
    with pytest.raises(TooManyItems):
        guard.check_items(SITE, [*full, "more"])
    with pytest.raises(BadItem):
        guard.check_items(SITE, ["a", ""])
    small = Site("small", limits=Limits(items_a_message=1), items=ItemPattern("[0-9]+"))
    assert guard.check_items(small, ["7", "7"][:1]) == ["7"]
    with pytest.raises(TooManyItems):
        guard.check_items(small, ["7", "8"])
    with pytest.raises(BadItem, match="no such items"):
        guard.check_items(small, ["7x"])


def test_items_of_a_connection(guard: Guard) -> None:
    guard.check_watched(SITE, 5000)
    with pytest.raises(TooManyItems):
        guard.check_watched(SITE, 5001)
    with pytest.raises(TooManyItems):
        guard.check_watched(Site(limits=Limits(items_a_connection=2)), 3)


def test_a_new_visitor_is_known_on_this_site_only(guard: Guard, clock: Clock) -> None:
    visitor, token, expires = guard.new_visitor(SITE)
    assert identify(guard, SITE, token) == tokens.Identity(visitor, clock.now, expires)
    with pytest.raises(Unauthorized):
        identify(guard, OTHER, token)
    assert guard.new_visitor(SITE)[0] != visitor


def test_a_site_without_strangers(guard: Guard) -> None:
    closed = Site("blog", anonymous=False)
    _, token, _ = guard.new_visitor(SITE)
    identity = identify(guard, SITE, token)
    with pytest.raises(Forbidden):
        identify(guard, closed, token)
    with pytest.raises(Forbidden):
        guard.renew(closed, token)
    with pytest.raises(Forbidden):
        guard.new_visitor(closed)
    assert guard.accepts(SITE, identity)
    assert not guard.accepts(closed, identity)


def test_renewal_keeps_the_visitor_after_the_token_has_expired(guard: Guard, clock: Clock) -> None:
    visitor, token, expires = guard.new_visitor(SITE)
    clock.now = expires + 86400.0
    with pytest.raises(Unauthorized):
        identify(guard, SITE, token)
    again, fresh, later = guard.renew(SITE, token)
    assert (again, later) == (visitor, int(clock.now) + tokens.LIFETIME)
    assert identify(guard, SITE, fresh).visitor == visitor
    clock.now = expires + tokens.RENEWABLE + 60.0
    with pytest.raises(Unauthorized):
        guard.renew(SITE, token)


KEY = Key("HS256", SECRET, None, SECRET.encode())
SET = KeySet("ES256", "https://blog.example/keys")


class FetchedKeys:
    """A key set that is fetched when the test says so."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.waiting: list[Callable[[bool], None]] = []

    def known(self, key_set: KeySet) -> list[Key]:
        assert key_set is SET
        return self.keys

    def refresh(self, key_sets: Sequence[KeySet], done: Callable[[bool], None]) -> None:
        assert list(key_sets) == [SET]
        self.waiting.append(done)


def published(algorithm: str, key: object, **claims: object) -> str:
    whole = {"sub": "42", "aud": "blog", "iat": 1_800_000_000, "exp": 1_800_000_060} | claims
    payload = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(payload, key, algorithm)  # type: ignore[arg-type]


def test_a_publishers_visitor(clock: Clock) -> None:
    site = Site("blog", keys=(KEY,), anonymous=False)
    guard = Guard({"blog": site}, b"s" * 32, clock)
    identity = identify(guard, site, published("HS256", SECRET))
    assert (identity.visitor, identity.anonymous) == ("u:42", False)
    assert guard.accepts(site, identity)
    same = Key("HS256", SECRET, None, SECRET.encode())
    assert guard.accepts(Site("blog", keys=(same,)), identity), "read again, and still there"
    assert not guard.accepts(Site("blog"), identity)
    with pytest.raises(Unauthorized):
        guard.renew(Site("blog", keys=(KEY,)), published("HS256", SECRET))


def test_a_token_accepted_late_has_the_grace_too(clock: Clock) -> None:
    site = Site("blog", keys=(KEY,))
    guard = Guard({"blog": site}, b"s" * 32, clock)
    clock.now += 60 + tokens.LEEWAY
    identity = identify(guard, site, published("HS256", SECRET))
    clock.now += 25
    assert not guard.expired(identity, 25.0)
    clock.now += 1
    assert guard.expired(identity, 25.0)


def test_a_key_that_is_not_known_yet_is_fetched(clock: Clock) -> None:
    site, keys = Site("blog", keys=(KEY, SET)), FetchedKeys()
    guard = Guard({"blog": site}, b"s" * 32, clock, keys=keys)
    answers: list[object] = []
    token = published("ES256", private_key("ES256"))
    guard.identify(site, token, answers.append)
    assert answers == []
    keys.keys = [Key("ES256", "", None, private_key("ES256").public_key())]
    keys.waiting.pop()(True)
    assert [answer.visitor for answer in answers if isinstance(answer, tokens.Identity)] == ["u:42"]
    assert identify(guard, site, token).key is SET
    guard.identify(site, published("ES256", private_key("ES256", 1)), answers.append)
    keys.waiting.pop()(True)
    assert isinstance(answers[1], Unauthorized)
    keys.keys = []
    guard.identify(site, token, answers.append)
    keys.waiting.pop()(False)
    assert isinstance(answers[2], Unavailable)
    assert answers[2].retry_after


def test_what_no_key_could_make_right_is_not_fetched_for(clock: Clock) -> None:
    site, keys = Site("blog", keys=(SET,)), FetchedKeys()
    guard = Guard({"blog": site}, b"s" * 32, clock, keys=keys)
    for token in (
        "garbage",
        published("HS256", SECRET),
        published("ES256", private_key("ES256"), aud="other"),
        published("ES256", private_key("ES256"), exp=1),
    ):
        with pytest.raises(Unauthorized):
            identify(guard, site, token)
    assert keys.waiting == []


def test_revoked_tokens(clock: Clock) -> None:
    site = Site("blog", keys=(KEY,))
    revoked = {("blog", "u:42"): clock.now + 5}
    guard = Guard({}, b"s" * 32, clock, revoked=lambda site, visitor: revoked.get((site, visitor)))
    for issued in (clock.now, clock.now + 5):
        with pytest.raises(Unauthorized, match="revoked"):
            identify(guard, site, published("HS256", SECRET, iat=issued))
    assert identify(guard, site, published("HS256", SECRET, iat=clock.now + 5.1)).visitor == "u:42"
    assert identify(guard, site, published("HS256", SECRET, sub="43")).visitor == "u:43"


def test_a_revocation_holds_for_tokens_that_say_only_when_the_user_signed_in(clock: Clock) -> None:
    site = Site("blog", keys=(KEY,))
    revoked: dict[tuple[str, str], float] = {}
    guard = Guard({}, b"s" * 32, clock, revoked=lambda site, visitor: revoked.get((site, visitor)))
    before = published("HS256", SECRET, iat=None, nbf=clock.now + 10, auth_time=clock.now + 4)
    after = published("HS256", SECRET, iat=None, auth_time=clock.now + 6)
    clock.now += 10
    assert identify(guard, site, before).visitor == "u:42"
    revoked["blog", "u:42"] = clock.now - 5
    with pytest.raises(Unauthorized, match="revoked"):
        identify(guard, site, before)
    assert identify(guard, site, after).visitor == "u:42"
    with capture_logs() as logged, pytest.raises(Unauthorized, match="revoked"):
        identify(guard, site, published("HS256", SECRET, iat=None))
    assert logged[0]["claim"] == "iat"


def test_the_log_says_what_is_wrong_with_a_token_now_and_then(clock: Clock) -> None:
    site, other = Site("blog", keys=(KEY,)), Site("other", keys=(SET,))
    guard = Guard({}, b"s" * 32, clock, keys=FetchedKeys())
    wrong = published("HS256", SECRET, aud="https://api.example", sub="unknown")
    all_wrong = (wrong, published("HS256", SECRET * 2), published("HS256", SECRET, sub=["unknown"]))
    with capture_logs() as reply:
        for token in all_wrong * 1000:
            with pytest.raises(Unauthorized):
                identify(guard, site, token)
        with pytest.raises(Unauthorized):
            identify(guard, other, published("ES256", private_key("ES256"), aud="blog"))
        for stranger in ("garbage", "", guard.new_visitor(SITE)[1]):
            with contextlib.suppress(Unauthorized):
                identify(guard, site, stranger)
        clock.now += INTERVAL
        with pytest.raises(Unauthorized):
            identify(guard, site, wrong)
    assert {line.pop("event") for line in reply} == {"token refused"}
    assert {line.pop("log_level") for line in reply} == {"warning"}
    by_aud = {"site": "blog", "claim": "aud", "found": "'https://api.example'", "expected": "'blog'"}
    by_sub = {"site": "blog", "claim": "sub", "found": "list"}
    assert reply == [
        by_aud,
        {"site": "blog", "claim": "signature", "found": "by no key of the site's", "expected": "HS256"},
        {**by_sub, "expected": "a text of 1 to 128 bytes, or a whole number"},
        # Before its key set was ever fetched.
        {"site": "other", "claim": "aud", "found": "'blog'", "expected": "'other'"},
        {**by_aud, "suppressed": 999},
    ]


def test_grace_counts_from_the_end_of_the_token(guard: Guard, clock: Clock) -> None:
    identity = identify(guard, SITE, guard.new_visitor(SITE)[1])
    clock.now = identity.expires + 25.0
    assert not guard.expired(identity, 25.0)
    clock.now += 1
    assert guard.expired(identity, 25.0)


def test_admin_keys() -> None:
    keys = ["first key", "zweiter Schlüssel"]
    digests = [sha256(key.encode()) for key in keys]
    site = Site("blog", admin_keys=frozenset(digest.digest() for digest in digests))
    guard = Guard({"blog": site, "other": OTHER}, b"s" * 32)
    for key, digest in zip(keys, digests, strict=True):
        assert guard.administrator(site, key) == f"sha256:{digest.hexdigest()[:12]}"
        with pytest.raises(Unauthorized):
            guard.administrator(OTHER, key)
    for wrong in (
        "",
        "first key ",
        "first",
        digests[0].hexdigest(),
        "\udcff",
        f"sha256:{digests[0].hexdigest()}",
    ):
        with pytest.raises(Unauthorized):
            guard.administrator(site, wrong)
