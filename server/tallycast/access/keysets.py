"""Publishers' key sets (JWKS, RFC 7517): fetched, cached, and rate limited.

Owns the cache and the fetching. However many tokens name keys that do not exist, a URL is fetched once per
``INTERVAL`` at most, and all callers share the answer. Does not depend on what a token is.
"""

import asyncio
import json
import math
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache

import httpx
import structlog
from jwt import PyJWK, PyJWTError

from tallycast import __version__
from tallycast.domain.keys import check_key
from tallycast.domain.tokens import Key, KeySet

TIMEOUT = 5.0  # seconds
MAX_SIZE = 64 * 1024  # bytes
MAX_KEYS = 50
# Age (s) after which keys are fetched again, and after which they are no longer used.
FRESH = 300.0
STALE = 3600.0
INTERVAL = 30.0  # seconds

_log = structlog.get_logger("keys")


class KeySets:
    """The cache. ``get`` fetches a URL; ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        get: Callable[[str], Awaitable[bytes]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._get = get or download
        self._clock = clock
        # By algorithm and URL: claims do not matter.
        self._entries: dict[tuple[str, str], _Entry] = {}

    def known(self, key_set: KeySet) -> Sequence[Key]:
        """The cached keys of a set; old ones are fetched again meanwhile."""
        entry = self._entries.get((key_set.algorithm, key_set.url))
        if entry is None:
            return ()
        age = self._clock() - entry.fetched
        if age > FRESH:
            self._fetch(key_set, entry)
        return entry.keys if age <= STALE else ()

    def refresh(self, key_sets: Sequence[KeySet], done: Callable[[bool], None]) -> None:
        """Fetch the sets again that were not fetched lately, then call ``done``.

        Its argument is whether the keys of all sets are in the cache.
        """
        answers: list[bool] = []

        def finish(cached: bool) -> None:
            answers.append(cached)
            if len(answers) == len(key_sets):
                done(all(answers))

        for key_set in key_sets:
            entry = self._entries.setdefault((key_set.algorithm, key_set.url), _Entry())
            self._fetch(key_set, entry)
            if entry.task is None:
                finish(self._clock() - entry.fetched <= STALE)
            else:
                entry.waiting.append(finish)

    async def close(self) -> None:
        """Cancel all requests."""
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fetch(self, key_set: KeySet, entry: "_Entry") -> None:
        """Start a request, unless one is under way or was made lately."""
        now = self._clock()
        if entry.task is None and now - entry.tried >= INTERVAL:
            entry.tried = now
            entry.task = asyncio.get_running_loop().create_task(self._run(key_set, entry))

    async def _run(self, key_set: KeySet, entry: "_Entry") -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                keys = read(await self._get(key_set.url), key_set.algorithm)
            entry.keys, entry.fetched = keys, self._clock()
        except Exception as error:
            reason = str(error) or type(error).__name__
            _log.warning("key set not fetched", host=httpx.URL(key_set.url).host, reason=reason)
        finally:
            entry.task = None
            waiting, entry.waiting = entry.waiting, []
            cached = self._clock() - entry.fetched <= STALE
            for finish in waiting:
                finish(cached)


class _Entry:
    """One set: its keys, when they were fetched, and when a request was last made."""

    def __init__(self) -> None:
        self.keys: Sequence[Key] = ()
        self.fetched = self.tried = -math.inf
        self.task: asyncio.Task[None] | None = None
        self.waiting: list[Callable[[bool], None]] = []


async def download(url: str) -> bytes:
    """Fetch a URL, without following redirects.

    Raises:
        httpx.HTTPError: it cannot be reached.
        ValueError: the status is not 200, or the body is too large.
    """
    headers = {"User-Agent": f"tallycast/{__version__}", "Accept": "application/json"}
    # A small compressed body could expand to a very large one: ask for none, and read it raw.
    headers["Accept-Encoding"] = "identity"
    data = b""
    async with (
        httpx.AsyncClient(timeout=TIMEOUT, headers=headers, verify=_trust()) as client,
        client.stream("GET", url) as answer,
    ):
        if answer.status_code != 200:
            raise ValueError(f"expected status 200, not {answer.status_code}")
        async for chunk in answer.aiter_raw():
            data += chunk
            if len(data) > MAX_SIZE:
                raise ValueError(f"larger than {MAX_SIZE // 1024} KiB")
    return data


def read(data: bytes, algorithm: str) -> Sequence[Key]:
    """Parse a key set: its keys for this algorithm.

    Raises:
        ValueError: it is not a key set, or has no such key.
    """
    try:
        listed = json.loads(data)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("not a key set") from None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError(f"not a key set of at most {MAX_KEYS} keys")
    keys = [key for raw in listed if (key := _key(raw, algorithm)) is not None]
    if not keys:
        raise ValueError(f"no key for {algorithm}")
    return keys


def _key(raw: object, algorithm: str) -> Key | None:
    """One key, if it is for this algorithm; a set may hold others too."""
    if not isinstance(raw, dict) or raw.get("use", "sig") != "sig" or raw.get("alg", algorithm) != algorithm:
        return None
    name = raw.get("kid")
    try:
        # Drops the private part of a private key, which does not belong in a set.
        loaded = PyJWK({part: raw[part] for part in raw.keys() - {"d"}}, algorithm).key
        check_key(loaded, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    return Key(algorithm, json.dumps(raw, sort_keys=True), name if isinstance(name, str) else None, loaded)


@cache
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context()
