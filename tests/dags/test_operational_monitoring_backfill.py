"""The command that `operational_monitoring_backfill` makes of its form, and what the form refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.exceptions import ParamValidationError
from airflow.sdk.exceptions import AirflowFailException

from tests.dags.forms import filled_in

if TYPE_CHECKING:
    from airflow.sdk import DAG

GIVEN = {"slug": "some-rollout", "start_date": "2026-06-01", "end_date": "2026-06-03"}


@pytest.fixture
def dag(dags: dict[str, DAG]) -> DAG:
    return dags["operational_monitoring_backfill"]


def command(dag: DAG, **differing: Any) -> list[str]:
    task: Any = dag.get_task("generate_backfill_arguments")
    made: list[str] = task.python_callable(params=filled_in(dag, **GIVEN | differing))
    return made


def test_the_days_of_a_project(dag: DAG) -> None:
    days = ["--start-date", "2026-06-01", "--end_date", "2026-06-03"]
    assert command(dag) == ["backfill", "--slug", "some-rollout", *days]
    flags = "--dry_run --project_id=moz-fx-data-shared-prod --config-file=a/b.toml"
    assert command(dag, args=flags) == [*command(dag), *flags.split()]
    assert command(dag, start_date="2026-06-03")[4] == "2026-06-03", "a single day is a range too"


def test_the_pod_is_given_the_command(dag: DAG) -> None:
    pod: Any = dag.get_task("opmon_backfill")
    assert pod.arguments.operator.task_id == "generate_backfill_arguments"
    assert not pod.cmds, "no shell reads what users give"


def test_reversed_days_are_refused(dag: DAG) -> None:
    with pytest.raises(AirflowFailException, match="start_date=2026-06-04 is after end_date=2026-06-03"):
        command(dag, start_date="2026-06-04")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("slug", value) for value in (None, "", "--all", "a b", "$(id)", "a;b", "slug\n")),
        *((day, value) for day in ("start_date", "end_date") for value in (None, "2026-6-1", "2026-13-01", "x; id")),
        *(("args", value) for value in ("x", "--a b", "--a=$(id)", "--a;id", "--a  --b", "--a=`id`", "--a\n--b")),
    ],
)
def test_what_is_hostile_is_refused(dag: DAG, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        command(dag, **{name: value})


@pytest.mark.parametrize("name", list(GIVEN))
def test_no_value_is_filled_in(dag: DAG, name: str) -> None:
    with pytest.raises(ParamValidationError, match=f"Invalid input for param {name}|No value passed"):
        filled_in(dag, **{other: value for other, value in GIVEN.items() if other != name})
