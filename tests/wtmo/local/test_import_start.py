"""The import that a start of the platform begins with: what it says while it works, and when it is an error."""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from tests.wtmo.imports.conftest import FakeLoader, Repository, Work, dag, fake_translate
from wtmo.cli import app
from wtmo.commands import platform as commands
from wtmo.errors import WtmoError
from wtmo.imports.run import Tools, run_import
from wtmo.imports.source import GitSource
from wtmo.local import day, generated, platform
from wtmo.local.components import Supplies
from wtmo.local.generated import Origin
from wtmo.local.state import PlatformRecord, State
from wtmo.local.supervisor import Supervisor

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = pytest.mark.loopback


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return Supervisor(State(tmp_path / "state"), 0, Supplies())


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """Fakes that need neither Airflow nor a parser."""
    work = Work()
    return Tools(
        loader=lambda: FakeLoader(work), translate=lambda files: fake_translate(files, work), dags=tmp_path / "none"
    )


def begin(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, program: str) -> subprocess.Popen[bytes]:
    """Start a program in the import's place."""
    monkeypatch.setattr(generated, "command", lambda *_: [sys.executable, "-c", program])
    return supervisor._begin_import(Origin("/nowhere", "main"), {})


@pytest.mark.parametrize("status", [0, 1])
def test_all_served_or_some_held_back_is_a_start(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    process = begin(supervisor, monkeypatch, f"raise SystemExit({status})")
    assert "import" in supervisor.record.services
    supervisor._end_import(process, Origin("/nowhere", "main"))
    assert "import" not in supervisor.record.services, "it is no process that should run"


def test_progress_is_told(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str | None] = []

    def note(state: str) -> None:
        record = PlatformRecord.load(supervisor.state)
        told.append(supervisor.record.services["import"].note)
        assert state == "starting"
        assert record is None

    monkeypatch.setattr(supervisor, "_note", note)
    script = "import sys; sys.stderr.write('import: translated 50 of 150\\n'); sys.stderr.flush(); sys.stdin.read(); "
    supervisor._end_import(
        begin(supervisor, monkeypatch, script + "import time; time.sleep(1)"), Origin("/nowhere", "main")
    )
    assert "import: translated 50 of 150" in told


def test_nothing_served_is_an_error_with_the_reason(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    process = begin(
        supervisor, monkeypatch, "print('stopped: none of 2 files passes', flush=True); raise SystemExit(2)"
    )
    with pytest.raises(WtmoError, match=r"(?s)no DAG could be imported from /a/b.*none of 2 files passes"):
        supervisor._end_import(process, Origin("/a/b", "main"))


def test_an_older_import_of_the_same_source_is_served(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tools: Tools
) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit({"a.py": dag("a")})
    store = generated.store(supervisor.state)
    run_import(GitSource(str(repository.path), store.mirror, ref="main"), store, tools=tools)
    process = begin(supervisor, monkeypatch, "raise SystemExit(2)")
    supervisor._end_import(process, Origin(str(repository.path), "main"))
    process = begin(supervisor, monkeypatch, "raise SystemExit(2)")
    with pytest.raises(WtmoError, match="no DAG could be imported"):
        supervisor._end_import(process, Origin("/another", "main"))


def test_the_summary_names_what_is_held_back(supervisor: Supervisor, tmp_path: Path, tools: Tools) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit({"a.py": dag("a"), "b.py": dag("b", "RAISES")} | {f"c{n}.py": "UNKNOWN" for n in range(12)})
    store = generated.store(supervisor.state)
    run_import(GitSource(str(repository.path), store.mirror, ref="main"), store, generated.OPTIONS, tools=tools)
    lines = generated.summary(supervisor.state).splitlines()
    assert lines[0] == f"serves 1 generated files of {repository.path}, 13 held back"
    assert "  b.py:3: it raises" in lines
    assert lines[-1] == "  and 3 more: wtmo import status"
    assert len(lines) == generated.SHOWN + 2


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (None, [day.DAY_DAGS]),
        ([], [("copy_deduplicate",)]),
        (["bqetl_a", "bqetl_b"], [("copy_deduplicate",), ("bqetl_a", "bqetl_b")]),
    ],
)
def test_other_dags_run_when_the_pings_are_copied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, after: list[str] | None, expected: list[tuple[str, ...]]
) -> None:
    """A generated sensor that finds no run yet looks again after 5 minutes."""
    ran: list[tuple[str, ...]] = []

    def run_day(*_: object, report: object, dags: Iterable[str] = day.DAY_DAGS) -> list[day.TaskResult]:
        del report
        ran.append(tuple(dags))
        return [day.TaskResult(dag, "t", "success", None, None) for dag in ran[-1]]

    monkeypatch.setattr(day, "seed", lambda *_, **__: {})
    monkeypatch.setattr(day, "run_day", run_day)
    record = PlatformRecord(1, 0.0, "marker")
    results = commands._run_day(State(tmp_path), record, dt.date(2026, 6, 1), None, 1, str, after=after)
    assert ran == expected
    assert [result.dag for result in results] == [dag for dags in expected for dag in dags]


@pytest.mark.parametrize(
    ("url", "options", "after"),
    [
        ("generated/sample.git", (), None),
        ("generated/sample.git", ("--dag", "bqetl_a"), ["bqetl_a"]),
        ("elsewhere.git", (), []),
        ("elsewhere.git", ("--dag", "bqetl_a", "--dag", "bqetl_b"), ["bqetl_a", "bqetl_b"]),
    ],
)
def test_the_sample_s_dag_is_run_where_it_is_served(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, options: tuple[str, ...], after: list[str] | None
) -> None:
    record = PlatformRecord(1, 0.0, "marker", settings={"WTMO_IMPORT_URL": str(tmp_path.resolve() / url)})
    ran: list[object] = []

    def run_day(*_: object, after: object) -> list[day.TaskResult]:
        ran.append(after)
        return [day.TaskResult("d", "t", "success", None, None)]

    monkeypatch.setattr(platform, "platform", lambda *_: contextlib.nullcontext(record))
    monkeypatch.setattr(commands, "_run_day", run_day)
    done = CliRunner().invoke(app, ["day", "--state", str(tmp_path), *options])
    assert (done.exit_code, ran) == (0, [after]), done.output


def test_a_running_platform_keeps_what_it_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "running", lambda _: PlatformRecord(1, 0.0, "marker"))
    done = CliRunner().invoke(app, ["up", "--state", str(tmp_path), "--import", "https://example.com/o/r"])
    assert done.exit_code == 2
    assert "a platform runs already" in done.output
