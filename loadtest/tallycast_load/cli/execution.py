"""One run as the command makes it: progress on standard error, table on standard output, reports in files.

Owns the output and the signals. Does not depend on how a run proceeds, nor on the layout of reports.
"""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from tallycast_load.client.metrics import Metrics
from tallycast_load.client.target import Target
from tallycast_load.coordinator import private_server
from tallycast_load.coordinator.private_server import PrivateServer
from tallycast_load.coordinator.run import Result, Run
from tallycast_load.plan.errors import LoadError
from tallycast_load.plan.plan import Plan
from tallycast_load.processes import machine
from tallycast_load.report import data, page, progress, table
from tallycast_load.verdict.verdict import INTERRUPTED


def execute(
    plan: Plan,
    url: str | None,
    token_key: str | None,
    metrics_url: str | None,
    json: Path | None,
    html: Path | None,
) -> int:
    """Run the plan and write its reports. ``url`` is None for a private server.

    Returns the exit status.

    Raises:
        LoadError: the plan cannot be run, or a report cannot be written.
    """
    metrics = Metrics(metrics_url) if metrics_url else None
    for file in (json, html):
        _check_writable(file)
    try:
        result = asyncio.run(_load(plan, url, token_key, metrics))
    except KeyboardInterrupt:  # before there was anything to report
        print("tallycast: interrupted", file=sys.stderr)
        return INTERRUPTED
    table.show(result)
    if json is not None:
        _write(json, data.text(result))
    if html is not None:
        _write(html, page.text(result))
    return result.verdict.status


def _check_writable(file: Path | None) -> None:
    """Fail before the load, not after a minute of it."""
    if file is not None:
        existed = file.exists()
        try:
            file.open("a").close()
            if not existed:
                file.unlink()
        except OSError as error:
            raise LoadError(f"{file}: {(error.strerror or str(error)).lower()}") from None


def _write(file: Path, report: str) -> None:
    """Write a report, and name it on standard error: the table may be piped."""
    try:
        file.write_text(report, encoding="utf-8")
    except OSError as error:
        raise LoadError(f"{file}: {(error.strerror or str(error)).lower()}") from None
    print(f"wrote {file}", file=sys.stderr)


async def _load(plan: Plan, url: str | None, token_key: str | None, metrics: Metrics | None) -> Result:
    if url is None:
        print(private_server.LIMITS_RAISED, file=sys.stderr, flush=True)
    observer = progress.make_observer()
    try:
        async with AsyncExitStack() as stack:
            if url is None:
                machine.allow_files(plan.connections + machine.SPARE_FILES)
                url = (await stack.enter_async_context(PrivateServer(plan.connections))).url
            return await _interruptible(Run(plan, Target.parse(url), observer, token_key, metrics))
    finally:
        observer.close()


async def _interruptible(run: Run) -> Result:
    """Execute a run; SIGINT and SIGTERM end it early, and its result is partial."""
    work = asyncio.create_task(run.execute())
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        work.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        return await work
    except asyncio.CancelledError:
        if not interrupted:
            raise
        return run.interrupt()
