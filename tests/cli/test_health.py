"""``tallycast health``: by TCP here, by a Unix socket in ``test_unix_socket``."""

import socket
import subprocess
import sys
from threading import Thread

import pytest
from tallycast.cli.health import health
from tallycast.process.probe import NotHealthy, check

from tests.support.process import ServerProcess, clean_environment


def health_command(*flags: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tallycast", "health", *flags]
    given = clean_environment(env)
    return subprocess.run(command, env=given, check=False, capture_output=True, text=True, timeout=30)


@pytest.mark.usefixtures("no_settings")
def test_where_the_environment_says(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """What listens on every interface is on this machine, too."""
    port = server.url.rpartition(":")[2]
    monkeypatch.setenv("PORT", port)
    health()
    monkeypatch.setenv("TALLYCAST_HOST", "0.0.0.0")
    health(ready=True)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = str(unused.getsockname()[1])
        done = health_command("--port", closed)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"tallycast: 127.0.0.1, port {closed}: connection refused\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "/readyz answered 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "ssh-2.0-openssh_9.2"),
        (b"", "remote end closed connection without response"),
    ],
)
def test_what_does_not_answer_as_it_should(answer: bytes, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def serve() -> None:
            with other.accept()[0] as connection:
                assert connection.recv(4096).startswith(b"GET /readyz HTTP/1.1\r\n")
                connection.sendall(answer)

        serving = Thread(target=serve)
        serving.start()
        with pytest.raises(NotHealthy) as caught:
            check("127.0.0.1", port, ready=True)
        serving.join()
    assert str(caught.value).strip() == f"127.0.0.1, port {port}: {reason}"
