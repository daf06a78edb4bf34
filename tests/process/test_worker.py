"""A worker process by itself: the test is its parent."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from tallycast.config.settings import load, pack
from tallycast.process import ipc

from tests.support.process import clean_environment
from tests.support.waiting import wait_for


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    line: socket.socket
    port: int

    def says(self) -> bytes:
        """The next line of the worker; empty when it has gone."""
        with self.line.makefile("rb") as lines:
            return lines.readline()


@contextmanager
def worker(redis_url: str, sites: str | None = None) -> Iterator[Worker]:
    ours, theirs = socket.socketpair()
    ours.sendall(ipc.sites_line(sites))
    ours.settimeout(30)
    with ours, socket.create_server(("127.0.0.1", 0)) as listener:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tallycast.process.worker", "7", str(listener.fileno())],
                stdin=theirs.fileno(),
                stderr=subprocess.PIPE,
                pass_fds=(listener.fileno(),),
                env=clean_environment(
                    {ipc.SETTINGS: pack(load().model_copy(update={"redis_url": redis_url}))}
                ),
            )
        with process:
            try:
                yield Worker(process, ours, listener.getsockname()[1])
            finally:
                process.kill()


def test_it_says_ready_and_serves_on_the_listener_it_was_given(engine: str) -> None:
    with worker(engine) as one:
        assert one.says() == b"ready\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{one.port}/livez", timeout=30) as answer:
            assert answer.status == 200


def test_it_stops_cleanly_on_sigterm(engine: str) -> None:
    with worker(engine) as one:
        assert one.says() == b"ready\n"
        one.process.terminate()
        assert one.says().startswith(ipc.MEASURED), "the last word"
        assert one.says() == b""
        assert one.process.wait(60) in (0, -signal.SIGTERM)
        assert one.process.stderr is not None
        assert b"Traceback" not in one.process.stderr.read()


def test_it_tells_its_numbers_when_asked(engine: str) -> None:
    with worker(engine) as one:
        assert one.says() == b"ready\n"
        for _ in range(2):
            one.line.sendall(ipc.MEASURE)
            found = ipc.measured(one.says())
            assert found.counters["reactions"]["acked"] == 0
        assert found.histograms["engine_round_trip_seconds"].counts


def test_it_does_not_outlive_its_parent(engine: str) -> None:
    with worker(engine) as one:
        assert one.says() == b"ready\n"
        one.line.close()
        assert one.process.wait(60) == 1


def test_not_even_while_it_starts(engine: str) -> None:
    with worker(engine) as one:
        one.line.close()
        assert one.process.wait(60) == 1


@pytest.mark.parametrize("ready", [True, False], ids=["serving", "starting"])
def test_a_stray_interrupt_leaves_no_traceback(engine: str, ready: bool) -> None:
    with worker(engine) as one:
        if ready:
            assert one.says() == b"ready\n"
        os.kill(one.process.pid, signal.SIGINT)
        assert one.process.wait(60) in (0, -signal.SIGINT)
        assert one.process.stderr is not None
        assert ready or b"Traceback" not in one.process.stderr.read()


def test_it_serves_the_sites_it_is_sent_and_changes_them(engine: str) -> None:
    def status(site: str) -> int:
        try:
            url = f"http://127.0.0.1:{one.port}/v1/items?site={site}&item=a"
            with urllib.request.urlopen(url, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    with worker(engine, '[sites.one]\norigins = ["*"]') as one:
        assert one.says() == b"ready\n"
        assert [status("one"), status("two"), status("default")] == [200, 404, 404]
        one.line.sendall(ipc.sites_line('[sites.two]\norigins = ["*"]'))
        wait_for(lambda: status("two") == 200, "the new site")
        assert status("one") == 404


def test_it_says_why_it_cannot_serve() -> None:
    with worker("unix:///nowhere/engine.sock") as one:
        assert one.says().startswith(b"failed the engine does not answer")
        assert one.process.wait(60) == 1
