"""Every script that is committed refuses to run past its deadline, before it looks at anything else."""

from typing import Any

import msgpack
import pytest
from tallycast.engine import probe
from tallycast.engine.scripts import Script
from tallycast.ledger import audit, merge, moderation, writer

COMMITTED = (
    *(writer.REACT, merge._ENLIST, merge._RETIRE, merge._MERGE, audit._REPAIR, probe._WRITABLE),
    *(moderation._RESET, moderation._REMOVE, moderation._START, moderation._FREEZE),
)
PAST = 1


@pytest.mark.parametrize("script", COMMITTED, ids=lambda script: script._name)
async def test_nothing_runs_past_its_deadline(script: Script, client: Any) -> None:
    """Without keys and further arguments, a script that went on would fail."""
    reply = msgpack.unpackb(await client.eval(script.text, 0, PAST))
    assert len(reply) == 1
    assert reply[0] > PAST
