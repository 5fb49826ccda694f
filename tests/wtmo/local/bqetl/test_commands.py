"""The commands against a real local BigQuery: what they write, what they say, how they fail."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from wtmo.errors import WtmoError
from wtmo.local.bqetl import warehouse
from wtmo.local.pings import load_seeds

pytestmark = pytest.mark.loopback

ROOT = Path(__file__).parents[4]
PROJECT = "moz-fx-data-shared-prod"
DAY = "2026-06-01"
NUMBERS = [{"name": "day", "type": "DATE"}, {"name": "n", "type": "INTEGER", "description": "A number."}]
PING: list[dict[str, Any]] = [
    {"name": "submission_timestamp", "type": "TIMESTAMP"},
    {"name": "document_id", "type": "STRING"},
    {"name": "note", "type": "STRING"},
    {
        "name": "metadata",
        "type": "RECORD",
        "fields": [{"name": "header", "type": "RECORD", "fields": [{"name": "x_source_tags", "type": "STRING"}]}],
    },
]


def pings(*rows: tuple[str, str, str] | tuple[str, str, str, str]) -> list[dict[str, Any]]:
    """Pings of DAY from (time, document, note[, tags])."""
    return [
        {
            "submission_timestamp": f"{DAY}T{row[0]}Z",
            "document_id": row[1],
            "note": row[2],
            "metadata": {"header": {"x_source_tags": row[3] if len(row) > 3 else None}},
        }
        for row in rows
    ]


def live_and_stable(platform: Any, app: str, rows: list[dict[str, Any]]) -> None:
    platform.create(f"{app}_live.ping_v1", rows, PING, day="submission_timestamp")
    platform.create(f"{app}_stable.ping_v1", [], PING, day="submission_timestamp")


def deduplicate(platform: Any, *options: str) -> tuple[int, str]:
    return platform.run("script/bqetl", "copy_deduplicate", f"--project-id={PROJECT}", f"--date={DAY}", *options)


def notes(platform: Any, app: str) -> list[tuple[str, str]]:
    return platform.sql(f"SELECT document_id, note FROM {app}_stable.ping_v1 ORDER BY document_id, note")


ROWS = pings(
    ("12:00:00", "a", "second"),
    ("00:00:00", "a", "first"),
    ("23:59:59.999999", "b", "only"),
    ("07:00:00", "c", "test", "automation"),
    ("07:00:00", "d", "kept", "perf, other"),
    ("08:00:00", "e", "tie 2"),
    ("08:00:00", "e", "tie 1"),
    ("05:00:00", "f", "at five"),
    ("04:59:59.999999", "f", "before five"),
)
KEPT = [("a", "first"), ("b", "only"), ("d", "kept"), ("e", "tie 1"), ("f", "before five")]


@pytest.mark.parametrize("options", [(), ("--slices=2",), ("--hourly", "--parallelism=3"), ("--slices=7",)])
def test_the_earliest_row_of_a_document_is_kept_however_the_day_is_sliced(
    platform: Any, options: tuple[str, ...]
) -> None:
    live_and_stable(platform, "slices", ROWS)
    status, output = deduplicate(platform, "--only", "slices_live.ping_v1", *options)
    assert (status, notes(platform, "slices")) == (0, KEPT), output
    assert "slices_live.ping_v1 -> slices_stable.ping_v1$20260601: 9 rows in, 5 rows out" in output
    if options:
        assert [table.table_id for table in platform.client.list_tables("tmp")] == []


def test_days_before_count_only_when_asked_for(platform: Any) -> None:
    before = {"submission_timestamp": "2026-05-31T23:00:00Z", "document_id": "a", "note": "the day before"}
    live_and_stable(platform, "before", [before, *pings(("01:00:00", "a", "again"), ("02:00:00", "b", "new"))])
    assert deduplicate(platform, "--only", "before_live.ping_v1")[0] == 0
    assert notes(platform, "before") == [("a", "again"), ("b", "new")]
    assert deduplicate(platform, "--only", "before_live.ping_v1", "--preceding-days=1", "--slices=2")[0] == 0
    assert notes(platform, "before") == [("b", "new")]


@pytest.mark.parametrize(
    "pattern", ["gone_live.ping_v1", "slices_live.main*", "nowhere_*.ping_v1", "slices_stable.ping_v1"]
)
def test_an_only_that_matches_no_live_table_is_an_error(platform: Any, pattern: str) -> None:
    live_and_stable(platform, "slices", ROWS)
    status, output = deduplicate(platform, "--only", "slices_live.ping_v1", "--only", pattern)
    assert status == 2
    assert f"--only {pattern} matches no live table" in output
    assert notes(platform, "slices") == []


def test_excluding_every_table_is_an_error(platform: Any) -> None:
    live_and_stable(platform, "slices", ROWS)
    status, output = deduplicate(platform, "--except", "*")
    assert (status, "--except leaves none" in output) == (2, True)


def test_a_live_table_without_a_stable_twin_is_named_and_the_others_are_written(platform: Any) -> None:
    live_and_stable(platform, "slices", ROWS)
    platform.create("lonely_live.ping_v1", ROWS, PING, day="submission_timestamp")
    status, output = deduplicate(platform, "--only", "slices_live.ping_v1", "lonely_live.ping_v1")
    assert status == 1
    assert f"the stable table {PROJECT}.lonely_stable.ping_v1 does not exist" in output
    assert "1 of 2 partitions written" in output
    assert notes(platform, "slices") == KEPT
    platform.client.delete_table("lonely_live.ping_v1")


def test_a_table_that_bigquery_refuses_is_named_with_its_message(platform: Any) -> None:
    platform.create("odd_live.ping_v1", [], [{"name": "document_id", "type": "STRING"}])
    platform.create("odd_stable.ping_v1", [], [{"name": "document_id", "type": "STRING"}])
    status, output = deduplicate(platform, "--only", "odd_live.ping_v1")
    assert status == 1
    assert "FAILED odd_stable.ping_v1$20260601: odd_stable.ping_v1$20260601: " in output
    assert "submission_timestamp" in output
    platform.client.delete_table("odd_live.ping_v1")


@pytest.mark.parametrize("options", [(), ("--slices=3",)])
def test_a_dry_run_writes_nothing(platform: Any, options: tuple[str, ...]) -> None:
    live_and_stable(platform, "slices", ROWS)
    status, output = deduplicate(platform, "--only", "slices_live.*", "--dry-run", *options)
    assert (status, notes(platform, "slices")) == (0, [])
    assert "1 of 1 partitions planned (dry run)" in output


def test_write_to_v2_fills_both(platform: Any) -> None:
    live_and_stable(platform, "two", ROWS)
    platform.create("two_stable.ping_v2", [], PING, day="submission_timestamp")
    status, output = deduplicate(platform, "--only", "two_live.ping_v1", "--write-to-v2", "two_live.ping_v1")
    assert (status, notes(platform, "two")) == (0, KEPT), output
    assert platform.contents("two_stable.ping_v1") == platform.contents("two_stable.ping_v2")


def test_a_query_makes_and_fills_its_table_and_labels_its_job(platform: Any, checkout: Any) -> None:
    folder = checkout(
        "made.numbers_v1",
        {
            "query.sql": "SELECT @day AS day, n FROM UNNEST([1, 2, 3]) AS n",
            "schema.yaml": {"fields": NUMBERS},
            "metadata.yaml": {
                "friendly_name": "Numbers",
                "bigquery": {"time_partitioning": {"type": "day", "field": "day"}, "clustering": {"fields": ["n"]}},
            },
        },
    )
    for day in (DAY, "2026-06-02", DAY):
        output = platform.ok(
            *("query", f"--destination_table=numbers_v1${day.replace('-', '')}", "--dataset_id=made"),
            *(f"--parameter=day:DATE:{day}", f"{folder}/query.sql"),
        )
        assert ", 3 rows written, " in output
    table = platform.client.get_table("made.numbers_v1")
    assert (table.num_rows, table.time_partitioning.field, table.clustering_fields) == (6, "day", ["n"])
    assert (table.friendly_name, table.schema[1].description) == ("Numbers", "A number.")
    job = next(job for job in platform.client.list_jobs(max_results=20) if job.job_id in output)
    assert job.labels == {
        "airflow-dag": "test-dag_id",
        "airflow-task": "test-task_id",
        "airflow-run": "test-dag_run_id",
        "airflow-try": "test-try_number",
        "airflow-owner": "test-dag_owner",
        "airflow-tier": "test-dag_tier",
    }


def test_a_whole_table_is_overwritten_and_keeps_its_descriptions(platform: Any, checkout: Any) -> None:
    folder = checkout(
        "whole.numbers_v1",
        {
            "query.sql": "SELECT DATE '2026-06-01' AS day, n FROM UNNEST([1, 2]) AS n",
            "schema.yaml": {"fields": NUMBERS},
        },
    )
    for _ in range(2):
        platform.ok("script/bqetl", "query", "run", folder, "--destination_table=whole.numbers_v1")
        table = platform.client.get_table("whole.numbers_v1")
        assert (table.num_rows, table.schema[1].description) == (2, "A number.")
    platform.ok(
        "script/bqetl", "query", "run", folder, "--destination_table=whole.numbers_v1", "--append_table", "--noreplace"
    )
    assert platform.client.get_table("whole.numbers_v1").num_rows == 4
    status, output = platform.run(
        "script/bqetl", "query", "run", folder, "--destination_table=numbers_v1", "--noreplace"
    )
    assert (status, "Already Exists" in output or "not empty" in output.lower()) == (1, True), output
    platform.ok("script/bqetl", "query", "run", folder, "--destination_table=numbers_v1", "--dry_run")
    assert platform.client.get_table("whole.numbers_v1").num_rows == 4


def test_a_schema_that_the_table_can_not_take_is_told_and_no_failure(platform: Any, checkout: Any) -> None:
    folder = checkout("whole.other_v1", {"query.sql": "SELECT 1 AS n, 2 AS more", "schema.yaml": {"fields": NUMBERS}})
    platform.client.delete_table("whole.other_v1", not_found_ok=True)
    output = platform.ok("script/bqetl", "query", "run", folder, "--destination_table=whole.other_v1")
    assert "could not put the field descriptions of schema.yaml back" in output


def test_names_without_a_dataset_are_those_of_the_query_s_own_project(platform: Any, checkout: Any) -> None:
    platform.create("own.source_v1", [{"day": DAY, "n": 5}], NUMBERS)
    folder = checkout("own.target_v1", {"query.sql": "SELECT n FROM source_v1"})
    output = platform.ok(
        *("query", "--billing-project", "moz-fx-data-backfill-2", "--destination_table=target_v1"),
        *("--dataset_id=own", f"--project_id={PROJECT}", f"{folder}/query.sql"),
    )
    assert "job moz-fx-data-backfill-2:" in output
    assert platform.sql(f"SELECT n FROM `{PROJECT}.own.target_v1`") == [(5,)]


def test_bad_sql_is_answered_with_bigquery_s_message_and_the_place(platform: Any, checkout: Any) -> None:
    folder = checkout("bad.bad_v1", {"query.sql": "{# a comment #}SELECT\n  1 AS one,\n  nothing\n"})
    status, output = platform.run("query", f"{folder}/query.sql")
    assert status == 1
    assert f"ERROR: {folder}/query.sql: " in output
    assert "Unrecognized name: nothing" in output
    assert "\n  3 |   nothing\n        ^\n  job moz-fx-data-shared-prod:" in output


def test_a_missing_table_is_named(platform: Any, checkout: Any) -> None:
    platform.client.create_dataset("bad", exists_ok=True)
    folder = checkout("bad.gone_v1", {"query.sql": "SELECT * FROM bad.never_made"})
    status, output = platform.run("query", f"{folder}/query.sql")
    assert (status, "never_made" in output) == (1, True)


def test_a_query_finds_the_views_functions_and_tables_of_its_checkout(platform: Any, checkout: Any) -> None:
    platform.create("found.stored_v1", [{"day": DAY, "n": 1}, {"day": DAY, "n": 2}], NUMBERS)
    checkout("udf.negated", {"udf.sql": "CREATE OR REPLACE FUNCTION udf.negated(n INT64) AS (-n);"})
    view = f"CREATE OR REPLACE VIEW `{PROJECT}.found.view` AS SELECT day, udf.negated(n) AS n FROM `{PROJECT}.found.{{}}_v1`"
    checkout("found.view", {"view.sql": view.format("stored")})
    checkout("found.never_v1", {"schema.yaml": {"fields": NUMBERS}})
    checkout("found.out_v1", {"schema.yaml": {"fields": NUMBERS}})
    sql = "SELECT * FROM found.view WHERE day = @day UNION ALL SELECT * FROM found.never_v1 WHERE day = @day"
    folder = checkout("found.out_v1", {"query.sql": sql})

    options = ("--destination_table=out_v1", "--dataset_id=found", f"--parameter=day:DATE:{DAY}")
    output = platform.ok("query", *options, f"{folder}/query.sql")
    assert sorted(platform.sql("SELECT n FROM found.out_v1")) == [(-2,), (-1,)]
    assert f"{PROJECT}.found.never_v1 is not there; read without rows" in output
    assert "stored_v1 is not there" not in output

    checkout("found.view", {"view.sql": view.format("gone")})
    status, output = platform.run("query", *options, f"{folder}/query.sql")
    assert status == 1
    assert f"Not found: Table {PROJECT}:found.gone_v1; failed to parse view '{PROJECT}.found.view'" in output


def test_a_multipart_query_joins_its_parts(platform: Any, checkout: Any) -> None:
    folder = checkout(
        "parts.joined_v1",
        {
            "part1.sql": "SELECT @day AS day, id, id * 10 AS tens FROM UNNEST([1, 2]) AS id",
            "part2.sql": "SELECT id, id * 100 AS hundreds FROM UNNEST([2, 3]) AS id",
        },
    )
    output = platform.ok(
        *(
            "script/bqetl",
            "query",
            "run-multipart",
            "--using=id",
            "--destination_table=joined_v1",
            "--dataset_id=parts",
        ),
        *(f"--project_id={PROJECT}", f"--parameter=day:DATE:{DAY}", folder),
    )
    assert ", 3 rows written, " in output
    rows = platform.sql("SELECT id, tens, hundreds FROM parts.joined_v1 ORDER BY id")
    assert rows == [(1, 10, None), (2, 20, 200), (3, None, 300)]
    assert [table.table_id for table in platform.client.list_tables("tmp")] == []


def test_bq_query_shows_rows(platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert platform.ok(
        "bq", "query", "--use_legacy_sql=false", "--format=json", "SELECT 1 AS a, 'x' AS b"
    ).splitlines()[-1] == ('[{"a": 1, "b": "x"}]')
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT n FROM UNNEST([1, 2, 3]) AS n ORDER BY n"))
    assert "| 2 |" in platform.ok("bq", "--project_id=moz-fx-data-shared-prod", "query", "-n", "2")


def check_files(**macros: str) -> dict[str, object]:
    return {"checks.sql": "\n\n".join(f"#{marker.partition('_')[0]}\n{text}" for marker, text in macros.items())}


@pytest.mark.parametrize(
    ("macro", "message"),
    [
        ("not_null(['n', 'day'])", "columns with NULL: n in 1 rows"),
        ("not_null('n', 'day IS NULL')", ""),
        ("is_unique(['day', 'n'])", "not unique: 1 values of (day, n) are in more than one row, 2 rows in all"),
        ("is_unique('n', 'n > 1')", ""),
        ("min_row_count(6)", "too few rows: 5, expected at least 6"),
        ("min_row_count(5)", ""),
        ("in_range(['n'], 2, 8)", "values not in [2, 8]: n in 3 rows"),
        ("in_range('n', 1, none)", ""),
        ("value_length('name', 1)", "values not of length 1: name in 1 rows"),
        ("value_length('name', 1, 'n < 9')", ""),
        ("accepted_values('name', ['a', 'it\\'s'])", "values not accepted: name in 1 rows"),
        ("accepted_values('name', ['a', 'b', 'it\\'s'])", ""),
        ("matches_pattern('name', '^[a-z]$')", "name does not match ^[a-z]$: 1 of 5 rows"),
        ("matches_pattern('name', '^\\\\w$', message='odd', threshold_fail_percentage=10)", "odd: 1 of 5 rows"),
        ("matches_pattern('name', '^[a-z]$', threshold_fail_percentage=20)", ""),
        ("row_count_within_past_partitions_avg(7, 50, 'day')", "unusual row count: 4, the average of 7 days is 1.0"),
        ("row_count_within_past_partitions_avg(7, 300, 'day')", ""),
        (
            "revenue_period_over_period_change('n', 'day', 4, none, 'TRUE')",
            "change over 4 from one period to the next: n in 1 rows",
        ),
        ("revenue_period_over_period_change(['n'], 'day', 6, ['name'], 'TRUE', 'name = \\'a\\'')", ""),
    ],
)
def test_checks_tell_good_tables_from_bad(platform: Any, checkout: Any, macro: str, message: str) -> None:
    schema = [*NUMBERS, {"name": "name", "type": "STRING"}]
    values = [("2026-05-31", 2, "a"), (DAY, 1, "a"), (DAY, 1, "b"), (DAY, None, "a"), (DAY, 9, "it's")]
    platform.create("checked.t_v1", [{"day": day, "n": n, "name": name} for day, n, name in values], schema)
    folder = checkout("checked.t_v1", check_files(fail=f"{{{{ {macro} }}}}"))
    status, output = platform.run(
        "script/bqetl", "check", "run", "--marker", "fail", folder, f"--parameter=day:DATE:{DAY}"
    )
    assert status == (1 if message else 0), output
    assert f"FAILED {folder}/checks.sql #fail 1 of 1: {message}" in output if message else "FAILED" not in output
    assert f"{1 if message else 0} of 1 checks marked #fail failed for {PROJECT}.checked.t_v1" in output


def test_flags_of_a_table_s_python_query_are_left_out_of_its_checks(platform: Any, checkout: Any) -> None:
    folder = checkout("checked.fetched_v1", {"checks.sql": "#fail\nSELECT IF(@day IS NULL, ERROR('no day'), NULL);"})
    check = ["script/bqetl", "check", "run", folder, f"--parameter=day:DATE:{DAY}", "--date-from", DAY, "--source=a"]
    status, output = platform.run(*check)
    assert (status, "unrecognized arguments: --date_from 2026-06-01 --source=a" in output) == (2, True), output
    checkout("checked.fetched_v1", {"query.py": ""})
    assert "0 of 1 checks marked #fail failed" in platform.ok(*check)


def test_only_the_marker_s_checks_run_and_one_that_fails_does_not_stop_the_others(platform: Any, checkout: Any) -> None:
    platform.create("checked.m_v1", [{"day": DAY, "n": 1}], NUMBERS)
    error = "SELECT ERROR('ETL Data Check Failed: {}') FROM checked.m_v1 WHERE day = @day;"
    folder = checkout(
        "checked.m_v1",
        check_files(
            fail_1=error.format("one; and more"),
            warn_1=error.format("a warning"),
            fail_2="SELECT nothing;",
            fail_3='{{ min_row_count(1, where="day = \'" ~ day ~ "\'") }}',
        ),
    )
    status, output = platform.run("script/bqetl", "check", "run", folder, f"--parameter=day:DATE:{DAY}")
    assert status == 1
    assert "#fail 1 of 3: one; and more" in output
    assert "Unrecognized name: nothing" in output
    assert "passed " in output
    assert "2 of 3 checks marked #fail failed" in output
    assert "a warning" not in output
    status, output = platform.run(
        "script/bqetl", "check", "run", "--marker=warn", folder, f"--parameter=day:DATE:{DAY}"
    )
    assert (status, "a warning" in output) == (1, True)


def test_monitoring_says_that_it_is_a_stand_in(platform: Any) -> None:
    platform.create("watched.t_v1", [{"day": DAY, "n": 1}], NUMBERS)
    argv = ("script/bqetl", "monitoring", "run")
    output = platform.ok(*argv, "watched.t_v1", "--warehouse_id", "1939", "--project_id", PROJECT)
    assert "STAND-IN: there is no Bigeye here" in output
    status, output = platform.run(*argv, f"{PROJECT}.watched.gone_v1", "--warehouse_id=1939")
    assert (status, "watched.gone_v1 does not exist" in output) == (1, True)


def test_a_bigquery_that_is_not_there_is_named(platform: Any, checkout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        monkeypatch.setattr(warehouse, "PATIENCE", 0.5)
        folder = checkout("away.t_v1", {"query.sql": "SELECT 1"})
        for argv in (("query", f"{folder}/query.sql"), ("script/bqetl", "copy_deduplicate", f"--date={DAY}")):
            status, output = platform.run(*argv)
            assert (status, f"BigQuery at {url} does not answer" in output) == (1, True), output


def test_seeds_name_a_bigquery_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setattr("wtmo.local.pings.seeds.PATIENCE", 0.5)
        with pytest.raises(WtmoError, match=r"Could not load .*seeds into moz-fx-data-shared-prod"):
            load_seeds(bigquery.Client(PROJECT, AnonymousCredentials()), seeds(tmp_path / "seeds", ROWS))


def test_told_to_end_it_cancels_its_job(platform: Any, checkout: Any, bigquery_url: str) -> None:
    numbers = "UNNEST(GENERATE_ARRAY(1, 16000))"
    endless = f"SELECT COUNTIF(MOD(a * b * c, 7) = 0) FROM {numbers} AS a, {numbers} AS b, {numbers} AS c"
    folder = checkout("long.t_v1", {"query.sql": endless})
    command = [sys.executable, "-m", "wtmo.local.bqetl", "query", f"{folder}/query.sql"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE, text=True)
    try:
        job = _await_job(platform, "RUNNING")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 143, output
    assert f"Cancelled {PROJECT}:" in output
    ended = platform.client.get_job(job)
    assert (ended.state, ended.error_result["reason"]) == ("DONE", "stopped")


def _await_job(platform: Any, state: str, seconds: float = 20) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for job in platform.client.list_jobs(max_results=5, state_filter=state.lower()):
            if job.job_id.startswith("bqetl_"):
                return str(job.job_id)
        time.sleep(0.2)
    raise AssertionError(f"no bqetl job was {state} within {seconds} s")


def seeds(
    folder: Path, rows: list[dict[str, Any]], schema: list[dict[str, Any]] = PING, *, app: str = "seeded"
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{app}_live.ping_v1.ndjson").write_text("\n".join(map(json.dumps, rows)))
    (folder / f"{app}_live.ping_v1.schema.json").write_text(json.dumps(schema))
    return folder


def test_seeds_replace_exactly_their_days(platform: Any, tmp_path: Path) -> None:
    second = {"submission_timestamp": "2026-06-02T10:00:00Z", "document_id": "x", "note": "second day"}
    folder = seeds(tmp_path / "seeds", [*ROWS, second])
    for _ in range(2):
        assert load_seeds(platform.client, folder) == {"seeded_live.ping_v1": 10}
        assert platform.client.get_table("seeded_live.ping_v1").num_rows == 10
    stable = platform.client.get_table("seeded_stable.ping_v1")
    assert (stable.num_rows, stable.time_partitioning.field, stable.time_partitioning.type_) == (
        0,
        "submission_timestamp",
        "DAY",
    )

    seeds(folder, pings(("01:00:00", "new", "new")))
    assert load_seeds(platform.client, folder) == {"seeded_live.ping_v1": 1}
    rows = platform.sql("SELECT document_id FROM seeded_live.ping_v1 ORDER BY submission_timestamp")
    assert rows == [("new",), ("x",)]
    job = next(job for job in platform.client.list_jobs(max_results=20) if job.job_type == "load")
    assert job.labels == {"type": "seeds"}


def test_fields_that_seeds_have_more_are_added_to_their_tables(platform: Any, tmp_path: Path) -> None:
    wider = [{"name": "first", "type": "STRING"}, *PING]
    wider[-1] = {**PING[-1], "fields": [*PING[-1]["fields"], {"name": "isp", "type": "STRING"}]}
    yesterday = {"submission_timestamp": "2026-05-31T10:00:00Z", "document_id": "x", "metadata": {"header": {}}}
    load_seeds(platform.client, seeds(tmp_path / "seeds", [yesterday], app="wider"))
    row = {**pings(("01:00:00", "a", "n"))[0], "first": "1"}
    row["metadata"]["isp"] = "i"
    for _ in range(2):
        load_seeds(platform.client, seeds(tmp_path / "seeds", [row], wider, app="wider"))
    rows = platform.sql("SELECT document_id, first, metadata.isp FROM wider_live.ping_v1 ORDER BY submission_timestamp")
    assert rows == [("x", None, None), ("a", "1", "i")]
    assert deduplicate(platform, "--only", "wider_live.ping_v1")[0] == 0
    assert platform.sql("SELECT first, metadata.isp FROM wider_stable.ping_v1") == [("1", "i")]


def test_a_schema_alone_makes_a_stable_table_without_rows(platform: Any, tmp_path: Path) -> None:
    folder = seeds(tmp_path / "seeds", ROWS, app="alone")
    (folder / "alone_stable.retired_v1.schema.json").write_text(json.dumps(PING))
    assert load_seeds(platform.client, folder) == {"alone_live.ping_v1": 9}
    table = platform.client.get_table("alone_stable.retired_v1")
    assert (table.num_rows, table.time_partitioning.field) == (0, "submission_timestamp")
    assert "retired_v1" not in {table.table_id for table in platform.client.list_tables("alone_live")}


def test_seeds_of_another_schema_than_the_table_s_are_refused(platform: Any, tmp_path: Path) -> None:
    load_seeds(platform.client, seeds(tmp_path / "seeds", ROWS))
    before = platform.contents("seeded_live.ping_v1")
    other = [*PING[:2], {"name": "note", "type": "INTEGER"}]
    row = {"submission_timestamp": f"{DAY}T00:00:00Z", "document_id": "z", "note": 1}
    with pytest.raises(WtmoError, match=r"exists with other fields .* metadata \(RECORD NULLABLE, seed: absent\)"):
        load_seeds(platform.client, seeds(tmp_path / "other", [row], other))
    assert platform.contents("seeded_live.ping_v1") == before
