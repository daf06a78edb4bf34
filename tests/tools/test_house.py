"""The checker of the house's rules finds each violation, with its file and line, and nothing else."""

from pathlib import Path

import pytest

from tools import house
from tools.house import EXCEPTIONS, anchors, links, main, violations

ROOT = Path(__file__).parents[2]


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def found(root: Path, exceptions: dict[str, str] | None = None) -> list[str]:
    return [str(violation) for violation in violations(root, exceptions or {})]


def function(name: str, lines: int, indent: str = "") -> str:
    return f"{indent}def {name}():\n" + f"{indent}    0\n" * (lines - 1)


def module(*functions: str) -> str:
    return '"""A module."""\n' + "".join(functions)


def test_this_repository_keeps_the_rules() -> None:
    assert found(ROOT, EXCEPTIONS) == []


def test_a_module_needs_a_docstring(tmp_path: Path) -> None:
    write(tmp_path, "server/tallycast/transport/websocket/protocol.py", "# A comment.\nx = 1\n")
    write(tmp_path, "bench/__init__.py", "")
    write(tmp_path, "tests/test_socket.py", "x = 1\n")
    assert found(tmp_path) == [
        "bench/__init__.py:1: the module has no docstring",
        "server/tallycast/transport/websocket/protocol.py:1: the module has no docstring",
    ]


def test_a_log_event_is_an_event_alone(tmp_path: Path) -> None:
    lines = (
        '_log.info("engine died; restarting it", pid=1)',
        'self._log.error("the engine died", pid=1)',
        'log.warning("engine died", reason="killed; the reason is in its log")',
        '_log.info(f"engine {state}")',
        'print("the end; really")',
    )
    write(tmp_path, "server/a.py", module(*(f"{line}\n" for line in lines)))
    assert [line.partition(" is more")[0] for line in found(tmp_path)] == [
        "server/a.py:2: the log event 'engine died; restarting it'",
        "server/a.py:3: the log event 'the engine died'",
    ]


def test_described_arguments_are_arguments(tmp_path: Path) -> None:
    text = """\"\"\"A module.\"\"\"

def f(a, *b, c, **d):
    \"\"\"Do it.

    Args:
        a, c: Two.
            More: of it.
        b: The others.
        d: Options.
        gone: No longer.

    Raises:
        ValueError: a is invalid.
    \"\"\"

class C:
    \"\"\"A field, and an argument.

    Args:
        x: The field.
        y: The argument.
        later: Renamed.
    \"\"\"

    x: int

    def __init__(self, y): ...
"""
    write(tmp_path, "tools/a.py", text)
    assert found(tmp_path) == [
        "tools/a.py:3: f has no argument gone, which its docstring describes",
        "tools/a.py:17: C has no argument later, which its docstring describes",
    ]


def test_a_function_has_at_most_60_lines_decorators_not_counted(tmp_path: Path) -> None:
    write(tmp_path, "tools/a.py", module("@property\n@property\n", function("f", 60)))
    assert found(tmp_path) == []
    write(tmp_path, "tools/a.py", module("@property\n", function("f", 61)))
    assert found(tmp_path) == ["tools/a.py:3: f has 61 lines, at most 60 are allowed"]


def test_a_nested_function_counts_for_the_outer_one_too(tmp_path: Path) -> None:
    inner = function("inner", 61, "        ")
    write(tmp_path, "tools/a.py", module("class C:\n    async def outer(self):\n", inner))
    assert found(tmp_path) == [
        "tools/a.py:3: C.outer has 62 lines, at most 60 are allowed",
        "tools/a.py:4: C.outer.inner has 61 lines, at most 60 are allowed",
    ]


def test_the_95th_percentile_is_that_of_server_and_loadtest(tmp_path: Path) -> None:
    write(tmp_path, "server/a.py", module(*(function("short", 2) for _ in range(18))))
    write(tmp_path, "loadtest/b.py", module(function("long", 26), function("long", 40)))
    write(tmp_path, "tools/c.py", module(*(function("short", 2) for _ in range(99))))
    assert found(tmp_path) == [
        "loadtest/b.py:2: the 95th percentile of function lengths in server and loadtest is 26 lines (long), "
        "at most 25 are allowed"
    ]
    write(tmp_path, "loadtest/b.py", module(function("long", 25), function("long", 40)))
    assert found(tmp_path) == []


def test_a_module_has_at_most_400_lines(tmp_path: Path) -> None:
    write(tmp_path, "bench/a.py", module("x = 1\n" * 399))
    assert found(tmp_path) == []
    write(tmp_path, "bench/a.py", module("x = 1\n" * 400))
    assert found(tmp_path) == ["bench/a.py:401: the module has 401 lines, at most 400 are allowed"]


def test_a_folder_has_at_most_12_modules_those_below_not_counted(tmp_path: Path) -> None:
    for number in range(12):
        write(tmp_path, f"server/web/m{number}.py", module())
    for path in ("server/web/__init__.py", "server/web/http/head.py"):
        write(tmp_path, path, module())
    assert found(tmp_path) == []
    write(tmp_path, "server/web/m12.py", module())
    assert found(tmp_path) == ["server/web:1: the folder has 13 modules, at most 12 are allowed"]


def test_an_exception_silences_one_violation_and_must_be_used(tmp_path: Path) -> None:
    write(tmp_path, "tools/a.py", module(function("f", 61), function("g", 61)))
    assert found(tmp_path, {"tools/a.py::f": "a reason"}) == [
        "tools/a.py:63: g has 61 lines, at most 60 are allowed"
    ]
    write(tmp_path, "tools/a.py", module(function("f", 60)))
    assert found(tmp_path, {"tools/a.py::f": "a reason"}) == [
        "tools/a.py:1: remove the exception 'tools/a.py::f': unused"
    ]


def test_a_link_leads_to_a_file_and_a_heading(tmp_path: Path) -> None:
    write(tmp_path, "docs/admin.md", "# Administration\n\n## Roles & rights\n")
    write(tmp_path, "docs/cluster.md", "[a](admin.md#roles--rights) [b](../README.md) [c](gone.md)\n")
    readme = (
        "# Tallycast\n\n[a](docs/admin.md#rights), [b](#tallycast), [c](#gone), [d](https://example.org/#x)\n"
    )
    write(tmp_path, "README.md", readme)
    assert found(tmp_path) == [
        "README.md:3: the link to #gone leads to no heading",
        "README.md:3: the link to docs/admin.md#rights leads to no heading",
        "docs/cluster.md:1: the link to gone.md leads to no file",
    ]


def test_links_of_every_form_are_found_outside_code() -> None:
    text = """
[text](one.md "title") ![image](two.png) `[code](no.md)` [![both](three.png)](four.md)
```sh
[code](no.md)
```
<img alt="" src="five.png"> [label][label]

[label]: six.md
"""
    targets = [target for _, target in links(text)]
    assert targets == ["one.md", "two.png", "three.png", "four.md", "five.png", "six.md"]
    assert [number for number, _ in links(text)] == [2, 2, 2, 2, 6, 8]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("## `--config` and [sites](sites.md)", {"--config-and-sites"}),
        ("# One\n## One\n# One #", {"one", "one-1", "one-2"}),
        ("```\n# A comment\n```", set()),
        ("~~~\n```\n# A comment\n~~~\n# What's `a_b`?", {"whats-a_b"}),
        ('<a id="here"></a>', {"here"}),
    ],
)
def test_headings_have_the_anchors_that_github_gives_them(text: str, names: set[str]) -> None:
    assert anchors(text) == names


def test_violations_are_printed_and_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tmp_path, {}) == 0
    write(tmp_path, "tools/a.py", "")
    assert main(tmp_path, {}) == 1
    assert capsys.readouterr().out == "tools/a.py:1: the module has no docstring\n"


def test_every_exception_has_a_reason() -> None:
    assert all(house.EXCEPTIONS.values())
