"""Checks the rules of the repository that no linter knows: links between documents, docstrings, sizes.

Usage: python tools/house.py. Prints a line "file:line: message" for each violation; exits with 1 when there
are any. Depends on the standard library alone.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import NamedTuple

# Sizes that are not kept yet, with the reason. A key is a folder, a module ("server/tallycast/app.py") or a
# function ("server/tallycast/app.py::Class.method"). An entry that is no longer needed is a violation too.
EXCEPTIONS: dict[str, str] = {}

CODE = ("server", "loadtest", "bench", "tools")
# Folders of which the 95th percentile of function lengths is taken.
PERCENTILE_OF = ("server", "loadtest")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md")

MAX_FUNCTION, MAX_PERCENTILE, MAX_MODULE = 60, 25, 400  # lines
MAX_FOLDER = 12  # modules, __init__.py not counted

# The part of a docstring that describes arguments, and the names in it: "name:" or "name, name:".
ARGUMENTS = re.compile(r"^Args:\n((?: .*\n?|\n)+)", re.MULTILINE)
ARGUMENT_NAMES = re.compile(r"^    (\w+(?:, \w+)*):", re.MULTILINE)

# What a log event has none of: an article as its subject, or a second part, which is a value of its own.
NO_EVENT = re.compile(r"(the|an?) |.*[;:]", re.IGNORECASE)
LOGGERS, LEVELS = ("log", "_log"), ("debug", "info", "warning", "error", "critical", "exception")

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
CODE_SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
LINK = re.compile(
    r"""\]\(\s*<?([^)\s>]+)"""  # [text](target "title")
    r"""|^\s{0,3}\[[^\]]+\]:\s+<?([^\s>]+)"""  # [label]: target
    r"""|<(?:a|img|source)\s[^>]*?\b(?:href|src|srcset)=["']([^"'\s]+)"""
)
HEADING = re.compile(r" {0,3}#{1,6}\s+(.*?)\s*#*\s*$")
ANCHOR = re.compile(r"""<[^>]+\b(?:id|name)=["']([^"']+)""")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


class Violation(NamedTuple):
    """A rule that is not kept. ``key`` is its key in ``EXCEPTIONS``; None where no exception is possible."""

    path: str
    line: int
    message: str
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


class Function(NamedTuple):
    """A function of a module, nested ones included; ``length`` in lines, from its def line to its last."""

    path: str
    name: str
    line: int
    length: int


def main(root: Path, exceptions: dict[str, str]) -> int:
    """Print the violations below a folder. Returns the exit status."""
    found = violations(root, exceptions)
    for violation in found:
        print(violation)
    return 1 if found else 0


def violations(root: Path, exceptions: dict[str, str]) -> list[Violation]:
    """All violations below a folder, by file and line, without those that are excepted."""
    found = [*check_documents(root), *check_code(root)]
    unused = exceptions.keys() - {violation.key for violation in found}
    found = [violation for violation in found if violation.key not in exceptions]
    found += [Violation(key.partition("::")[0], 1, f"remove the exception {key!r}: unused") for key in unused]
    return sorted(found, key=lambda violation: violation[:3])


def check_code(root: Path) -> Iterator[Violation]:
    """Docstrings and sizes of modules, functions and folders."""
    functions: list[Function] = []
    folders: Counter[str] = Counter()
    for file in sorted(file for folder in CODE for file in (root / folder).rglob("*.py")):
        path = file.relative_to(root).as_posix()
        if file.name != "__init__.py":
            folders[path.rpartition("/")[0]] += 1
        source = file.read_text()
        tree = ast.parse(source, path)
        functions += _functions(path, tree)
        if ast.get_docstring(tree) is None:
            yield Violation(path, 1, "the module has no docstring")
        yield from check_arguments(path, tree)
        yield from check_events(path, tree)
        if (lines := len(source.splitlines())) > MAX_MODULE:
            message = f"the module has {lines} lines, at most {MAX_MODULE} are allowed"
            yield Violation(path, lines, message, path)
    yield from check_functions(functions)
    for folder, count in folders.items():
        if count > MAX_FOLDER:
            message = f"the folder has {count} modules, at most {MAX_FOLDER} are allowed"
            yield Violation(folder, 1, message, folder)


def check_arguments(path: str, tree: ast.AST) -> Iterator[Violation]:
    """Arguments that a docstring describes, and that the function or class does not have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parameters = _parameters(node)
        elif isinstance(node, ast.ClassDef):
            parameters = _parameters_of_class(node)
        else:
            continue
        if (described := ARGUMENTS.search(ast.get_docstring(node) or "")) is None:
            continue
        for name in ", ".join(ARGUMENT_NAMES.findall(described[1])).split(", "):
            if name not in parameters:
                message = f"{node.name} has no argument {name}, which its docstring describes"
                yield Violation(path, node.lineno, message)


def check_events(path: str, tree: ast.AST) -> Iterator[Violation]:
    """Log lines whose event is more than an event."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Name(id=logger) | ast.Attribute(attr=logger),
                    attr=level,
                ),
                args=[ast.Constant(value=str(event)), *_],
            ) if logger in LOGGERS and level in LEVELS and NO_EVENT.match(event):
                message = f"the log event {event!r} is more than an event: use key=value for the rest"
                yield Violation(path, node.lineno, message)


def check_functions(functions: list[Function]) -> Iterator[Violation]:
    """The length of each function, and the 95th percentile (nearest rank) of all that count for it."""
    for path, name, line, length in functions:
        if length > MAX_FUNCTION:
            message = f"{name} has {length} lines, at most {MAX_FUNCTION} are allowed"
            yield Violation(path, line, message, f"{path}::{name}")
    counted = [function for function in functions if function.path.split("/")[0] in PERCENTILE_OF]
    counted.sort(key=lambda function: function.length)
    if counted and (at := counted[ceil(0.95 * len(counted)) - 1]).length > MAX_PERCENTILE:
        yield Violation(
            at.path,
            at.line,
            f"the 95th percentile of function lengths in {' and '.join(PERCENTILE_OF)} is {at.length} lines "
            f"({at.name}), at most {MAX_PERCENTILE} are allowed",
        )


def check_documents(root: Path) -> Iterator[Violation]:
    """Links that lead to no file of the repository, or to no heading of a document."""
    for pattern in DOCUMENTS:
        for document in sorted(root.glob(pattern)):
            for line, target in links(document.read_text()):
                file, _, heading = target.partition("#")
                leads_to = document.parent / file if file else document
                if not leads_to.exists():
                    message = f"the link to {target} leads to no file"
                elif heading and leads_to.suffix == ".md" and heading not in anchors(leads_to.read_text()):
                    message = f"the link to {target} leads to no heading"
                else:
                    continue
                yield Violation(document.relative_to(root).as_posix(), line, message)


def links(text: str) -> Iterator[tuple[int, str]]:
    """The line and target of each link of a document to a file or heading of the repository."""
    for number, line in _prose(text):
        for match in LINK.finditer(CODE_SPAN.sub("", line)):
            target = next(group for group in match.groups() if group)
            if not ELSEWHERE.match(target):
                yield number, target


def anchors(text: str) -> set[str]:
    """The names by which GitHub links to the headings of a document, and the anchors set by hand."""
    found: Counter[str] = Counter()
    names = set()
    for _, line in _prose(text):
        names |= set(ANCHOR.findall(line))
        if (heading := HEADING.match(line)) is not None:
            title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "")
            slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            names.add(f"{slug}-{found[slug]}" if found[slug] else slug)
            found[slug] += 1
    return names


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines outside fenced code blocks, with their numbers."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = FENCE.match(line)
        if mark is None:
            if not fence:
                yield number, line
        elif not fence:
            fence = mark[1]
        elif mark[1].startswith(fence) and not line.strip(" `~"):
            fence = ""


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    return {child.arg for child in ast.walk(node.args) if isinstance(child, ast.arg)}


def _parameters_of_class(node: ast.ClassDef) -> set[str]:
    """Those of ``__init__``, and the fields of a dataclass or named tuple."""
    names: set[str] = set()
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            names |= _parameters(child)
        elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            names.add(child.target.id)
    return names


def _functions(path: str, tree: ast.AST, prefix: str = "") -> Iterator[Function]:
    for node in ast.iter_child_nodes(tree):
        below = prefix
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            below = f"{prefix}{node.name}."
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield Function(path, prefix + node.name, node.lineno, node.end_lineno - node.lineno + 1)
        yield from _functions(path, node, below)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1], EXCEPTIONS))
