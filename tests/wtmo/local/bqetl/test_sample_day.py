"""The sample pings and the sample checkout on a real local BigQuery: two days, proved with SQL."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from utils.bqetl.checkout import Checkout
from wtmo.local.pings import generate, load_seeds

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[4]
SAMPLE = ROOT / "resources" / "sample"
PROJECT = "moz-fx-data-shared-prod"
DAYS = (dt.date(2026, 6, 1), dt.date(2026, 6, 2))
CLIENTS = 40
# in the order of the layers, with the field that each is partitioned by
TABLES = {
    "telemetry_derived.event_events_v1": "submission_date",
    "telemetry_derived.main_events_v1": "submission_date",
    "telemetry_derived.core_clients_first_seen_v1": "first_seen_date",
    "firefox_desktop_derived.baseline_clients_daily_v1": "submission_date",
    "firefox_desktop_derived.metrics_clients_daily_v1": "submission_date",
    "telemetry_derived.clients_daily_v6": "submission_date",
    "telemetry_derived.active_users_aggregates_v1": "submission_date",
    "revenue_derived.ad_revenue_daily_v1": "submission_date",
}


@pytest.fixture(scope="module")
def live(bigquery_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[dt.date, dict[str, int]]:
    """Two days of pings in the live tables, and the rates of Fivetran; rows by day and table."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    client = bigquery.Client(PROJECT, AnonymousCredentials(), client_options=ClientOptions(api_endpoint=bigquery_url))
    loaded = {}
    for day in DAYS:
        folder = tmp_path_factory.mktemp(str(day))
        generate(folder, date=day, clients=CLIENTS, seed=3)
        loaded[day] = load_seeds(client, folder)
    connector = json.loads((SAMPLE / "fivetran" / "sample_netsuite.json").read_text())
    client.create_dataset(f"{connector['project']}.{connector['schema']}", exists_ok=True)
    for name, files in connector["tables"].items():
        fields = json.loads((SAMPLE / "fivetran" / files["schema"]).read_text())
        rows = [json.loads(line) for line in (SAMPLE / "fivetran" / files["rows"]).read_text().splitlines()]
        client.load_table_from_json(
            rows,
            f"{connector['project']}.{connector['schema']}.{name}",
            job_config=bigquery.LoadJobConfig(
                schema=[bigquery.SchemaField.from_api_repr(field) for field in fields],
                write_disposition="WRITE_TRUNCATE",
            ),
        ).result()
    return loaded


def copy(platform: Any, day: dt.date, *options: str) -> str:
    return platform.ok("script/bqetl", "copy_deduplicate", f"--project-id={PROJECT}", f"--date={day}", *options)


def query(platform: Any, name: str, day: dt.date) -> str:
    """Run a query as the DAGs do."""
    dataset, table = name.split(".")
    return platform.ok(
        "query",
        f"--destination_table={table}${day:%Y%m%d}",
        f"--dataset_id={dataset}",
        f"--project_id={PROJECT}",
        f"--parameter=submission_date:DATE:{day}",
        "--schema_update_option=ALLOW_FIELD_ADDITION",
        f"sql/{PROJECT}/{dataset}/{table}/query.sql",
    )


@pytest.fixture
def sample(platform: Any, served_checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    served_checkout.unlink()
    served_checkout.symlink_to(SAMPLE / "bigquery-etl")
    monkeypatch.setenv("BQETL_CHECKOUT", str(SAMPLE / "bigquery-etl"))
    return platform


def on(day: dt.date) -> str:
    return f'DATE(submission_timestamp) = "{day}"'


def earliest(sample: Any, live: str, day: dt.date) -> list[str]:
    """What a stable partition must hold, worked out another way: per document, the live row of the smallest time."""
    return sorted(
        row[0]
        for row in sample.sql(
            f"""
            WITH firsts AS (
              SELECT document_id, MIN(submission_timestamp) AS submission_timestamp
              FROM `{live}` WHERE {on(day)} GROUP BY document_id
            )
            SELECT TO_JSON_STRING(live) FROM `{live}` AS live
            JOIN firsts USING (document_id, submission_timestamp)
            WHERE {on(day)}
            """
        )
    )


def test_stable_tables_hold_one_row_a_document_the_earliest(sample: Any, live: dict[dt.date, dict[str, int]]) -> None:
    first, second = DAYS
    stable = {table: table.replace("_live.", "_stable.") for table in live[first]}

    output = copy(sample, first, "--parallelism=4", "--except", "nothing_live.at_all")
    contents = {table: sample.contents(stable[table], on(first)) for table in stable}
    for table, rows in live[first].items():
        assert contents[table] == earliest(sample, table, first), table
        documents = [json.loads(row)["document_id"] for row in contents[table]]
        assert len(set(documents)) == len(documents), table
        assert f"{table} -> {stable[table]}$20260601: {rows:,} rows in, {len(documents):,} rows out" in output
    assert any(len(contents[table]) < live[first][table] for table in stable), "there were no duplicates to drop"

    # running it again gives the same rows, and so does running it in slices
    copy(sample, first, "--only", "telemetry_live.main_v5", "--slices=20", "--parallelism=4")
    copy(sample, first, "--only", "firefox_desktop_live.m*", "--hourly", "--parallelism=4")
    copy(sample, first, "--only", "telemetry_live.[ec]*")
    assert {table: sample.contents(stable[table], on(first)) for table in stable} == contents

    # the second day leaves the first day's partitions as they were
    copy(sample, second, "--parallelism=4")
    for table in stable:
        assert sample.contents(stable[table], on(first)) == contents[table], table
        assert sample.contents(stable[table], on(second)) == earliest(sample, table, second), table


def test_derived_tables_and_their_checks(sample: Any, live: dict[dt.date, dict[str, int]]) -> None:
    for day in DAYS:
        copy(sample, day, "--parallelism=4", "--except", "*use_counter*", "org_mozilla_*", "*first_shutdown*")
    contents: dict[str, dict[dt.date, list[str]]] = {}
    checkout = Checkout(SAMPLE / "bigquery-etl")
    for name, partition in TABLES.items():
        output = [query(sample, name, day) for day in DAYS]
        contents[name] = {day: sample.contents(name, f'{partition} = "{day}"') for day in DAYS}
        for day, said in zip(DAYS, output, strict=True):
            assert contents[name][day], (name, day)
            assert f", {len(contents[name][day]):,} rows written, " in said, (name, day)

        # the table is as its folder declares it
        table = sample.client.get_table(name)
        folder = checkout.folder(checkout.find(name, ("query.sql",)))
        assert [(field.name, field.description) for field in table.schema] == [
            (field["name"], field["description"]) for field in folder.schema
        ], name
        assert table.time_partitioning.field == partition, name
        assert sorted(table.clustering_fields or []) == sorted(
            (folder.metadata["bigquery"].get("clustering") or {}).get("fields", [])
        ), name

        if (folder.path / "checks.sql").exists():
            for marker in ("fail", "warn"):
                said = sample.ok(
                    *("script/bqetl", "check", "run", "--marker", marker),
                    *(checkout.shown(folder.path), f"--parameter=submission_date:DATE:{DAYS[1]}"),
                )
                assert f"checks marked #{marker} failed for {PROJECT}.{name}" in said

    # running the first day again gives the same rows, and leaves the second as it was
    for name, partition in TABLES.items():
        query(sample, name, DAYS[0])
        assert contents[name] == {day: sample.contents(name, f'{partition} = "{day}"') for day in DAYS}, name

    # the whole table, over all days, twice
    for _ in range(2):
        output = sample.ok(
            *("script/bqetl", "query", "run", "--destination_table=country_activity_v1"),
            *("--dataset_id=telemetry_derived", f"--project_id={PROJECT}"),
            f"sql/{PROJECT}/telemetry_derived/country_activity_v1/query.sql",
        )
        rows = sample.sql("SELECT MIN(first_day), MAX(last_day), MAX(days) FROM telemetry_derived.country_activity_v1")
        assert rows == [(DAYS[0], DAYS[1], 2)]
        assert "Put the field descriptions of schema.yaml back on" in output
    assert all(field.description for field in sample.client.get_table("telemetry_derived.country_activity_v1").schema)

    # numbers, worked out another way from the pings
    assert sample.sql(
        """
        SELECT submission_date, SUM(durations), SUM(ping_count) FROM firefox_desktop_derived.baseline_clients_daily_v1
        GROUP BY submission_date ORDER BY submission_date
        """
    ) == sample.sql(
        """
        SELECT DATE(submission_timestamp) AS day, SUM(metrics.timespan.glean_baseline_duration.value), COUNT(*)
        FROM firefox_desktop_stable.baseline_v1 GROUP BY day ORDER BY day
        """
    )
    assert sample.sql("SELECT COUNT(*) FROM telemetry_derived.main_events_v1 WHERE session_start_time IS NULL") == [
        (0,)
    ]
    clients = "SELECT DISTINCT client_id FROM telemetry_stable.core_v10"
    assert sample.sql(
        "SELECT COUNT(*), COUNT(DISTINCT client_id) FROM telemetry_derived.core_clients_first_seen_v1"
    ) == [sample.sql(f"SELECT COUNT(*), COUNT(*) FROM ({clients})")[0]]


# What production's views over pings read, in words of our own.
PARTS = """
CREATE OR REPLACE FUNCTION udf.parts(metadata ANY TYPE) AS ((
  SELECT AS STRUCT
    metadata.* REPLACE (
      (SELECT AS STRUCT metadata.header.*, SPLIT(metadata.header.x_lb_tags, ',')[SAFE_OFFSET(0)] AS tls) AS header
    )
));
"""
VIEW = """
CREATE OR REPLACE VIEW `moz-fx-data-shared-prod.telemetry.{name}` AS
SELECT * REPLACE (`moz-fx-data-shared-prod.udf.parts`(metadata) AS metadata), metadata.isp.name AS isp
FROM ({tables})
"""
ALL = "SELECT * FROM `moz-fx-data-shared-prod.telemetry_stable.{}`"


def test_views_of_production_s_kind_read_the_sample(platform: Any, checkout: Any, live: dict[dt.date, Any]) -> None:
    """Also those over versions of a ping that nobody sends any more, and columns that only views read."""
    day = next(iter(live))
    copy(platform, day, "--only", "telemetry_live.main_v5", "telemetry_live.core_v10")
    checkout("udf.parts", {"udf.sql": PARTS})
    checkout("telemetry.main", {"view.sql": VIEW.format(name="main", tables=ALL.format("main_v5"))})
    versions = " UNION ALL ".join(ALL.format(f"core_v{version}") for version in range(2, 11))
    checkout("telemetry.core", {"view.sql": VIEW.format(name="core", tables=versions)})
    for name, table in (("main", "main_v5"), ("core", "core_v10")):
        rows = platform.sql(f"SELECT document_id FROM telemetry.{name} WHERE {on(day)} ORDER BY document_id")
        assert rows
        assert rows == platform.sql(
            f"SELECT document_id FROM telemetry_stable.{table} WHERE {on(day)} ORDER BY document_id"
        )
    named = "SELECT DISTINCT metadata.header.tls, isp, payload.info.session_length > 0 FROM telemetry.main"
    assert platform.sql(named) == [("TLSv1.3", "Example Net", True)]
