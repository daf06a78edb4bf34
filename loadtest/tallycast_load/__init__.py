"""The load-test harness: ``tallycast load``.

It speaks only the public contract, so that it can be pointed at any server that keeps it. Must know nothing
of this server's parts but ``protocol``.

    command      flags → plan → exit status           report/     table, JSON, HTML
    run          the phases, in order                 live        progress while it runs
    fleet        the worker processes, seen from here oracle, health, limits, verdict   pure: what is right
    worker       one process: crowd, reactor, sightings
    watcher, stream   one connection each: WebSocket, event stream
    plan, units, spread, schedule, thresholds         pure: what is asked for, and when it is due
    latency, sightings, book                          pure: what was measured, seen and acknowledged
"""
