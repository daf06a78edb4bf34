"""Tokens: signed and verified (JWT, RFC 7519).

There are two kinds. Tokens of anonymous visitors are signed with HS256 and the secret that all workers share;
their visitor is ``a:`` and a random id. Tokens of publishers are signed with a key of the site; their visitor
is ``u:`` and the ``sub``, so that neither kind can name a visitor of the other.

Owns the claims and their times. Does not depend on a clock (``now`` is an argument, in seconds since 1970),
nor on where secrets and keys come from.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt

from tallycast.contract.errors import Unauthorized

ANONYMOUS = "HS256"
MAX_BYTES = 4096
LIFETIME = 30 * 86400
RENEWABLE = 90 * 86400
LEEWAY = 30
# A publisher's token is accepted for this long (s) after its issue, whatever its ``exp``. So a revocation,
# which concerns tokens issued before it, need not be kept for longer.
MAX_AGE = 90 * 86400
# How far ahead (s) a token may end that does not say when it was issued.
MAX_AHEAD_UNDATED = 86400
SUBJECT_BYTES = 128
MAX_TIME = 2**53
# Characters of a claim that are logged.
MAX_SHOWN = 200
ANONYMOUS_ID = re.compile("a:[A-Za-z0-9_-]{22}")

# Checked here, because PyJWT reads the clock and rejects numbers as subject.
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
    """Names and values of the claims in a publisher's tokens.

    Attributes:
        audience: What ``aud`` must be or contain; None: the name of the site.
        subject: The claim that holds the user's id.
    """

    audience: str | None = None
    subject: str = "sub"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a site, for one algorithm.

    Attributes:
        material: The secret, or the text of the public key.
        id: The ``kid`` of its tokens, if any.
        loaded: The key as PyJWT needs it.
    """

    algorithm: str
    material: str = field(repr=False)
    id: str | None = None
    loaded: Any = field(default=None, repr=False, compare=False)
    claims: Claims = Claims()


@dataclass(frozen=True, slots=True)
class KeySet:
    """A published set of keys (RFC 7517) for one algorithm, by its URL."""

    algorithm: str
    url: str
    claims: Claims = Claims()


@dataclass(frozen=True, slots=True)
class Identity:
    """The visitor that a token identifies, from when and until when (seconds since 1970).

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
        """Whether the token was issued by this server, to an anonymous visitor."""
        return self.key is None


class UnknownSigner(Unauthorized):
    """The token is not signed with any of the given keys."""


class InvalidClaim(Unauthorized):
    """The signature is valid and a claim is not: which one, what was found, and what was expected.

    ``str(refusal)`` is for the client and says less.
    """

    def __init__(self, message: str, claim: str, found: str, expected: str) -> None:
        super().__init__(message)
        self.claim = claim
        self.found = found
        self.expected = expected


def anonymous_id(entropy: bytes) -> str:
    """The id of an anonymous visitor, from 16 random bytes."""
    return "a:" + base64.urlsafe_b64encode(entropy).rstrip(b"=").decode()


def sign(visitor: str, site: str, secret: bytes, now: int) -> tuple[str, int]:
    """Sign a token for an anonymous ``visitor``: the token, and when it expires (seconds since 1970)."""
    expires = now + LIFETIME
    return jwt.encode(_claims(visitor, site, now, expires), secret, algorithm=ANONYMOUS), expires


def issue(subject: str, site: str, key: Key, now: float, ttl: int) -> str:
    """Sign a publisher's token for ``subject``; ``key.loaded`` is the secret or the private key."""
    headers = None if key.id is None else {"kid": key.id}
    # With fractions of a second (RFC 7519 allows them), a token issued right after a revocation is newer.
    times = {"iat": round(now, 3), "exp": int(now) + ttl}
    claims = {key.claims.subject: subject, "aud": key.claims.audience or site, **times}
    return jwt.encode(claims, key.loaded, algorithm=key.algorithm, headers=headers)


def verify_anonymous(token: str, site: str, secret: bytes, now: float, *, expired_for: int = 0) -> Identity:
    """Verify the token of an anonymous visitor of ``site``.

    ``expired_for`` (seconds) accepts a token that expired no longer ago, for renewal.

    Raises:
        UnknownSigner: it was not signed with this secret.
        Unauthorized: too long, malformed, for another site, not yet valid, or expired.
    """
    claims = _decode(token, site, ANONYMOUS, secret, ("sub", "aud", "iat", "exp"))
    visitor = claims["sub"]
    if not isinstance(visitor, str) or not ANONYMOUS_ID.fullmatch(visitor):
        raise Unauthorized("the token names no visitor")
    issued, expires = _times(claims, now, expired_for)
    assert issued is not None  # iat is required
    return Identity(visitor, issued, max(expires, now))


def verify(token: str, site: str, keys: Iterable[tuple[Key, KeySet | None]], now: float) -> Identity:
    """Verify the token of a publisher's visitor of ``site``.

    ``keys`` are those of the site, each with its key set, if any. A token with a key id is verified with the
    key of that id, and with keys that have none.

    Raises:
        UnknownSigner: it was not signed with any of these keys.
        InvalidClaim: it was, but is for another audience, without a user, not yet valid, too old, or expired.
        Unauthorized: too long, or malformed.
    """
    wanted = key_id(token)
    failure: Unauthorized = UnknownSigner("the token is not one of this site's")
    for key, source in keys:
        if wanted is not None and key.id is not None and key.id != wanted:
            continue
        try:
            return _identify(token, site, key, source or key, now)
        except UnknownSigner:
            continue
        except InvalidClaim as refusal:
            # The same key may be listed for another audience.
            failure = refusal
    raise failure


def _identify(token: str, site: str, key: Key, trusted: Key | KeySet, now: float) -> Identity:
    names = trusted.claims
    claims = _decode(token, names.audience or site, key.algorithm, key.loaded, ("aud", "exp", names.subject))
    subject = _subject(names.subject, claims[names.subject])
    issued, expires = _times(claims, now)
    if issued is None:
        return Identity(f"u:{subject}", 0, max(expires, now), trusted)
    if now > issued + MAX_AGE + LEEWAY:
        raise InvalidClaim("the token is too old", _issue(claims), _ago(now - issued), "at most 90 days ago")
    # On an open connection, too, it is valid no longer than it would be accepted.
    return Identity(f"u:{subject}", issued, max(min(expires, issued + MAX_AGE), now), trusted)


def _subject(name: str, value: object) -> str:
    """The user's id; a whole number stands for its decimal digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and is_subject(value):
        return value
    found = f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
    expected = f"a text of 1 to {SUBJECT_BYTES} bytes, or a whole number"
    raise InvalidClaim(f"a token's subject has 1 to {SUBJECT_BYTES} bytes", name, found, expected)


def is_subject(text: str) -> bool:
    """Whether a text may be a user's id: 1 to ``SUBJECT_BYTES`` bytes of UTF-8."""
    try:
        return 1 <= len(text.encode()) <= SUBJECT_BYTES
    except UnicodeEncodeError:
        return False


def key_id(token: str) -> str | None:
    """The key id in a token's header, not verified.

    Raises:
        Unauthorized: it is not a token.
    """
    return _header(token).get("kid")


def may_match(key_set: KeySet, token: str, site: str, now: float) -> bool:
    """Whether a key set may hold the key of a token, so that fetching it is useful.

    Raises:
        InvalidClaim: the token is invalid, whatever key it is signed with.
        Unauthorized: it is not a token.
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
    """The claims of a token with a valid signature; without a ``key``, the signature is not verified."""
    _check_size(token)
    invalid = "the token is not one of this site's"
    try:
        # The key determines the algorithm, never the token.
        options: Any = {**_OPTIONS, "require": list(required), "verify_signature": key is not None}
        return jwt.decode(token, key, algorithms=[algorithm], audience=audience, options=options)
    except (jwt.InvalidAlgorithmError, jwt.InvalidSignatureError):
        raise UnknownSigner(invalid) from None
    except jwt.MissingRequiredClaimError as error:
        raise InvalidClaim(invalid, error.claim, "missing", "one") from None
    except jwt.InvalidAudienceError:
        found = jwt.decode(token, options={"verify_signature": False})["aud"]
        raise InvalidClaim(invalid, "aud", repr(found)[:MAX_SHOWN], repr(audience)) from None
    except (jwt.PyJWTError, UnicodeError, ValueError, TypeError, RecursionError):
        raise Unauthorized(invalid) from None


def _times(claims: dict[str, Any], now: float, expired_for: int = 0) -> tuple[float | None, float]:
    """When a token was issued, at the latest (None: unknown), and when it expires.

    A token without a time of issue must expire soon: its age is unknown, and a revocation is kept for
    ``MAX_AGE`` only.
    """
    issue = _issue(claims)
    times = {name: 0 if claims.get(name) is None else claims[name] for name in (issue, "nbf", "exp")}
    for name, value in times.items():
        if not _is_time(value):
            expected = "seconds since 1970"
            raise InvalidClaim("the token's times are not numbers", name, type(value).__name__, expected)
    begins = max((issue, "nbf"), key=times.__getitem__)
    if times[begins] > now + LEEWAY:
        ahead = f"{times[begins] - now:.0f} s ahead"
        raise InvalidClaim("the token is not valid yet", begins, ahead, f"at most {LEEWAY} s ahead")
    if now > times["exp"] + expired_for + LEEWAY:
        raise InvalidClaim("the token has expired", "exp", _ago(now - times["exp"]), "the future")
    issued: float | None = claims.get(issue)
    if issued is None and times["exp"] > now + MAX_AHEAD_UNDATED + LEEWAY:
        ahead = f"{(times['exp'] - now) / 86400:.0f} days ahead"
        raise InvalidClaim("the token ends too late", "exp", ahead, "at most 1 day ahead, without iat")
    return issued, times["exp"]


def _issue(claims: dict[str, Any]) -> str:
    """The claim that holds the time of issue, or an earlier time.

    `auth_time` is when the user signed in (OpenID Connect Core, section 2), which is never after the issue.
    `nbf` may be, so that it cannot stand for `iat`: a token issued before a revocation would outlive it.
    """
    return "auth_time" if claims.get("iat") is None else "iat"


def _ago(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days ago" if seconds > 2 * 86400 else f"{seconds:.0f} s ago"


def _check_size(token: str) -> None:
    if len(token) > MAX_BYTES:
        raise Unauthorized(f"a token has at most {MAX_BYTES} bytes")


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_TIME
