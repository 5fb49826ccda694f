"""A small soak on real processes: fourteen tasks of every kind, two of them marked as failed, half of the pods with a fault, a
kill every quarter of a minute or so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wtmo.local.soak.__main__ import run
from wtmo.local.soak.plan import Plan
from wtmo.local.state import State

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.platform, pytest.mark.timeout(700)]


def test_nothing_is_unaccounted_for(tmp_path: Path) -> None:
    lines: list[str] = []
    assert [work.kind for work in Plan.make(149, 14, "").work if work.act == "mark-failed"] == ["query", "pod"]
    account, watch = run(State(tmp_path), seed=149, tasks=14, minutes=10, rate=0.5, mean=15, report=lines.append)
    told = "\n".join(lines)
    assert account.findings == (), told
    assert account.unfinished == (), told
    assert sum(sum(counts.values()) for counts in account.states.values()) == 14
    assert watch.kills, told
    assert watch.faults(), told
    assert {"success", "failed"} <= {state for counts in account.states.values() for state in counts}
    assert (tmp_path / "logs" / "supervisor.log").read_text() == "", "it ends without an error when it is told to"
