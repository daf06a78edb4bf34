"""Tokens of anonymous visitors: what is claimed, and when a claim holds.

A token is a JWT (RFC 7519) signed with HS256 and the secret that all workers share. Owns the claims and their
times. Must not know the clock (``now`` is an argument, in seconds since 1970) nor where the secret lives.
"""

import base64
import math
import re
from dataclasses import dataclass

import jwt

from server.errors import Unauthorized

ALGORITHM = "HS256"
MAX_BYTES = 4096
LIFETIME = 30 * 86400
RENEWABLE = 90 * 86400
LEEWAY = 30

_ANONYMOUS = re.compile("a:[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for: the visitor, and until when (seconds since 1970)."""

    visitor: str
    expires: int


def anonymous_id(entropy: bytes) -> str:
    """A visitor id from 16 random bytes."""
    return "a:" + base64.urlsafe_b64encode(entropy).rstrip(b"=").decode()


def sign(visitor: str, site: str, secret: bytes, now: int) -> tuple[str, int]:
    """A token for ``visitor``, and the second it expires."""
    expires = now + LIFETIME
    claims = {"sub": visitor, "aud": site, "iat": now, "exp": expires}
    return jwt.encode(claims, secret, algorithm=ALGORITHM), expires


def verify(token: str, site: str, secret: bytes, now: float, *, expired_for: int = 0) -> Identity:
    """Who ``token`` speaks for on ``site``.

    ``expired_for`` accepts a token up to that many seconds past its end: renewal does.

    Raises:
        Unauthorized: too long, malformed, forged, for another site, not yet valid, or expired.
    """
    if len(token) > MAX_BYTES:
        raise Unauthorized(f"a token has at most {MAX_BYTES} bytes")
    try:
        # The algorithm is ours to say, never the token's. PyJWT would read the clock: times are checked here.
        claims = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            audience=site,
            options={
                "require": ["sub", "aud", "iat", "exp"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.PyJWTError, UnicodeError, ValueError):
        raise Unauthorized("the token is not one of this site's") from None
    visitor, issued, expires = claims["sub"], claims["iat"], claims["exp"]
    if not isinstance(visitor, str) or not _ANONYMOUS.fullmatch(visitor):
        raise Unauthorized("the token names no visitor")
    if not _is_time(issued) or not _is_time(expires) or issued > now + LEEWAY:
        raise Unauthorized("the token is not valid yet")
    if now > expires + expired_for + LEEWAY:
        raise Unauthorized("the token has expired")
    return Identity(visitor, int(expires))


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
