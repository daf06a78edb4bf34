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
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import jwt

from server.errors import Unauthorized

ANONYMOUS = "HS256"
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
MAX_BYTES = 4096
LIFETIME = 30 * 86400
RENEWABLE = 90 * 86400
LEEWAY = 30
# A publisher's token is taken for so long (s) after it was issued, whatever it says of its end. A revocation
# refuses what was issued before it, and so need not be remembered for longer.
MAX_AGE = 90 * 86400
SUBJECT_BYTES = 128
MAX_TIME = 2**53
ANONYMOUS_ID = re.compile("a:[A-Za-z0-9_-]{22}")

# PyJWT would read the clock: times are checked here.
_OPTIONS: Any = {
    "require": ["sub", "aud", "iat", "exp"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


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


@dataclass(frozen=True, slots=True)
class KeySet:
    """A published set of keys (RFC 7517), by its address. Its keys are for one algorithm only."""

    algorithm: str
    url: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for: the visitor, from when and until when (seconds since 1970).

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


class NotOurs(Unauthorized):
    """The signature is not by any of the keys asked."""


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
    claims = _claims(subject, site, round(now, 3), int(now) + ttl)
    return jwt.encode(claims, key.loaded, algorithm=key.algorithm, headers=headers)


def verify_anonymous(token: str, site: str, secret: bytes, now: float, *, expired_for: int = 0) -> Identity:
    """Which anonymous visitor ``token`` speaks for on ``site``.

    ``expired_for`` accepts a token up to that many seconds past its end: renewal does.

    Raises:
        NotOurs: it was not signed with this secret.
        Unauthorized: too long, malformed, for another site, not yet valid, or expired.
    """
    claims = _decode(token, site, ANONYMOUS, secret)
    visitor = claims["sub"]
    if not isinstance(visitor, str) or not ANONYMOUS_ID.fullmatch(visitor):
        raise Unauthorized("the token names no visitor")
    issued, expires = _times(claims, now, expired_for)
    return Identity(visitor, issued, expires)


def verify(token: str, site: str, keys: Iterable[tuple[Key, KeySet | None]], now: float) -> Identity:
    """Which of a publisher's visitors ``token`` speaks for on ``site``.

    ``keys`` are those of the site, each with the key set that it came from. A token that names a key id is
    tried with that one, and with keys that have none.

    Raises:
        NotOurs: it was not signed with any of these keys.
        Unauthorized: too long, malformed, for another site, not yet valid, too old, or expired.
    """
    wanted = key_id(token)
    for key, source in keys:
        if wanted is not None and key.id is not None and key.id != wanted:
            continue
        try:
            claims = _decode(token, site, key.algorithm, key.loaded)
        except NotOurs:
            continue
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= _size(subject) <= SUBJECT_BYTES:
            raise Unauthorized(f"a token's sub has 1 to {SUBJECT_BYTES} bytes")
        issued, expires = _times(claims, now)
        if now > issued + MAX_AGE + LEEWAY:
            raise Unauthorized("the token is too old")
        # On an open connection, too, it holds no longer than it would be taken.
        return Identity(f"u:{subject}", issued, min(expires, max(issued + MAX_AGE, now)), source or key)
    raise NotOurs("the token is not one of this site's")


def key_id(token: str) -> str | None:
    """The id of the key that a token says it is signed with; nothing rests on it.

    Raises:
        Unauthorized: it is not a token at all.
    """
    return _header(token).get("kid")


def may_be_from(key_set: KeySet, token: str, site: str, now: float) -> bool:
    """Whether it is worth fetching the key set anew for this token, as far as can be said without a key.

    Raises:
        Unauthorized: it is not a token at all.
    """
    if _header(token).get("alg") != key_set.algorithm:
        return False
    options: Any = {**_OPTIONS, "verify_signature": False}
    try:
        claims = jwt.decode(token, options=options)
        _times(claims, now)
    except (jwt.PyJWTError, UnicodeError, ValueError, Unauthorized):
        return False
    audience = claims["aud"]
    return site in (audience if isinstance(audience, list) else [audience])


def _claims(subject: str, site: str, now: float, expires: int) -> dict[str, Any]:
    return {"sub": subject, "aud": site, "iat": now, "exp": expires}


def _header(token: str) -> dict[str, Any]:
    _check_size(token)
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, UnicodeError, ValueError):
        raise Unauthorized("the token is malformed") from None


def _decode(token: str, site: str, algorithm: str, key: Any) -> dict[str, Any]:
    """The claims of a token whose signature holds."""
    _check_size(token)
    try:
        # The algorithm is the key's to say, never the token's.
        return jwt.decode(token, key, algorithms=[algorithm], audience=site, options=_OPTIONS)
    except (jwt.InvalidAlgorithmError, jwt.InvalidSignatureError):
        raise NotOurs("the token is not one of this site's") from None
    except (jwt.PyJWTError, UnicodeError, ValueError, TypeError, RecursionError):
        raise Unauthorized("the token is not one of this site's") from None


def _times(claims: dict[str, Any], now: float, expired_for: int = 0) -> tuple[float, float]:
    """When it was issued, and its end; never one that has passed already, as far as it is still taken.

    An open connection is told some time after the end. Who was let in within the leeway has that time too.
    """
    issued, expires, valid_from = claims["iat"], claims["exp"], claims.get("nbf", 0)
    if not (_is_time(issued) and _is_time(expires) and _is_time(valid_from)):
        raise Unauthorized("the token's times are none")
    if max(issued, valid_from) > now + LEEWAY:
        raise Unauthorized("the token is not valid yet")
    if now > expires + expired_for + LEEWAY:
        raise Unauthorized("the token has expired")
    return issued, max(expires, now)


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
