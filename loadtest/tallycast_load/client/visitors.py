"""Tokens of the visitors that react: requested from the server, or signed here with a site's key.

Does not depend on what they are used for.
"""

import asyncio
import time
from collections.abc import Callable

import jwt
import msgspec

from tallycast_load.client.http import HttpClient, Request, describe_error, describe_reply
from tallycast_load.client.target import Target
from tallycast_load.plan.errors import LoadError

CONCURRENCY = 16
# Longer than the longest run, whose visitors are read at its end (s).
LIFETIME = 2 * 86400
# A key for HS256 is at least as long as its hash (RFC 7518, section 3.2).
KEY_BYTES = 32


class _Visitor(msgspec.Struct):
    token: str


def sign(key: str, site: str, run: str, visitor: int) -> str:
    """Sign a token (HS256) with the subject ``load-RUN-VISITOR``.

    Raises:
        LoadError: the key is too short.
    """
    if len(key.encode()) < KEY_BYTES:
        raise LoadError(f"--token-key: expected at least {KEY_BYTES} bytes, as HS256 requires")
    now = int(time.time())
    claims = {"sub": f"load-{run}-{visitor}", "aud": site, "iat": now, "exp": now + LIFETIME}
    return jwt.encode(claims, key, algorithm="HS256")


async def create_visitors(
    http: HttpClient, target: Target, site: str, number: int, progress: Callable[[int], None]
) -> list[str]:
    """Create anonymous visitors. Returns their tokens; ``progress`` is called with their number so far.

    Raises:
        LoadError: the server creates none.
    """
    request = Request("POST", target.path("/v1/visitors", site))
    tokens: list[str] = []
    left = iter(range(number))

    async def create() -> None:
        for _ in left:
            tokens.append(await _create_visitor(http, target, request))
            if len(tokens) % 100 == 0:
                progress(len(tokens))

    await asyncio.gather(*(create() for _ in range(min(CONCURRENCY, number))))
    return tokens


async def _create_visitor(http: HttpClient, target: Target, request: Request) -> str:
    try:
        reply = await http.send(request)
    except OSError as error:
        reason = describe_error(error)
        raise LoadError(f"{target.url} does not answer: {reason} (POST /v1/visitors)") from None
    if reply.status == 429:
        raise LoadError(
            "the server limits new visitors (POST /v1/visitors: 429): sign their tokens with --token-key"
        )
    try:
        if reply.status != 201:
            raise ValueError
        return msgspec.json.decode(reply.body, type=_Visitor).token
    except ValueError:
        hint = " (--token-key signs tokens)" if reply.status == 403 else ""
        raise LoadError(f"POST /v1/visitors was answered {describe_reply(reply)}{hint}") from None
