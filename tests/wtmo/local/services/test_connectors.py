"""Declared connectors: what is refused, and that the message names file and key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from wtmo.errors import WtmoError
from wtmo.local.services.connectors import Connector, read_connectors

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = {"service": "sheets", "schema": "s"}


def write(folder: Path, content: Any, name: str = "one.json") -> None:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (MINIMAL | {"servise": "x"}, "servise: Extra inputs are not permitted"),
        ({"schema": "s"}, "service: Field required"),
        (MINIMAL | {"sync_seconds": "3"}, "sync_seconds"),
        (MINIMAL | {"sync_seconds": -1}, "sync_seconds"),
        (MINIMAL | {"paused": "no"}, "paused"),
        (MINIMAL | {"outcome": "maybe"}, "outcome"),
        (MINIMAL | {"outcome": ["success", "maybe"]}, "outcome"),
        (MINIMAL | {"schema": "a.b"}, "schema"),
        (MINIMAL | {"project": "a/../b"}, "project"),
        (MINIMAL | {"succeeded_at": "2026-01-01T00:00:00"}, "succeeded_at"),
        (MINIMAL | {"faults": [{"status": 200}]}, "faults.0.status"),
        (MINIMAL | {"faults": [{"status": 429, "after": 1}]}, "faults.0.after"),
        (MINIMAL | {"tables": {"t": {"rows": "t.ndjson"}}}, "tables.t.schema"),
        (MINIMAL | {"tables": {"t-1": {"rows": "r", "schema": "s"}}}, "tables.t-1"),
        (
            MINIMAL | {"tables": {"t": {"rows": "missing.ndjson", "schema": "fields.json"}}},
            "tables.t.rows: there is no file",
        ),
        (MINIMAL | {"tables": {"t": {"rows": "rows.ndjson", "schema": "missing.json"}}}, "tables.t.schema"),
        (
            MINIMAL | {"tables": {"t": {"rows": "rows.ndjson", "schema": "rows.ndjson"}}},
            "not a list of BigQuery fields",
        ),
        ("{", "Invalid JSON"),
        ("[]", "one.json"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: Any, key: str) -> None:
    (tmp_path / "rows.ndjson").write_text("{}")
    (tmp_path / "fields.json").write_text('[{"name": "a", "type": "STRING"}]')
    folder = tmp_path / "connectors"
    folder.mkdir()
    if isinstance(content, dict):
        for table in content.get("tables", {}).values():
            table.update({kind: f"../{file}" for kind, file in table.items()})
    write(folder, content)
    with pytest.raises(WtmoError) as caught:
        read_connectors(folder)
    assert str(folder / "one.json") in str(caught.value)
    assert key in str(caught.value)


@pytest.mark.parametrize("name", ["a b.json", ".json", "a..b.json"])
def test_file_whose_name_is_no_id_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, MINIMAL, name)
    with pytest.raises(WtmoError, match="is not a connector id"):
        read_connectors(tmp_path)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WtmoError, match="does not exist"):
        read_connectors(tmp_path / "nowhere")


def test_examples_of_the_documentation_are_valid(tmp_path: Path) -> None:
    from wtmo.local.services import connectors

    blocks = [block.split("\n\n")[0] for block in str(connectors.__doc__).split("::\n\n")[1:]]
    assert len(blocks) == 3
    for block in blocks:
        Connector.model_validate_json(block)


def test_outcomes_by_number() -> None:
    connector = Connector.model_validate_json(json.dumps(MINIMAL | {"outcome": ["failure", "success"]}))
    assert [connector.outcome_of(number) for number in (1, 2, 3)] == ["failure", "success", "success"]
    assert (
        Connector.model_validate_json(json.dumps(MINIMAL | {"outcome": "rescheduled"})).outcome_of(5) == "rescheduled"
    )
