"""Publishers' key sets (JWKS, RFC 7517): fetched, kept for a while, and never asked for too often.

Owns the cache and the fetching. Must not know what a token is: who needs a key that is not known asks for a
refresh, and it is decided here whether there is one. However many tokens name keys that do not exist, an
address is asked once in ``INTERVAL`` at most, and everybody who waits shares the one answer.
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

TIMEOUT = 5.0
LARGEST = 64 * 1024
MOST_KEYS = 50
# Fetched again after so long (s), while the old ones still hold; after the second they hold no more.
FRESH = 300.0
STALE = 3600.0
INTERVAL = 30.0

_log = structlog.get_logger("keys")


class KeySets:
    """``get`` fetches an address; ``clock`` is monotonic."""

    def __init__(
        self,
        get: Callable[[str], Awaitable[bytes]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._get = get or download
        self._clock = clock
        # By what is fetched, whatever the claims of its tokens are.
        self._entries: dict[tuple[str, str], _Entry] = {}

    def known(self, key_set: KeySet) -> Sequence[Key]:
        """The keys, as far as they are known here. Old ones are fetched again meanwhile."""
        entry = self._entries.get((key_set.algorithm, key_set.url))
        if entry is None:
            return ()
        age = self._clock() - entry.fetched
        if age > FRESH:
            self._fetch(key_set, entry)
        return entry.keys if age <= STALE else ()

    def refresh(self, key_sets: Sequence[KeySet], done: Callable[[bool], None]) -> None:
        """Fetch the sets again, those that were not asked for a moment ago, then call ``done``.

        It is told whether the keys of all of them are known.
        """
        answers: list[bool] = []

        def one(known: bool) -> None:
            answers.append(known)
            if len(answers) == len(key_sets):
                done(all(answers))

        for key_set in key_sets:
            entry = self._entries.setdefault((key_set.algorithm, key_set.url), _Entry())
            self._fetch(key_set, entry)
            if entry.task is None:
                one(self._clock() - entry.fetched <= STALE)
            else:
                entry.waiting.append(one)

    async def close(self) -> None:
        """Fetch nothing any more."""
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fetch(self, key_set: KeySet, entry: "_Entry") -> None:
        """Start to fetch, unless that is under way, or was lately."""
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
            known = self._clock() - entry.fetched <= STALE
            for told in waiting:
                told(known)


class _Entry:
    """What is known of one set, and when it was fetched, and last asked for."""

    def __init__(self) -> None:
        self.keys: Sequence[Key] = ()
        self.fetched = self.tried = -math.inf
        self.task: asyncio.Task[None] | None = None
        self.waiting: list[Callable[[bool], None]] = []


async def download(url: str) -> bytes:
    """What is at an address; redirects are not followed.

    Raises:
        httpx.HTTPError: it cannot be reached.
        ValueError: another status than 200, or too much.
    """
    headers = {"User-Agent": f"tallycast/{__version__}", "Accept": "application/json"}
    # Whoever sends it compressed all the same could send very little that becomes very much.
    headers["Accept-Encoding"] = "identity"
    data = b""
    async with (
        httpx.AsyncClient(timeout=TIMEOUT, headers=headers, verify=_trust()) as client,
        client.stream("GET", url) as answer,
    ):
        if answer.status_code != 200:
            raise ValueError(f"it answers with status {answer.status_code}")
        async for chunk in answer.aiter_raw():
            data += chunk
            if len(data) > LARGEST:
                raise ValueError(f"it is larger than {LARGEST // 1024} KiB")
    return data


def read(data: bytes, algorithm: str) -> Sequence[Key]:
    """The keys of a set that are for this algorithm.

    Raises:
        ValueError: it is no key set, or has none of them.
    """
    try:
        listed = json.loads(data)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("it is not a key set") from None
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise ValueError(f"it is not a key set, or one of more than {MOST_KEYS} keys")
    keys = [key for raw in listed if (key := _key(raw, algorithm)) is not None]
    if not keys:
        raise ValueError(f"it has no key for {algorithm}")
    return keys


def _key(raw: object, algorithm: str) -> Key | None:
    """One key, if it is for this algorithm; sets hold others too, and that is no mistake."""
    if not isinstance(raw, dict) or raw.get("use", "sig") != "sig" or raw.get("alg", algorithm) != algorithm:
        return None
    name = raw.get("kid")
    try:
        # Of a private key, which has no place in a set, only the public half would be needed.
        loaded = PyJWK({part: raw[part] for part in raw.keys() - {"d"}}, algorithm).key
        check_key(loaded, algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    return Key(algorithm, json.dumps(raw, sort_keys=True), name if isinstance(name, str) else None, loaded)


@cache
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context()
