"""NetSuite's backups: of today, each once, after the sync."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.dags.rendering import Run, rendered

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import DAG

DUE = Run("2026-06-01T00:30:00Z", end="2026-06-02T00:30:00Z")
STUB = "#!/bin/sh\n"


@pytest.fixture
def back_up(dags: dict[str, DAG], tmp_path: Path) -> Any:
    """Runs the task's command on a day, with a ``bq`` that writes down what it is asked to do."""
    asked = tmp_path / "asked"
    asked.touch()

    def run(today: str, *, bq: str = "exit 0") -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
        for name, script in {"date": f"echo {today}", "bq": f'echo "$@" >> {asked}; {bq}'}.items():
            (tmp_path / name).write_text(STUB + script)
            (tmp_path / name).chmod(0o755)
        command = rendered(dags["fivetran_netsuite"], "netsuite_eu_backups", "cmds", DUE)
        done = subprocess.run(
            command, env={"PATH": f"{tmp_path}:/bin:/usr/bin"}, capture_output=True, text=True, check=False, timeout=60
        )
        return done, [line.split() for line in asked.read_text().splitlines()]

    return run


def test_every_table_is_copied_under_the_runs_day(back_up: Any) -> None:
    done, asked = back_up("2026-06-02")
    assert done.returncode == 0, done.stderr
    assert asked[0] == [
        *("cp", "--no_clobber=true", "--force=true"),
        *("moz-fx-data-bq-fivetran:netsuite.account", "moz-fx-data-bq-fivetran:netsuite_eu_backups.account_20260601"),
    ]
    tables = {source.rpartition(".")[2] for *_, source, _ in asked}
    assert len(asked) == len(tables) == 21
    assert all(target.endswith(f".{source.rpartition('.')[2]}_20260601") for *_, source, target in asked)


@pytest.mark.parametrize("today", ["2026-06-01", "2026-06-03", "2027-06-02"])
def test_another_day_is_refused(back_up: Any, today: str) -> None:
    done, asked = back_up(today)
    assert done.returncode == 1
    assert "Historical backups aren't supported" in done.stdout
    assert asked == []


def test_a_copy_that_fails_fails_the_task(back_up: Any) -> None:
    done, asked = back_up("2026-06-02", bq="exit 3")
    assert done.returncode == 3
    assert len(asked) == 1


def test_what_comes_after_the_sync(dags: dict[str, DAG]) -> None:
    dag = dags["fivetran_netsuite"]
    sync: Any = dag.get_task("fivetran_netsuite_sync")
    backups: Any = dag.get_task("netsuite_eu_backups")
    marker: Any = dag.get_task(
        "fivetran_netsuite_sync_external.private_bqetl_historical_transactions__wait_for_fivetran_netsuite_sync"
    )
    assert sync.connector_id == "{{ var.value.fivetran_netsuite_connector_id }}"
    assert marker.upstream_task_ids == backups.upstream_task_ids == {sync.task_id}
    assert (sync.max_active_tis_per_dag, backups.max_active_tis_per_dag) == (1, 1)
