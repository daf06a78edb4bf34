"""The composition root of a worker.

Owns the order of start and stop. Each package below offers one build function; this module hands each part
what it uses.

The background tasks are no ``asyncio.TaskGroup``. When a vital task fails, the process must end at once, for
the supervisor to start another: a group would first cancel the server and wait for it. And at the end a group
waits without limit, while redis-py, which uses ``asyncio.wait_for``, may swallow a cancellation on Python
3.11.
"""

import asyncio
import math
import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
import uvloop

from tallycast.access import build as access
from tallycast.api import application
from tallycast.config.settings import Settings
from tallycast.contract.errors import Unavailable
from tallycast.domain.addresses import networks
from tallycast.domain.limits import Caps
from tallycast.domain.rates import rate
from tallycast.domain.sites import Site
from tallycast.engine import probe
from tallycast.engine.factory import open_store
from tallycast.engine.preflight import safety
from tallycast.engine.startup import wait_until_ready
from tallycast.engine.store import EngineError, Store
from tallycast.fanout import build as fanout
from tallycast.fanout.fanout import Fanout
from tallycast.ledger import factory as ledger
from tallycast.observability.measures import Snapshot
from tallycast.services import build as services
from tallycast.transport import build as transports
from tallycast.transport.http.protocol import Http, HttpContext
from tallycast.transport.http.server import Server, prepare
from tallycast.transport.timer_wheel import Drainable, TimerWheel
from tallycast.transport.websocket.protocol import Socket

# How long (s) to wait for an engine that does not answer at the start.
ENGINE_PATIENCE = 10.0
STOP_WITHIN = 1.0
# The part of the drain time (s) that is kept for the end of the parts and of the engine.
RESERVE = 2.0

_log = structlog.get_logger("app")


@dataclass(frozen=True, slots=True)
class Host:
    """The process around a worker.

    Args:
        on_ready: called when connections are accepted.
        on_sites: called with a function to call, from any thread, with the sites when they have changed.
        on_measure: called with a function to call, from any thread, to request the measurements.
        measured: called with the requested measurements, from the loop: it shows that the loop is alive.
        heap_trimming: runs as long as the worker serves.
    """

    on_ready: Callable[[], None]
    on_sites: Callable[[Callable[[Mapping[str, Site]], None]], None]
    on_measure: Callable[[Callable[[], None]], None]
    measured: Callable[[Snapshot], None]
    heap_trimming: Callable[[], Coroutine[Any, Any, None]]


def run_worker(
    settings: Settings,
    listener: socket.socket,
    sites: Mapping[str, Site],
    host: Host,
    *,
    restarted: bool = False,
) -> Snapshot:
    """Serve until SIGTERM or SIGINT, and drain. Returns the last measurements.

    Args:
        settings: ``redis_url`` names the engine.
        listener: where connections are accepted.
        sites: the sites to serve, by name.
        host: the process around it.
        restarted: wait for an engine that is away, as in a failover, without limit; and serve, without being
            ready, where the engine's settings or rights would end a start.

    Raises:
        EngineError: the engine cannot be used.
    """

    async def serve() -> Snapshot:
        loop = asyncio.get_running_loop()
        assert settings.redis_url is not None
        engine = open_store(settings.redis_url, settings.replicas, settings.prefix or "")
        try:
            worker = await _start(settings, engine, sites, restarted=restarted)
            host.on_sites(lambda sites: _call_soon(loop, partial(worker.update_sites, sites)))
            host.on_measure(lambda: _call_soon(loop, lambda: host.measured(worker.measure())))
            prepare(listener)
            background = [
                _vital(name, work) for name, work in worker.background(host.heap_trimming()).items()
            ]
            await _server(settings, worker, host.on_ready).serve(sockets=[listener])
            for task in background:
                task.cancel()
            await asyncio.wait(background, timeout=STOP_WITHIN)
            await worker.close()
            return worker.measure()
        finally:
            await engine.close()

    return uvloop.run(serve())


@dataclass(frozen=True, slots=True)
class _Worker:
    """The parts of a worker."""

    engine: Store
    ledger: ledger.Ledger
    fanout: Fanout
    access: access.Access
    timers: TimerWheel[Drainable]
    requests: TimerWheel[Http]
    services: services.Services
    transports: transports.Transports

    def ready(self) -> bool:
        """Whether clients should be sent here. The log and the metrics have the reason when not."""
        health = self.engine.health
        writable = health.writable and not health.missing_rights and not health.evicting
        return self.fanout.feed.up and writable and not self.transports.drain.begun

    def update_sites(self, sites: Mapping[str, Site]) -> None:
        """Serve these sites from here on. Sessions use them from their next tick."""
        self.access.guard.sites = sites
        self.fanout.update_sites(sites)
        _log.info("sites updated", sites=len(sites))

    def background(self, heap_trimming: Coroutine[Any, Any, None]) -> dict[str, Coroutine[Any, Any, None]]:
        """The tasks of a worker, by name."""
        return {
            "feed": self.fanout.feed.run(),
            "timers": self.timers.run(),
            "requests": self.requests.run(),
            "heap_trimming": heap_trimming,
            "idle_expiry": self.fanout.expire_idle(),
            "reconciler": self.fanout.reconciler.run(),
            "clock": self.engine.maintain(),
            "writable": probe.run(self.engine),
            "safety": safety.run_settings_checks(self.engine),
            "rights": safety.run_rights_checks(self.engine),
            "revocations": self.access.revocations.run(),
            "merges": self.ledger.merger.run(),
            "auditor": self.ledger.auditor.run(),
        }

    def measure(self) -> Snapshot:
        """The present measurements."""
        health = self.engine.health
        writable = health.writable and not health.missing_rights
        found = Snapshot(self.fanout.feed.up, writable, health.unsafe)
        for part in (self.transports, self.fanout, self.ledger):
            part.measure(found)
        found.count("reactions", self.services.reactions.outcomes())
        found.count("engine_failures", {"": health.failures})
        found.count("drifts", {"": health.drifts})
        trips = health.round_trips
        found.histogram("engine_round_trip_seconds", trips.bounds, trips.counts, trips.total)
        return found

    async def close(self) -> None:
        """End what is under way."""
        await self.access.close()
        await self.ledger.close()


async def _start(settings: Settings, engine: Store, sites: Mapping[str, Site], *, restarted: bool) -> _Worker:
    """Wait for the engine, and build a worker.

    Raises:
        EngineError: the engine cannot be used.
    """
    patience = math.inf if restarted else ENGINE_PATIENCE
    secret = await wait_until_ready(engine, patience, strict=not restarted)
    await safety.check(engine, strict=not restarted)
    worker = _build(settings, engine, secret, sites)
    try:
        await worker.access.revocations.refresh()
    except Unavailable as refusal:
        raise EngineError(f"revocations cannot be read: {refusal}") from None
    return worker


def _build(settings: Settings, engine: Store, secret: bytes, sites: Mapping[str, Site]) -> _Worker:
    loop = asyncio.get_running_loop()
    timers: TimerWheel[Drainable] = TimerWheel()
    stored = ledger.build(engine)
    updates = fanout.build(engine, stored, loop.call_later)
    checks = access.build(engine, sites, secret, _caps(settings), lambda: timers.now, updates.revoked)
    built = services.build(engine, stored, updates, checks.guard, timers)
    return _Worker(
        engine,
        stored,
        updates,
        checks,
        timers,
        TimerWheel(),
        built,
        transports.build(built, checks, timers, loop),
    )


def _server(settings: Settings, worker: _Worker, on_ready: Callable[[], None]) -> Server:
    return Server(
        application.build(
            worker.services,
            worker.access.guard,
            worker.access.admission,
            worker.transports.streams,
            worker.ready,
            demo=settings.has_demo,
            base_path=settings.base_path,
        ),
        partial(Socket, worker.transports.websockets),
        HttpContext(
            networks(settings.forwarded_allow_ips),
            worker.requests,
            settings.request_within,
            worker.access.admission,
            settings.base_path.encode(),
            unix=settings.socket_path is not None,
        ),
        worker.transports.drain,
        max(settings.drain - RESERVE, settings.drain / 2),
        on_ready,
    )


def _caps(settings: Settings) -> Caps:
    return Caps(
        settings.connections,
        settings.address_connections,
        rate(settings.address_arrivals),
        rate(settings.address_requests),
        rate(settings.address_visitors),
    )


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call a function in the loop, from another thread, unless the loop has ended."""
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        pass


def _vital(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task without which a worker is useless: when it fails, the supervisor starts another worker."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("vital task failed", task=name, exc_info=error)
            os._exit(1)

    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(ended)
    return task
