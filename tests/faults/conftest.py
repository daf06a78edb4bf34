"""Reports what was measured at the end of a run."""

from collections.abc import Callable

import pytest

from tests.faults import FULL

Measured = Callable[[str], None]

_MEASURED = "measured"


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Note a result, for the summary of the run."""
    return lambda text: request.node.user_properties.append((_MEASURED, text))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Full rounds take their time."""
    if FULL:
        for item in items:
            if item.path.is_relative_to(__file__.rpartition("/")[0]):
                item.add_marker(pytest.mark.timeout(900))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each result."""
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {text}"
        for report in terminalreporter.stats.get("passed", [])
        for name, text in report.user_properties
        if name == _MEASURED
    ]
    if lines:
        terminalreporter.section("measured under faults")
        for line in lines:
            terminalreporter.line(line)
