"""Real parts for every test: a server as its operator runs it, and an engine without one."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx._transports import default
from hypothesis import settings
from tallycast.engine.standalone import StandaloneStore
from tallycast.engine.store import Store
from tallycast.ledger.factory import build_reader, build_writer
from tallycast.ledger.reader import Reader
from tallycast.ledger.writer import Writer

from tests.ledger.support import raw
from tests.support.cluster import Cluster, cluster
from tests.support.engine import flush, private_engine
from tests.support.limits import loose
from tests.support.process import ServerProcess, clean_environment

MakeServer = Callable[..., ServerProcess]

# A shell starts what runs in its background with SIGINT ignored, and every process here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Container images often forbid it; hundreds of processes would then compile the same modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes says nothing on a busy machine.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# Every client would load all root certificates for it, 20 ms; most tests make some, and none needs them.
default.create_ssl_context = cache(httpx.create_ssl_context)

_running: list[ServerProcess] = []


@contextmanager
def listed(process: ServerProcess) -> Iterator[ServerProcess]:
    """A server that is closed in the end, and whose output a failure until then shows."""
    _running.append(process)
    try:
        with process:
            yield process
    finally:
        _running.remove(process)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One running server for all tests that do no harm to it, as without a file but for its limits."""
    folder = tmp_path_factory.mktemp("server")
    with listed(ServerProcess(folder, flags=loose(folder))) as process:
        yield process.start()


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Servers of this test's own: ``make_server(flags=[…], env={…}, folder=…, start=True)``.

    Where a test names no sites file, it is served as without one, but without its limits; ``limited=True``
    leaves it at that.
    """
    with ExitStack() as stack:

        def make(
            *, folder: Path | None = None, start: bool = True, limited: bool = False, **given: Any
        ) -> ServerProcess:
            if folder is None:
                folder = tmp_path / f"server-{len(_running)}"
            folder.mkdir(parents=True, exist_ok=True)
            flags = given.get("flags", [])
            if not limited and "--config" not in flags:
                given["flags"] = [*flags, *loose(folder)]
            process = stack.enter_context(listed(ServerProcess(folder, **given)))
            return process.start() if start else process

        yield make


@pytest.fixture(scope="session")
def engine_url() -> Iterator[str]:
    """One engine for the whole session, with whatever earlier tests left in it."""
    with private_engine() as url:
        yield url


@pytest.fixture
def engine(engine_url: str) -> str:
    """The URL of an engine with nothing in it."""
    flush(engine_url)
    return engine_url


@pytest.fixture
async def link(engine: str) -> AsyncIterator[StandaloneStore]:
    """A link to ``engine``, as a worker has one."""
    link = StandaloneStore(engine)
    yield link
    await link.close()


@pytest.fixture
async def writer(link: Store) -> AsyncIterator[Writer]:
    writer = build_writer(link)
    yield writer
    await writer.close()


@pytest.fixture
async def reader(link: Store) -> AsyncIterator[Reader]:
    reader = build_reader(link)
    yield reader
    await reader.close()


@pytest.fixture
async def client(engine: str) -> AsyncIterator[Any]:
    """A client of ``engine``, past the ledger."""
    client = raw(engine)
    yield client
    await client.aclose()


@pytest.fixture(scope="module")
def ring() -> Iterator[Cluster]:
    """A cluster for the tests of a module that do no harm to its nodes."""
    with cluster() as ring:
        yield ring


@pytest.fixture
def fresh_ring() -> Iterator[Cluster]:
    """A cluster of this test's own, whose nodes it may kill."""
    with cluster() as ring:
        yield ring


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without any setting of the server."""
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """A failure shows what the servers said."""
    report = yield
    if report.failed:
        report.sections += [(f"server {process.data.parent.name}", process.output()) for process in _running]
    return report
