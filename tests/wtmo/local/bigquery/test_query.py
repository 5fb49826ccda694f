"""SQL through the engine, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wtmo.local.bigquery.errors import BigQueryError
from wtmo.local.bigquery.storage import TableRef

if TYPE_CHECKING:
    from conftest import Engine

PROJECT = "local-proj"


def fails(engine: Engine, sql: str, reason: str, message: str, **configuration: Any) -> None:
    with pytest.raises(BigQueryError) as caught:
        engine.execute(sql, **configuration)
    assert (caught.value.reason, message in caught.value.message) == (reason, True), caught.value.message


def to(table: str, write: str = "WRITE_TRUNCATE", **more: Any) -> dict[str, Any]:
    return {"destinationTable": {"datasetId": "ds", "tableId": table}, "writeDisposition": write, **more}


# -- queries


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1, 'a', [1, 2], STRUCT(1 AS x, 'y')", [("1", "a", ["1", "2"], ("1", "y"))]),
        (
            "SELECT g FROM UNNEST(GENERATE_ARRAY(1, 4)) g QUALIFY ROW_NUMBER() OVER (PARTITION BY MOD(g, 2) ORDER BY g DESC) = 1 ORDER BY g",
            [("3",), ("4",)],
        ),
        (
            "SELECT SUM(x) OVER (ORDER BY x ROWS 1 PRECEDING) FROM UNNEST([1, 2, 3]) x ORDER BY 1",
            [("1",), ("3",), ("5",)],
        ),
        (
            """SELECT JSON_VALUE(JSON '{"a": {"b": "c"}}', '$.a.b'), JSON_EXTRACT_SCALAR('{"a":1}', '$.a')""",
            [("c", "1")],
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r ORDER BY n",
            [("1",), ("2",), ("3",)],
        ),
        ("SELECT * FROM (SELECT 'a' k, 1 v) PIVOT(SUM(v) FOR k IN ('a', 'b'))", [("1", None)]),
        ("FROM UNNEST([3, 1, 2]) AS x |> WHERE x > 1 |> ORDER BY x", [("2",), ("3",)]),
        ("SELECT SAFE.SUBSTR('abc', 1, -1), SAFE_CAST('x' AS INT64), SAFE_DIVIDE(1, 0)", [(None, None, None)]),
        ("SELECT DATE(TIMESTAMP '2020-06-01 02:00:00', 'America/Los_Angeles')", [("2020-05-31",)]),
        ("SELECT FORMAT('%t', CAST('1.50' AS NUMERIC)), TO_HEX(SHA256('')), FARM_FINGERPRINT('a')", None),
        ("SELECT CAST(1 AS INTEGER), CAST(TRUE AS BOOLEAN), CAST('1' AS DECIMAL)", [("1", "true", "1")]),
        ("SELECT x.*, EXISTS(SELECT 1) FROM (SELECT STRUCT(1 AS a, 2 AS b) x)", [("1", "2", "true")]),
        (
            "SELECT MAX_BY(x, /* a, b */ y), MIN_BY((x), y) FROM UNNEST([STRUCT('a' AS x, 1 AS y), ('b', 2)])",
            [("b", "a")],
        ),
        (
            "SELECT APPROX_COUNT_DISTINCT(x), APPROX_QUANTILES(x, 2), APPROX_TOP_COUNT(x, 1) FROM UNNEST([1, 1, 2, 5, 9]) x",
            [("4", ["1", "2", "9"], [("1", "2")])],
        ),
        ("SELECT APPROX_QUANTILES(x, 4) FROM UNNEST(CAST([] AS ARRAY<INT64>)) x", [([],)]),
        (
            "SELECT PARSE_DATE('%F', '2020-01-02'), PARSE_TIMESTAMP('%F %T', '2020-01-02 03:04:05')",
            [("2020-01-02", "1577934245.000000")],
        ),
        ("SELECT f.x, `f`.`x` AS y FROM (SELECT 1 AS x) f -- comment; with semicolon", [("1", "1")]),
    ],
)
def test_select(engine: Engine, sql: str, expected: list[tuple[Any, ...]] | None) -> None:
    rows = engine.rows(sql)
    assert rows == expected if expected is not None else len(rows) == 1


def test_columns_without_a_name(engine: Engine) -> None:
    assert [f["name"] for f in engine.execute("SELECT 1, 2 AS b, 3").fields or ()] == ["f0_", "b", "f1_"]
    fails(engine, "SELECT 1 AS a, 2 AS A", "invalidQuery", "Duplicate column names in the result")


@pytest.mark.parametrize(
    ("sql", "reason", "message"),
    [
        ("SELEC 1", "invalidQuery", 'Syntax error: Unexpected identifier "SELEC" at [1:1]'),
        ("SELECT\n  1 +", "invalidQuery", "at [2:6]"),
        ("SELECT nope\nFROM ds.t", "invalidQuery", "Unrecognized name: nope at [1:8]"),
        # Columns right of a table path that is replaced are led back to what was written.
        (
            "SELECT t.a FROM local-proj.ds.t, `local-proj`.ds.t AS u WHERE nope = 1",
            "invalidQuery",
            "Unrecognized name: nope at [1:63]",
        ),
        ("SELECT 'ü🦊' FROM ds.t WHERE nope", "invalidQuery", "Unrecognized name: nope at [1:29]"),
        ("SELECT 1;\nSELECT 2 FROM ds.t JOIN ds.t u ON nope", "invalidQuery", "Unrecognized name: nope at [2:35]"),
        ("SELECT * FROM ds.missing", "notFound", "Not found: Table local-proj:ds.missing"),
        ("SELECT * FROM missing.t", "notFound", "Not found: Dataset local-proj:missing"),
        ("SELECT * FROM `other.ds.t`", "notFound", "Not found: Dataset other:ds"),
        ("SELECT 1/0", "invalidQuery", "division by zero: 1 / 0"),
        ("SELECT IF(TRUE, ERROR('check: 3 rows'), NULL)", "invalidQuery", "check: 3 rows"),
        ("ASSERT (SELECT COUNT(*) FROM ds.t) > 0 AS 'is empty'", "invalidQuery", "is empty"),
        ("SELECT @p", "invalidQuery", "Query parameter 'p' not found at [1:8]"),
        ("SELECT ?", "invalidQuery", "parameter number 1"),
        ("", "required", "query"),
        ("-- nothing", "invalidQuery", "Unexpected end of statement"),
        ("SELECT ds.nofunc(1)", "invalidQuery", "Function not found: ds.nofunc"),
        ("SELECT [1, NULL]", "invalid", "Array cannot have a null element"),
    ],
)
def test_errors(engine: Engine, sql: str, reason: str, message: str) -> None:
    engine.execute("CREATE TABLE ds.t (a INT64)")
    fails(engine, sql, reason, message)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("DECLARE x INT64 DEFAULT 1; SELECT x", "VARIABLE DECLARATION"),
        ("BEGIN SELECT 1; END", "BEGIN END BLOCK"),
        ("IF TRUE THEN SELECT 1; END IF", "IF"),
        ("LOOP SELECT 1; END LOOP", "LOOP"),
        ("EXECUTE IMMEDIATE 'SELECT 1'", "EXECUTE IMMEDIATE"),
        ("CALL ds.p()", "CALL"),
        ("BEGIN TRANSACTION", "BEGIN"),
        ("CREATE TEMP FUNCTION f(x STRING) RETURNS STRING LANGUAGE js AS 'return x'; SELECT f('a')", "language js"),
        ("CREATE TEMP TABLE x AS SELECT 1", "CREATE TEMP TABLE"),
        ("CREATE MATERIALIZED VIEW ds.m AS SELECT 1", "CREATE MATERIALIZED VIEW"),
        ("SELECT * FROM ds.t FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()", "FOR SYSTEM_TIME"),
        ("SELECT ST_GEOGPOINT(1, 2)", "st_geogpoint"),
        ("SELECT HLL_COUNT.INIT(a) FROM ds.t", "hll_count"),
        ("EXPORT DATA OPTIONS(uri='gs://b/*') AS SELECT 1", "EXPORT DATA"),
        ("CREATE TABLE ds.x (a INT64 DEFAULT 1)", "default of column a"),
        ("CREATE TABLE ds.x (a INT64) OPTIONS(kms_key_name='k')", "OPTIONS(kms_key_name)"),
        ("CREATE TABLE ds.x CLONE ds.t", "CLONE"),
        ("DROP MATERIALIZED VIEW ds.x", "DROP MATERIALIZED VIEW"),
        ("ALTER TABLE ds.t DROP COLUMN a", "DROP COLUMN"),
        ("SELECT * FROM ds.INFORMATION_SCHEMA.JOBS", "INFORMATION_SCHEMA.JOBS"),
    ],
)
def test_what_is_refused_is_named(engine: Engine, sql: str, named: str) -> None:
    engine.execute("CREATE TABLE ds.t (a INT64)")
    with pytest.raises(BigQueryError) as caught:
        engine.execute(sql)
    assert caught.value.message.startswith("not supported by the local BigQuery: ")
    assert named.lower() in caught.value.message.lower()


def test_the_project_of_datasets_is_the_one_connection_property(engine: Engine) -> None:
    elsewhere = [{"key": "dataset_project_id", "value": "elsewhere"}]
    fails(engine, "SELECT * FROM nothing.t", "notFound", "elsewhere", connectionProperties=elsewhere)
    zone = [{"key": "time_zone", "value": "UTC"}]
    fails(engine, "SELECT 1", "invalidQuery", "connection property time_zone", connectionProperties=zone)


def test_legacy_sql_is_refused(engine: Engine) -> None:
    fails(engine, "SELECT 1", "invalidQuery", "legacy SQL", useLegacySql=True)


def test_parameters(engine: Engine) -> None:
    def parameter(name: str | None, kind: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "parameterType": kind, "parameterValue": value}

    struct = {
        "type": "STRUCT",
        "structTypes": [{"name": "x", "type": {"type": "INT64"}}, {"name": "y", "type": {"type": "DATE"}}],
    }
    array = {"type": "ARRAY", "arrayType": {"type": "STRING"}}
    named = [
        parameter("d", {"type": "DATE"}, {"value": "2020-01-01"}),
        parameter("a", array, {"arrayValues": [{"value": "x"}, {"value": "y"}]}),
        parameter("s", struct, {"structValues": {"x": {"value": "1"}, "y": {"value": "2020-01-02"}}}),
        parameter("n", {"type": "INT64"}, {"value": None}),
        parameter(
            "as", {"type": "ARRAY", "arrayType": struct}, {"arrayValues": [{"structValues": {"x": {"value": "5"}}}]}
        ),
    ]
    sql = "SELECT DATE_ADD(@d, INTERVAL 1 DAY), ARRAY_LENGTH(@a), @s.y, @n, @as[OFFSET(0)].x"
    assert engine.rows(sql, queryParameters=named, parameterMode="NAMED") == [
        ("2020-01-02", "2", "2020-01-02", None, "5")
    ]
    positional = [
        parameter(None, {"type": "STRING"}, {"value": 'it\'s "?"'}),
        parameter(None, {"type": "INT64"}, {"value": "2"}),
    ]
    assert engine.rows("SELECT ?, '?', ? + 1", queryParameters=positional) == [('it\'s "?"', "?", "3")]
    bad = [parameter("d", {"type": "DATE"}, {"value": "tomorrow"})]
    fails(engine, "SELECT @d", "invalid", "Field: d; Value: tomorrow", queryParameters=bad)
    fails(engine, "SELECT @d, ?", "invalid", "all named or all positional", queryParameters=[named[0], positional[0]])


def test_names_of_tables(engine: Engine) -> None:
    engine.execute("CREATE TABLE ds.t AS SELECT 1 AS a, [1, 2] AS r")
    for name in (
        "t",
        "ds.t",
        "local-proj.ds.t",
        "`local-proj.ds.t`",
        "`local-proj`.`ds`.t",
        "`ds.t`",
        "local-proj . ds . t",
    ):
        assert engine.rows(f"SELECT t.a FROM {name} WHERE t.a = 1") == [("1",)]
    assert engine.rows("SELECT x.a, e FROM ds.t AS x, x.r AS e ORDER BY e") == [("1", "1"), ("1", "2")]
    assert engine.rows("SELECT COUNT(*) FROM ds.t, t.r") == [("2",)]
    assert engine.rows("WITH t AS (SELECT 5 AS a) SELECT t.a, u.a AS b FROM t, ds.t AS u") == [("5", "1")]
    assert engine.rows("SELECT * FROM ds.t PIVOT(SUM(a) FOR ARRAY_LENGTH(r) IN (2 AS two))") == [("1",)]
    fails(engine, "SELECT * FROM t", "invalid", "must be qualified with a dataset", defaultDataset=None)


def test_dry_run_analyses_and_writes_nothing(engine: Engine) -> None:
    outcome = engine.analyze("SELECT ERROR('not evaluated') AS e, [STRUCT(1 AS x)] AS s")
    assert outcome.statement_type == "SELECT"
    assert [(f["name"], f["type"], f["mode"]) for f in outcome.fields or ()] == [
        ("e", "INTEGER", "NULLABLE"),
        ("s", "RECORD", "REPEATED"),
    ]
    engine.execute("CREATE TABLE ds.t AS SELECT 1 AS a")
    for sql in (
        "INSERT ds.t VALUES (1)",
        "UPDATE ds.t SET a = 2 WHERE TRUE",
        "DELETE ds.t WHERE TRUE",
        "TRUNCATE TABLE ds.t",
        "DROP TABLE ds.t",
        "CREATE OR REPLACE TABLE ds.t AS SELECT 'x' AS b",
        "MERGE ds.t USING (SELECT 1 AS a) s ON FALSE WHEN NOT MATCHED THEN INSERT ROW",
        "CREATE VIEW ds.v AS SELECT * FROM ds.t",
        "CREATE FUNCTION ds.f() AS (1)",
        "CREATE SCHEMA other",
    ):
        engine.analyze(sql)
    assert engine.rows("SELECT * FROM ds.t") == [("1",)]
    assert [t.ref.table for t in engine.storage.tables(PROJECT, "ds")] == ["t"]
    for bad in (
        "SELECT nope FROM ds.t",
        "INSERT ds.t VALUES ('x')",
        "UPDATE ds.t SET nope = 1 WHERE TRUE",
        "DELETE ds.t WHERE 1",
    ):
        with pytest.raises(BigQueryError):
            engine.analyze(bad)


# -- functions and views


def test_functions(engine: Engine) -> None:
    engine.execute("CREATE TABLE ds.t AS SELECT 10 AS a")
    engine.execute("CREATE FUNCTION ds.twice(x INT64, y ANY TYPE) AS (CONCAT(CAST(x * 2 AS STRING), y))")
    engine.execute("CREATE FUNCTION ds.outer(x INT64) RETURNS STRING AS (ds.twice(x, '!'))")
    assert engine.rows("SELECT ds.outer(1), `local-proj.ds.twice`(2, 'a'), `local-proj`.ds.twice(3, 'b')") == [
        ("2!", "4a", "6b")
    ]
    fails(engine, "CREATE FUNCTION ds.outer() AS (1)", "duplicate", "Already Exists")
    engine.execute("CREATE OR REPLACE FUNCTION ds.outer(x INT64) AS ((SELECT MAX(a) + x FROM ds.t))")
    assert engine.rows("SELECT ds.outer(1)") == [("11",)]
    assert engine.rows("CREATE TEMP FUNCTION f(x INT64) AS (x + (SELECT MAX(a) FROM ds.t)); SELECT f(1)") == [("11",)]
    with_clause = """CREATE TEMP FUNCTION f(a ARRAY<INT64>) AS ((
        WITH u AS (SELECT v FROM UNNEST(a) v), w AS (SELECT v * 2 AS v FROM u) SELECT SUM(w.v) + SUM(u.v) FROM w JOIN u ON w.v = 2 * u.v));
        SELECT f([1, 2, 3])"""
    assert engine.rows(with_clause) == [("18",)]
    assert engine.rows(
        "CREATE TEMP AGGREGATE FUNCTION s(x INT64) AS (SUM(x) * 2); SELECT s(x) FROM UNNEST([1, 2]) x"
    ) == [("6",)]
    # ZetaSQL has functions of these names, BigQuery has not.
    assert engine.rows(
        "CREATE TEMP FUNCTION first(x INT64) AS (x * 2); CREATE TEMP FUNCTION agg(x INT64) AS (first(x)); SELECT agg(2)"
    ) == [("4",)]
    engine.execute("DROP FUNCTION ds.twice")
    fails(engine, "SELECT ds.twice(1, 'a')", "invalidQuery", "Function not found")
    fails(engine, "DROP FUNCTION ds.twice", "notFound", "Not found: Routine")


def test_a_function_reads_its_tables_as_they_are_when_it_is_called(engine: Engine) -> None:
    script = """CREATE TABLE ds.t AS SELECT 1 AS a; CREATE TEMP FUNCTION total() AS ((SELECT SUM(a) FROM ds.t));
        INSERT ds.t VALUES (2); ASSERT total() = 3; INSERT ds.t VALUES (total()); SELECT total()"""
    assert engine.rows(script) == [("6",)]


def test_views(engine: Engine) -> None:
    engine.execute("CREATE TABLE ds.t AS SELECT x AS a FROM UNNEST([1, 2, 3]) x")
    engine.execute("CREATE VIEW ds.v (a OPTIONS(description='number')) AS SELECT a FROM ds.t WHERE a > 1 -- trailing")
    engine.execute("CREATE VIEW ds.w AS SELECT a * 10 AS b FROM ds.v")
    assert engine.rows("SELECT b FROM ds.w ORDER BY b") == [("20",), ("30",)]
    assert engine.storage.table(TableRef(PROJECT, "ds", "v")).fields[0]["description"] == "number"
    engine.execute("INSERT ds.t VALUES (4)")
    assert engine.rows("SELECT COUNT(*) FROM ds.w") == [("3",)]
    fails(engine, "INSERT ds.v VALUES (1)", "invalidQuery", "is a view")
    fails(engine, "SELECT 1 AS a", "invalid", "currently a VIEW", **to("v"))
    fails(engine, "CREATE VIEW ds.x AS SELECT * FROM t", "invalid", "must be qualified")
    engine.execute("CREATE OR REPLACE VIEW ds.v AS SELECT b AS a FROM ds.w")
    fails(engine, "SELECT * FROM ds.v", "invalidQuery", "loop")
    engine.execute("CREATE OR REPLACE TABLE ds.t AS SELECT 1 AS z")
    engine.execute("DROP VIEW ds.v")
    fails(engine, "SELECT * FROM ds.w", "notFound", "failed to parse view 'local-proj.ds.w'")


# -- DML


def test_insert_update_delete(engine: Engine) -> None:
    engine.execute(
        "CREATE TABLE ds.t (id INT64 NOT NULL, b STRING, d DATE, r ARRAY<INT64>, s STRUCT<x INT64, y STRING>)"
    )
    assert engine.execute("INSERT INTO ds.t (id, d) VALUES (1, '2020-01-01'), (2, NULL)").inserted == 2
    engine.execute("INSERT ds.t SELECT 3, 'three', NULL, [1], STRUCT(1, 'y')")
    assert (
        engine.execute("UPDATE ds.t SET b = 'x', s = STRUCT(s.x, 'z'), r = ARRAY_CONCAT(r, [9]) WHERE id > 1").updated
        == 2
    )
    assert engine.rows("SELECT id, b, d, r, s FROM ds.t ORDER BY id") == [
        ("1", None, "2020-01-01", [], None),
        ("2", "x", None, ["9"], (None, "z")),
        ("3", "x", None, ["1", "9"], ("1", "z")),
    ]
    assert (
        engine.execute("UPDATE ds.t SET b = o.b FROM (SELECT 1 AS id, 'joined' AS b) o WHERE o.id = t.id").updated == 1
    )
    assert engine.execute("UPDATE ds.t SET s.y = 'w' WHERE id = 3").updated == 1
    assert engine.rows("SELECT s FROM ds.t WHERE id = 3") == [(("1", "w"),)]
    fails(engine, "UPDATE ds.t SET b = 'q' FROM UNNEST([1, 2]) o WHERE TRUE", "invalidQuery", "at most one")
    assert engine.execute("DELETE FROM ds.t AS x WHERE x.id IN (SELECT id FROM ds.t WHERE b = 'joined')").deleted == 1
    assert engine.execute("DELETE ds.t WHERE t.id = 100").affected == 0
    assert engine.rows("SELECT id FROM ds.t ORDER BY id") == [("2",), ("3",)]
    fails(engine, "INSERT ds.t (b) VALUES ('no id')", "invalid", "Required field id")
    fails(engine, "INSERT ds.t (nope) VALUES (1)", "invalidQuery", "nope")
    fails(engine, "DELETE ds.t", "invalidQuery", "WHERE")
    fails(engine, "UPDATE ds.t SET b = 'x'", "invalidQuery", "WHERE")
    assert engine.execute("TRUNCATE TABLE ds.t").affected == 2
    assert engine.stored(TableRef(PROJECT, "ds", "t")) == []


def test_update_moves_rows_between_partitions_and_leaves_the_others_alone(engine: Engine) -> None:
    engine.execute("CREATE TABLE ds.t (a INT64, d DATE) PARTITION BY d")
    engine.execute("INSERT ds.t VALUES (1, '2020-01-01'), (2, '2020-01-01'), (3, '2020-01-02')")
    before = engine.storage.partitions(engine.storage.table(TableRef(PROJECT, "ds", "t")).id)[1]
    engine.execute("UPDATE ds.t SET d = '2020-01-05' WHERE a = 1")
    assert engine.partitions("t") == {"20200101": 1, "20200102": 1, "20200105": 1}
    assert engine.storage.partitions(engine.storage.table(TableRef(PROJECT, "ds", "t")).id)[1] == before


def test_merge(engine: Engine) -> None:
    engine.execute("CREATE TABLE ds.m (id INT64 NOT NULL, b STRING, d DATE, r ARRAY<INT64>)")
    engine.execute("INSERT ds.m VALUES (1, 'one', '2020-01-01', [1]), (2, 'two', NULL, NULL), (3, 'three', NULL, NULL)")
    engine.execute(
        "CREATE TABLE ds.s AS SELECT * FROM UNNEST([STRUCT(1 AS id, 'ONE' AS b), (2, 'TWO'), (9, 'nine'), (10, 'ten')])"
    )
    outcome = engine.execute(
        """MERGE ds.m t USING (SELECT * FROM ds.s) AS src ON t.id = src.id
        WHEN MATCHED AND src.id = 1 THEN UPDATE SET b = src.b, d = '2021-02-03', r = [7, 8]
        WHEN MATCHED THEN DELETE
        WHEN NOT MATCHED AND src.id = 9 THEN INSERT (id, d) VALUES (id, '2022-02-02')
        WHEN NOT MATCHED BY TARGET THEN INSERT (id, b) VALUES (src.id, UPPER(b) || '!')
        WHEN NOT MATCHED BY SOURCE THEN UPDATE SET b = t.b || ' orphan'"""
    )
    assert (outcome.inserted, outcome.updated, outcome.deleted) == (2, 2, 1)
    assert engine.rows("SELECT * FROM ds.m ORDER BY id") == [
        ("1", "ONE", "2021-02-03", ["7", "8"]),
        ("3", "three orphan", None, []),
        ("9", None, "2022-02-02", []),
        ("10", "TEN!", None, []),
    ]
    engine.execute(
        "MERGE ds.s USING ds.s s2 ON FALSE WHEN NOT MATCHED AND s2.id > 2 THEN INSERT ROW WHEN NOT MATCHED BY SOURCE THEN DELETE"
    )
    assert engine.rows("SELECT id FROM ds.s ORDER BY id") == [("9",), ("10",)]
    twice = "MERGE ds.m t USING (SELECT 1 AS id UNION ALL SELECT 1) s ON t.id = s.id WHEN MATCHED THEN DELETE"
    fails(engine, twice, "invalidQuery", "at most one source row")
    fails(
        engine,
        "MERGE ds.m USING ds.s ON m.id = s.id WHEN MATCHED THEN UPDATE SET nope = 1",
        "invalidQuery",
        "Unrecognized name: nope at [1:67]",
    )
    fails(
        engine,
        "MERGE ds.m USING ds.s ON FALSE WHEN NOT MATCHED THEN INSERT (b) VALUES ('x')",
        "invalid",
        "Required field id",
    )


def test_scripts(engine: Engine) -> None:
    script = "CREATE TABLE ds.t (a INT64); INSERT ds.t VALUES (1), (2); DELETE ds.t WHERE a = 1; SELECT a FROM ds.t;"
    outcome = engine.execute(script)
    assert outcome.statement_type == "SCRIPT"
    assert outcome.destination
    assert engine.stored(outcome.destination) == [("2",)]
    fails(engine, "SELECT 1; SELECT 2", "invalid", "cannot be set for scripts", **to("x"))
    fails(engine, "INSERT ds.t VALUES (7); SELECT ERROR('late')", "invalidQuery", "late")
    assert engine.rows("SELECT a FROM ds.t ORDER BY a") == [("2",), ("7",)]


# -- DDL


def test_create_table(engine: Engine) -> None:
    engine.execute(
        """CREATE TABLE ds.t (a INT64 NOT NULL OPTIONS(description='it''s'), s STRUCT<x STRING(3), y ARRAY<NUMERIC(10, 2)>>,
        moment TIMESTAMP) PARTITION BY TIMESTAMP_TRUNC(moment, HOUR) CLUSTER BY a
        OPTIONS(description="d", labels=[('k', 'v')], require_partition_filter=TRUE, partition_expiration_days=2)""".replace(
            "it''s", "its"
        )
    )
    table = engine.storage.table(TableRef(PROJECT, "ds", "t")).resource
    assert table["timePartitioning"] == {"type": "HOUR", "field": "moment", "expirationMs": "172800000"}
    assert (table["clustering"], table["labels"], table["description"]) == ({"fields": ["a"]}, {"k": "v"}, "d")
    a, s, _ = table["schema"]["fields"]
    assert (a["mode"], a["description"]) == ("REQUIRED", "its")
    assert s["fields"][0]["maxLength"] == "3"
    assert (s["fields"][1]["mode"], s["fields"][1]["precision"], s["fields"][1]["scale"]) == ("REPEATED", "10", "2")
    engine.execute("INSERT ds.t VALUES (1, NULL, '2020-01-01 05:30:00')")
    assert engine.partitions("t") == {"2020010105": 1}
    fails(engine, "SELECT a FROM ds.t", "invalidQuery", "without a filter over column(s) 'moment'")
    assert engine.rows("SELECT a FROM ds.t WHERE moment > '2020-01-01'") == [("1",)]
    fails(
        engine,
        "INSERT ds.t VALUES (1, STRUCT('long', CAST([] AS ARRAY<NUMERIC>)), '2020-01-01')",
        "invalid",
        "maximum length 3",
    )
    fails(engine, "CREATE TABLE ds.t (a INT64)", "duplicate", "Already Exists: Table local-proj:ds.t")
    assert engine.execute("CREATE TABLE IF NOT EXISTS ds.t (z INT64)").ddl_operation == "SKIP"
    assert engine.execute("CREATE OR REPLACE TABLE ds.t AS SELECT 1 AS z").ddl_operation == "REPLACE"
    engine.execute("ALTER TABLE ds.t ADD COLUMN q ARRAY<STRING>, ADD COLUMN IF NOT EXISTS z INT64")
    engine.execute("ALTER TABLE ds.t SET OPTIONS(description='new')")
    assert engine.rows("SELECT * FROM ds.t") == [("1", [])]
    fails(engine, "DROP VIEW ds.t", "invalid", "has type TABLE")
    engine.execute("DROP TABLE ds.t")
    fails(engine, "DROP TABLE ds.t", "notFound", "ds.t")
    assert engine.execute("DROP TABLE IF EXISTS ds.t").ddl_operation == "SKIP"


def test_schemas(engine: Engine) -> None:
    engine.execute("CREATE SCHEMA other OPTIONS(description='x', location='EU')")
    fails(engine, "CREATE SCHEMA other", "duplicate", "Dataset local-proj:other")
    engine.execute("CREATE SCHEMA IF NOT EXISTS `local-proj.other`")
    engine.execute("CREATE TABLE other.t (a INT64)")
    fails(engine, "DROP SCHEMA other", "resourceInUse", "in use")
    engine.execute("DROP SCHEMA other CASCADE")
    fails(engine, "SELECT * FROM other.t", "notFound", "Dataset local-proj:other")


# -- destinations and partitions

DAYS = "SELECT DATE '2020-01-01' AS d, 1 AS n UNION ALL SELECT '2020-01-02', 2"
BY_D = {"timePartitioning": {"type": "DAY", "field": "d"}}


def test_a_partition_decorator_replaces_exactly_that_partition(engine: Engine) -> None:
    engine.execute(DAYS, **to("t", **BY_D))
    assert engine.partitions("t") == {"20200101": 1, "20200102": 1}
    one = "SELECT DATE '2020-01-01' AS d, x AS n FROM UNNEST([10, 11]) x"
    engine.execute(one, **to("t$20200101", **BY_D))
    assert engine.rows("SELECT n FROM ds.t ORDER BY n") == [("2",), ("10",), ("11",)]
    engine.execute(one, **to("t$20200101", "WRITE_APPEND"))
    assert engine.partitions("t") == {"20200101": 4, "20200102": 1}
    engine.execute("SELECT DATE '2020-01-01' AS d, 1 AS n FROM UNNEST(GENERATE_ARRAY(1, 0))", **to("t$20200101"))
    assert engine.partitions("t") == {"20200102": 1}
    engine.execute(one, **to("t$20200103".replace("03", "01"), "WRITE_EMPTY"))
    fails(engine, one, "duplicate", "Already Exists", **to("t$20200101", "WRITE_EMPTY"))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("t$20200101", "Some rows belong to different partitions"),
        ("t$20200105", "Some rows belong to different partitions"),
        ("t$202001", "Invalid partition ID $202001"),
        ("t$20201301", "Invalid partition ID"),
        ("t$x", "Invalid table ID"),
        ("plain$20200101", "not partitioned"),
    ],
)
def test_a_wrong_partition_is_refused_and_nothing_is_written(engine: Engine, target: str, message: str) -> None:
    engine.execute(DAYS, **to("t", **BY_D))
    engine.execute(DAYS, **to("plain"))
    fails(engine, DAYS, "invalid", message, **to(target))
    assert engine.partitions("t") == {"20200101": 1, "20200102": 1}
    assert engine.partitions("plain") == {"": 2}


def test_ingestion_time_partitions(engine: Engine) -> None:
    engine.execute("SELECT 1 AS n", **to("t$20200101"))
    engine.execute("SELECT 2 AS n", **to("t$20200102"))
    assert engine.storage.table(TableRef(PROJECT, "ds", "t")).resource["timePartitioning"] == {"type": "DAY"}
    sql = "SELECT n, _PARTITIONDATE AS d FROM ds.t WHERE DATE(_PARTITIONTIME) = '2020-01-02'"
    assert engine.rows(sql) == [("2", "2020-01-02")]
    assert engine.rows("SELECT * FROM ds.t ORDER BY n") == [("1",), ("2",)]
    engine.execute("UPDATE ds.t SET n = 5 WHERE _PARTITIONDATE = '2020-01-01'")
    assert engine.partitions("t") == {"20200101": 1, "20200102": 1}
    assert engine.rows("SELECT n FROM ds.t WHERE _PARTITIONDATE = '2020-01-01'") == [("5",)]


@pytest.mark.parametrize(
    ("layout", "partitions"),
    [
        ({"type": "HOUR", "field": "t"}, {"2020010103", "__NULL__"}),
        ({"type": "MONTH", "field": "t"}, {"202001", "__NULL__"}),
        ({"type": "YEAR", "field": "t"}, {"2020", "__NULL__"}),
    ],
)
def test_other_time_partitions(engine: Engine, layout: dict[str, str], partitions: set[str]) -> None:
    engine.execute(
        "SELECT TIMESTAMP '2020-01-01 03:00:00' AS t UNION ALL SELECT NULL", **to("t", timePartitioning=layout)
    )
    assert set(engine.partitions("t")) == partitions


def test_range_partitions(engine: Engine) -> None:
    by_range = {"field": "n", "range": {"start": "0", "end": "100", "interval": "10"}}
    engine.execute("SELECT n FROM UNNEST([5, 15, 19, 100, -1, NULL]) n", **to("t", rangePartitioning=by_range))
    assert engine.partitions("t") == {"0": 1, "10": 2, "__UNPARTITIONED__": 2, "__NULL__": 1}
    engine.execute("SELECT 12 AS n", **to("t$10"))
    assert engine.partitions("t")["10"] == 1
    fails(engine, "SELECT 12 AS n", "invalid", "Invalid partition ID", **to("t$12"))


def test_dispositions(engine: Engine) -> None:
    one = "SELECT 1 AS a"
    fails(engine, one, "notFound", "ds.t", **to("t", createDisposition="CREATE_NEVER"))
    engine.execute(one, **to("t", "WRITE_EMPTY"))
    fails(engine, one, "duplicate", "Already Exists: Table local-proj:ds.t", **to("t", "WRITE_EMPTY"))
    engine.execute(one, **to("t", "WRITE_APPEND"))
    assert engine.partitions("t") == {"": 2}
    engine.execute("SELECT 'x' AS other", **to("t"))
    assert engine.rows("SELECT * FROM ds.t") == [("x",)]
    # A table may be read and replaced by one query.
    engine.execute("SELECT other, 1 AS n FROM ds.t", **to("t"))
    assert engine.rows("SELECT * FROM ds.t") == [("x", "1")]
    fails(engine, one, "invalid", "writeDisposition", **to("t", "WRITE_SOMETIMES"))
    fails(engine, one, "notFound", "Dataset", destinationTable={"datasetId": "none", "tableId": "t"})


def test_schema_updates(engine: Engine) -> None:
    engine.execute("CREATE TABLE ds.t (a INT64 NOT NULL, s STRUCT<x INT64>)")
    engine.execute("INSERT ds.t VALUES (1, STRUCT(1))")
    wider = "SELECT 'new' AS b, 2 AS a, STRUCT('y' AS y, 2 AS x) AS s"
    fails(engine, wider, "invalid", "Cannot add fields (field: s.y)", **to("t", "WRITE_APPEND"))
    fails(
        engine,
        "SELECT 'x' AS a",
        "invalid",
        "Field a has changed type from INTEGER to STRING",
        **to("t", "WRITE_APPEND"),
    )
    fails(engine, "SELECT [1] AS a", "invalid", "Field a has changed mode", **to("t", "WRITE_APPEND"))
    fails(engine, "SELECT STRUCT(1 AS x) AS s", "invalid", "Required field a", **to("t", "WRITE_APPEND"))
    fails(
        engine,
        wider,
        "invalid",
        "only be specified with WRITE_APPEND",
        **to("t", schemaUpdateOptions=["ALLOW_FIELD_ADDITION"]),
    )
    engine.execute(wider, **to("t", "WRITE_APPEND", schemaUpdateOptions=["ALLOW_FIELD_ADDITION"]))
    assert engine.rows("SELECT a, s, b FROM ds.t ORDER BY a") == [("1", ("1", None), None), ("2", ("2", "y"), "new")]
    engine.execute("SELECT 'only b' AS b", **to("t", "WRITE_APPEND", schemaUpdateOptions=["ALLOW_FIELD_RELAXATION"]))
    assert engine.rows("SELECT COUNT(*) FROM ds.t WHERE a IS NULL") == [("1",)]


def test_partitioning_must_fit(engine: Engine) -> None:
    engine.execute(DAYS, **to("t", **BY_D))
    fails(
        engine,
        DAYS,
        "invalid",
        "Incompatible table partitioning",
        **to("t", timePartitioning={"type": "MONTH", "field": "d"}),
    )
    fails(engine, "SELECT 1 AS n", "invalid", "cannot be found in the schema: d", **to("t"))
    fails(engine, DAYS, "invalid", "must be one of", **to("u", timePartitioning={"type": "DAY", "field": "n"}))
    fails(engine, DAYS, "invalid", "clustering cannot be found", **to("u", clustering={"fields": ["z"]}))
    engine.execute(DAYS, **to("t"))
    assert engine.partitions("t") == {"20200101": 1, "20200102": 1}


def test_wildcard_tables(engine: Engine) -> None:
    engine.execute("CREATE TABLE ds.x_1 (a INT64)")
    engine.execute("INSERT ds.x_1 VALUES (1)")
    engine.execute("CREATE TABLE ds.x_2 (b STRING, a INT64)")
    engine.execute("INSERT ds.x_2 VALUES ('two', 2)")
    assert engine.rows("SELECT a, _TABLE_SUFFIX AS s FROM `ds.x_*` WHERE _TABLE_SUFFIX > '0' ORDER BY a") == [
        ("1", "1"),
        ("2", "2"),
    ]
    assert engine.rows("SELECT * FROM `local-proj.ds.x_*` ORDER BY a") == [(None, "1"), ("two", "2")]
    fails(engine, "SELECT * FROM `ds.none_*`", "invalidQuery", "does not match any table")


def test_information_schema(engine: Engine) -> None:
    engine.execute(DAYS, **to("t", **BY_D))
    engine.execute("CREATE VIEW ds.v AS SELECT 1 AS one")
    partitions = "SELECT table_name, partition_id, total_rows FROM ds.INFORMATION_SCHEMA.PARTITIONS ORDER BY 2"
    assert engine.rows(partitions) == [("t", "20200101", "1"), ("t", "20200102", "1")]
    columns = "SELECT column_name, data_type, is_partitioning_column FROM `local-proj.ds.INFORMATION_SCHEMA.COLUMNS` WHERE table_name = 't' ORDER BY ordinal_position"
    assert engine.rows(columns) == [("d", "DATE", "YES"), ("n", "INT64", "NO")]
    tables = "SELECT table_name, table_type FROM INFORMATION_SCHEMA.TABLES ORDER BY 1"
    assert engine.rows(tables) == [("t", "BASE TABLE"), ("v", "VIEW")]
    fails(engine, "SELECT * FROM none.INFORMATION_SCHEMA.TABLES", "notFound", "Dataset local-proj:none")
