"""Log lines: one JSON object each in a pipe, plain on a terminal, secrets in neither."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from tallycast.observability import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """What ``configure`` changes is the process's, so it is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.getLogger("uvicorn.access").disabled = False
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_names_the_process() -> None:
    stream = io.StringIO()
    logs.configure({"worker": 2}, stream=stream)
    structlog.get_logger("x").info("hello", item="ü")
    logging.getLogger("library").warning("from %s", "below", extra={"peer": 1})
    first, second = lines(stream)
    assert first["event"] == "hello"
    assert (first["item"], first["worker"], first["level"]) == ("ü", 2, "info")
    assert str(first["timestamp"]).endswith("Z")
    assert (second["event"], second["peer"], second["worker"]) == ("from below", 1, 2)


@pytest.mark.parametrize("name", logs.VERBOSE)
def test_chatter_is_off_and_warnings_are_not(name: str) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger(f"{name}.part").info("connection open")
    assert stream.getvalue() == ""
    logging.getLogger(f"{name}.part").warning("trouble")
    assert lines(stream)[0]["event"] == "trouble"


def test_no_access_log() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("uvicorn.access").error("GET /?token=x")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["json", "terminal"])
def test_a_traceback_shows_no_local_variables(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    secret = "geheim"
    try:
        assert len(secret) / 0
    except ZeroDivisionError:
        structlog.get_logger("x").exception("broken")
    answer = stream.getvalue()
    assert "broken" in answer
    assert "ZeroDivisionError" in answer
    assert answer.count(secret) == 0


def test_a_line_for_a_person() -> None:
    stream = Terminal()
    logs.configure(stream=stream)
    structlog.get_logger("x").info("hello", item=1)
    assert "hello" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize("asked", [False, True])
def test_addresses_only_when_asked_for(asked: bool) -> None:
    stream = io.StringIO()
    logs.configure(addresses=asked, stream=stream)
    structlog.get_logger("x").error("request failed", client="198.51.100.7")
    assert lines(stream)[0].get("client") == ("198.51.100.7" if asked else None)


EVIL = "a\u202eb\x1b[2Jc\u2028d\x9be\u200b\nINFO forged"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["json", "terminal"])
def test_text_from_outside_is_escaped(stream: io.StringIO) -> None:
    """In a value, in a message of a library's, and in what an exception says."""
    logs.configure(stream=stream)
    structlog.get_logger("x").info("done with an admin key", item=EVIL, many=[EVIL])
    logging.getLogger("library").warning("from %s", EVIL)
    try:
        raise ValueError(EVIL)
    except ValueError:
        structlog.get_logger("x").exception("broken")
    answer = stream.getvalue()
    for char in "\u202e\u2028\x9b\u200b":
        assert char not in answer
    assert "\x1b[2J" not in answer, "colours of our own are no commands"
    assert answer.count("u202e") >= 4, "and it can be seen what there was"
    assert answer.partition("\n")[0].count("forged") == 2, "one line"


def test_a_machine_has_the_text_as_it_was() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    structlog.get_logger("x").info("done with an admin key", item=EVIL)
    assert lines(stream)[0]["item"] == EVIL
    assert stream.getvalue().rstrip("\n").isprintable()
