"""The command as it is typed: help, exit statuses, one line for each mistake."""

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import pytest
from tallycast import __version__
from tallycast.api.embed import installed
from tallycast.config.settings import Settings, default_text, environment_names, flag

from tests.support.process import clean_environment


def tallycast(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tallycast", *arguments],
        env=clean_environment({"COLUMNS": "200", **(env or {})}),
        cwd=cwd,
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=120,
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
    for asked in ("version", "--version"):
        assert tallycast(asked).stdout == f"tallycast {__version__}\n"


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
    # Wide enough for a default to stand on one line.
    answer = tallycast("serve", "--help", env={"COLUMNS": "400"}).stdout
    for name in Settings.model_fields:
        for variable in environment_names(name):
            assert variable in answer
        declared = flag(name)
        if declared is not None:
            assert declared.name in answer
            assert f"default: {default_text(name)}" in answer
    assert "default: on without a sites file" in answer


def test_a_wrong_flag_value() -> None:
    line = refused(2, "serve", "--port", "abc")
    assert line == "--port: expected a whole number from 0 to 65535, not 'abc'"


def test_a_wrong_variable() -> None:
    line = refused(2, "serve", env={"PORT": "abc"})
    assert line == "PORT: expected a whole number from 0 to 65535, not 'abc'"


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        (("serve", "--nothing"), "; see tallycast serve --help"),
        (("serve", "--port"), "; see tallycast serve --help"),
        (("serve", "x"), "; see tallycast serve --help"),
        (("token",), "; see tallycast token --help"),
        (("nothing",), "; see tallycast --help"),
        (("serv",), "Did you mean 'serve'? See tallycast --help"),
    ],
)
def test_a_wrong_word(arguments: tuple[str, ...], end: str) -> None:
    assert refused(2, *arguments).endswith(end)


def test_a_host_that_is_not_here() -> None:
    line = refused(1, "serve", "--host", "192.0.2.1", "--port", "0")
    assert (
        line
        == "host 192.0.2.1 is not an address of this machine; use --host 0.0.0.0 for all of its addresses"
    )


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.touch()
    line = refused(1, "serve", "--port", "0", "--data", str(file))
    assert line == f"cannot use the data folder {file}: file exists"


def test_embed_prints_lines_to_paste_and_nothing_else(tmp_path: Path) -> None:
    done = tallycast(
        "embed", "--server", "https://tally.example", "--site", "blog", "--item", "posts/42", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        '<script src="https://tally.example/embed.js" data-site="blog" async></script>\n'
        '<live-reactions item="posts/42"></live-reactions>\n'
    )


def test_embed_pinned_names_the_hash_of_what_is_served() -> None:
    answer = tallycast("embed", "--pin").stdout
    assert f'src="http://127.0.0.1:8000/{installed().pinned_name}"' in answer
    assert f'integrity="{installed().integrity}"' in answer


def test_help_of_embed_tells_every_flag() -> None:
    answer = tallycast("embed", "--help").stdout
    for option in ("--server", "--site", "--item", "--pin"):
        assert option in answer


@pytest.mark.parametrize(
    ("flag", "value", "line"),
    [
        (
            "--server",
            "tally.example",
            "--server: expected an address like https://tally.example or https://example.org/tally "
            "(no query, no fragment, no '.', '..' or empty segment), not 'tally.example'",
        ),
        *(
            (
                "--site",
                name,
                "--site: expected the name of a site (letters, digits, '.', '_' and '-', at most 64), "
                f"not {name!r}",
            )
            for name in ("", "a blog", "x" * 65)
        ),
        ("--item", "", "--item: an item id has at least 1 byte"),
        (
            "--item",
            "x" * 257,
            "--item: an item id has at most 256 bytes of UTF-8 "
            "(embed.js shortens longer ones on https pages only)",
        ),
    ],
)
def test_embed_refuses_what_cannot_be(flag: str, value: str, line: str) -> None:
    assert refused(2, "embed", flag, value) == line


def test_embed_on_a_terminal_says_where_it_goes() -> None:
    """Advice stands apart from what is to be pasted."""
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [sys.executable, "-m", "tallycast", "embed"],
            env=clean_environment({"TERM": "xterm"}),
            stdout=theirs,
            stderr=subprocess.PIPE,
            timeout=120,
            check=True,
        )
        os.close(theirs)
        assert terminal.read(4096).decode().startswith("<script src=")
    assert b"--server" in done.stderr


def test_a_wrong_demo_setting() -> None:
    line = refused(2, "serve", env={"TALLYCAST_DEMO": "perhaps"})
    assert line == "TALLYCAST_DEMO: expected on or off, not 'perhaps'"


@pytest.mark.parametrize("arguments", [["load"], ["serve"], ["version"]], ids=" ".join)
def test_ctrl_c_while_it_is_imported(arguments: list[str]) -> None:
    """Python tells what it has imported, so that the moment is certain."""
    command = [sys.executable, "-X", "importtime", "-m", "tallycast", *arguments]
    env = clean_environment({"PYTHONUNBUFFERED": "1"})
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pipesize=select.PIPE_BUF
    ) as process:
        # The pipe holds a page: the process cannot get far ahead of what was read here.
        assert process.stderr is not None
        next(line for line in process.stderr if line.split()[-1:] == ["asyncio.events"])
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (130, "")
    lines = [line for line in stderr.splitlines() if not line.startswith("import time:")]
    assert lines == ["tallycast: interrupted"]
