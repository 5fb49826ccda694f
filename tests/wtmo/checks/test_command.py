"""``wtmo check``: its forms and its exit status. What is checked was loaded before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from tests.wtmo.checks.made import dag, inventory, task
from utils.config import ROOT
from wtmo.checks.rule import OWN
from wtmo.cli import app
from wtmo.graph import inventory as collected
from wtmo.graph.inventory import Source

if TYPE_CHECKING:
    from click.testing import Result

    from wtmo.graph.model import Inventory

SOUND = inventory(dag("d"))
UNSOUND = inventory(dag("d", tags=()), dag("e", task(pool_slots=1), tags=("impact/tier_3", "triage/no_triage")))


def check(monkeypatch: pytest.MonkeyPatch, known: Inventory, *arguments: str) -> Result:
    monkeypatch.setattr(collected, "inventory", lambda *_, **__: known)
    monkeypatch.setattr(collected, "default_sources", lambda: [Source(OWN, ROOT / "dags")])
    return CliRunner().invoke(app, ["check", "--silences", "none.toml", *arguments])


@pytest.mark.parametrize("form", ["", "--json", "--github", "--junit"])
def test_exit_status(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    arguments = [form] if form else []
    assert check(monkeypatch, SOUND, *arguments).exit_code == 0
    assert check(monkeypatch, UNSOUND, *arguments).exit_code == 1
    assert check(monkeypatch, inventory(), *arguments).exit_code == 2


def test_the_table_says_what_where_and_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = check(monkeypatch, UNSOUND).stdout.splitlines()
    at = lines.index("dags/etl/d.py:7: error POL001 d: exactly one impact tag is required, found none")
    assert lines[at + 1] == "    Give it tags=[Tag.ImpactTier.tier_3] (or 1, 2)."
    assert "dags/etl/e.py:7: error ALR002 e: it has the tag triage/no_triage, and t mail the alert address" in lines
    assert lines[-1].startswith("2 errors, no warnings, none silenced")


def test_json_and_junit_are_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(check(monkeypatch, UNSOUND, "--json").stdout)
    assert sorted(found["code"] for found in told["findings"]) == ["ALR002", "POL001"]
    root = ElementTree.fromstring(check(monkeypatch, UNSOUND, "--junit").stdout.encode())
    assert root.attrib["failures"] == "2"
    assert [line.split(",")[0] for line in check(monkeypatch, UNSOUND, "--github").stdout.splitlines()] == [
        "::error file=dags/etl/d.py",
        "::error file=dags/etl/e.py",
    ]


def test_one_form_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    result = check(monkeypatch, SOUND, "--json", "--junit")
    assert result.exit_code == 2
    assert "only one of --json, --github and --junit" in result.stderr


def test_a_path_narrows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(monkeypatch, UNSOUND, str(ROOT / "dags" / "etl" / "d.py")).stdout.count("error") == 3
    assert check(monkeypatch, UNSOUND, str(ROOT / "dags" / "bi")).exit_code == 2


def test_a_folder_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in ("--dags", "--imported", "--checkout"):
        result = check(monkeypatch, SOUND, option, "nowhere")
        assert result.exit_code == 2
        assert "nowhere" in result.stderr


def test_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(check(monkeypatch, UNSOUND, "--alerts", "--json").stdout)
    assert [(each["dag_id"], each["mail_on_failure"], each["triage"]) for each in told] == [
        ("d", ["telemetry-alerts@mozilla.com"], "the team itself"),
        ("e", ["telemetry-alerts@mozilla.com"], "not triaged: the owner alone"),
    ]
    table = check(monkeypatch, UNSOUND, "--alerts").stdout
    assert "telemetry-alerts@mozilla.com" in table
    assert "1 DAGs: not triaged: the owner alone" in table
    assert check(monkeypatch, inventory(), "--alerts").exit_code == 2
