"""Prints the fault matrix at the end of the run that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.wtmo.local.fault_matrix import TABLE

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table, if the matrix ran."""
    if lines := config.stash.get(TABLE, None):
        terminalreporter.section("fault matrix: final state of the task, seconds of its last part")
        for line in lines:
            terminalreporter.write_line(line)
