"""What queries find in a checkout that nobody has made: views, functions, tables without rows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.wtmo.local.bigquery.conftest import PROJECT, Engine
from wtmo.local.bigquery.definitions import Definitions
from wtmo.local.bigquery.errors import BigQueryError
from wtmo.local.bigquery.storage import Storage, TableRef
from wtmo.local.bigquery.writes import dataset_resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wtmo.local.bigquery.googlesql import EvaluatorPool

    Write = Callable[[str, str], Path]


@pytest.fixture
def engine(tmp_path: Path, pool: EvaluatorPool) -> Iterator[Engine]:
    storage = Storage(tmp_path / "bigquery.sqlite", Definitions(tmp_path / "checkout"))
    storage.create_dataset(PROJECT, "ds", dataset_resource(PROJECT, "ds", {}))
    yield Engine(storage, pool)
    storage.close()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of the checkout: ``write("local-proj/ds/v/view.sql", "CREATE VIEW ...")``."""

    def file(name: str, text: str) -> Path:
        path = tmp_path / "checkout" / "sql" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return file


def fails(engine: Engine, sql: str, *messages: str) -> None:
    with pytest.raises(BigQueryError) as caught:
        engine.execute(sql)
    assert [message for message in messages if message not in caught.value.message] == [], caught.value.message


LISTED = """
-- Made by hand.
CREATE OR REPLACE VIEW
  `local-proj.ds.pings`
AS
SELECT
  * REPLACE (lib.text.loud(word) AS word)
FROM
  `local-proj.ds.stored`
"""
LOUD = """
CREATE OR REPLACE FUNCTION text.loud(word STRING) AS (
  CONCAT(text.upper(word), '!')
);

-- Tests
SELECT assert.equals('A!', text.loud('a'));
"""
UPPER = "CREATE OR REPLACE FUNCTION text.upper(word ANY TYPE) AS (UPPER(word));"


def test_views_and_functions_are_found_with_all_that_they_name(engine: Engine, write: Write) -> None:
    engine.execute("CREATE TABLE ds.stored AS SELECT * FROM UNNEST([STRUCT(1 AS n, 'a' AS word), (2, 'b')])")
    write("local-proj/ds/pings/view.sql", LISTED)
    write("lib/text/loud/udf.sql", LOUD)
    write("lib/text/upper/udf.sql", UPPER)
    write("local-proj/ds/firsts/view.sql", "CREATE VIEW `local-proj.ds.firsts` AS SELECT * FROM ds.pings WHERE n = 1")
    assert engine.rows("SELECT word, lib.text.loud(word) FROM ds.firsts") == [("A!", "A!!")]
    outcome = engine.execute("SELECT n FROM `local-proj.ds.pings`")
    assert outcome.references == [TableRef(PROJECT, "ds", "stored")]
    assert [f["name"] for f in engine.analyze("SELECT * FROM ds.pings").fields or []] == ["n", "word"]
    assert engine.storage.find_table(TableRef(PROJECT, "ds", "pings")) is None, "nothing is stored"

    write("lib/text/upper/udf.sql", UPPER.replace("UPPER(word)", "'changed'"))
    assert engine.rows("SELECT word FROM ds.firsts") == [("changed!",)]


def test_what_is_stored_comes_first(engine: Engine, write: Write) -> None:
    write("local-proj/ds/v/view.sql", "CREATE VIEW ds.v AS SELECT 'file' AS a")
    write("local-proj/ds/f/udf.sql", "CREATE FUNCTION ds.f() AS ('file')")
    assert engine.rows("SELECT a, ds.f() FROM ds.v") == [("file", "file")]
    engine.execute("CREATE TABLE ds.v AS SELECT 'stored' AS a")
    engine.execute("CREATE FUNCTION ds.f() AS ('stored')")
    assert engine.rows("SELECT a, ds.f() FROM ds.v") == [("stored", "stored")]


def test_one_statement_of_a_file_is_meant(engine: Engine, write: Write) -> None:
    both = "CREATE FUNCTION ds.one() AS (1); CREATE OR REPLACE FUNCTION `local-proj`.ds.two() AS (ds.one() + 1);"
    write("local-proj/ds/one/udf.sql", both)
    write("local-proj/ds/two/udf.sql", both)
    assert engine.rows("SELECT ds.two()") == [("2",)]
    write("local-proj/ds/three/udf.sql", both)
    fails(engine, "SELECT ds.three()", "sql/local-proj/ds/three/udf.sql makes no function local-proj.ds.three")
    write("local-proj/ds/v/view.sql", "CREATE VIEW ds.w AS SELECT 1 AS a")
    fails(engine, "SELECT * FROM ds.v", "sql/local-proj/ds/v/view.sql makes no view local-proj.ds.v")


def test_columns_of_a_view_have_the_names_of_its_list(engine: Engine, write: Write) -> None:
    write("local-proj/ds/v/view.sql", "CREATE VIEW ds.v(a, b OPTIONS (description='x')) AS SELECT 1, 2 AS c")
    assert engine.rows("SELECT a + b FROM ds.v") == [("3",)]
    write("local-proj/ds/v/view.sql", "CREATE VIEW ds.v(a) AS SELECT 1, 2 AS c")
    fails(engine, "SELECT a FROM ds.v", "names 1 columns of 2")


def test_a_materialised_view_is_evaluated(engine: Engine, write: Write) -> None:
    engine.execute("CREATE TABLE ds.t AS SELECT 1 AS a")
    sql = "CREATE MATERIALIZED VIEW IF NOT EXISTS ds.m OPTIONS (enable_refresh = TRUE) AS SELECT SUM(a) AS s FROM ds.t"
    write("local-proj/ds/m/materialized_view.sql", sql)
    engine.execute("INSERT ds.t VALUES (2)")
    assert engine.rows("SELECT s FROM ds.m") == [("3",)]


SCHEMA = """
fields:
- {name: day, type: DATE, mode: NULLABLE}
- {name: counts, type: RECORD, mode: REPEATED, fields: [{name: n, type: INTEGER}]}
"""
METADATA = """
bigquery:
  time_partitioning: {type: day, field: day, require_partition_filter: true}
"""


def test_a_table_that_was_not_made_has_its_columns_and_no_rows(engine: Engine, write: Write) -> None:
    ref = TableRef("local-proj", "new_dataset", "t_v1")
    schema = write("local-proj/new_dataset/t_v1/schema.yaml", SCHEMA)
    sql = "SELECT COUNT(*), SUM((SELECT SUM(n) FROM t.counts)) FROM new_dataset.t_v1 AS t WHERE day = '2026-06-01'"
    assert engine.rows(sql) == [("0", None)]
    assert engine.execute(sql).references == [ref]
    fails(engine, "SELECT other FROM new_dataset.t_v1", "Unrecognized name: other")
    fails(engine, "INSERT new_dataset.t_v1 (day) VALUES (NULL)", "Not found: Dataset local-proj:new_dataset")

    write("local-proj/new_dataset/t_v1/metadata.yaml", METADATA)
    fails(engine, "SELECT 1 FROM new_dataset.t_v1", "without a filter over column(s) 'day'")
    schema.write_text(SCHEMA.replace("name: n", "name: m"))
    os.utime(schema, (0, 0))
    assert engine.rows("SELECT c.m FROM new_dataset.t_v1, UNNEST(counts) AS c WHERE day IS NULL") == []

    write("local-proj/ds/ingested_v1/schema.yaml", SCHEMA)
    write("local-proj/ds/ingested_v1/metadata.yaml", "bigquery: {time_partitioning: {type: day}}")
    assert engine.rows("SELECT day, _PARTITIONTIME FROM ds.ingested_v1") == []


def written_to(dataset: str, table: str, **more: Any) -> dict[str, Any]:
    """The configuration of a query that replaces what is there."""
    return {
        "destinationTable": {"projectId": PROJECT, "datasetId": dataset, "tableId": table},
        "writeDisposition": "WRITE_TRUNCATE",
        **more,
    }


def test_a_query_that_writes_a_described_table_makes_it_as_described(engine: Engine, write: Write) -> None:
    write("local-proj/new_dataset/t_v1/schema.yaml", SCHEMA)
    clustered = METADATA + "  clustering: {fields: [day]}\nfriendly_name: Some table\n"
    write(
        "local-proj/new_dataset/t_v1/metadata.yaml", clustered.replace("field: day", "field: day, expiration_days: 2")
    )
    engine.execute("SELECT DATE '2026-06-01' AS day", **written_to("new_dataset", "t_v1$20260601"))
    made = engine.storage.table(TableRef(PROJECT, "new_dataset", "t_v1"))
    assert [field["name"] for field in made.fields] == ["day", "counts"]
    assert made.resource["timePartitioning"] == {"type": "DAY", "field": "day", "expirationMs": "172800000"}
    assert made.resource["clustering"] == {"fields": ["day"]}
    assert (made.resource["requirePartitionFilter"], made.resource["friendlyName"]) == (True, "Some table")
    assert engine.stored(made.ref) == [("2026-06-01", [])]


def test_a_described_table_that_is_there_stays_as_it_is(engine: Engine, write: Write) -> None:
    engine.execute("CREATE TABLE ds.t_v1 AS SELECT 1 AS a")
    write("local-proj/ds/t_v1/schema.yaml", SCHEMA)
    engine.execute("SELECT 2 AS a", **written_to("ds", "t_v1", writeDisposition="WRITE_APPEND"))
    assert engine.stored(TableRef(PROJECT, "ds", "t_v1")) == [("1",), ("2",)]


def test_a_query_makes_a_table_of_which_only_the_layout_is_described(engine: Engine, write: Write) -> None:
    write("local-proj/new_dataset/t_v1/metadata.yaml", METADATA)
    engine.execute("SELECT DATE '2026-06-01' AS day, 1 AS n", **written_to("new_dataset", "t_v1"))
    made = engine.storage.table(TableRef(PROJECT, "new_dataset", "t_v1"))
    assert ([field["name"] for field in made.fields], made.resource["timePartitioning"]["field"]) == (
        ["day", "n"],
        "day",
    )
    by_month = {"type": "MONTH", "field": "day"}
    write("local-proj/new_dataset/u_v1/metadata.yaml", METADATA)
    engine.execute("SELECT DATE '2026-06-01' AS day", **written_to("new_dataset", "u_v1", timePartitioning=by_month))
    assert engine.storage.table(TableRef(PROJECT, "new_dataset", "u_v1")).resource["timePartitioning"] == by_month


def test_a_query_that_fails_or_only_plans_makes_nothing(engine: Engine, write: Write) -> None:
    write("local-proj/new_dataset/t_v1/schema.yaml", SCHEMA)
    into = written_to("new_dataset", "t_v1")
    engine.analyze("SELECT DATE '2026-06-01' AS day", **into)
    with pytest.raises(BigQueryError, match="as planned"):
        engine.execute("SELECT DATE(ERROR('as planned')) AS day", **into)
    with pytest.raises(BigQueryError, match="Not found: Dataset local-proj:other_dataset"):
        engine.execute("SELECT 1 AS a", **written_to("other_dataset", "t_v1"))
    assert [dataset["datasetReference"]["datasetId"] for dataset in engine.storage.datasets(PROJECT)] == ["ds"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fields: {}", "`fields` is not a list"),
        ("fields: [", "while parsing"),
        ("fields: [{name: a, type: STRANGE}]", "STRANGE"),
    ],
)
def test_a_wrong_schema_is_named(engine: Engine, write: Write, text: str, message: str) -> None:
    write("local-proj/ds/t_v1/schema.yaml", text)
    fails(engine, "SELECT 1 FROM ds.t_v1", "sql/local-proj/ds/t_v1/schema.yaml", message)


@pytest.mark.parametrize(
    ("files", "sql", "messages"),
    [
        (
            {"local-proj/ds/f/udf.sql": "CREATE FUNCTION ds.f(a INT64) RETURNS INT64 LANGUAGE js AS 'return a';"},
            "SELECT ds.f(1)",
            ("not supported by the local BigQuery: function ds.f in language js", "sql/local-proj/ds/f/udf.sql"),
        ),
        (
            {
                "local-proj/ds/v/view.sql": "CREATE VIEW ds.v AS SELECT ds.f(1) AS a",
                "local-proj/ds/f/udf.sql": "CREATE (",
            },
            "SELECT a FROM ds.v",
            ("Syntax error", "sql/local-proj/ds/f/udf.sql", "failed to parse view 'local-proj.ds.v'"),
        ),
        (
            {"local-proj/ds/v/view.sql": "CREATE VIEW ds.v AS\nSELECT 1 AS a FROM ds.gone"},
            "SELECT a FROM ds.v",
            ("Not found: Table local-proj:ds.gone", "failed to parse view 'local-proj.ds.v'"),
        ),
        (
            {"local-proj/ds/v/view.sql": "CREATE VIEW ds.v AS\nSELECT\n  b AS a"},
            "SELECT a FROM ds.v",
            ("Unrecognized name: b at [3:3]", "failed to parse view 'local-proj.ds.v'"),
        ),
        (
            {
                "local-proj/ds/v/view.sql": "CREATE VIEW ds.v AS SELECT * FROM ds.w",
                "local-proj/ds/w/view.sql": "CREATE VIEW ds.w AS SELECT * FROM ds.v",
            },
            "SELECT * FROM ds.v",
            ("View local-proj:ds.v is part of a loop",),
        ),
        (
            {
                "local-proj/ds/f/udf.sql": "CREATE FUNCTION ds.f() AS (ds.g())",
                "local-proj/ds/g/udf.sql": "CREATE FUNCTION ds.g() AS ((SELECT a FROM ds.v))",
                "local-proj/ds/v/view.sql": "CREATE VIEW ds.v AS SELECT ds.f() AS a",
            },
            "SELECT ds.f()",
            ("Function local-proj:ds.f is part of a loop",),
        ),
    ],
    ids=["JavaScript", "syntax", "no such table", "place", "loop of views", "loop of functions"],
)
def test_what_can_not_be_had_is_named(
    engine: Engine, write: Write, files: dict[str, str], sql: str, messages: tuple[Any, ...]
) -> None:
    for name, text in files.items():
        write(name, text)
    fails(engine, sql, *messages)


def test_a_name_does_not_lead_out_of_the_checkout(engine: Engine, write: Write, tmp_path: Path) -> None:
    inside = write("local-proj/ds/t_v1/schema.yaml", SCHEMA).parent
    outside = tmp_path / "outside" / "ds" / "t_v1"
    outside.mkdir(parents=True)
    (outside / "schema.yaml").write_text(SCHEMA)
    assert engine.rows("SELECT day FROM ds.t_v1") == []
    for name in (f"`{tmp_path}/outside`.ds.t_v1", f"`{inside.parent}`.`t_v1`", "`local-proj/ds`.`t_v1`.`/`"):
        fails(engine, f"SELECT day FROM {name}", "Not found")
