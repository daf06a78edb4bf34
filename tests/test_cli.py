"""The command as it is typed: help, exit statuses, one line for each mistake."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from server import __version__
from server.settings import Settings, environment_names
from tests.support.process import clean_environment


def tallycast(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        env=clean_environment({"COLUMNS": "200", **(env or {})}),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def refused(status: int, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """The one line that the command leaves when it does not start."""
    done = tallycast(*arguments, env=env)
    assert (done.returncode, done.stdout) == (status, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("tallycast: ")
    return done.stderr.removeprefix("tallycast: ").rstrip("\n")


def test_version() -> None:
    assert tallycast("version").stdout == f"tallycast {__version__}\n"


def test_the_installed_command() -> None:
    command = Path(sys.executable).with_name("tallycast")
    assert subprocess.check_output([command, "version"], text=True) == f"tallycast {__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_the_commands(arguments: tuple[str, ...]) -> None:
    done = tallycast(*arguments)
    assert done.returncode == 0
    assert "serve" in done.stdout
    assert "version" in done.stdout


def test_help_of_serve_tells_every_setting() -> None:
    told = tallycast("serve", "--help").stdout
    for name, field in Settings.model_fields.items():
        for variable in environment_names(name):
            assert variable in told
        if name != "redis_url":
            assert f"--{name}" in told
            assert f"default: {field.default}" in told


def test_a_wrong_flag_value() -> None:
    line = refused(2, "serve", "--port", "abc")
    assert line == "--port: expected a whole number from 0 to 65535, not 'abc'"


def test_a_wrong_variable() -> None:
    line = refused(2, "serve", env={"PORT": "abc"})
    assert line == "PORT: expected a whole number from 0 to 65535, not 'abc'"


@pytest.mark.parametrize(
    "arguments", [("serve", "--nothing"), ("nothing",), ("serve", "--port"), ("serve", "x")]
)
def test_a_wrong_word(arguments: tuple[str, ...]) -> None:
    assert refused(2, *arguments).endswith("; see tallycast --help")


def test_a_host_that_is_not_here() -> None:
    line = refused(1, "serve", "--host", "192.0.2.1", "--port", "0")
    assert line == "host 192.0.2.1 is not an address of this machine; --host 0.0.0.0 takes them all"


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.touch()
    line = refused(1, "serve", "--port", "0", "--data", str(file))
    assert line == f"cannot use the data folder {file}: file exists"
