"""One worker: the place where the parts meet.

Owns the wiring and the order of start and stop. Parts below know one another only through plain callables.
"""

import asyncio
import math
import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import structlog
import uvloop

from tallycast.access.admission import Admission
from tallycast.access.guard import Guard
from tallycast.access.keysets import KeySets
from tallycast.access.revocations import Revocations
from tallycast.api.application import application
from tallycast.config.settings import Settings
from tallycast.contract.errors import EngineError, Unavailable
from tallycast.domain.addresses import networks
from tallycast.domain.limits import Caps
from tallycast.domain.rates import rate
from tallycast.domain.sites import Site
from tallycast.engine import probe
from tallycast.engine.factory import open_store
from tallycast.engine.keys import Namespace
from tallycast.engine.preflight import safety
from tallycast.engine.startup import wait_until_ready
from tallycast.engine.store import Store
from tallycast.fanout.hub import Hub
from tallycast.fanout.reconciler import Reconciler, Relay
from tallycast.fanout.visitors import VisitorChannels
from tallycast.ledger.auditor import Auditor
from tallycast.ledger.factory import build_reader, build_writer
from tallycast.ledger.merge import Merger
from tallycast.observability.measures import Histogram, Snapshot
from tallycast.services.accounts import VisitorReactions
from tallycast.services.moderation import AdminActions
from tallycast.services.services import Rooms
from tallycast.transport.coalescer import WriteCoalescer
from tallycast.transport.drain import Drain
from tallycast.transport.http.protocol import Http, HttpContext
from tallycast.transport.http.server import Server, prepare
from tallycast.transport.timer_wheel import Drainable, TimerWheel
from tallycast.transport.websocket.broadcast import broadcast
from tallycast.transport.websocket.parser import SharedParser

# An engine that does not answer, because it is about to start, gets this long (s).
ENGINE_PATIENCE = 10.0
SWEEP_EVERY = 1.0
STOP_WITHIN = 1.0
# Of the time for draining this much (s) is for what follows it: the ends of the parts and of the engine.
RESERVE = 2.0

_log = structlog.get_logger("app")


def run_worker(
    settings: Settings,
    listener: socket.socket,
    on_ready: Callable[[], None],
    sites: Mapping[str, Site],
    on_sites: Callable[[Callable[[Mapping[str, Site]], None]], None],
    on_measure: Callable[[Callable[[], None]], None],
    measured: Callable[[Snapshot], None],
    upkeep: Callable[[], Coroutine[Any, Any, None]],
    *,
    restarted: bool = False,
) -> Snapshot:
    """Serve ``sites`` until SIGTERM or SIGINT, and drain; the last numbers.

    ``settings.redis_url`` names the engine. ``on_sites`` is given a function to call, from any thread, when
    the sites have changed, ``on_measure`` one to call when the numbers are wanted: ``measured`` then gets
    them, from the loop, so that it shows that the loop is alive. ``upkeep`` runs beside, for as long as the
    worker serves. A worker that was ``restarted`` waits for an engine that is away, as in a failover, for as
    long as it takes; and it serves, and is not ready, where the engine's settings or rights would end a
    start.

    Raises:
        EngineError: the engine cannot be used.
    """
    serving = _serve(
        settings, listener, on_ready, sites, on_sites, on_measure, measured, upkeep, restarted=restarted
    )
    return uvloop.run(serving)


async def _serve(
    settings: Settings,
    listener: socket.socket,
    on_ready: Callable[[], None],
    sites: Mapping[str, Site],
    on_sites: Callable[[Callable[[Mapping[str, Site]], None]], None],
    on_measure: Callable[[Callable[[], None]], None],
    measured: Callable[[Snapshot], None],
    upkeep: Callable[[], Coroutine[Any, Any, None]],
    *,
    restarted: bool,
) -> Snapshot:
    assert settings.redis_url is not None
    engine = open_store(settings.redis_url, settings.replicas, settings.prefix or "")
    try:
        patience = math.inf if restarted else ENGINE_PATIENCE
        secret = await wait_until_ready(engine, patience, strict=not restarted)
        await safety.check(engine, strict=not restarted)
        writer, reader, merger = build_writer(engine), build_reader(engine), Merger(engine)
        relay = Relay(reader.submit, engine.namespace)
        reconciler, auditor = Reconciler(relay), Auditor(engine)
        feed = engine.feed(relay)
        loop = asyncio.get_running_loop()
        follow, leave = _both(feed.subscribe, reconciler.follow), _both(feed.unsubscribe, reconciler.leave)
        relay.hub = Hub(
            engine.namespace.item_channel, follow, leave, loop.call_later, broadcast, age=engine.age
        )
        relay.visitors = VisitorChannels(feed.subscribe, feed.unsubscribe)
        key_sets = KeySets()
        revocations = Revocations(engine, partial(_tell, relay.visitors, engine.namespace))
        try:
            await revocations.refresh()
        except Unavailable as refusal:
            raise EngineError(f"revocations cannot be read: {refusal}") from None
        timers: TimerWheel[Drainable] = TimerWheel()
        requests: TimerWheel[Http] = TimerWheel()
        visitor_reactions = VisitorReactions(
            engine, reader.submit, writer.submit, merger.finish_pending_merges
        )
        rooms = Rooms(
            namespace=engine.namespace,
            admission=Admission(_caps(settings), lambda: timers.now),
            guard=Guard(sites, secret, keys=key_sets, revoked=revocations.at),
            hub=relay.hub,
            visitors=relay.visitors,
            timers=timers,
            drain=Drain(timers),
            coalescer=WriteCoalescer(loop.call_soon),
            parser=SharedParser(),
            write=writer.submit,
            read=reader.submit,
            merge=merger.submit,
            visitor_reactions=visitor_reactions,
            admin_actions=AdminActions(engine, visitor_reactions, reader.submit),
            ready=lambda: feed.up,
            writable=lambda: engine.health.writable and not engine.health.missing_rights,
            evicting=lambda: engine.health.evicting,
            soon=loop.call_soon,
        )
        on_sites(lambda sites: _soon(loop, partial(_adopt, rooms, sites)))
        snapshot = partial(_snapshot, rooms, engine, writer.sizes, merger, reconciler, auditor)
        on_measure(lambda: _soon(loop, lambda: measured(snapshot())))
        prepare(listener)
        background = [
            _vital(feed.run(), "feed"),
            _vital(timers.run(), "rounds"),
            _vital(requests.run(), "requests"),
            _vital(upkeep(), "upkeep"),
            _vital(_sweep(relay.hub), "sweep"),
            _vital(reconciler.run(), "reconciler"),
            _vital(engine.maintain(), "clock"),
            _vital(probe.follow(engine), "writable"),
            _vital(safety.follow(engine), "safety"),
            _vital(safety.follow_rights(engine), "rights"),
            _vital(revocations.follow(), "revocations"),
            _vital(merger.follow(), "merges"),
            _vital(auditor.run(), "auditor"),
        ]
        context = HttpContext(
            networks(settings.forwarded_allow_ips),
            requests,
            settings.request_within,
            rooms.admission,
            settings.base_path.encode(),
            unix=settings.socket_path is not None,
        )
        server = Server(
            application(rooms, demo=settings.has_demo, base_path=settings.base_path),
            rooms,
            on_ready,
            context=context,
            drain=max(settings.drain - RESERVE, settings.drain / 2),
        )
        await server.serve(sockets=[listener])
        for task in background:
            task.cancel()
        # With a limit: redis-py waits with asyncio.wait_for, which may swallow a cancellation on Python 3.11.
        await asyncio.wait(background, timeout=STOP_WITHIN)
        await key_sets.close()
        await merger.close()
        await writer.close()
        await reader.close()
        return snapshot()
    finally:
        await engine.close()


def _caps(settings: Settings) -> Caps:
    return Caps(
        settings.connections,
        settings.address_connections,
        rate(settings.address_arrivals),
        rate(settings.address_requests),
        rate(settings.address_visitors),
    )


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """From another thread, call something in the loop, unless that has come to its end."""
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        pass


def _both(first: Callable[[bytes], None], second: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def call(channel: bytes) -> None:
        first(channel)
        second(channel)

    return call


def _tell(visitors: VisitorChannels, namespace: Namespace, site: str, who: bytes, at: float) -> None:
    """A visitor's tokens were revoked."""
    visitors.revoke(namespace.visitor_channel(site, who), at)


def _adopt(rooms: Rooms, sites: Mapping[str, Site]) -> None:
    """Serve these sites from here on. Sessions find out by themselves within about a second."""
    rooms.guard.sites = sites
    rooms.hub.adopt(sites)
    _log.info("sites adopted", sites=len(sites))


def _snapshot(
    rooms: Rooms, engine: Store, sizes: Histogram, merger: Merger, reconciler: Reconciler, auditor: Auditor
) -> Snapshot:
    """What this worker has counted until now."""
    found = Snapshot(rooms.ready(), rooms.writable(), engine.health.unsafe)
    delivery_stats, stats = rooms.hub.delivery_stats, rooms.stats
    found.gauge("connections", stats.connections())
    found.gauge("watched_items", {"": len(rooms.hub)})
    found.count("updates_sent", {"": delivery_stats.sent})
    found.count("updates_conflated", {"": delivery_stats.conflated})
    found.count("reactions", stats.outcomes())
    found.count("engine_failures", {"": engine.health.failures})
    found.count("merges_resumed", {"": merger.resumed})
    found.count("reconciliation_repairs", {"": reconciler.repairs})
    found.count("audited_items", {"": auditor.checked})
    found.count("audit_repairs", {"": auditor.repairs})
    found.count("audit_failures", {"": auditor.failed})
    found.count("drifts", {"": engine.health.drifts})
    found.count("disconnects", stats.disconnects())
    histograms: dict[str, Histogram] = {
        "delivery_lag_seconds": delivery_stats.lag,
        "batch_size": sizes,
        "engine_round_trip_seconds": engine.health.round_trips,
    }
    for name, histogram in histograms.items():
        found.histogram(name, histogram.bounds, histogram.counts, histogram.total)
    return found


async def _sweep(hub: Hub) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY)
        hub.sweep()


def _vital(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """A task without which a worker is of no use: its supervisor starts another when it fails."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("worker cannot go on", part=name, exc_info=error)
            os._exit(1)

    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(ended)
    return task
