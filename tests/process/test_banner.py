"""What a person reads when the server is ready."""

import io

import pytest
from rich.console import Console
from tallycast import __version__
from tallycast.process import banner


def shown(*, terminal: bool, data: str | None = "./data", workers: int = 1, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=file, force_terminal=terminal, width=100, highlight=False, color_system=None)
    banner.show("http://127.0.0.1:8000/", "embedded Valkey 9", data, workers, console)
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "plain"])
def test_it_says_where_to_look_and_how_to_stop(terminal: bool) -> None:
    answer = shown(terminal=terminal, workers=4)
    for words in (__version__, "http://127.0.0.1:8000/", "embedded Valkey 9", "./data", "4", "Ctrl+C"):
        assert words in answer


def test_it_says_nothing_that_is_not_so() -> None:
    answer = shown(terminal=False, data=None)
    assert "Data" not in answer
    assert "Workers" not in answer


def test_without_the_demo_it_promises_no_page() -> None:
    raw = io.StringIO()
    banner.show("http://127.0.0.1:8000/", "embedded", None, 1, Console(file=raw, width=100), demo=False)
    assert "Address:" in raw.getvalue()
    assert "Demo" not in raw.getvalue()


def test_plain_is_plain() -> None:
    assert "\x1b" not in shown(terminal=False)


def test_a_narrow_character_set() -> None:
    assert "http://127.0.0.1:8000/" in shown(terminal=True, encoding="ascii")


def test_a_data_folder_that_cannot_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    shown(terminal=False, data="é", encoding="ascii")
    assert "cannot print" in capsys.readouterr().err
