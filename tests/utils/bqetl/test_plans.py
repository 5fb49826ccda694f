"""The jobs that a command is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from utils.bqetl.checkout import Checkout
from utils.bqetl.plans import Query, plan

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "sql/moz-fx-data-shared-prod/telemetry_derived/clients_daily_v6"
KEY = "0123456789abcdef"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    (tmp_path / FOLDER).mkdir(parents=True)
    for name in ("part1.sql", "part2.sql"):
        (tmp_path / FOLDER / name).write_text("SELECT @day AS document_id")
    (tmp_path / FOLDER / "checks.sql").write_text("#fail\nSELECT ERROR('a')")
    return Checkout(tmp_path)


def jobs(checkout: Checkout, *command: str) -> list[Query]:
    return [query for stage in plan(command, checkout, key=KEY).stages for query in stage]


def test_all_jobs_of_a_multipart_query_have_its_priority_and_its_parts_the_parameters(checkout: Checkout) -> None:
    made = jobs(
        checkout,
        *("script/bqetl", "query", "run-multipart", "--destination_table=t_v1", "--priority=BATCH"),
        *("--parameter=day:DATE:2026-06-01", FOLDER),
    )
    assert [query.name for query in made] == ["part1", "part2", "join"]
    assert [query.config.priority for query in made] == ["BATCH"] * 3
    assert [len(query.config.query_parameters) for query in made] == [1, 1, 0]


def test_checks_are_billed_elsewhere_and_read_the_names_of_their_own_project(checkout: Checkout) -> None:
    (check,) = jobs(checkout, "script/bqetl", "check", "run", "--billing_project=moz-fx-data-backfill-1", FOLDER)
    assert check.project == "moz-fx-data-backfill-1"
    assert str(check.config.default_dataset) == "moz-fx-data-shared-prod.telemetry_derived"
    assert [(each.key, each.value) for each in check.config.connection_properties] == [
        ("dataset_project_id", "moz-fx-data-shared-prod")
    ]
