"""Tokens of publishers: what is taken, what is not, and that no key speaks for another kind of visitor."""

import warnings
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import jwt
import pytest
from hypothesis import given
from tallycast.contract.errors import Unauthorized
from tallycast.domain import tokens
from tallycast.domain.tokens import Claims, Identity, InvalidClaim, Key, KeySet, UnknownSigner

from tests.support.signing import SECRET, private_key, public_pem

NOW = 1_800_000_000
OURS = b"s" * 32
HS256 = Key("HS256", SECRET, None, SECRET.encode())
ALGORITHMS = ("RS256", "ES256", "EdDSA")


def public(algorithm: str, number: int = 0, kid: str | None = None) -> Key:
    private = private_key(algorithm, number)
    return Key(algorithm, public_pem(private), kid, private.public_key())


def signed(key: Any = SECRET, algorithm: str = "HS256", kid: object = None, **claims: object) -> str:
    whole = {"sub": "42", "aud": "blog", "iat": NOW, "exp": NOW + 60} | claims
    payload = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(payload, key, algorithm, headers=None if kid is None else {"kid": kid})


def judge(token: str, *keys: Key, now: float = NOW) -> Identity:
    return tokens.verify(token, "blog", [(key, None) for key in keys or (HS256,)], now)


def test_a_secret() -> None:
    assert judge(signed()) == Identity("u:42", NOW, NOW + 60, HS256)
    assert judge(signed(aud=["other", "blog"])).visitor == "u:42"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_public_keys(algorithm: str) -> None:
    key = public(algorithm)
    assert judge(signed(private_key(algorithm), algorithm), HS256, key).key is key
    with pytest.raises(UnknownSigner):
        judge(signed(private_key(algorithm, 1), algorithm), HS256, key)


def test_what_the_keys_came_from_is_reported() -> None:
    source = KeySet("ES256", "https://blog.example/keys")
    token = signed(private_key("ES256"), "ES256")
    assert tokens.verify(token, "blog", [(public("ES256"), source)], NOW).key is source


def test_key_ids() -> None:
    one, two = public("ES256", 1, "one"), public("ES256", 2, "two")
    assert judge(signed(private_key("ES256", 2), "ES256", "two"), one, two).key is two
    assert judge(signed(private_key("ES256", 2), "ES256"), one, two).key is two
    with pytest.raises(UnknownSigner):
        judge(signed(private_key("ES256", 2), "ES256", "one"), one, two)
    with pytest.raises(UnknownSigner):
        judge(signed(private_key("ES256", 2), "ES256", "three"), one, two)
    assert judge(signed(kid="whatever")).visitor == "u:42"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """The classic confusion: HS256 with the text of the public key, which everybody knows."""
    key = public(algorithm)
    header, claims, _ = signed().split(".")
    message = f"{header}.{claims}".encode()
    hmac = jwt.get_algorithm_by_name("HS256")
    for text in (key.material, key.material.strip()):
        signature = jwt.utils.base64url_encode(hmac.sign(message, text.encode())).decode()
        with pytest.raises(UnknownSigner):
            judge(f"{header}.{claims}.{signature}", key)


def forgeries() -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyJWT does not like the short secret either.
        return {
            "expired": signed(exp=NOW - 31),
            "not yet valid": signed(nbf=NOW + 31),
            "from the future": signed(iat=NOW + 31),
            "too old": signed(iat=NOW - tokens.MAX_AGE - 31),
            "another audience": signed(aud="other"),
            "audiences": signed(aud=["other"]),
            "no audience": signed(aud=None),
            "no sub": signed(sub=None),
            "no exp": signed(exp=None),
            "no iat, and ends too late": signed(iat=None, exp=NOW + tokens.MAX_AHEAD_UNDATED + 31),
            "no iat, and signed in too long ago": signed(iat=None, auth_time=NOW - tokens.MAX_AGE - 31),
            "no iat, and signed in in the future": signed(iat=None, auth_time=NOW + 31),
            "iat of another type": signed(iat=[], auth_time=NOW),
            "iat of 1970": signed(iat=0, auth_time=NOW),
            "sub a fraction": signed(sub=42.5),
            "sub a truth": signed(sub=True),
            "sub a list": signed(sub=["42"]),
            "sub too long a number": signed(sub=10**128),
            "sub empty": signed(sub=""),
            "sub long": signed(sub="é" * 65),
            "sub surrogate": signed(sub="\ud800"),
            "another secret": signed("another secret, which is long enough as well"),
            "short secret": signed("x"),
            "none": signed(None, "none"),
            "HS512": signed(SECRET * 2, "HS512"),
            "garbage": "garbage",
            "dots": "..",
            "empty": "",
            "surrogates": "\ud800.\ud800.\ud800",
            "8 KiB": signed(padding="x" * 8192),
            "cut": signed()[:-4],
            "times": signed(exp="soon"),
            "huge": signed(exp=10**400),
        }


@pytest.mark.parametrize("token", forgeries().values(), ids=forgeries())
def test_nothing_else_holds(token: str) -> None:
    with pytest.raises(Unauthorized):
        judge(token)


AT_MOST = "at most 90 days"
API = Claims("https://api.example/v1", "https://example/user id")


def for_api(**claims: object) -> str:
    return signed(**{"sub": "someone else", "aud": API.audience, API.subject: "42"} | claims)


def test_an_audience_and_a_subject_of_ones_own() -> None:
    key = Key("HS256", SECRET, None, SECRET.encode(), API)
    assert judge(for_api(), key) == Identity("u:42", NOW, NOW + 60, key)
    assert judge(for_api(aud=["other", API.audience], sub=7), key).visitor == "u:42"
    for wrong in (
        for_api(aud="blog"),
        for_api(aud=f"{API.audience}/"),
        for_api(aud="https://API.example/v1"),
        for_api(aud=[["blog"]]),
        for_api(**{API.subject: None}),
        signed(),
    ):
        with pytest.raises(InvalidClaim):
            judge(wrong, key)
    # The same key for two audiences: either will do, in whichever order they are listed.
    for keys in ((key, HS256), (HS256, key)):
        assert [judge(token, *keys).key for token in (for_api(), signed())] == [key, HS256]
        with pytest.raises(InvalidClaim):
            judge(signed(aud="other"), *keys)


def test_a_number_is_the_user_of_its_digits() -> None:
    assert judge(signed(sub=42)) == judge(signed(sub="42"))
    assert judge(signed(sub=-(2**70))).visitor == f"u:-{2**70}"


def test_without_the_time_of_issue() -> None:
    """It counts as older than every revocation, unless it says when the user signed in, which is no later."""
    assert judge(signed(iat=None)) == Identity("u:42", 0, NOW + 60, HS256)
    assert judge(signed(iat=None, nbf=NOW - 5)).issued == 0, "nbf may be after the issue"
    assert judge(signed(iat=None, exp=NOW + 86400)).expires == NOW + 86400
    assert judge(signed(iat=None, auth_time=NOW - 5)) == Identity("u:42", NOW - 5, NOW + 60, HS256)
    long = signed(iat=None, auth_time=NOW, exp=NOW + 4 * tokens.MAX_AGE)
    assert judge(long).expires == NOW + tokens.MAX_AGE
    assert judge(signed(auth_time="yesterday")).issued == NOW


def test_a_token_that_lives_longer_than_a_revocation_does_not_hold_after_it() -> None:
    """Not in its last days either."""
    year = signed(iat=None, exp=NOW + 4 * tokens.MAX_AGE, auth_time=NOW)
    for now in (NOW + tokens.MAX_AGE + tokens.LEEWAY + 1, NOW + 3 * tokens.MAX_AGE, NOW + 4 * tokens.MAX_AGE):
        with pytest.raises(Unauthorized):
            judge(year, now=now)


@pytest.mark.parametrize(
    ("claims", "answer"),
    [
        ({"aud": "https://api.example"}, ("aud", "'https://api.example'", "'blog'")),
        ({"aud": ["x" * 500]}, ("aud", f"['{'x' * (tokens.MAX_SHOWN - 2)}", "'blog'")),
        ({"aud": None}, ("aud", "missing", "one")),
        ({"exp": None}, ("exp", "missing", "one")),
        ({"sub": None}, ("sub", "missing", "one")),
        ({"sub": [42]}, ("sub", "list", "a text of 1 to 128 bytes, or a whole number")),
        ({"sub": "x" * 129}, ("sub", "129 characters", "a text of 1 to 128 bytes, or a whole number")),
        ({"exp": "soon"}, ("exp", "str", "seconds since 1970")),
        ({"exp": NOW - 3600}, ("exp", "3600 s ago", "the future")),
        ({"nbf": NOW + 60}, ("nbf", "60 s ahead", "at most 30 s ahead")),
        ({"iat": NOW + 60}, ("iat", "60 s ahead", "at most 30 s ahead")),
        ({"iat": NOW - 100 * 86400}, ("iat", "100 days ago", f"{AT_MOST} ago")),
        ({"iat": None, "exp": NOW + 2 * 86400}, ("exp", "2 days ahead", "at most 1 day ahead, without iat")),
        ({"iat": None, "auth_time": NOW - 100 * 86400}, ("auth_time", "100 days ago", f"{AT_MOST} ago")),
    ],
)  # fmt: skip
def test_a_wrong_claim_is_named(claims: dict[str, object], answer: tuple[str, str, str]) -> None:
    with pytest.raises(InvalidClaim) as caught:
        judge(signed(**claims))
    wrong = caught.value
    assert (wrong.claim, wrong.found, wrong.expected) == answer
    # Nor does the client learn of it.
    assert answer[1] not in str(wrong)


def test_sizes_of_sub() -> None:
    assert judge(signed(sub="é" * 64)).visitor == "u:" + "é" * 64


def test_leeway_and_the_end() -> None:
    token = signed()
    assert judge(token, now=NOW + 60).expires == NOW + 60
    late = judge(token, now=NOW + 90)
    assert late.expires == NOW + 90, "a token accepted late has the time of grace too"
    with pytest.raises(Unauthorized):
        judge(token, now=NOW + 90.1)


def test_whatever_it_says_it_ends_by_its_age() -> None:
    for_ever = signed(exp=NOW + 10 * tokens.MAX_AGE)
    assert judge(for_ever).expires == NOW + tokens.MAX_AGE
    late = NOW + tokens.MAX_AGE + 20
    assert judge(for_ever, now=late).expires == late, "a token accepted late has the time of grace too"
    with pytest.raises(Unauthorized):
        judge(for_ever, now=NOW + tokens.MAX_AGE + 31)


@given(st.text(max_size=200))
def test_no_publisher_names_an_anonymous_visitor(subject: str) -> None:
    try:
        visitor = judge(signed(sub=subject)).visitor
    except Unauthorized:
        return
    assert visitor == f"u:{subject}"


def test_each_kind_is_its_own() -> None:
    anonymous, _ = tokens.sign(tokens.anonymous_id(bytes(16)), "blog", OURS, NOW)
    with pytest.raises(UnknownSigner):
        judge(anonymous)
    with pytest.raises(UnknownSigner):
        tokens.verify_anonymous(signed(), "blog", OURS, NOW)
    # Even with the same secret on both sides.
    same = Key("HS256", OURS.decode(), None, OURS)
    assert judge(anonymous, same).visitor.startswith("u:a:")
    with pytest.raises(Unauthorized):
        tokens.verify_anonymous(signed(OURS), "blog", OURS, NOW)


def test_what_is_worth_a_fetch() -> None:
    source = KeySet("ES256", "https://blog.example/keys")

    def worth(token: str) -> bool:
        try:
            return tokens.may_match(source, token, "blog", NOW)
        except InvalidClaim:
            return False

    key = private_key("ES256")
    assert worth(signed(key, "ES256", "new"))
    assert not worth(signed())
    assert not worth(signed(key, "ES256", aud="other"))
    assert not worth(signed(key, "ES256", exp=NOW - 31))
    assert not worth(signed(key, "ES256", exp=None))
    with pytest.raises(Unauthorized):
        worth("garbage")


@pytest.mark.parametrize(
    "key", [HS256, *(Key(a, "", "k", None) for a in ALGORITHMS)], ids=lambda k: k.algorithm
)
def test_what_is_issued_holds(key: Key) -> None:
    if key.algorithm == "HS256":
        token, checked, loaded = tokens.issue("42", "blog", key, NOW + 0.25, 60), key, key
    else:
        loaded = Key(key.algorithm, "", "k", private_key(key.algorithm))
        token, checked = tokens.issue("42", "blog", loaded, NOW + 0.25, 60), public(key.algorithm, kid="k")
    assert judge(token, checked) == Identity("u:42", NOW + 0.25, NOW + 60, checked)
    loaded, checked = replace(key, claims=API, loaded=loaded.loaded), replace(checked, claims=API)
    assert judge(tokens.issue("42", "blog", loaded, NOW, 60), checked).visitor == "u:42"
