"""The snapshots in ``tests/snapshots`` are what the hand-written DAGs do."""

from __future__ import annotations

import pytest

from wtmo.imports.verdicts import no_report
from wtmo.render import run, snapshot


@pytest.mark.timeout(600)
def test_the_snapshots_are_what_the_dags_do() -> None:
    """If this fails and the difference is what you meant: make snapshots, and commit the files."""
    files = snapshot.snapshots(run.own(snapshot.DATE, no_report, cache=None))
    assert len(files) > 50, "there are DAGs to look at"
    told = snapshot.differences(files)
    assert not told, f"\n{told}\n\nIf this is what you meant, type: make snapshots"
