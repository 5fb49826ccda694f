"""Command lines: what is known is understood, what is not is refused by name. Nothing here reaches BigQuery."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from utils.bqetl import flags
from utils.bqetl.jobs import (
    airflow_labels,
    job_config,
    overwrites_table,
    parse_parameter,
    point_at,
    qualified,
    split_dataset,
)
from utils.labels import label_value
from wtmo.errors import WtmoError
from wtmo.local.bqetl import cli
from wtmo.local.bqetl.copy_deduplicate import slice_of
from wtmo.local.bqetl.query import shown_rows
from wtmo.local.pods import xcom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Runner = Callable[[Sequence[str]], tuple[int, str]]

SAMPLE = Path(__file__).parents[4] / "resources" / "sample" / "bigquery-etl"
QUERY = "sql/moz-fx-data-shared-prod/telemetry_derived/clients_daily_v6/query.sql"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command line without any BigQuery; its exit status and output."""
    monkeypatch.setenv("BQETL_CHECKOUT", str(SAMPLE))
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(argv: Sequence[str]) -> tuple[int, str]:
        return cli.main(argv), capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    "argv",
    [
        ["script/shredder_delete", "--only=telemetry_stable.main_v5"],
        ["python", "sql/moz-fx-data-shared-prod/microsoft_derived/app_installs_v1/query.py", "--date=2026-06-01"],
        ["bash", "-c", "script/glam/generate_glean_sql && run_query"],
        ["sh", "-c", "script/bqetl metadata publish; exit 7"],
    ],
)
def test_programs_that_reach_beyond_queries_are_recorded(run: Runner, argv: list[str]) -> None:
    status, out = run(argv)
    assert status == 0
    assert "records what it was asked to do" in out
    assert repr(argv[-1]) in out


def test_one_backfill_is_scheduled(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(xcom.FOLDER_VARIABLE, str(tmp_path))
    line = "script/bqetl backfill scheduled --status=Initiate --json_path=/airflow/xcom/return.json"
    assert run(["sh", "-c", line])[0] == 0
    (entry,) = json.loads((tmp_path / xcom.FILE_NAME).read_text())
    assert set(entry) == {"qualified_table_name", "staging_table", "backup_table", "watchers"}
    run(["sh", "-c", "script/bqetl backfill initiate x"])
    assert "stand_in_for" in (tmp_path / xcom.FILE_NAME).read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "has no command"),
        (["python", "other.py"], "no command `python other.py`"),
        (["sh", "-c", "true"], "no command `sh -c true`"),
        (["script/bqetl", "backfill", "scheduled"], "no command `script/bqetl backfill scheduled`"),
        (["script/bqetl", "query", "backfill"], "no command `script/bqetl query backfill`"),
        (["bq", "load"], "the local bq has no command `load`"),
        (["query", "--shiny", QUERY], "unrecognized arguments: --shiny"),
        (["query", "--use_legacy", QUERY], "unrecognized arguments: --use_legacy"),
        (["query"], "required: name"),
        (["query", "--replace=perhaps", QUERY], "'perhaps' is neither true nor false"),
        (["query", "--schema_update_option=DROP", QUERY], "invalid choice: 'DROP'"),
        (["query", "--use_legacy_sql=true", QUERY], "legacy SQL does not run here"),
        (["query", "--parameter=submission_date", QUERY], "not NAME:TYPE:VALUE"),
        (["query", "--destination_table=a b", QUERY], "--destination_table=a b: not"),
        (["query", "--dataset_id=a.b.c", QUERY], "--dataset_id=a.b.c: not"),
        (["query", "sql/p/d/t/query.sql"], f"No such file: {SAMPLE}/sql/p/d/t/query.sql"),
        (["script/bqetl", "query", "run-multipart", "sql/p/d/t"], "required: --destination_table"),
        (["script/bqetl", "query", "run-multipart", "sql/p/d/t", "--destination_table=t"], "sql/p/d/t/part1.sql"),
        (["script/bqetl", "check", "run", "sql/p/d/t"], f"No such file: {SAMPLE}/sql/p/d/t/checks.sql"),
        (["script/bqetl", "check", "run", "--marker", "odd", str(Path(QUERY).parent)], "no statement marked #odd"),
        (["script/bqetl", "copy_deduplicate"], "required: --date"),
        (["script/bqetl", "copy_deduplicate", "--date=2026-02-30"], "'2026-02-30' is not a date"),
        (["script/bqetl", "copy_deduplicate", "--date=2026-06-01", "--slices=0"], "'0' is not a number of 1 or more"),
        (["script/bqetl", "copy_deduplicate", "--date=2026-06-01", "--only"], "--only"),
        (["script/bqetl", "copy_deduplicate", "--date=2026-06-01", "--num-retries=-1"], "'-1' is not a number"),
        (
            ["script/bqetl", "copy_deduplicate", "--date=2026-06-01", "--temp-dataset=tmp"],
            "'tmp' is not PROJECT.DATASET",
        ),
        (["script/bqetl", "monitoring", "run"], "required: table"),
    ],
)
def test_wrong_usage_is_named_and_exits_2(run, argv: list[str], message: str) -> None:
    status, output = run(argv)
    assert status == 2
    assert message.lower() in output.lower()


def test_without_a_bigquery_the_message_says_what_to_set(run) -> None:
    status, output = run(["query", "--parameter=submission_date:DATE:2026-06-01", QUERY])
    assert status == 2
    assert "Set BIGQUERY_EMULATOR_HOST=" in output


def test_without_a_checkout_the_message_says_what_to_set(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BQETL_CHECKOUT")
    status, output = run(["query", QUERY])
    assert (status, "BQETL_CHECKOUT is not set" in output) == (2, True)


def test_a_parser_is_made_once_and_keeps_nothing_of_a_command_line() -> None:
    """A DAG's file with a hundred queries parses a hundred command lines, at every start of one of its tasks."""
    for parser, path in ((flags.query_run_parser, "a.sql"), (flags.check_parser, "a.b_v1")):
        assert parser() is parser()
        assert parser().parse_args(["--parameter=a:INT64:1", "--label=b:c", path]).parameter == ["a:INT64:1"]
        again = parser().parse_args([path])
        assert (again.parameter, again.label) == ([], [])
    assert flags.multipart_parser() is flags.multipart_parser()


def test_the_arguments_of_production_s_query_task_are_understood() -> None:
    options = flags.query_run_parser().parse_args(
        flags.normal([
            "--destination_table=event_events_v1$20260601",
            "--dataset_id=telemetry_derived",
            "--project_id=moz-fx-data-shared-prod",
            "--parameter=submission_date:DATE:2026-06-01",
            "--parameter=n:INT64:3",
            "--schema_update_option=ALLOW_FIELD_ADDITION",
            "--schema_update_option=",
            "--time_partitioning_type=DAY",
            "--time_partitioning_field=submission_date",
            "--time_partitioning_expiration=86400",
            "--clustering_fields=engine,country",
            "--max_rows=0",
            "--label=a:b",
            "--batch",
            "--maximum_bytes_billed=1000000",
            QUERY,
        ])
    )
    job = job_config(options, project="p", default_dataset="p.d", destination="p.d.t$20260601").to_api_repr()
    config = job["query"]
    assert job["labels"] == {"a": "b"}
    assert (config["priority"], config["maximumBytesBilled"]) == ("BATCH", "1000000")
    assert config["destinationTable"] == {"projectId": "p", "datasetId": "d", "tableId": "t$20260601"}
    assert config["defaultDataset"] == {"projectId": "p", "datasetId": "d"}
    assert config["writeDisposition"] == "WRITE_TRUNCATE"
    assert config["schemaUpdateOptions"] == ["ALLOW_FIELD_ADDITION"]
    assert config["timePartitioning"] == {"type": "DAY", "field": "submission_date", "expirationMs": "86400000"}
    assert config["clustering"] == {"fields": ["engine", "country"]}
    assert [parameter["name"] for parameter in config["queryParameters"]] == ["submission_date", "n"]


@pytest.mark.parametrize(
    ("words", "disposition"),
    [
        ([], "WRITE_TRUNCATE"),
        (["--replace"], "WRITE_TRUNCATE"),
        (["--append_table", "--noreplace"], "WRITE_APPEND"),
        (["--append_table=true"], "WRITE_APPEND"),
        (["--noreplace"], "WRITE_EMPTY"),
        (["--replace=false"], "WRITE_EMPTY"),
        (["--noappend_table"], "WRITE_TRUNCATE"),
    ],
)
def test_a_destination_is_overwritten_unless_told_otherwise(words: list[str], disposition: str) -> None:
    options = flags.query_run_parser().parse_args(flags.normal([*words, QUERY]))
    assert options.name == QUERY
    assert job_config(options, project="p", default_dataset=None, destination="p.d.t").write_disposition == disposition


@pytest.mark.parametrize(
    ("words", "table", "is_lost"),
    [
        ([], "p.d.t", True),
        ([], "p.d.t$20260601", False),
        (["--dry_run"], "p.d.t", False),
        (["--append_table"], "p.d.t", False),
        (["--noreplace"], "p.d.t", False),
    ],
)
def test_the_overwrite_of_a_whole_table_alone_loses_descriptions(words: list[str], table: str, is_lost: bool) -> None:
    options = flags.query_run_parser().parse_args(flags.normal([*words, QUERY]))
    assert overwrites_table(table, options) is is_lost


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("submission_date:DATE:2026-06-01", ("submission_date", {"type": "DATE"}, {"value": "2026-06-01"})),
        ("n:int64:3", ("n", {"type": "INT64"}, {"value": "3"})),
        ("name::a:b", ("name", {"type": "STRING"}, {"value": "a:b"})),
        ("::positional", (None, {"type": "STRING"}, {"value": "positional"})),
        ("empty:STRING:", ("empty", {"type": "STRING"}, {"value": ""})),
        ("nothing:DATE:NULL", ("nothing", {"type": "DATE"}, {"value": None})),
        ('options:JSON:{"a": "b"}', ("options", {"type": "JSON"}, {"value": '{"a": "b"}'})),
        (
            'channels:ARRAY<STRING>:["beta", "release"]',
            (
                "channels",
                {"type": "ARRAY", "arrayType": {"type": "STRING"}},
                {"arrayValues": [{"value": "beta"}, {"value": "release"}]},
            ),
        ),
    ],
)
def test_parameters_have_bq_s_form(text: str, expected: tuple[str | None, dict, dict]) -> None:
    resource = parse_parameter(text).to_api_repr()
    assert (resource.get("name"), resource["parameterType"], resource["parameterValue"]) == expected


@pytest.mark.parametrize(
    "text", ["x", "x:DATE", "x:ARRAY<INT64>:1", "x:ARRAY:[1]", "x:ARRAY<INT64>:{", "x:JSON:{", "x:STRUCT<a INT64>:{}"]
)
def test_other_parameters_are_refused(text: str) -> None:
    with pytest.raises(WtmoError, match="--parameter="):
        parse_parameter(text)


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("t_v1", "p.d.t_v1"),
        ("t_v1$20260601", "p.d.t_v1$20260601"),
        ("other.t_v1", "p.other.t_v1"),
        ("my-project:other.t_v1$20260601", "my-project.other.t_v1$20260601"),
        ("my-project.other.t_v1", "my-project.other.t_v1"),
    ],
)
def test_a_destination_is_completed(table: str, name: str) -> None:
    assert qualified(table, "p", "d") == name


def test_a_dataset_may_name_its_project() -> None:
    assert split_dataset("mozdata:tmp", "p", "d") == ("mozdata", "tmp")
    assert split_dataset("tmp", "p", "d") == ("p", "tmp")
    assert split_dataset(None, "p", "d") == ("p", "d")


def test_production_s_copy_deduplicate_is_understood() -> None:
    options = cli.copy_deduplicate_parser().parse_args(
        flags.normal([
            *("--project-id=moz-fx-data-shared-prod", "--billing-projects", "a", "b"),
            *("--date=2026-06-01", "--date=2026-06-02", "--parallelism=5", "--priority=INTERACTIVE", "--slices=20"),
            *("--only", "x_live.a_v1", "--only", "x_live.b_v1", "--except", "x_live.c_v1"),
            *("--write-to-v2", "x_live.a_v1", "--hourly", "--dry-run"),
        ])
    )
    assert options.project_id == "moz-fx-data-shared-prod"
    assert options.billing_projects == ["a", "b"]
    assert options.dates == [dt.date(2026, 6, 1), dt.date(2026, 6, 2)]
    assert (options.parallelism, options.slices, options.hourly, options.dry_run) == (5, 20, True, True)
    assert (options.only, options.exclude) == (["x_live.a_v1", "x_live.b_v1"], ["x_live.c_v1"])
    assert options.write_to_v2 == ["x_live.a_v1"]


@pytest.mark.parametrize("slices", [1, 7, 20, 24])
def test_slices_cover_the_day_without_gap_or_overlap(slices: int) -> None:
    day = dt.date(2026, 6, 1)
    bounds = [slice_of(day, number, slices) for number in range(slices)]
    assert bounds[0][0] == dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
    assert bounds[-1][1] == dt.datetime(2026, 6, 2, tzinfo=dt.UTC)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))


def test_jobs_are_labelled_with_their_task() -> None:
    assert airflow_labels({
        "AIRFLOW_CTX_DAG_ID": "copy_deduplicate",
        "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-06-01T01:00:00+00:00",
        "AIRFLOW_CTX_TRY_NUMBER": "2",
        "AIRFLOW_CTX_DAG_OWNER": "Data Engineering",
        "AIRFLOW_CTX_DAG_TIER": "tier_1",
        "OTHER": "x",
    }) == {
        "airflow-dag": "copy_deduplicate",
        "airflow-run": "scheduled__2026-06-01t01-00-00-00-00-b4764887",
        "airflow-try": "2",
        "airflow-owner": label_value("Data Engineering"),
        "airflow-tier": "tier_1",
    }


def test_an_error_points_at_the_line_of_the_sql() -> None:
    assert point_at("SELECT\n  nothing\n", "Unrecognized name: nothing at [2:3]") == "\n  2 |   nothing\n        ^"
    assert point_at("SELECT 1", "gone") == ""
    assert point_at("SELECT 1", "past the end at [7:1]") == ""


def test_rows_are_shown_as_bq_shows_them() -> None:
    rows = [{"a": 1, "b": None}, {"a": 22, "b": ["x"]}]
    assert shown_rows(rows, "pretty").splitlines()[1:5] == [
        "| a  | b     |",
        "+----+-------+",
        "| 1  | NULL  |",
        '| 22 | ["x"] |',
    ]
    assert shown_rows(rows, "json") == '[{"a": 1, "b": null}, {"a": 22, "b": ["x"]}]'
    assert shown_rows(rows, "csv") == 'a,b\n1,NULL\n22,"[""x""]"'
    assert shown_rows([], "pretty") == "0 rows"


def test_start_up_leaves_the_client_library_alone() -> None:
    heavy = "[name for name in ('google.cloud.bigquery', 'jinja2', 'yaml') if name in sys.modules]"
    code = f"import sys, wtmo.local.bqetl.cli; print({heavy})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SAMPLE.parents[2]
    )
    assert done.stdout.strip() == "[]"
