"""Tokens of anonymous visitors: what holds and what does not. The clock is an argument."""

import math

import jwt
import pytest
from tallycast.contract.errors import Unauthorized
from tallycast.domain import tokens

SECRET = b"s" * 32
NOW = 1_800_000_000
VISITOR = tokens.anonymous_id(bytes(16))
TOKEN, EXPIRES = tokens.sign(VISITOR, "blog", SECRET, NOW)


def forged(**claims: object) -> str:
    whole = {"sub": VISITOR, "aud": "blog", "iat": NOW, "exp": EXPIRES} | claims
    return jwt.encode({k: v for k, v in whole.items() if v is not None}, SECRET, "HS256")


def test_what_was_signed_holds() -> None:
    assert tokens.verify_anonymous(TOKEN, "blog", SECRET, NOW) == tokens.Identity(VISITOR, NOW, EXPIRES)
    assert VISITOR.startswith("a:")


def test_it_holds_until_its_end_and_a_little_longer() -> None:
    assert tokens.verify_anonymous(TOKEN, "blog", SECRET, EXPIRES + tokens.LEEWAY)
    with pytest.raises(Unauthorized, match="expired"):
        tokens.verify_anonymous(TOKEN, "blog", SECRET, EXPIRES + tokens.LEEWAY + 1)


def test_renewal_takes_an_expired_one_for_ninety_days() -> None:
    late = EXPIRES + tokens.RENEWABLE
    assert (
        tokens.verify_anonymous(TOKEN, "blog", SECRET, late, expired_for=tokens.RENEWABLE).visitor == VISITOR
    )
    with pytest.raises(Unauthorized):
        tokens.verify_anonymous(TOKEN, "blog", SECRET, late + tokens.LEEWAY + 1, expired_for=tokens.RENEWABLE)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "\ud800",
        TOKEN[:-2],
        TOKEN + "x" * tokens.MAX_BYTES,
        jwt.encode({"sub": VISITOR, "aud": "blog", "iat": NOW, "exp": EXPIRES}, None, "none"),
        jwt.encode({"sub": VISITOR, "aud": "blog", "iat": NOW, "exp": EXPIRES}, b"other" * 8, "HS256"),
        jwt.encode({"sub": VISITOR, "aud": "blog", "iat": NOW, "exp": EXPIRES}, SECRET * 2, "HS512"),
        forged(aud="other"),
        forged(aud=None),
        forged(exp=None),
        forged(iat=None),
        forged(sub=None),
        forged(sub=""),
        forged(sub="u:someone"),
        forged(sub="a:" + "x" * 200),
        forged(iat=NOW + tokens.LEEWAY + 1),
        forged(exp=NOW - tokens.LEEWAY - 1),
        forged(exp="soon"),
        forged(exp=True),
        forged(exp=math.nan),
        forged(exp=math.inf),
        forged(exp=10**400),
        forged(nbf=NOW + tokens.LEEWAY + 1),
        forged(nbf="soon"),
        forged(iat=-math.inf),
        forged(sub="a:\ud800"),
        forged(sub="a:short"),
        forged(iat=[]),
    ],
)
def test_nothing_else_holds(token: str) -> None:
    with pytest.raises(Unauthorized):
        tokens.verify_anonymous(token, "blog", SECRET, NOW)


def test_a_token_that_holds_may_have_four_kibibytes_and_not_a_byte_more() -> None:
    def padded(size: int) -> str:
        return forged(note="x" * size)

    longest = max(size for size in range(3000) if len(padded(size)) <= tokens.MAX_BYTES)
    assert tokens.verify_anonymous(padded(longest), "blog", SECRET, NOW).visitor == VISITOR
    assert len(padded(longest + 1)) > tokens.MAX_BYTES
    with pytest.raises(Unauthorized, match="at most"):
        tokens.verify_anonymous(padded(longest + 1), "blog", SECRET, NOW)
