"""Tokens of publishers: what is taken, what is not, and that no key speaks for another kind of visitor."""

import warnings
from typing import Any

import hypothesis.strategies as st
import jwt
import pytest
from hypothesis import given

from server.errors import Unauthorized
from server.rules import tokens
from server.rules.tokens import Identity, Key, KeySet, NotOurs
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
    with pytest.raises(NotOurs):
        judge(signed(private_key(algorithm, 1), algorithm), HS256, key)


def test_what_the_keys_came_from_is_told() -> None:
    source = KeySet("ES256", "https://blog.example/keys")
    token = signed(private_key("ES256"), "ES256")
    assert tokens.verify(token, "blog", [(public("ES256"), source)], NOW).key is source


def test_key_ids() -> None:
    one, two = public("ES256", 1, "one"), public("ES256", 2, "two")
    assert judge(signed(private_key("ES256", 2), "ES256", "two"), one, two).key is two
    assert judge(signed(private_key("ES256", 2), "ES256"), one, two).key is two
    with pytest.raises(NotOurs):
        judge(signed(private_key("ES256", 2), "ES256", "one"), one, two)
    with pytest.raises(NotOurs):
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
        with pytest.raises(NotOurs):
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
            "no iat": signed(iat=None),
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


def test_sizes_of_sub() -> None:
    assert judge(signed(sub="é" * 64)).visitor == "u:" + "é" * 64


def test_leeway_and_the_end() -> None:
    token = signed()
    assert judge(token, now=NOW + 60).expires == NOW + 60
    late = judge(token, now=NOW + 90)
    assert late.expires == NOW + 90, "who was let in late has the time of grace too"
    with pytest.raises(Unauthorized):
        judge(token, now=NOW + 90.1)


def test_whatever_it_says_it_ends_by_its_age() -> None:
    for_ever = signed(exp=NOW + 10 * tokens.MAX_AGE)
    assert judge(for_ever).expires == NOW + tokens.MAX_AGE
    late = NOW + tokens.MAX_AGE + 20
    assert judge(for_ever, now=late).expires == late, "who was let in late has the time of grace too"
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
    with pytest.raises(NotOurs):
        judge(anonymous)
    with pytest.raises(NotOurs):
        tokens.verify_anonymous(signed(), "blog", OURS, NOW)
    # Even with the same secret on both sides.
    same = Key("HS256", OURS.decode(), None, OURS)
    assert judge(anonymous, same).visitor.startswith("u:a:")
    with pytest.raises(Unauthorized):
        tokens.verify_anonymous(signed(OURS), "blog", OURS, NOW)


def test_what_is_worth_a_fetch() -> None:
    source = KeySet("ES256", "https://blog.example/keys")

    def worth(token: str) -> bool:
        return tokens.may_be_from(source, token, "blog", NOW)

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
        token, checked = tokens.issue("42", "blog", key, NOW + 0.25, 60), key
    else:
        loaded = Key(key.algorithm, "", "k", private_key(key.algorithm))
        token, checked = tokens.issue("42", "blog", loaded, NOW + 0.25, 60), public(key.algorithm, kid="k")
    assert judge(token, checked) == Identity("u:42", NOW + 0.25, NOW + 60, checked)
