"""Tokens: what is claimed, and when a claim holds.

A token is a JWT (RFC 7519). Two kinds of them name a visitor. Those of anonymous visitors are signed with
HS256 and the secret that all workers share; their visitor is ``a:`` and a random id. Those of publishers are
signed with a key of the site; their visitor is ``u:`` and the ``sub``, so that neither kind can ever name a
visitor of the other, whoever holds which key.

Owns the claims and their times. Must not know the clock (``now`` is an argument, in seconds since 1970), nor
where secrets and keys come from.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt

from tallycast.contract.errors import Unauthorized

ANONYMOUS = "HS256"
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
MAX_BYTES = 4096
LIFETIME = 30 * 86400
RENEWABLE = 90 * 86400
LEEWAY = 30
# A publisher's token is taken for so long (s) after it was issued, whatever it says of its end. A revocation
# refuses what was issued before it, and so need not be remembered for longer.
MAX_AGE = 90 * 86400
# How far ahead (s) a token may end that does not say when it was issued.
MAX_AHEAD_UNDATED = 86400
SUBJECT_BYTES = 128
MAX_TIME = 2**53
# Characters of a claim that are shown to the operator.
MOST_SHOWN = 200
ANONYMOUS_ID = re.compile("a:[A-Za-z0-9_-]{22}")

# PyJWT would read the clock, and take no number for a subject: both are checked here.
_OPTIONS: Any = {
    "verify_aud": True,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_sub": False,
    "verify_jti": False,
}


@dataclass(frozen=True, slots=True)
class Claims:
    """What the claims of a publisher's tokens are called, or must be.

    ``audience`` is what `aud` must be or contain; ``None``: the site's name. ``subject`` is the claim with
    the user's id.
    """

    audience: str | None = None
    subject: str = "sub"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a site: the algorithm that it is for, and no other, and the key itself.

    ``material`` is a secret, or the text of a public key (PEM); ``loaded`` is it as PyJWT takes it. ``id`` is
    the ``kid`` of the tokens it signs, where they have one.
    """

    algorithm: str
    material: str = field(repr=False)
    id: str | None = None
    loaded: Any = field(default=None, repr=False, compare=False)
    claims: Claims = Claims()


@dataclass(frozen=True, slots=True)
class KeySet:
    """A published set of keys (RFC 7517), by its address. Its keys are for one algorithm only."""

    algorithm: str
    url: str
    claims: Claims = Claims()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for: the visitor, from when and until when (seconds since 1970).

    Where a token does not say when it was issued, ``issued`` is when the user signed in, which is no later;
    or 0, which is before every revocation.
    ``key`` is what it was signed with, or the key set that it came from; ``None`` means by this server.
    """

    visitor: str
    issued: float
    expires: float
    key: Key | KeySet | None = None

    @property
    def anonymous(self) -> bool:
        """Whether this server has issued it to a stranger."""
        return self.key is None


class UnknownSigner(Unauthorized):
    """The signature is not by any of the keys asked."""


class InvalidClaim(Unauthorized):
    """The signature holds, and a claim does not: which one, what is wrong with it, and what was expected.

    ``str(refusal)`` is for the client and says less.
    """

    def __init__(self, message: str, claim: str, found: str, expected: str) -> None:
        super().__init__(message)
        self.claim = claim
        self.found = found
        self.expected = expected


def anonymous_id(entropy: bytes) -> str:
    """A visitor id from 16 random bytes."""
    return "a:" + base64.urlsafe_b64encode(entropy).rstrip(b"=").decode()


def sign(visitor: str, site: str, secret: bytes, now: int) -> tuple[str, int]:
    """A token for an anonymous ``visitor``, and the second it expires."""
    expires = now + LIFETIME
    return jwt.encode(_claims(visitor, site, now, expires), secret, algorithm=ANONYMOUS), expires


def issue(subject: str, site: str, key: Key, now: float, ttl: int) -> str:
    """A publisher's token for ``subject``; ``key.loaded`` is the secret or the private key."""
    headers = None if key.id is None else {"kid": key.id}
    # RFC 7519 allows fractions of a second, and one issued right after a revocation is newer than that.
    times = {"iat": round(now, 3), "exp": int(now) + ttl}
    claims = {key.claims.subject: subject, "aud": key.claims.audience or site, **times}
    return jwt.encode(claims, key.loaded, algorithm=key.algorithm, headers=headers)


def verify_anonymous(token: str, site: str, secret: bytes, now: float, *, expired_for: int = 0) -> Identity:
    """Which anonymous visitor ``token`` speaks for on ``site``.

    ``expired_for`` accepts a token up to that many seconds past its end: renewal does.

    Raises:
        UnknownSigner: it was not signed with this secret.
        Unauthorized: too long, malformed, for another site, not yet valid, or expired.
    """
    claims = _decode(token, site, ANONYMOUS, secret, ("sub", "aud", "iat", "exp"))
    visitor = claims["sub"]
    if not isinstance(visitor, str) or not ANONYMOUS_ID.fullmatch(visitor):
        raise Unauthorized("the token names no visitor")
    issued, expires = _times(claims, now, expired_for)
    return Identity(visitor, issued, max(expires, now))


def verify(token: str, site: str, keys: Iterable[tuple[Key, KeySet | None]], now: float) -> Identity:
    """Which of a publisher's visitors ``token`` speaks for on ``site``.

    ``keys`` are those of the site, each with the key set that it came from. A token that names a key id is
    tried with that one, and with keys that have none.

    Raises:
        UnknownSigner: it was not signed with any of these keys.
        InvalidClaim: it was, but is for another audience, without a user, not yet valid, too old, or expired.
        Unauthorized: too long, or malformed.
    """
    wanted = key_id(token)
    wrong: Unauthorized = UnknownSigner("the token is not one of this site's")
    for key, source in keys:
        if wanted is not None and key.id is not None and key.id != wanted:
            continue
        try:
            return _identify(token, site, key, source or key, now)
        except UnknownSigner:
            continue
        except InvalidClaim as refusal:
            # The same key may be listed for another audience.
            wrong = refusal
    raise wrong


def _identify(token: str, site: str, key: Key, trusted: Key | KeySet, now: float) -> Identity:
    names = trusted.claims
    claims = _decode(token, names.audience or site, key.algorithm, key.loaded, ("aud", "exp", names.subject))
    subject = _subject(names.subject, claims[names.subject])
    issued, expires = _times(claims, now)
    if claims.get(_issue(claims)) is None:
        return Identity(f"u:{subject}", issued, max(expires, now), trusted)
    if now > issued + MAX_AGE + LEEWAY:
        raise InvalidClaim("the token is too old", _issue(claims), _ago(now - issued), "at most 90 days ago")
    # On an open connection, too, it holds no longer than it would be taken.
    return Identity(f"u:{subject}", issued, max(min(expires, issued + MAX_AGE), now), trusted)


def _subject(name: str, value: object) -> str:
    """The user's id; a whole number stands for its decimal digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and 1 <= _size(value) <= SUBJECT_BYTES:
        return value
    found = f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
    expected = f"a text of 1 to {SUBJECT_BYTES} bytes, or a whole number"
    raise InvalidClaim(f"a token's subject has 1 to {SUBJECT_BYTES} bytes", name, found, expected)


def key_id(token: str) -> str | None:
    """The id of the key that a token says it is signed with; nothing rests on it.

    Raises:
        Unauthorized: it is not a token at all.
    """
    return _header(token).get("kid")


def may_be_from(key_set: KeySet, token: str, site: str, now: float) -> bool:
    """Whether it is worth fetching the key set anew for this token, as far as can be said without a key.

    Raises:
        InvalidClaim: it is not, whoever has signed it.
        Unauthorized: it is not a token at all.
    """
    if _header(token).get("alg") != key_set.algorithm:
        return False
    names = key_set.claims
    claims = _decode(token, names.audience or site, key_set.algorithm, None, ("aud", "exp", names.subject))
    _subject(names.subject, claims[names.subject])
    _times(claims, now)
    return True


def _claims(subject: str, site: str, now: float, expires: int) -> dict[str, Any]:
    return {"sub": subject, "aud": site, "iat": now, "exp": expires}


def _header(token: str) -> dict[str, Any]:
    _check_size(token)
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, UnicodeError, ValueError):
        raise Unauthorized("the token is malformed") from None


def _decode(token: str, audience: str, algorithm: str, key: Any, required: Sequence[str]) -> dict[str, Any]:
    """The claims of a token whose signature holds; without a ``key`` that is not looked at."""
    _check_size(token)
    not_ours = "the token is not one of this site's"
    try:
        # The algorithm is the key's to say, never the token's.
        options: Any = {**_OPTIONS, "require": list(required), "verify_signature": key is not None}
        return jwt.decode(token, key, algorithms=[algorithm], audience=audience, options=options)
    except (jwt.InvalidAlgorithmError, jwt.InvalidSignatureError):
        raise UnknownSigner(not_ours) from None
    except jwt.MissingRequiredClaimError as error:
        raise InvalidClaim(not_ours, error.claim, "missing", "one") from None
    except jwt.InvalidAudienceError:
        found = jwt.decode(token, options={"verify_signature": False})["aud"]
        raise InvalidClaim(not_ours, "aud", repr(found)[:MOST_SHOWN], repr(audience)) from None
    except (jwt.PyJWTError, UnicodeError, ValueError, TypeError, RecursionError):
        raise Unauthorized(not_ours) from None


def _times(claims: dict[str, Any], now: float, expired_for: int = 0) -> tuple[float, float]:
    """When it was issued, or some time before that, and when it ends; 0 where its issue is unknown.

    Such a token has to end soon: its age cannot be told, and a revocation is remembered for ``MAX_AGE`` only.
    """
    issue = _issue(claims)
    times = {name: 0 if claims.get(name) is None else claims[name] for name in (issue, "nbf", "exp")}
    for name, value in times.items():
        if not _is_time(value):
            expected = "seconds since 1970"
            raise InvalidClaim("the token's times are none", name, type(value).__name__, expected)
    begins = max((issue, "nbf"), key=times.__getitem__)
    if times[begins] > now + LEEWAY:
        ahead = f"{times[begins] - now:.0f} s ahead"
        raise InvalidClaim("the token is not valid yet", begins, ahead, f"at most {LEEWAY} s ahead")
    if now > times["exp"] + expired_for + LEEWAY:
        raise InvalidClaim("the token has expired", "exp", _ago(now - times["exp"]), "the future")
    if claims.get(issue) is None and times["exp"] > now + MAX_AHEAD_UNDATED + LEEWAY:
        ahead = f"{(times['exp'] - now) / 86400:.0f} days ahead"
        raise InvalidClaim("the token ends too late", "exp", ahead, "at most 1 day ahead, without iat")
    return times[issue], times["exp"]


def _issue(claims: dict[str, Any]) -> str:
    """The claim that says when a token was issued, at the latest.

    `auth_time` is when the user signed in (OpenID Connect Core, section 2), which is never after the issue.
    `nbf` may be, so that it cannot stand for `iat`: a token issued before a revocation would outlive it.
    """
    return "auth_time" if claims.get("iat") is None else "iat"


def _ago(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days ago" if seconds > 2 * 86400 else f"{seconds:.0f} s ago"


def _check_size(token: str) -> None:
    if len(token) > MAX_BYTES:
        raise Unauthorized(f"a token has at most {MAX_BYTES} bytes")


def _size(subject: str) -> int:
    try:
        return len(subject.encode())
    except UnicodeEncodeError:
        return 0


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_TIME
