"""Moves an anonymous visitor's reactions to an account.

Owns the order of the steps. First the visitor is retired, in one step: its index becomes the list of what is
to be moved, and a mark takes the index's place, so that it can come to hold nothing more. Then the items are
moved in batches, each of them atomic, and taken off the list.

Interrupted between two steps, by a crash or an engine that goes away, everything is still counted once: what
was moved for the account, the rest for the visitor who can do nothing any more. The same request again goes
on with the list, and finds nothing to do when it is empty. With the mark last instead, a reaction of another
tab could slip in behind the move, and one person would be counted twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgpack
import structlog

from server.errors import Refusal, Unauthorized, Unavailable
from server.ledger import keys, timed
from server.ledger.batch import answer
from server.ledger.engine import Engine, Script
from server.rules.tokens import LEEWAY, LIFETIME, RENEWABLE

PAGE = 100
# Merges under way in one process.
ROOM = 256
# No token of the visitor's is taken any more after so long (s), nor renewed.
KEEP = LIFETIME + RENEWABLE + 2 * LEEWAY

_RETIRE = Script("retire.lua")
_MERGE = Script("merge.lua", "layout.lua")
_log = structlog.get_logger("merge")


@dataclass(frozen=True, slots=True)
class Merge:
    """What ``visitor`` holds on a site becomes ``account``'s: two members, as in ``keys``.

    ``done`` is called exactly once, with the refusal if there is one.
    """

    site: str
    visitor: bytes
    account: bytes
    done: Callable[[Refusal | None], None]


class Merger:
    """Does merges, each in a task: it goes on when whoever asked for it has gone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, merge: Merge) -> None:
        """Start it. Refused at once, with ``Unavailable``, when there are too many."""
        if len(self._tasks) >= ROOM:
            merge.done(Unavailable("too much is waiting", retry_after=1.0))
            return
        task = asyncio.get_running_loop().create_task(self._run(merge))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks)

    async def _run(self, merge: Merge) -> None:
        refusal: Refusal | None = None
        try:
            await self.retire(merge)
            while await self.move(merge):
                pass
        except Refusal as error:
            refusal = error
        except Exception:
            _log.exception("a merge failed")
            refusal = Unavailable("the merge failed", retry_after=1.0)
        answer(merge.done, refusal)

    async def retire(self, merge: Merge) -> None:
        """The first step.

        Raises:
            Unauthorized: another account came first.
            Unavailable: not confirmed in time.
        """
        names = [keys.index_key(merge.site, merge.visitor), keys.taken_key(merge.site, merge.visitor)]
        channel = keys.person_channel(merge.site, merge.visitor)
        if not await timed.run(self._engine, _RETIRE, names, merge.account, channel, KEEP):
            raise Unauthorized("this anonymous visitor has become another account's")

    async def move(self, merge: Merge) -> bool:
        """Move the next items; ``False`` when there were none.

        Raises:
            Unavailable: not confirmed in time.
        """
        taken = keys.taken_key(merge.site, merge.visitor)
        page = await self._engine.command("ZRANGE", taken, 0, PAGE - 1)
        if not page:
            return False
        names = [keys.item_key(merge.site, item.decode()) for item in page]
        names += [keys.index_key(merge.site, merge.account), taken]
        channel = keys.person_channel(merge.site, merge.account)
        packed = msgpack.packb([merge.visitor, merge.account, channel, page], use_bin_type=False)
        await timed.run(self._engine, _MERGE, names, packed)
        return True
