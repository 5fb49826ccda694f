"""Sample pings: repeatable, shaped as their schema says, with duplicates that show which one was kept."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from wtmo.errors import WtmoError
from wtmo.local.pings import __main__ as command
from wtmo.local.pings import generate
from wtmo.local.pings.schemas import RETIRED, SCHEMAS
from wtmo.local.pings.seeds import read_seeds

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = dt.date(2026, 6, 1), dt.date(2026, 6, 2)
Rows = list[dict[str, Any]]


def rows(folder: Path, table: str) -> Rows:
    return [json.loads(line) for line in (folder / f"{table}.ndjson").read_text().splitlines()]


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> dict[dt.date, Path]:
    """Two days of 300 clients."""
    folders = {day: tmp_path_factory.mktemp(str(day)) for day in (FIRST, SECOND)}
    for day, folder in folders.items():
        generate(folder, date=day, clients=300, seed=7)
    return folders


def test_the_same_seed_and_date_give_the_same_bytes(days: dict[dt.date, Path], tmp_path: Path) -> None:
    counts = generate(tmp_path, date=FIRST, clients=300, seed=7)
    assert set(counts) == set(SCHEMAS)
    for file in sorted(days[FIRST].iterdir()):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name
    assert counts == {table: len(rows(tmp_path, table)) for table in SCHEMAS}
    assert min(counts.values()) > 0


def test_another_seed_or_date_gives_others(days: dict[dt.date, Path], tmp_path: Path) -> None:
    generate(tmp_path, date=FIRST, clients=300, seed=8)
    table = "telemetry_live.main_v5"
    seen = {row["document_id"] for row in rows(days[FIRST], table)}
    assert seen.isdisjoint(row["document_id"] for row in rows(tmp_path, table))


@pytest.mark.parametrize("table", SCHEMAS)
def test_rows_arrive_on_their_day_and_fit_their_schema(days: dict[dt.date, Path], tmp_path: Path, table: str) -> None:
    for day, folder in days.items():
        assert {row["submission_timestamp"][:10] for row in rows(folder, table)} == {str(day)}
    seeds = {seed.live: seed for seed in read_seeds(days[FIRST], tmp_path)}
    assert list(seeds[table].days) == [FIRST]


def test_retired_pings_have_a_stable_table_and_no_rows(days: dict[dt.date, Path], tmp_path: Path) -> None:
    retired = {seed.stable: seed.rows for seed in read_seeds(days[FIRST], tmp_path) if not seed.sent}
    assert retired == dict.fromkeys(RETIRED, 0)
    assert "telemetry_stable.core_v2" in retired


@pytest.mark.parametrize("table", ["telemetry_live.main_v5", "firefox_desktop_live.baseline_v1"])
def test_duplicates_come_later_and_some_tell_something_else(days: dict[dt.date, Path], table: str) -> None:
    by_document: dict[str, Rows] = defaultdict(list)
    for row in rows(days[FIRST], table):
        by_document[row["document_id"]].append(row)
    duplicated = [found for found in by_document.values() if len(found) > 1]
    assert len(duplicated) > 10
    assert all(len({row["submission_timestamp"] for row in found}) == len(found) for found in duplicated)
    payload = "payload" if table.startswith("telemetry") else "metrics"
    kinds = Counter(found[0][payload] == found[1][payload] for found in duplicated)
    assert min(kinds[True], kinds[False]) > 2, kinds


def test_some_duplicates_arrive_after_midnight(days: dict[dt.date, Path]) -> None:
    table = "telemetry_live.main_v5"
    first, second = (Counter(row["document_id"] for row in rows(days[day], table)) for day in (FIRST, SECOND))
    strays = first.keys() & second.keys()
    assert strays
    assert all(first[document] == second[document] == 1 for document in strays)


def test_some_pings_are_late(days: dict[dt.date, Path]) -> None:
    late = [
        row
        for row in rows(days[FIRST], "firefox_desktop_live.baseline_v1")
        if dt.datetime.fromisoformat(row["submission_timestamp"])
        - dt.datetime.fromisoformat(row["ping_info"]["parsed_end_time"])
        > dt.timedelta(hours=23)
    ]
    assert len(late) > 5


def test_most_clients_come_back_the_next_day_and_some_are_new(days: dict[dt.date, Path]) -> None:
    first, second = ({row["client_id"] for row in rows(days[day], "telemetry_live.main_v5")} for day in (FIRST, SECOND))
    assert len(first & second) > 0.7 * len(second)
    assert len(second - first) > 0.05 * len(second)


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WtmoError, match=r"Can't write pings to .*file/pings"):
        generate(tmp_path / "file" / "pings", date=FIRST, clients=1, seed=1)


def test_no_clients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WtmoError, match="0 clients"):
        generate(tmp_path, date=FIRST, clients=0, seed=1)


def test_the_command_writes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["generate", str(tmp_path / "new"), "--date=2026-06-01", "--clients=3"]) == 0
    assert "telemetry_live.main_v5" in capsys.readouterr().out
    assert len(list((tmp_path / "new").glob("*.ndjson"))) == len(SCHEMAS)


def test_the_command_refuses_to_load_anywhere_but_locally(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    assert command.main(["load", str(tmp_path)]) == 2
    assert "BIGQUERY_EMULATOR_HOST is not set" in capsys.readouterr().err
