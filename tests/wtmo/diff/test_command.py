"""``wtmo diff`` from the command line: what it prints, and what its exit status says."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from utils.config import ROOT, environment
from wtmo.cli import app
from wtmo.diff.run import Options, day, diff
from wtmo.diff.sides import save
from wtmo.errors import WtmoError
from wtmo.graph.model import Dag, File, Inventory, Task
from wtmo.imports.verdicts import no_report

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def kept(path: Path, retries: int) -> str:
    dag = Dag("d", "b", "d.py", tasks=(Task("t", "E", attributes={"retries": retries}),))
    save(Inventory("2026-06-01", (File("b", "d.py", dags=(dag,)),)), path)
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["diff", "--own", *arguments])


def test_no_difference_is_0_and_a_difference_1(tmp_path: Path) -> None:
    one, same, other = kept(tmp_path / "1.json", 1), kept(tmp_path / "2.json", 1), kept(tmp_path / "3.json", 2)
    done = run(one, same)
    assert (done.exit_code, done.stdout) == (0, "no difference\n")
    done = run(one, other)
    assert done.exit_code == 1
    assert "retries: 1 → 2" in done.stdout


def test_each_form_is_printed(tmp_path: Path) -> None:
    one, other = kept(tmp_path / "1.json", 1), kept(tmp_path / "2.json", 2)
    assert "- `retries`: `1` → `2`" in run("--markdown", one, other).stdout
    assert json.loads(run("--json", one, other).stdout)["changed"][0]["nodes"] == [["d", "t"]]


def test_a_side_that_is_nothing_is_2_and_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "junk.json").write_text("no inventory")
    done = run(str(tmp_path / "junk.json"), kept(tmp_path / "1.json", 1))
    assert done.exit_code == 2
    assert "junk.json holds no inventory" in done.stderr
    assert "wtmo diff BASE --save" in done.stderr


def test_a_day_that_is_none() -> None:
    assert day("2026-06-01") == "2026-06-01"
    with pytest.raises(WtmoError, match="'yesterday' is no date"):
        day("yesterday")


DAG = """from datetime import datetime
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("made", schedule="{schedule}", start_date=datetime(2026, 1, 1)):
    EmptyOperator(task_id="a") >> EmptyOperator(task_id="b")
"""


@pytest.mark.timeout(600)
def test_two_folders_are_loaded_and_compared(tmp_path: Path) -> None:
    for name, schedule in (("base", "0 1 * * *"), ("head", "0 2 * * *")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "made.py").write_text(DAG.format(schedule=schedule))
        (tmp_path / name / "wrong.py").write_text("" if name == "base" else "raise ValueError('no')\n")
    difference, impact = diff(
        str(tmp_path / "base"), str(tmp_path / "head"), Options(date="2026-06-01", own=True, cache=None), no_report
    )
    (entry,) = difference.entries
    assert entry.nodes == (("made", None),)
    told = {change.name: (change.before, change.after) for change in entry.changes}
    assert set(told) == {"schedule", "next_runs"}
    assert told["schedule"] == ("0 1 * * *", "0 2 * * *")
    assert impact.first == {"made": "2026-06-02T02:00:00+00:00"}


def test_make_diff_takes_refs_as_they_are(tmp_path: Path) -> None:
    """Nothing in BASE or HEAD is expanded by make or run by a shell; a difference is no failure of make."""
    told = tmp_path / "told"
    (tmp_path / "wtmo").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {told}\nexit "$STATUS"\n')
    (tmp_path / "wtmo").chmod(0o755)
    stamp = tmp_path / "stamp"
    stamp.touch()
    base = f'a$(shell touch {tmp_path}/made)`touch {tmp_path}/run`"; touch {tmp_path}/other; "'
    for status, expected in (("0", 0), ("1", 0), ("2", 2)):
        command = [
            "make",
            f"BIN={tmp_path}",
            f"STAMP={stamp}",
            "-o",
            str(stamp),
            "diff",
            f"BASE={base}",
            "HEAD=--save",
            "FORMAT=json",
        ]
        own = {**environment(), "STATUS": status, "MAKEFLAGS": "", "MAKELEVEL": ""}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=own, timeout=60, check=False)
        assert done.returncode == expected, done.stderr
        assert told.read_text().splitlines() == ["diff", "--json", "--", base, "--save"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stamp", "told", "wtmo"]
