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

from server import memory
from server.admission import Admission
from server.errors import EngineError, Unavailable
from server.guard import Guard
from server.hub import Hub
from server.keysets import KeySets
from server.ledger import safety, writable
from server.ledger.auditor import Auditor
from server.ledger.deeds import Deeds
from server.ledger.holdings import Holdings
from server.ledger.keys import Namespace
from server.ledger.merge import Merger
from server.ledger.parts import feed_of, open_store, reader_of, writer_of
from server.ledger.revocations import Revocations
from server.ledger.store import Store, wait_until_ready
from server.measures import Histogram, Snapshot
from server.people import People
from server.relay import Reconciler, Relay
from server.rules.addresses import networks
from server.rules.limits import Caps
from server.rules.rates import rate
from server.rules.sites import Site
from server.settings import Settings
from server.web.drain import Drain
from server.web.http import Http, Intake
from server.web.inbound import Shared
from server.web.listener import Server, prepare
from server.web.outbox import Outbox
from server.web.rooms import Rooms
from server.web.rounds import Connection, Rounds
from server.web.spread import spread

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
    *,
    restarted: bool = False,
) -> Snapshot:
    """Serve ``sites`` until SIGTERM or SIGINT, and drain; the last numbers.

    ``settings.redis_url`` names the engine. ``on_sites`` is given a function to call, from any thread, when
    the sites have changed, ``on_measure`` one to call when the numbers are wanted: ``measured`` then gets
    them, from the loop, so that it shows that the loop is alive. A worker that was ``restarted`` waits for an
    engine that is away, as in a failover, for as long as it takes; and it serves, and is not ready, where the
    engine's settings or rights would end a start.

    Raises:
        EngineError: the engine cannot be used.
    """
    serving = _serve(settings, listener, on_ready, sites, on_sites, on_measure, measured, restarted=restarted)
    return uvloop.run(serving)


async def _serve(
    settings: Settings,
    listener: socket.socket,
    on_ready: Callable[[], None],
    sites: Mapping[str, Site],
    on_sites: Callable[[Callable[[Mapping[str, Site]], None]], None],
    on_measure: Callable[[Callable[[], None]], None],
    measured: Callable[[Snapshot], None],
    *,
    restarted: bool,
) -> Snapshot:
    assert settings.redis_url is not None
    engine = open_store(settings.redis_url, settings.replicas, settings.prefix or "")
    try:
        patience = math.inf if restarted else ENGINE_PATIENCE
        secret = await wait_until_ready(engine, patience, strict=not restarted)
        await safety.check(engine, strict=not restarted)
        writer, reader, merger = writer_of(engine), reader_of(engine), Merger(engine)
        relay = Relay(reader.submit, engine.namespace)
        reconciler, auditor = Reconciler(relay), Auditor(engine)
        feed = feed_of(engine, relay)
        loop = asyncio.get_running_loop()
        follow, leave = _both(feed.follow, reconciler.follow), _both(feed.leave, reconciler.leave)
        relay.hub = Hub(engine.namespace.item_channel, follow, leave, loop.call_later, spread, age=engine.age)
        relay.people = People(feed.follow, feed.leave)
        key_sets = KeySets()
        revocations = Revocations(engine, partial(_tell, relay.people, engine.namespace))
        try:
            await revocations.look()
        except Unavailable as refusal:
            raise EngineError(f"revocations cannot be read: {refusal}") from None
        rounds: Rounds[Connection] = Rounds()
        requests: Rounds[Http] = Rounds()
        holdings = Holdings(engine, reader.submit, writer.submit, merger.bring_home)
        rooms = Rooms(
            namespace=engine.namespace,
            admission=Admission(_caps(settings), lambda: rounds.now),
            guard=Guard(sites, secret, keys=key_sets, revoked=revocations.at),
            hub=relay.hub,
            people=relay.people,
            rounds=rounds,
            drain=Drain(rounds),
            outbox=Outbox(loop.call_soon),
            parser=Shared(),
            write=writer.submit,
            read=reader.submit,
            merge=merger.submit,
            holdings=holdings,
            deeds=Deeds(engine, holdings, reader.submit),
            ready=lambda: feed.up,
            writable=lambda: engine.condition.writable and not engine.condition.missing_rights,
            evicting=lambda: engine.condition.evicting,
            soon=loop.call_soon,
        )
        on_sites(lambda sites: _soon(loop, partial(_adopt, rooms, sites)))
        snapshot = partial(_snapshot, rooms, engine, writer.sizes, merger, reconciler, auditor)
        on_measure(lambda: _soon(loop, lambda: measured(snapshot())))
        prepare(listener)
        background = [
            _vital(feed.run(), "feed"),
            _vital(rounds.run(), "rounds"),
            _vital(requests.run(), "requests"),
            _vital(memory.keep_small(), "memory"),
            _vital(_sweep(relay.hub), "sweep"),
            _vital(reconciler.run(), "reconciler"),
            _vital(engine.keep_time(), "clock"),
            _vital(writable.follow(engine), "writable"),
            _vital(safety.follow(engine), "safety"),
            _vital(safety.follow_rights(engine), "rights"),
            _vital(revocations.follow(), "revocations"),
            _vital(merger.follow(), "merges"),
            _vital(auditor.run(), "auditor"),
        ]
        intake = Intake(
            networks(settings.forwarded_allow_ips),
            requests,
            settings.request_within,
            rooms.admission,
            settings.base_path.encode(),
            unix=settings.socket_path is not None,
        )
        server = Server(
            rooms,
            on_ready,
            demo=settings.has_demo,
            base_path=settings.base_path,
            intake=intake,
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


def _tell(people: People, namespace: Namespace, site: str, who: bytes, at: float) -> None:
    """A visitor's tokens were revoked."""
    people.revoke(namespace.visitor_channel(site, who), at)


def _adopt(rooms: Rooms, sites: Mapping[str, Site]) -> None:
    """Serve these sites from here on. Sessions find out by themselves within about a second."""
    rooms.guard.sites = sites
    rooms.hub.adopt(sites)
    _log.info("sites adopted", sites=len(sites))


def _snapshot(
    rooms: Rooms, engine: Store, sizes: Histogram, merger: Merger, reconciler: Reconciler, auditor: Auditor
) -> Snapshot:
    """What this worker has counted until now."""
    found = Snapshot(rooms.ready(), rooms.writable(), engine.condition.unsafe)
    deliveries, traffic = rooms.hub.deliveries, rooms.traffic
    found.gauge("connections", traffic.connections())
    found.gauge("watched_items", {"": len(rooms.hub)})
    found.count("updates_sent", {"": deliveries.sent})
    found.count("updates_conflated", {"": deliveries.conflated})
    found.count("reactions", traffic.outcomes())
    found.count("engine_failures", {"": engine.condition.failures})
    found.count("merges_resumed", {"": merger.resumed})
    found.count("reconciliation_repairs", {"": reconciler.repairs})
    found.count("audited_items", {"": auditor.checked})
    found.count("audit_repairs", {"": auditor.repairs})
    found.count("audit_failures", {"": auditor.failed})
    found.count("drifts", {"": engine.condition.drifts})
    found.count("disconnects", traffic.disconnects())
    histograms: dict[str, Histogram] = {
        "delivery_lag_seconds": deliveries.lag,
        "batch_size": sizes,
        "engine_round_trip_seconds": engine.condition.round_trips,
    }
    for name, histogram in histograms.items():
        found.spread(name, histogram.bounds, histogram.counts, histogram.total)
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
