"""The load generator counts and times what a server sends, and notices what is wrong with it."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from bench import programs
from bench.contenders.peers import WEBSOCKETS
from bench.contenders.tallycast import TALLYCAST
from bench.errors import InvalidMeasurementError, UnavailableError
from bench.figures.rig import rig
from bench.load.generator import RETURNING, SENDERS, STALLED, LoadGenerator
from bench.usage import connections, cpu_used
from tests.support.waiting import wait_for


def test_the_generator_counts_what_tallycast_delivers(tmp_path: Path) -> None:
    with rig(TALLYCAST, tmp_path, 3) as bench:
        bench.open_watchers(6, 3)
        bench.broadcast(4, 3)
        bench.check_broadcast(4, 6)
        assert bench.load.run("collect", seconds=0.01)["replies"] == 4 * 3
        bench.close_watchers()
        with cpu_used(bench.processes) as used:
            bench.exchange(30, "many", 5)
        assert used["server"] > 0
        assert used["engine"] > 0
        bench.open_watchers(4, 2, prefix="late")
        response = bench.react_at(100, 0.2, "late", items=2, latency=1)
        # Twenty reactions to two items with two watchers each, every one of them shown to both.
        assert (response["replies"], response["samples"], response["missing"]) == (20, 40, 0)
        assert 0 < response["p50"] <= response["max"]


def test_the_generator_notices_a_peer_that_cheats(tmp_path: Path) -> None:
    with rig(WEBSOCKETS, tmp_path, 3) as bench:
        bench.open_watchers(6, 3)
        bench.broadcast(5, 3)
        bench.check_broadcast(5, 6)
        longer = replace(bench, contender=replace(WEBSOCKETS, dialect=replace(bench.dialect, update_size=96)))
        with pytest.raises(InvalidMeasurementError, match="instead of 96"):
            longer.check_broadcast(5, 6)
        # Every item three times, as if it were three items.
        trigger = bench.dialect.trigger.replace("$I", "000")
        twice = replace(bench, contender=replace(WEBSOCKETS, dialect=replace(bench.dialect, trigger=trigger)))
        bench.close_watchers()
        bench.open_watchers(2)
        twice.broadcast(1, 3)
        with pytest.raises(InvalidMeasurementError, match="6 updates instead of 2, 4 of them twice"):
            bench.check_broadcast(1, 2)
        lost = {"rounds": 1, "messages": 1, "message": "x|y", "update": bench.dialect.update, "timeout": 0.2}
        assert bench.load.run("broadcast", **lost)["rounds"] == 0
        with pytest.raises(InvalidMeasurementError, match="only 0 of 2 connections"):
            bench.load.connect(SENDERS, 2, path="/", ready="never", timeout=0.2)


def test_the_prefixes_of_a_command_hold_while_its_updates_are_collected(tmp_path: Path) -> None:
    """However long the line of ``collect`` is, which replaces that of the command."""
    with rig(WEBSOCKETS, tmp_path) as bench, LoadGenerator(bench.running.port) as other:
        bench.open_watchers(2)
        replace(bench, load=other).open_senders(1)
        bench.load.run("broadcast", rounds=0, messages=0, message="", update=bench.dialect.update)
        bench.load.run("collect", seconds=0, padding="x" * 500)
        replace(bench, load=other).broadcast(1)
        wait_for(lambda: bench.load.run("collect", seconds=0.01)["updates"] == 2, "both updates", 10)


def test_the_generator_times_pings_until_the_next_command(tmp_path: Path) -> None:
    with rig(TALLYCAST, tmp_path, 3) as bench:
        message = '{"type":"ping","ref":$N}'
        with bench.load.running("ping", interval=0.01, message=message, reply='{"type":"pong"') as response:
            time.sleep(0.1)
        assert response["replies"] == response["sent"] > 1
        assert 0 < response["p50"] <= response["p99"] <= response["max"]
        bench.exchange(3, "after")


def test_the_generator_stops_reading_and_reads_again(tmp_path: Path) -> None:
    with rig(TALLYCAST, tmp_path, 3) as bench:
        before = connections(bench.running.port)
        bench.open_watchers(4)
        bench.open_watchers(2, group=STALLED, receive_buffer=4096)
        bench.open_watchers(1, group=RETURNING, receive_buffer=4096)
        assert connections(bench.running.port) == before + 7
        bench.load.run("pause", group=STALLED)
        response = bench.react_at(200, 0.5, "bench", latency=1, pause_at=0.1, resume_at=0.3)
        # Only those that read all the time are samples; the one that returned has caught up.
        assert (response["samples"], response["missing"], response["regressions"]) == (400, 0, 0)
        assert response["behind"] == 0
        assert response["catch_up"] >= 0


def test_a_machine_without_a_compiler_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "BUILD", tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(UnavailableError, match="no-such-compiler is not found"):
        programs.program("load")
