"""CPU time and memory are those that the process itself sees."""

import os
import time

import pytest

from bench.usage import cpu_seconds, cpu_used, resident_memory


def test_cpu_is_what_the_process_itself_sees() -> None:
    with cpu_used({"me": os.getpid()}) as used:
        before = time.process_time()
        while time.process_time() - before < 0.05:
            pass
    assert 0.05 <= used["me"] < 0.1
    assert cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.05)
    assert resident_memory(os.getpid()) > 1_000_000
