"""Every type from JSON to ZetaSQL, through a query, and back; what is no value of its type is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wtmo.local.bigquery import values
from wtmo.local.bigquery.catalog import Binder, Relation, Scope
from wtmo.local.bigquery.errors import BigQueryError
from wtmo.local.bigquery.googlesql import Cancellation
from wtmo.local.bigquery.protos import service

if TYPE_CHECKING:
    from conftest import Engine

ROUND_TRIP = [
    ("STRING", "", ""),
    ("STRING", "ünïcödé 🦊\n\t\x00\"'`\\", "ünïcödé 🦊\n\t\x00\"'`\\"),
    ("STRING", 12, "12"),
    ("BYTES", "AP/+", "AP/+"),
    ("BYTES", "", ""),
    ("INTEGER", -(2**63), str(-(2**63))),
    ("INTEGER", "9223372036854775807", "9223372036854775807"),
    ("INTEGER", "1e3", "1000"),
    ("FLOAT", 0.1, "0.1"),
    ("FLOAT", -0.0, "-0.0"),
    ("FLOAT", "1e308", "1e+308"),
    ("FLOAT", "NaN", "NaN"),
    ("FLOAT", "-inf", "-Infinity"),
    ("BOOLEAN", True, "true"),
    ("BOOLEAN", "False", "false"),
    ("NUMERIC", "99999999999999999999999999999.999999999", "99999999999999999999999999999.999999999"),
    ("NUMERIC", "-0.000000001", "-0.000000001"),
    ("NUMERIC", 0, "0"),
    ("NUMERIC", "128", "128"),
    ("NUMERIC", "-128", "-128"),
    ("BIGNUMERIC", "-578960446186580977117854925043439539266.34992332820282019728792003956564819968", None),
    ("BIGNUMERIC", "1.5", "1.5"),
    ("DATE", "0001-01-01", "0001-01-01"),
    ("DATE", "9999-12-31", "9999-12-31"),
    ("DATETIME", "2020-02-29 23:59:59.999999", "2020-02-29T23:59:59.999999"),
    ("DATETIME", "0001-01-01T00:00:00", "0001-01-01T00:00:00"),
    ("TIME", "00:00:00", "00:00:00"),
    ("TIME", "23:59:59.000001", "23:59:59.000001"),
    ("TIMESTAMP", "0001-01-01T00:00:00Z", "-62135596800000000"),
    ("TIMESTAMP", "9999-12-31 23:59:59.999999 UTC", "253402300799999999"),
    ("TIMESTAMP", "1969-12-31T23:59:59.999999Z", "-1"),
    ("TIMESTAMP", "2020-01-01 00:00:00+05:30", "1577817000000000"),
    ("TIMESTAMP", 1577836800.000001, "1577836800000001"),
    ("TIMESTAMP", "2020-1-2", "1577923200000000"),
    ("JSON", {"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}'),
    ("JSON", "[1]", "[1]"),
    ("INTERVAL", "1-2 3 4:5:6.7", "1-2 3 4:5:6.7"),
    ("INTERVAL", "-1-1 -1 -0:0:0.000001", "-1-1 -1 -0:0:0.000001"),
]

REFUSED = [
    ("INTEGER", "1.5"),
    ("INTEGER", 2**63),
    ("INTEGER", True),
    ("INTEGER", "x"),
    ("FLOAT", "x"),
    ("FLOAT", False),
    ("BOOLEAN", "maybe"),
    ("NUMERIC", "100000000000000000000000000000"),
    ("NUMERIC", "NaN"),
    ("DATE", "2021-02-29"),
    ("DATE", "2021-01-01T00:00:00"),
    ("DATE", "20210101"),
    ("DATETIME", "2021-01-01T24:00:00"),
    ("TIME", "25:00:00"),
    ("TIMESTAMP", "2021-13-01"),
    ("TIMESTAMP", "2021-01-01 00:00:00.0000001"),
    ("TIMESTAMP", "10000-01-01"),
    ("TIMESTAMP", float("nan")),
    ("BYTES", "!!"),
    ("JSON", "{"),
    ("STRING", {"a": 1}),
    ("STRING", ["a"]),
    ("INTERVAL", "1"),
]


def through_a_query(engine: Engine, cell: Any, field: values.Field) -> Any:
    """The value after ZetaSQL has read and returned it."""
    binder = Binder(engine.storage, engine.pool, Scope("p"), Cancellation())
    sql = "SELECT v FROM t"
    bound = binder.bind(b"SELECT 1", binder.parse("SELECT 1")[0])
    data = service.TableData(row=[service.TableData.Row(cell=[cell])]).SerializeToString()
    bound.relations["t"] = Relation([field], chunks=[data])
    return binder.evaluate(bound, sql).rows[0].cell[0]


@pytest.mark.parametrize(("kind", "given", "expected"), ROUND_TRIP)
def test_round_trip(engine: Engine, kind: str, given: Any, expected: str | None) -> None:
    field = {"name": "v", "type": kind, "mode": "NULLABLE"}
    back = through_a_query(engine, values.to_value(given, field), field)
    assert values.to_json(back, field, "INT64") == (given if expected is None else expected)


@pytest.mark.parametrize(("kind", "given"), REFUSED)
def test_refused(kind: str, given: Any) -> None:
    with pytest.raises(BigQueryError, match=r"v\b"):
        values.to_value(given, {"name": "v", "type": kind, "mode": "NULLABLE"})


def test_nested_and_repeated(engine: Engine) -> None:
    inner = [{"name": "x", "type": "INTEGER", "mode": "REPEATED"}, {"name": "y", "type": "STRING", "mode": "NULLABLE"}]
    field = {"name": "v", "type": "RECORD", "mode": "REPEATED", "fields": inner}
    cell = values.to_value([{"x": [1, 2], "Y": "a"}, {}], field)
    back = values.to_json(through_a_query(engine, cell, field), field)
    first = {"f": [{"v": [{"v": "1"}, {"v": "2"}]}, {"v": "a"}]}
    assert back == [{"v": first}, {"v": {"f": [{"v": []}, {"v": None}]}}]
    assert values.to_json(values.to_value({"y": "lone"}, field), field) == [{"v": {"f": [{"v": []}, {"v": "lone"}]}}]
    for bad in ("x", [None], [{"z": 1}], [{"x": 1}]):
        with pytest.raises(BigQueryError):
            values.to_value(bad, field)


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in ROUND_TRIP}))
def test_null_and_required(engine: Engine, kind: str) -> None:
    field = {"name": "v", "type": kind, "mode": "NULLABLE"}
    assert values.to_json(through_a_query(engine, values.to_value(None, field), field), field) is None
    with pytest.raises(BigQueryError, match="Missing required field: v"):
        values.to_value(None, {**field, "mode": "REQUIRED"})


def test_timestamps_in_all_formats() -> None:
    field = {"name": "t", "type": "TIMESTAMP", "mode": "NULLABLE"}
    value = values.to_value("1969-12-31T23:59:59.5Z", field)
    assert values.to_json(value, field, "INT64") == "-500000"
    assert values.to_json(value, field, "FLOAT64") == "-0.500000"
    assert values.to_json(value, field, "ISO8601_STRING") == "1969-12-31T23:59:59.500000Z"


def test_range(engine: Engine) -> None:
    field = {"name": "v", "type": "RANGE", "mode": "NULLABLE", "rangeElementType": {"type": "DATE"}}
    for given, text in (
        ({"start": "2020-01-01", "end": None}, "[2020-01-01, UNBOUNDED)"),
        ("[2020-01-01, 2020-01-02)",) * 2,
    ):
        assert values.to_json(through_a_query(engine, values.to_value(given, field), field), field) == text


@pytest.mark.parametrize(
    "bad",
    [
        [{"name": "a", "type": "WHAT"}],
        [{"name": "a b;c", "type": "STRING"}],
        [{"name": "", "type": "STRING"}],
        [{"name": "a", "type": "STRING"}, {"name": "A", "type": "STRING"}],
        [{"name": "a", "type": "RECORD"}],
        [{"name": "a", "type": "STRING", "mode": "SOMETIMES"}],
        [{"name": "a", "type": "GEOGRAPHY"}],
        [{"name": "a", "type": "STRING", "defaultValueExpression": "'x'"}],
        "no list",
    ],
)
def test_schemas_that_are_refused(bad: Any) -> None:
    with pytest.raises(BigQueryError):
        values.checked_schema(bad)


def test_lengths_and_precisions_are_kept() -> None:
    with pytest.raises(BigQueryError, match="maximum length 3"):
        values.to_value("four", {"name": "v", "type": "STRING", "maxLength": "3"})
    number = {"name": "v", "type": "NUMERIC", "precision": "4", "scale": "2"}
    assert values.to_json(values.to_value("99.99", number), number) == "99.99"
    for bad in ("100", "1.234"):
        with pytest.raises(BigQueryError, match="can't hold"):
            values.to_value(bad, number)
