"""What the translator makes of the fixtures, loaded by Airflow: it means what the source meant, and nothing warns."""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

if TYPE_CHECKING:
    from airflow.sdk import DAG

TRANSLATED = Path(__file__).parent / "translated"
FILES = {path.stem for path in TRANSLATED.glob("*.py")}


@pytest.fixture(scope="module")
def loaded() -> tuple[DagBag, list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        bag = DagBag(TRANSLATED, bundle_path=TRANSLATED, bundle_name="imported")
    return bag, seen


@pytest.fixture(scope="module")
def dags(loaded: tuple[DagBag, list[warnings.WarningMessage]]) -> dict[str, Any]:
    bag, _ = loaded
    assert not bag.import_errors
    return dict(bag.dags)


def test_every_file_is_a_dag_that_serializes(dags: dict[str, DAG]) -> None:
    assert set(dags) == FILES
    for dag in dags.values():
        back: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert set(back.task_dict) == set(dag.task_dict)


def test_nothing_warns_of_what_is_deprecated(loaded: tuple[DagBag, list[warnings.WarningMessage]]) -> None:
    # The alert address is on every task: the settings silence this one (config/airflow_local_settings.py).
    told = [str(w.message) for w in loaded[1] if not str(w.message).startswith("Setting email")]
    assert not [text for text in told if "deprecat" in text.lower()]


@pytest.mark.parametrize(
    ("dag_id", "schedule", "catchup"),
    [
        ("bqetl_orchard", "30 3 * * *", False),
        ("bqetl_open_fruit", "0 5 * * *", False),
        ("orchard_task_markers", "0 1 * * *", True),
        ("bqetl_unformatted", dt.timedelta(hours=3), True),
        ("bqetl_of_2021", dt.timedelta(days=1), False),
    ],
)
def test_schedule_and_catchup(dags: dict[str, DAG], dag_id: str, schedule: object, catchup: bool) -> None:
    assert (dags[dag_id].schedule, dags[dag_id].catchup) == (schedule, catchup)


def test_tasks_edges_and_groups(dags: dict[str, DAG]) -> None:
    dag = dags["bqetl_orchard"]
    edges = {task.task_id: set(task.upstream_task_ids) for task in dag.tasks if task.upstream_task_ids}
    press = "harvest.orchard__press__v1"
    inside = f"{press}_external"
    assert edges == {
        **{
            f"{inside}.{marker}": {press}
            for marker in (
                "bqetl_cider__wait_for_orchard__press__v1",
                "bqetl_juice__press_done",
                "bqetl_jam__wait_for_orchard__press__v1",
            )
        },
        "harvest.bigeye__orchard_derived__apples__v1": {"harvest.orchard_derived__apples__v1"},
        "checks__fail_orchard_derived__apples__v1": {"harvest.orchard_derived__apples__v1"},
        press: {"wait_for_trees_table", "wait_for_blossom_partition"},
        "harvest.orchard_derived__apples__v1": {"wait_for_copy_deduplicate_all", "fivetran_orchard_task"},
        "fivetran_orchard_task": {"wait_for_garden_weather__rain__v1"},
        "orchard_derived__basket__v1": {press},
        "orchard_derived__pears__v1": {"checks__fail_orchard_derived__apples__v1"},
    }
    assert dag.max_active_runs == 3


@pytest.mark.parametrize(
    ("task_id", "arguments"),
    [
        (
            "harvest.orchard_derived__apples__v1",
            [
                "query",
                '--destination_table=apples_v1${{ macros.ds_format(macros.ds_add(ds, -1), "%Y-%m-%d", "%Y%m%d") }}',
                "--dataset_id=example-project:orchard_derived",
                "--project_id=example-billing",
                "--parameter=submission_date:DATE:{{macros.ds_add(ds, -1)}}",
                "--schema_update_option=ALLOW_FIELD_ADDITION",
                "sql/example-project/orchard_derived/apples_v1/query.sql",
            ],
        ),
        (
            "orchard_derived__basket__v1",
            [
                "query",
                '--destination_table=basket_v1${{ (logical_date - macros.timedelta(hours=5)).strftime("%Y%m%d") }}',
                "--dataset_id=orchard_derived",
                "--project_id=example-project",
                "--parameter=submission_date:DATE:{{ds}}",
                "sql/example-project/orchard_derived/basket_v1/query.sql",
            ],
        ),
        (
            "checks__warn_orchard_derived__pears__v1",
            [
                *("script/bqetl", "check", "run", "--marker", "warn"),
                "sql/example-project/orchard_derived/pears_v1",
                "--parameter=kind:STRING:pear",
                "--parameter=submission_date:DATE:{{ds}}",
            ],
        ),
        (
            "harvest.bigeye__orchard_derived__apples__v1",
            [
                *("script/bqetl", "monitoring", "run", "example-project.orchard_derived.apples_v1"),
                *("--warehouse_id", "1939", "--project_id", "moz-fx-data-shared-prod"),
            ],
        ),
        (
            "harvest.orchard__press__v1",
            [
                *("python", "sql/example-project/orchard_derived/press_v1/query.py"),
                *("--date", "{{ ds }}", "--key={{ var.value.press_key }}"),
            ],
        ),
    ],
)
def test_what_runs_in_the_pod(dags: dict[str, DAG], task_id: str, arguments: list[str]) -> None:
    task: Any = dags["bqetl_orchard"].get_task(task_id)
    assert task.arguments == arguments


def test_sensors_point_to_the_same_runs(dags: dict[str, DAG]) -> None:
    shifts: dict[str, Any] = {
        f"{dag.dag_id}/{task.task_id}": getattr(task, "execution_delta", None)
        for dag in dags.values()
        for task in dag.tasks
        if task.task_type == "ExternalTaskSensor"
    }
    assert shifts == {
        "bqetl_orchard/wait_for_copy_deduplicate_all": dt.timedelta(seconds=9000),
        "bqetl_orchard/wait_for_garden_weather__rain__v1": dt.timedelta(hours=-1),
        "bqetl_open_fruit/wait_for_orchard_derived__apples__v1": dt.timedelta(seconds=5400),
        "bqetl_unformatted/wait_for_press": None,
        "bqetl_of_2021/wait_for_press": dt.timedelta(hours=-1),
    }


RUN = dt.datetime(2026, 6, 1, 3, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("dag_id", "marker", "points_to"),
    [
        ("bqetl_orchard", "bqetl_cider__wait_for_orchard__press__v1", RUN + dt.timedelta(minutes=90)),
        ("bqetl_orchard", "bqetl_juice__press_done", RUN + dt.timedelta(minutes=30)),
        ("bqetl_orchard", "bqetl_jam__wait_for_orchard__press__v1", RUN),
        ("bqetl_unformatted", "bqetl_jam__wait_for_plums__v1", RUN - dt.timedelta(hours=1)),
        ("orchard_task_markers", "bqetl_cider__press", RUN + dt.timedelta(hours=2)),
        ("orchard_task_markers", "bqetl_juice__press", RUN),
    ],
)
def test_markers_point_to_the_same_runs(dags: dict[str, DAG], dag_id: str, marker: str, points_to: dt.datetime) -> None:
    from airflow.sdk.execution_time import macros

    dag = dags[dag_id]
    (task,) = (task for task in dag.tasks if task.task_id.endswith(f".{marker}"))
    shown: Any = task
    rendered = dag.get_template_env().from_string(shown.logical_date).render(logical_date=RUN, macros=macros)
    assert dt.datetime.fromisoformat(rendered) == points_to


def test_first_runs_of_tasks_that_look_at_the_past_do_not_wait_for_ever(dags: dict[str, DAG]) -> None:
    looking = [task for dag in dags.values() for task in dag.tasks if task.depends_on_past]
    assert len(looking) >= 5
    assert all(task.ignore_first_depends_on_past for task in looking)


def test_limits_rules_retries_mails_owners_and_pools(dags: dict[str, DAG]) -> None:
    orchard, unformatted = dags["bqetl_orchard"], dags["bqetl_unformatted"]
    sync: Any = orchard.get_task("fivetran_orchard_task")
    assert (sync.max_active_tis_per_dag, sync.trigger_rule, sync.deferrable) == (1, "all_done", False)
    assert type(sync).__module__ == "operators.fivetran"
    assert unformatted.get_task("plums__v1").max_active_tis_per_dag == 1
    press = orchard.get_task("harvest.orchard__press__v1")
    assert (press.retries, press.retry_delay, press.email_on_retry) == (3, dt.timedelta(minutes=5), False)
    assert press.owner == "fruit@example.com"
    assert press.email == ["fruit@example.com", "telemetry-alerts@mozilla.com"]
    assert orchard.get_task("wait_for_copy_deduplicate_all").pool == "DATA_ENG_EXTERNALTASKSENSOR"
    assert orchard.get_task("harvest.orchard_derived__apples__v1").priority_weight == 80


@pytest.mark.parametrize(
    ("run_type", "day"), [("scheduled", "2026-06-02"), ("backfill", "2026-06-02"), ("manual", "2026-06-01")]
)
def test_next_ds_is_the_day_that_it_was(dags: dict[str, DAG], run_type: str, day: str) -> None:
    from types import SimpleNamespace

    from airflow.sdk.execution_time import macros

    task: Any = dags["bqetl_of_2021"].get_task("cherries__v1")
    context = {
        "ds": "2026-06-01",
        "ds_nodash": "20260601",
        "logical_date": RUN,
        "data_interval_end": RUN + dt.timedelta(days=1),
        "dag_run": SimpleNamespace(run_type=run_type),
        "macros": macros,
    }
    environment = dags["bqetl_of_2021"].get_template_env()
    rendered = [environment.from_string(argument).render(context) for argument in task.arguments]
    assert f"--parameter=to:DATE:{day}" in rendered
    assert "--parameter=from:DATE:2026-05-31" in rendered
