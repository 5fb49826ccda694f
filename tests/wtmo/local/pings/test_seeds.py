"""Reading seeds: whatever is wrong is found, with file and line, before anything is loaded."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from wtmo.errors import WtmoError
from wtmo.local.pings import load_seeds
from wtmo.local.pings.seeds import read_seeds

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: list[dict[str, Any]] = [
    {"name": "submission_timestamp", "type": "TIMESTAMP"},
    {"name": "document_id", "type": "STRING"},
    {"name": "count", "type": "INTEGER"},
    {"name": "ok", "type": "BOOL"},
    {"name": "ratio", "type": "FLOAT64"},
    {"name": "must", "type": "STRING", "mode": "REQUIRED"},
    {
        "name": "geo",
        "type": "RECORD",
        "fields": [{"name": "city", "type": "STRING"}, {"name": "tags", "type": "STRING", "mode": "REPEATED"}],
    },
]
ROW = {"submission_timestamp": "2026-06-01T10:00:00Z", "document_id": "a", "must": "be"}


class Untouchable:
    """A client that must not be used."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"{name} was called")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "seeds"
    folder.mkdir()
    seed(folder, "a_live.good_v1", json.dumps(ROW))
    return folder


def seed(folder: Path, name: str, text: str, schema: object = SCHEMA) -> None:
    (folder / f"{name}.ndjson").write_text(text)
    (folder / f"{name}.schema.json").write_text(json.dumps(schema))


def lines(*changes: dict[str, Any]) -> str:
    return "\n".join(
        json.dumps({key: value for key, value in {**ROW, **change}.items() if value != "-"}) for change in changes
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lines({}, {}) + "\n{not json", r":3: not JSON"),
        (lines({}) + "\n[1]", r":2: not a JSON object"),
        (lines({}).encode().decode() + "\n\n\n" + '"text"', r":4: not a JSON object"),
        (lines({"document_id": "-"}), r":1: no document_id"),
        (lines({}, {"document_id": ""}), r":2: no document_id"),
        (lines({"submission_timestamp": "-"}), r":1: no submission_timestamp"),
        (lines({"submission_timestamp": None}), r":1: no submission_timestamp"),
        (lines({"submission_timestamp": "yesterday"}), r":1: submission_timestamp 'yesterday' is no timestamp"),
        (lines({"submission_timestamp": "0001-01-01T00:00:00+14:00"}), r":1: submission_timestamp .* is no timestamp"),
        (lines({"surprise": 1}), r":1: the schema has no field surprise"),
        (lines({"geo": {"town": "x"}}), r":1: the schema has no field geo.town"),
        (lines({"geo": "x"}), r":1: geo is a RECORD, but the value is \"x\""),
        (lines({"geo": {"tags": "x"}}), r":1: geo.tags is repeated, but the value is no array"),
        (lines({"geo": {"tags": [None]}}), r":1: geo.tags is a STRING, but the value is null"),
        (lines({"count": "3.5"}), r":1: count is a INTEGER, but the value is \"3.5\""),
        (lines({"count": True}), r":1: count is a INTEGER"),
        (lines({"ok": "perhaps"}), r":1: ok is a BOOL"),
        (lines({"ratio": "much"}), r":1: ratio is a FLOAT64"),
        (lines({"must": None}), r":1: no must, which is required"),
        (lines({"must": "-"}), r":1: no must, which is required"),
        (lines({"document_id": ["a"]}), r":1: document_id is a STRING"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_nothing_is_loaded(folder: Path, text: str, message: str) -> None:
    seed(folder, "b_live.bad_v1", text)
    with pytest.raises(WtmoError, match=r"b_live\.bad_v1\.ndjson" + message):
        load_seeds(Untouchable(), folder)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({}, "not a list of BigQuery fields"),
        ([], "not a list of BigQuery fields"),
        ([{"name": "x"}], "it needs name and type"),
        ([*SCHEMA, {"name": "x", "type": "TEXT"}], "field x has the unknown type TEXT"),
        ([*SCHEMA, {"name": "x", "type": "RECORD"}], "fields of x: not a list"),
        (SCHEMA[1:], "needs the field submission_timestamp, a TIMESTAMP"),
        ([SCHEMA[0], {"name": "document_id", "type": "INTEGER"}], "needs the field document_id, a STRING"),
    ],
)
def test_a_bad_schema_is_named(folder: Path, schema: object, message: str) -> None:
    seed(folder, "b_live.bad_v1", lines({}), schema)
    with pytest.raises(WtmoError, match=r"b_live\.bad_v1\.schema\.json: .*" + message):
        load_seeds(Untouchable(), folder)


def test_a_missing_schema_is_named(folder: Path) -> None:
    (folder / "a_live.good_v1.schema.json").unlink()
    with pytest.raises(WtmoError, match=r"a_live\.good_v1\.schema\.json is missing"):
        load_seeds(Untouchable(), folder)


def test_a_schema_that_is_not_json_is_named(folder: Path) -> None:
    (folder / "a_live.good_v1.schema.json").write_bytes(b"\xff")
    with pytest.raises(WtmoError, match=r"a_live\.good_v1\.schema\.json: not JSON"):
        load_seeds(Untouchable(), folder)


@pytest.mark.parametrize(
    "name", ["main_v5", "telemetry_stable.main_v5", "telemetry.main_v5", "x_live.a.b", "x_live.a-b"]
)
def test_a_file_that_is_not_named_as_a_live_table_is_named(folder: Path, name: str) -> None:
    seed(folder, name, lines({}))
    with pytest.raises(WtmoError, match="not the name of a seed"):
        load_seeds(Untouchable(), folder)


def test_an_absent_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(WtmoError, match="There is no seeds folder"):
        load_seeds(Untouchable(), tmp_path / "absent")
    with pytest.raises(WtmoError, match="holds no seeds"):
        load_seeds(Untouchable(), tmp_path)


def test_a_file_that_can_not_be_read_is_named(folder: Path) -> None:
    (folder / "b_live.bad_v1.ndjson").mkdir()
    (folder / "b_live.bad_v1.schema.json").write_text(json.dumps(SCHEMA))
    with pytest.raises(WtmoError, match=r"Can't read .*b_live\.bad_v1\.ndjson"):
        load_seeds(Untouchable(), folder)


def test_rows_are_grouped_by_the_utc_day_they_arrived_on(folder: Path, tmp_path: Path) -> None:
    stamps = [
        "2026-06-01T00:00:00Z",
        "2026-06-01T23:59:59.999999Z",
        "2026-06-02 00:00:00 UTC",
        "2026-06-02T01:00:00+02:00",
        "2026-06-02T12:00:00",
    ]
    seed(folder, "a_live.good_v1", "\n\n".join(lines({"submission_timestamp": stamp}) for stamp in stamps))
    (found,) = read_seeds(folder, tmp_path)
    assert (found.live, found.stable, found.rows) == ("a_live.good_v1", "a_stable.good_v1", 5)
    assert {day: count for day, (_, count) in found.days.items()} == {dt.date(2026, 6, 1): 3, dt.date(2026, 6, 2): 2}
    for day, (file, count) in found.days.items():
        assert len(file.read_text().splitlines()) == count, day


def test_values_that_bigquery_converts_are_taken(folder: Path, tmp_path: Path) -> None:
    row = {"count": "-3", "ok": "True", "ratio": "1e-3", "geo": {"city": 5, "tags": ["a", 1]}}
    seed(folder, "a_live.good_v1", lines(row, {"count": None, "geo": None, "ratio": 2}))
    (found,) = read_seeds(folder, tmp_path)
    assert found.rows == 2
