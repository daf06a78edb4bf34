"""What this machine allows: open files are raised or explained, and processes are as many as help."""

import resource
import subprocess
import sys

import pytest
from tallycast_load.plan.errors import LoadError
from tallycast_load.plan.plan import Plan, make
from tallycast_load.processes import machine

from tests.support.process import clean_environment


def plan(**flags: str) -> Plan:
    return make(flags, None, private=False)


def test_a_low_limit_on_open_files_is_raised() -> None:
    code = (
        "import resource\n"
        "from tallycast_load.processes.machine import allow_files\n"
        "allow_files(300)\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "300\n"


def test_a_limit_that_cannot_be_raised_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_which: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 1024))
    machine.allow_files(1024)
    with pytest.raises(LoadError) as caught:
        machine.allow_files(20_400)
    assert str(caught.value) == (
        "a process of the harness needs 20,400 open files, and its limit is 1,024: "
        "raise the limit (ulimit -Hn 20400 as root), or divide the connections with --processes"
    )


@pytest.mark.parametrize(
    ("connections", "cores", "files", "shared", "processes"),
    [
        ("500", 8, 10**6, False, 1),
        ("20000", 8, 10**6, False, 8),
        ("20000", 8, 10**6, True, 4),
        ("20000", 1, 10**6, True, 1),
        # As many as it takes, where each may open only so many files.
        ("20000", 2, 2400, True, 10),
    ],
)
def test_as_many_processes_as_help(
    connections: str, cores: int, files: int, shared: bool, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(machine, "_max_files", lambda: files)
    asked = plan(connections=connections)
    assert machine.processes_for(asked, shared=shared) == processes
    assert machine.files_for(asked, processes) <= files or processes == 1


def test_as_many_processes_as_were_asked_for() -> None:
    assert machine.processes_for(plan(connections="50", processes="3"), shared=True) == 3
    assert machine.processes_for(plan(connections="2", visitors="2", processes="3"), shared=True) == 2
