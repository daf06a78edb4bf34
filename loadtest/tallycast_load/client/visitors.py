"""Tokens for the people who react: asked for, or signed here with a publisher's key.

Must not know what they are used for.
"""

import asyncio
import time
from collections.abc import Callable

import jwt
import msgspec
from tallycast.contract.errors import LoadError

from tallycast_load.client.http import Http, Request, told, why
from tallycast_load.client.target import Target

AT_ONCE = 16
# Longer than the longest run, whose visitors are asked for at its end.
LIFETIME = 2 * 86400
# A key for HS256 is at least as long as its hash (RFC 7518, section 3.2).
KEY_BYTES = 32


class _Newcomer(msgspec.Struct):
    token: str


def sign(key: str, site: str, run: str, visitor: int) -> str:
    """A publisher's token (HS256) for user ``load-RUN-N``.

    Raises:
        LoadError: the key is too short.
    """
    if len(key.encode()) < KEY_BYTES:
        raise LoadError(f"--token-key: expected at least {KEY_BYTES} bytes, as HS256 wants")
    now = int(time.time())
    claims = {"sub": f"load-{run}-{visitor}", "aud": site, "iat": now, "exp": now + LIFETIME}
    return jwt.encode(claims, key, algorithm="HS256")


async def newcomers(
    http: Http, target: Target, site: str, number: int, progress: Callable[[int], None]
) -> list[str]:
    """Tokens of so many new anonymous visitors; ``progress`` is called with how many there are by now.

    Raises:
        LoadError: the server gives none.
    """
    request = Request("POST", target.path("/v1/visitors", site))
    tokens: list[str] = []
    left = iter(range(number))

    async def ask() -> None:
        for _ in left:
            tokens.append(await _newcomer(http, target, request))
            if len(tokens) % 100 == 0:
                progress(len(tokens))

    await asyncio.gather(*(ask() for _ in range(min(AT_ONCE, number))))
    return tokens


async def _newcomer(http: Http, target: Target, request: Request) -> str:
    try:
        reply = await http.ask(request)
    except OSError as error:
        raise LoadError(f"{target.url} does not answer: {why(error)} (POST /v1/visitors)") from None
    if reply.status == 429:
        raise LoadError("the server limits newcomers (POST /v1/visitors: 429): sign them with --token-key")
    try:
        if reply.status != 201:
            raise ValueError
        return msgspec.json.decode(reply.body, type=_Newcomer).token
    except ValueError:
        hint = " (--token-key signs them)" if reply.status == 403 else ""
        raise LoadError(f"POST /v1/visitors was answered {told(reply)}{hint}") from None
