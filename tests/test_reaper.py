"""A test process that is killed leaves no process behind."""

import subprocess
import sys
from pathlib import Path

from tests.support.processes import is_alive, kill, wait_until_gone

# One process in the group of the run, and one that leads a group of two.
RUN = """
import subprocess, sys, time
from tests.support.reaper import reap_later
rest = "import time; time.sleep(600)"
start = f"print(subprocess.Popen([sys.executable, '-c', '{rest}']).pid, flush=True)"
lead = f"import subprocess, sys; {start}; {rest}"
for program, leads in (rest, False), (lead, True):
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=leads)
    reap_later(process.pid)
    print(process.pid, flush=True)
time.sleep(600)
"""


def test_what_a_killed_run_started_ends() -> None:
    command = [sys.executable, "-c", RUN]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        started = [int(run.stdout.readline()) for _ in range(3)]
        assert all(map(is_alive, started))
        try:
            run.kill()
            wait_until_gone(started)
        finally:
            for pid in started:
                kill(pid)
