"""Which day each kind of run is for, where Airflow 3 has other names for it than Airflow 2."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.dags.rendering import Run, rendered
from tests.dags.test_declared import given, tasks, texts

if TYPE_CHECKING:
    from airflow.sdk import DAG

MONDAY = {"logical_date": "2026-06-01T02:00:00Z", "end": "2026-06-08T02:00:00Z"}
JUNE = {"logical_date": "2026-06-01T16:00:00Z", "end": "2026-07-01T16:00:00Z"}
ON_THE_10TH = {"logical_date": "2026-06-10T12:00:00Z", "run_after": "2026-06-11T09:00:00Z"}
WITHOUT_DATE = {"logical_date": None, "end": None, "run_after": "2026-06-11T09:00:00Z"}


def orphaning(dags: dict[str, DAG], run: Run) -> list[str]:
    command: list[str] = rendered(
        dags["update_orphaning_dashboard_etl"], "update_orphaning_dashboard_etl", "arguments", run
    )
    return command


@pytest.mark.parametrize(
    ("run", "day"),
    [
        (Run(**MONDAY), "20260607"),
        (Run(**MONDAY, run_type="backfill"), "20260607"),
        (Run(**ON_THE_10TH, end="2026-06-08T02:00:00Z", run_type="manual"), "20260610"),
        (Run(**ON_THE_10TH, end="2026-06-08T02:00:00Z", run_type="operator_triggered"), "20260610"),
        (Run(**WITHOUT_DATE, run_type="manual"), "20260611"),
    ],
)
def test_the_orphaning_report_is_of_the_week_or_of_the_day_asked_for(dags: dict[str, DAG], run: Run, day: str) -> None:
    assert orphaning(dags, run)[:2] == ["--run-date", day]


def test_the_orphaning_report_goes_to_the_dashboard(dags: dict[str, DAG]) -> None:
    assert orphaning(dags, Run(**MONDAY))[2:] == [
        *("--output-bucket", "moz-fx-data-static-websit-8565-analysis-output"),
        *("--output-prefix", "app-update/data/out-of-date/"),
        *("--billing-project", "mozdata"),
    ]


@pytest.mark.parametrize(
    ("run", "snapshot", "folder"),
    [
        (Run(**JUNE), "2026-06-30", "pull_date_2026-07-01"),
        (Run(**JUNE, run_type="backfill"), "2026-06-30", "pull_date_2026-07-01"),
        (Run(**ON_THE_10TH, end="2026-06-01T16:00:00Z", run_type="manual"), "2026-06-09", "pull_date_2026-06-11"),
        (Run(**WITHOUT_DATE, run_type="manual"), "2026-06-10", "pull_date_2026-06-11"),
    ],
)
def test_all_tasks_of_a_month_name_the_same_files(dags: dict[str, DAG], run: Run, snapshot: str, folder: str) -> None:
    dag = dags["peopleteam-monthly"]
    bucket = "gs://moz-fx-data-bq-people-data-incoming-peopleteam-monthly/peopleteam_dashboard_monthly"
    assert rendered(dag, "peopleteam-monthly-fetcher", "cmds", run) == [
        *("sh", "-c"),
        f"bin/get_people_dashboard_data.py --monthly -o /tmp/ --date {snapshot} "
        f"&& gsutil cp /tmp/*_{snapshot}.csv {bucket}/{folder}/",
    ]
    for report in ("hires", "terminations", "promotions", "headcount"):
        assert rendered(dag, f"workday-stage-{report}", "cmds", run) == [
            *("bash", "-c"),
            "bq load --location=US --source_format CSV --autodetect --column_name_character_map=V1 --skip_leading_rows=1 "
            f"--replace moz-fx-data-bq-people:composer_workday_staging.{report} {bucket}/{folder}/{report}_{snapshot}.csv",
        ]
        assert rendered(dag, f"workday-merge-{report}", "cmds", run) == [
            *("bash", "-c"),
            f"/usr/local/bin/run_query.py -a query -p snapshot_date={snapshot} "
            f"-q gs://moz-fx-data-bq-people-data-etl-queries/peopleteam/{report}_merge.sql",
        ]


def test_the_play_store_is_read_up_to_the_day_before(dags: dict[str, DAG]) -> None:
    run = Run("2026-06-01T00:00:00Z", end="2026-06-02T00:00:00Z")
    variables = {"value": {"play_store_transfer_config_id": "some-transfer"}}
    assert rendered(dags["play_store_export"], "play_store_export", "arguments", run, var=variables) == [
        *("python", "play_store_export/export.py", "--date=2026-05-31", "--backfill-day-count=60"),
        *("--project", "moz-fx-data-marketing-prod", "--transfer-config=some-transfer"),
    ]


def test_the_public_data_report_waits_for_the_end_of_its_week(dags: dict[str, DAG]) -> None:
    dag = dags["firefox_public_data_report"]
    monday = Run("2026-06-01T01:00:00Z", end="2026-06-08T01:00:00Z").logical_date
    assert monday
    sensors: list[Any] = [task for task in dag.tasks if task.task_id.startswith("wait_for_")]
    waited_for = {sensor.external_dag_id: (monday - sensor.execution_delta).isoformat() for sensor in sensors}
    assert waited_for == {
        "copy_deduplicate": "2026-06-07T01:00:00+00:00",
        "bqetl_main_summary": "2026-06-07T02:00:00+00:00",
    }


GONE = re.compile(
    r"\b(?:(?:next|prev|yesterday|tomorrow)_ds(?:_nodash)?|(?:next_|prev_)?execution_date|dag_run\.external_trigger)\b"
)


def test_no_template_names_what_airflow_3_has_not(dags: dict[str, DAG]) -> None:
    found = {
        f"{name}: {', '.join(GONE.findall(text))}"
        for name, task in tasks(dags)
        for text in texts([given(task).get(field) for field in task.template_fields])
        if GONE.search(text)
    }
    assert not found, "Airflow 3 has other names for these, see utils/run_dates.py:\n" + "\n".join(sorted(found))


@pytest.mark.parametrize("gone", ["{{ yesterday_ds }}", "{{ dag_run.external_trigger }}", "{{ next_execution_date }}"])
def test_a_name_that_is_gone_is_found(gone: str) -> None:
    assert GONE.search(gone)


def test_a_name_that_is_still_there_is_not_found() -> None:
    assert not GONE.search("{{ ds }} {{ prev_data_interval_end_success }} {{ macros.ds_add(ds, -1) }}")
