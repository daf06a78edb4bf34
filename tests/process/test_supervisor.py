"""A whole server, started, killed and stopped as it happens to operators."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tallycast.config.errors import StartError
from tallycast.config.settings import load
from tallycast.engine.embedded.folder import DataFolder
from tallycast.process import supervisor
from websockets.exceptions import ConnectionClosed

from tests.client.tokens import bearer
from tests.client.websocket import BlockingConnection, connect_blocking
from tests.conftest import MakeServer
from tests.support import processes
from tests.support.process import ServerProcess, clean_environment
from tests.support.processes import clients
from tests.support.waiting import wait_for


def react(server: ServerProcess, item: str, reaction: str = "like") -> dict[str, object]:
    """A new visitor's reaction; the acknowledged fields."""
    with httpx.Client(base_url=server.url) as http:
        token = http.post("/v1/visitors").raise_for_status().json()["token"]
        answer = http.put(
            "/v1/reaction",
            params={"item": item},
            json={"reaction": reaction},
            headers=bearer(token),
        )
        return dict(answer.raise_for_status().json())


def likes(server: ServerProcess, item: str) -> int:
    answer = httpx.get(f"{server.url}/v1/items", params={"item": item})
    return int(answer.raise_for_status().json()["items"][0]["counts"]["like"])


def is_serving(server: ServerProcess) -> bool:
    try:
        return httpx.get(f"{server.url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def shows(connection: BlockingConnection, likes: int) -> bool:
    """Whether it receives so many likes before it ends."""
    try:
        connection.next("counts", counts={"like": likes, "dislike": 0})
    except ConnectionClosed:
        return False
    return True


def lines(server: ServerProcess) -> list[str]:
    return server.output().splitlines()


def test_beside_a_kubernetes_service_of_its_name(make_server: MakeServer) -> None:
    """Its address is in TALLYCAST_PORT: ignored with one line, by the server and by other commands."""
    env = {"TALLYCAST_PORT": "tcp://10.96.0.10:8000", "TALLYCAST_SERVICE_HOST": "10.96.0.10", "PORT": "0"}
    server = make_server(flags=["--workers", "2"], env=env, port=None)
    reply = [line for line in server.output().splitlines() if "TALLYCAST_" in line]
    assert len(reply) == 1
    line = json.loads(reply[0])
    assert (line["event"], line["name"]) == ("environment variable ignored", "TALLYCAST_PORT")
    command = [sys.executable, "-m", "tallycast", "audit", "--all", "--data", str(server.data)]
    done = subprocess.run(command, env=clean_environment(env), check=False, capture_output=True, timeout=30)
    assert done.returncode == 0, done


def test_a_new_worker_finds_an_engine_whose_socket_was_deleted(make_server: MakeServer) -> None:
    server = make_server()
    react(server, "x")
    note = DataFolder(server.data).noted_engine()
    assert note is not None
    worker = server.workers[0]
    note.socket.unlink()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: server.workers not in ([], [worker]) and is_serving(server), "another worker")
    assert likes(server, "x") == 1
    react(server, "x")
    assert "engine socket deleted or replaced" in server.output()


def test_sigterm_ends_everything(make_server: MakeServer) -> None:
    server = make_server(flags=["--workers", "2"])
    assert len(server.workers) == 2
    assert server.engine is not None
    assert server.terminate() == 0
    server.family_is_gone()
    assert "Traceback" not in server.output()


def test_an_interrupt_does_too(make_server: MakeServer) -> None:
    server = make_server()
    os.kill(server.pid, signal.SIGINT)
    assert server.wait() == 0
    server.family_is_gone()
    assert "Traceback" not in server.output()


def test_children_are_out_of_the_terminals_reach(make_server: MakeServer) -> None:
    server = make_server()
    assert server.engine is not None
    for pid in (*server.workers, server.engine):
        assert os.getsid(pid) == pid


def test_a_second_signal_does_not_wait(make_server: MakeServer) -> None:
    server = make_server()
    worker = server.workers[0]
    os.kill(worker, signal.SIGSTOP)  # It will not take notice of any SIGTERM.
    os.kill(server.pid, signal.SIGTERM)
    wait_for(lambda: "shutdown started" in server.output(), "the first signal")
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait(5) == 0
    server.family_is_gone()


def test_an_engine_that_does_not_end_is_not_waited_for(make_server: MakeServer) -> None:
    server = make_server(flags=["--drain", "3"])
    for _ in range(3):
        react(server, "a")
    assert server.engine is not None
    os.kill(server.engine, signal.SIGSTOP)
    os.kill(server.pid, signal.SIGTERM)
    # Left to itself the engine would have had ten.
    assert server.wait(9) == 0
    server.family_is_gone()
    server.restart()
    assert likes(server, "a") == 3


def test_the_banner(make_server: MakeServer) -> None:
    server = make_server()
    reply = server.output()
    assert server.url in reply
    assert str(server.data) in reply
    assert "every write synced" in reply
    assert httpx.get(f"{server.url}/livez").status_code == 200


def test_killed_it_leaves_no_orphan_and_loses_nothing(make_server: MakeServer) -> None:
    server = make_server(flags=["--workers", "2"])
    for _ in range(3):
        react(server, "a")
    server.kill()
    server.family_is_gone()
    server.restart()
    assert likes(server, "a") == 3
    react(server, "a")
    assert likes(server, "a") == 4


def test_killed_in_the_middle_of_writes(make_server: MakeServer) -> None:
    server = make_server()
    acknowledged = 0

    def write() -> None:
        nonlocal acknowledged
        try:
            while True:
                react(server, "a")
                acknowledged += 1
        except httpx.HTTPError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    wait_for(lambda: acknowledged >= 20, "twenty reactions")
    server.kill()
    writer.join()
    server.restart()
    # The one that was under way may have been stored without its answer.
    assert likes(server, "a") in (acknowledged, acknowledged + 1)


def test_a_start_right_after_a_kill(make_server: MakeServer) -> None:
    server = make_server()
    for count in range(1, 4):
        react(server, "a")
        server.kill()
        server.start()
        assert likes(server, "a") == count


def test_a_killed_engine_comes_back(make_server: MakeServer) -> None:
    server = make_server()
    react(server, "a")
    engine = server.engine
    assert engine is not None
    processes.kill(engine)
    wait_for(lambda: server.engine not in (None, engine), "another engine")
    wait_for(lambda: is_serving(server), "/readyz")
    assert likes(server, "a") == 1
    react(server, "a")
    assert likes(server, "a") == 2
    assert "engine died" in server.output()
    assert "engine restarted" in server.output()


def test_a_killed_worker_is_replaced_without_disturbing_the_other(make_server: MakeServer) -> None:
    server = make_server(flags=["--workers", "2"])
    first, second = server.workers
    processes.kill(first)
    wait_for(lambda: "worker restarted" in server.output(), "another worker")
    assert len(server.workers) == 2
    assert second in server.workers
    assert first not in server.workers
    for _ in range(20):
        assert is_serving(server)


def test_connections_of_the_other_worker_live_on(make_server: MakeServer) -> None:
    server = make_server(flags=["--workers", "2"])
    first, second = server.workers
    before = clients(second)
    with ExitStack() as stack:
        sockets = []
        # The kernel decides which worker accepts: on until each has some.
        while len(sockets) < 10 or not 3 < clients(second) - before < len(sockets):
            sockets.append(stack.enter_context(connect_blocking(f"{server.ws_url}/ws?item=kept")))
            assert len(sockets) < 500, "all went to one worker"
        kept = clients(second) - before
        processes.kill(first)
        wait_for(lambda: "worker restarted" in server.output(), "another worker")
        react(server, "kept")
        assert sum(shows(one, likes=1) for one in sockets) == kept


def test_connections_wait_while_there_is_no_worker(make_server: MakeServer) -> None:
    server = make_server()
    processes.kill(server.workers[0])
    # Accepted by the kernel at once, answered by the next worker.
    assert httpx.get(f"{server.url}/livez", timeout=30).status_code == 200


def test_a_data_folder_that_another_server_holds(make_server: MakeServer) -> None:
    server = make_server()
    second = make_server(
        folder=server.data.parent / "second", flags=["--data", str(server.data)], start=False
    )
    second.start(wait=False)
    assert second.wait() == 1
    assert lines(second)[-1].startswith(
        f"tallycast: the data folder {server.data} is in use by another server"
    )
    assert f"(process {server.pid})" in lines(second)[-1]
    assert is_serving(server)


def test_a_port_in_use(make_server: MakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = make_server(flags=["--port", str(port)], start=False).start(wait=False)
        assert server.wait() == 1
        assert lines(server)[-1].startswith(f"tallycast: port {port} on 127.0.0.1 is in use: ")
    assert not server.data.exists()


def test_an_engine_of_the_operators(make_server: MakeServer, engine: str) -> None:
    server = make_server(env={"REDIS_URL": engine})
    assert server.engine is None
    assert not server.data.exists()
    assert engine in server.output()
    react(server, "a")
    # Two servers, one engine.
    assert likes(make_server(env={"REDIS_URL": engine}), "a") == 1


def test_an_embedded_engine_has_no_replica(make_server: MakeServer) -> None:
    server = make_server(flags=["--durability", "replica"], start=False).start(wait=False)
    assert server.wait(30) == 2
    assert lines(server)[-1].startswith("tallycast: --durability replica: ")


def test_an_engine_that_is_not_there(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(env={"REDIS_URL": f"unix://user:geheim@{tmp_path}/none.sock"}, start=False)
    server.start(wait=False)
    assert server.wait(30) == 1
    assert lines(server)[-1].startswith("tallycast: the engine does not answer")
    assert "geheim" not in server.output()
    assert "Traceback" not in server.output()


@pytest.mark.parametrize("name", ["PORT", "TALLYCAST_PORT"])
def test_the_platforms_port(make_server: MakeServer, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = make_server(env={name: str(port)}, port=None)
    assert server.url == f"http://127.0.0.1:{port}"


def test_a_folder_called_server_where_the_operator_is(make_server: MakeServer, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "__init__.py").write_text("raise SystemExit('the wrong server')")
    assert is_serving(make_server(cwd=tmp_path))


def test_a_worker_that_never_becomes_ready(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    """Three deaths in a row stop the server; ``false`` stands for a Python that cannot even begin."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    settings = load(port="0").model_copy(update={"redis_url": engine})
    with pytest.raises(StartError, match=r"^worker 1 died 3 times before it was ready \(last status: 1\)"):
        supervisor.run(settings)
