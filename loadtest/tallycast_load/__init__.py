"""The load-test harness: ``tallycast load``.

It knows only the public contract, so that it can be pointed at any server that keeps it. Imports point down:

    cli           options → plan → exit status        report        progress, table, JSON, HTML
    coordinator   the phases of a run, in order       worker        one process: connections and reactions
    verdict       totals, checks, thresholds          reactions     schedule, senders, ledger of acks
    processes     IPC, worker pool, machine limits    connections   WebSocket, event stream, their pool
    client        HTTP, messages, frames, metrics     plan          options, schedule, thresholds, units
    measure       latencies, updates, violations
"""
