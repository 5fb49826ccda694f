"""A query gives the same rows whether partitions and columns are left out or not; and they are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wtmo.local.bigquery import catalog, pruning
from wtmo.local.bigquery.errors import BigQueryError
from wtmo.local.bigquery.protos import service
from wtmo.local.bigquery.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Engine

DAYS = ("20200101", "20200102", "20200103", "20200201")
TABLES = """
CREATE TABLE ds.fact (d DATE, k INT64, wide STRUCT<a STRING, b ARRAY<INT64>>, s STRING) PARTITION BY d;
INSERT INTO ds.fact
SELECT d, k, STRUCT(CAST(k AS STRING), [k, k + 1]), CONCAT('s', k)
FROM UNNEST([DATE '2020-01-01', '2020-01-02', '2020-01-03', '2020-02-01', NULL]) AS d, UNNEST([1, 2, 3]) AS k;
CREATE TABLE ds.pings (submission_timestamp TIMESTAMP, document_id STRING, n INT64)
PARTITION BY DATE(submission_timestamp);
INSERT INTO ds.pings
SELECT TIMESTAMP_ADD(day, INTERVAL second SECOND), CONCAT(second), MOD(second, 7)
FROM UNNEST([TIMESTAMP '2020-01-01', '2020-01-02', '2020-01-03', '2020-02-01']) AS day,
UNNEST([0, 1, 40000, 86399]) AS second;
INSERT INTO ds.pings VALUES (NULL, 'none', 1), ('2020-01-02 23:59:59.999999', 'last', 2);
CREATE TABLE ds.civil (moment DATETIME, x INT64) PARTITION BY DATE(moment);
INSERT INTO ds.civil
SELECT DATETIME_ADD(day, INTERVAL 12 HOUR), 1 FROM UNNEST([DATETIME '2020-01-01', '2020-01-02', '2020-01-03']) AS day;
CREATE TABLE ds.plain (d DATE, k INT64, l STRING);
INSERT INTO ds.plain VALUES ('2020-01-01', 1, 'a'), ('2020-01-02', 9, 'b'), ('2020-01-05', 2, 'c'), (NULL, 3, 'd');
CREATE VIEW ds.view AS SELECT d, k, wide.a FROM ds.fact WHERE d >= '2020-01-02';
CREATE FUNCTION ds.facts() AS ((SELECT COUNT(*) FROM ds.fact))
"""

# A query, and the days that it reads of the first partitioned table: None for all.
QUERIES: list[tuple[str, str | None]] = [
    ("SELECT * FROM fact WHERE d = '2020-01-02'", "20200102"),
    ("SELECT COUNT(*) FROM fact WHERE d = @day", "20200102"),
    ("SELECT * FROM fact WHERE '2020-01-02' = d AND k > 1", "20200102"),
    ("SELECT * FROM fact AS f WHERE f.d IN ('2020-01-02', @day, '2021-01-01')", "20200102"),
    ("SELECT * FROM fact WHERE d IN UNNEST([@day])", "20200102"),
    ("SELECT * FROM fact WHERE (d BETWEEN '2020-01-02' AND '2020-01-31')", "20200102 20200103"),
    ("SELECT * FROM fact WHERE d BETWEEN DATE_SUB(@day, INTERVAL 1 DAY) AND @day AND TRUE", "20200101 20200102"),
    ("SELECT * FROM fact WHERE d > @day -- a comment", "20200103 20200201"),
    ("SELECT * FROM fact WHERE NOT d = '2020-01-02'", "20200101 20200103 20200201"),
    ("SELECT * FROM fact WHERE d <> '2020-01-02' AND d IS NOT NULL", "20200101 20200103 20200201"),
    ("SELECT * FROM fact WHERE d = '2020-01-02' OR d = '2020-02-01'", "20200102 20200201"),
    ("SELECT * FROM fact WHERE d = '2020-01-02' OR k = 3", None),
    ("SELECT * FROM fact WHERE (d = '2020-01-02' OR k = 3) AND d < '2020-02-01'", "20200101 20200102 20200103"),
    ("SELECT * FROM fact WHERE d IS NULL", None),
    ("SELECT * FROM fact WHERE d IS NULL OR d = '2020-01-02'", None),
    ("SELECT * FROM fact WHERE NOT (d IS NOT NULL AND d > '2020-01-02')", None),
    ("SELECT * FROM fact WHERE DATE_TRUNC(d, MONTH) = '2020-02-01'", "20200201"),
    ("SELECT * FROM fact WHERE EXTRACT(MONTH FROM d) = 2", "20200201"),
    ("SELECT * FROM fact WHERE CAST(d AS STRING) = '2020-02-01'", "20200201"),
    ("SELECT * FROM fact WHERE FORMAT_DATE('%d', d) = '02'", None),
    ("SELECT * FROM fact WHERE d > DATE_SUB(CURRENT_DATE(), INTERVAL 100 YEAR)", None),
    ("SELECT * FROM fact WHERE d = (SELECT MAX(d) FROM fact)", None),
    ("SELECT * FROM fact WHERE d = (SELECT MAX(d) FROM plain WHERE d < '2020-01-02')", None),
    (
        "SELECT * FROM fact WHERE d = '2020-01-02' UNION ALL SELECT * FROM fact WHERE d = '2020-02-01'",
        "20200102 20200201",
    ),
    ("SELECT * FROM fact WHERE d = '2020-01-02' UNION ALL SELECT * FROM fact", None),
    ("SELECT d FROM fact WHERE d = '2020-01-02' EXCEPT DISTINCT SELECT d FROM plain", "20200102"),
    ("SELECT x.* FROM (SELECT * FROM fact WHERE d = @day) AS x WHERE x.k = 1", "20200102"),
    ("SELECT * FROM (SELECT * FROM fact) WHERE d = @day", None),
    ("WITH c AS (SELECT * FROM fact WHERE d = @day) SELECT a.k, b.d FROM c AS a JOIN c AS b USING (k)", "20200102"),
    ("SELECT * FROM plain WHERE EXISTS (SELECT 1 FROM fact AS f WHERE f.d = plain.d AND f.d = @day)", "20200102"),
    ("SELECT * FROM plain WHERE EXISTS (SELECT 1 FROM fact AS f WHERE f.d = plain.d)", None),
    ("SELECT * FROM plain WHERE k NOT IN (SELECT k FROM fact WHERE d = @day)", "20200102"),
    # joins
    ("SELECT f.k, p.l FROM fact AS f JOIN plain AS p USING (d) WHERE d = '2020-01-02'", "20200102"),
    ("SELECT f.k, p.l FROM fact AS f JOIN plain AS p ON f.d = p.d WHERE f.d = '2020-01-02'", "20200102"),
    ("SELECT f.k, p.l FROM fact AS f JOIN plain AS p ON f.d = p.d WHERE p.d = '2020-01-02'", None),
    ("SELECT f.k, p.l FROM plain AS p LEFT JOIN fact AS f ON f.d = p.d WHERE f.d = '2020-01-02'", "20200102"),
    ("SELECT f.k, p.l FROM plain AS p LEFT JOIN fact AS f ON f.d = p.d WHERE f.d IS NULL", None),
    ("SELECT p.l FROM plain AS p LEFT JOIN fact AS f ON f.k = p.k WHERE f.d IS NULL OR f.d = '2020-01-02'", None),
    ("SELECT p.l FROM plain AS p LEFT JOIN fact AS f ON f.k = p.k AND f.d = '2020-01-02'", None),
    ("SELECT d, p.l FROM plain AS p FULL JOIN fact AS f USING (d) WHERE d = '2020-01-02'", "20200102"),
    ("SELECT d, p.l FROM plain AS p FULL JOIN fact AS f USING (d) WHERE d IS NULL", None),
    (
        "SELECT a.d, b.d FROM fact AS a JOIN fact AS b USING (k) WHERE a.d = @day AND b.d = '2020-02-01'",
        "20200102 20200201",
    ),
    ("SELECT a.d, b.d FROM fact AS a JOIN fact AS b USING (k) WHERE a.d = @day", None),
    ("SELECT k, e FROM fact, UNNEST(wide.b) AS e WHERE d = @day", "20200102"),
    ("SELECT fact.k, d FROM fact, UNNEST([DATE '2020-01-02', '1999-01-01']) AS d WHERE d = '1999-01-01'", None),
    ("SELECT f.k, p.l FROM (fact AS f CROSS JOIN plain AS p) WHERE f.d = @day", "20200102"),
    # what stands between the table and its filter
    ("SELECT * FROM fact TABLESAMPLE SYSTEM (100 PERCENT) WHERE d = @day", None),
    ("SELECT * FROM (SELECT d, k, s FROM fact) PIVOT(COUNT(*) FOR s IN ('s1')) WHERE d = @day", None),
    ("FROM fact |> WHERE d = @day |> SELECT k", None),
    (
        "SELECT k, ROW_NUMBER() OVER (ORDER BY k) FROM fact WHERE d = @day QUALIFY ROW_NUMBER() OVER (ORDER BY k) = 1",
        "20200102",
    ),
    (
        "SELECT d, COUNT(*), ARRAY_AGG(s ORDER BY s) FROM fact WHERE d >= @day GROUP BY d HAVING COUNT(*) > 1",
        "20200102 20200103 20200201",
    ),
    # a timestamp has many values a day
    ("SELECT * FROM pings WHERE DATE(submission_timestamp) = @day", "20200102"),
    ("SELECT * FROM pings WHERE NOT DATE(submission_timestamp) = @day", "20200101 20200103 20200201"),
    (
        "SELECT * FROM pings WHERE submission_timestamp >= '2020-01-02 23:59:59.999999' AND submission_timestamp < '2020-02-01'",
        "20200102 20200103",
    ),
    ("SELECT * FROM pings WHERE submission_timestamp > '2020-01-02 23:59:59.999999'", "20200103 20200201"),
    (
        "SELECT * FROM pings WHERE submission_timestamp > '2020-01-02 11:00:00' AND submission_timestamp <= '2020-01-03'",
        "20200102 20200103",
    ),
    (
        "SELECT * FROM pings WHERE submission_timestamp BETWEEN '2020-01-02 11:00:00' AND '2020-01-03'",
        "20200102 20200103",
    ),
    ("SELECT * FROM pings WHERE submission_timestamp NOT BETWEEN '2020-01-02 11:00:00' AND '2020-01-03'", None),
    ("SELECT * FROM pings WHERE NOT submission_timestamp > '2020-01-02 11:00:00'", None),
    ("SELECT * FROM pings WHERE submission_timestamp = '2020-01-02 11:06:40'", None),
    ("SELECT * FROM pings WHERE DATE(submission_timestamp, 'America/Los_Angeles') = @day", None),
    ("SELECT * FROM pings WHERE submission_timestamp < TIMESTAMP_SUB(TIMESTAMP(@day), INTERVAL 1 HOUR)", "20200101"),
    ("SELECT * FROM civil WHERE DATE(moment) = @day", "20200102"),
    ("SELECT * FROM civil WHERE moment >= '2020-01-02 13:00:00'", "20200102 20200103"),
    # stored SQL and functions
    ("SELECT * FROM view WHERE d = '2020-01-03'", "20200102 20200103 20200201"),
    ("SELECT k, ds.facts() FROM fact WHERE d = @day", "20200102"),
    ("SELECT k, ds.facts() FROM ds.fact WHERE d = @day", None),
    # The function brings all rows, in place of those that the query has read.
    ("CREATE TEMP FUNCTION f() AS ((SELECT COUNT(*) FROM fact)); SELECT k, f() FROM fact WHERE d = @day", "20200102"),
    (
        "CREATE TEMP FUNCTION DATE(x ANY TYPE) AS (DATE '2020-01-01'); SELECT * FROM pings WHERE DATE(submission_timestamp) = '2020-01-01'",
        None,
    ),
    # columns
    ("SELECT COUNT(*) FROM fact", None),
    ("SELECT wide.a FROM fact ORDER BY s, d", None),
    ("SELECT * EXCEPT (wide) FROM fact", None),
    ("SELECT f FROM fact AS f", None),
    ("SELECT TO_JSON_STRING(f) FROM fact AS f", None),
    ("SELECT COUNT(*) FROM (SELECT * FROM fact UNION ALL SELECT * FROM fact)", None),
    (
        "SELECT p.l, (SELECT COUNT(*) FROM fact AS f WHERE f.k = p.k AND f.wide.b[OFFSET(0)] = p.k) FROM plain AS p",
        None,
    ),
]
DAY = [{"name": "day", "parameterType": {"type": "DATE"}, "parameterValue": {"value": "2020-01-02"}}]


@pytest.fixture
def tables(engine: Engine) -> Engine:
    engine.execute(TABLES)
    return engine


def answer(engine: Engine, sql: str) -> Any:
    try:
        return sorted(map(repr, engine.rows(sql, queryParameters=DAY)))
    except BigQueryError as error:
        return error.reason, error.message


def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the days that are read where not all are."""
    seen: list[str] = []
    parts_without = Storage.parts_without

    def parts(self: Storage, table_id: int, partitions: Iterable[str]) -> Any:
        left_out = set(partitions)
        found = parts_without(self, table_id, left_out)
        if left_out:
            seen.append(" ".join(sorted({part.partition for part in found if part.partition.isdigit()})))
        return found

    monkeypatch.setattr(Storage, "parts_without", parts)
    return seen


def test_the_same_rows_with_and_without(tables: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole: dict[str, Any] = {}
    with monkeypatch.context() as off:
        off.setattr(pruning, "uses", lambda _: {})
        off.setattr(catalog, "WHOLE_ROWS", 1 << 40)
        for sql, _ in QUERIES:
            whole[sql] = answer(tables, sql)
    assert sum(isinstance(rows, list) for rows in whole.values()) > len(QUERIES) - 4, "queries that fail prove little"
    monkeypatch.setattr(catalog, "WHOLE_ROWS", 0)
    seen = read(monkeypatch)
    read_days: dict[str, str | None] = {}
    for sql, _ in QUERIES:
        seen.clear()
        assert answer(tables, sql) == whole[sql], sql
        read_days[sql] = seen[0] if seen else None
    assert read_days == dict(QUERIES)


def test_dml_reads_what_it_needs_and_changes_what_it_says(tables: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "WHOLE_ROWS", 0)
    tables.execute(
        "DELETE FROM fact WHERE d = '2020-01-02' AND k IN (SELECT k FROM fact WHERE d = '2020-01-01' AND k < 3)"
    )
    assert tables.rows("SELECT k FROM fact WHERE d = '2020-01-02'") == [("3",)]
    tables.execute(
        "UPDATE fact SET s = 'new' WHERE d = '2020-01-03' AND k = (SELECT MAX(k) FROM fact WHERE d = '2020-02-01')"
    )
    assert tables.rows("SELECT d, k, wide.a FROM fact WHERE s = 'new'") == [("2020-01-03", "3", "3")]
    tables.execute("INSERT INTO fact SELECT DATE '2020-03-01', k, wide, s FROM fact WHERE d = '2020-01-01'")
    assert tables.partitions("fact") == {
        "20200101": 3,
        "20200102": 1,
        "20200103": 3,
        "20200201": 3,
        "20200301": 3,
        "__NULL__": 3,
    }
    tables.execute(
        "MERGE fact AS t USING (SELECT k FROM fact WHERE d = '2020-03-01') AS s ON t.k = s.k AND t.d = '2020-01-01' "
        "WHEN MATCHED THEN DELETE"
    )
    assert tables.rows("SELECT COUNT(*), COUNT(wide.a) FROM fact") == [("13", "13")]


def test_ingestion_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in DAYS:
        engine.execute(
            f"SELECT '{day}' AS x",
            destinationTable={"datasetId": "ds", "tableId": f"t${day}"},
            writeDisposition="WRITE_TRUNCATE",
        )
    seen = read(monkeypatch)
    assert engine.rows("SELECT x FROM t WHERE _PARTITIONDATE = '2020-01-02'") == [("20200102",)]
    assert engine.rows("SELECT x FROM t WHERE _PARTITIONTIME < '2020-01-02' AND x > ''") == [("20200101",)]
    assert engine.rows("SELECT COUNT(*) FROM t") == [("4",)]
    assert seen == ["20200102", "20200101"]


def test_positional_parameters(tables: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = read(monkeypatch)
    day = {key: value for key, value in DAY[0].items() if key != "name"}
    rows = tables.rows("SELECT COUNT(*) FROM fact WHERE d = ?", queryParameters=[day], parameterMode="POSITIONAL")
    assert (rows, seen) == ([("3",)], ["20200102"])


@pytest.mark.parametrize("sizes", [(), (0,), (1, 127, 128, 300, 70_000)])
@pytest.mark.parametrize("kept", [set(), {0}, {2}, {0, 3}, {0, 1, 2, 3}])
def test_cells_that_are_left_out_are_null(sizes: tuple[int, ...], kept: set[int]) -> None:
    table = service.TableData()
    for size in sizes:
        row = table.row.add()
        for index in range(4):
            row.cell.add(string_value="x" * (size + index))
    made = service.TableData.FromString(pruning.without_cells(table.SerializeToString(), kept, 4))
    for row in table.row:
        for index, cell in enumerate(row.cell):
            if index not in kept:
                cell.Clear()
    assert made == table
