"""What compose does before Airflow starts: four commands, the password on none of their command lines."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from utils.config import Imports
from utils.pools import POOLS
from wtmo.local import compose_init

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, Any]]]:
    """The commands that would have run."""
    ran: list[tuple[list[str], dict[str, Any]]] = []

    def run(argv: list[str], **options: Any) -> None:
        ran.append((argv[3:], options))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", "/storage")
    return ran


def test_the_password_is_only_on_standard_input(
    commands: list[tuple[list[str], dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", "made-up-secret")
    assert compose_init.main() == 0
    steps = [["db", "migrate"], ["pools", "import"], ["users", "create"]]
    assert [argv[:2] for argv, _ in commands] == [*steps, ["import", "https://github.com/mozilla/bigquery-etl"]]
    assert "made-up-secret" not in json.dumps([argv for argv, _ in commands])
    assert commands[2][1]["input"] == "made-up-secret\nmade-up-secret\n"


def test_without_a_password_nothing_runs(
    commands: list[tuple[list[str], dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", "")
    assert compose_init.main() == 2
    assert commands == []
    assert "make compose-env" in capsys.readouterr().err


def test_a_failed_step_ends_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(argv: list[str], **_: Any) -> None:
        raise subprocess.CalledProcessError(7, argv)

    monkeypatch.setenv("ADMIN_PASSWORD", "made-up-secret")
    monkeypatch.setattr(subprocess, "run", run)
    assert compose_init.main() == 1
    assert "`airflow db migrate` ended with exit status 7" in capsys.readouterr().err


def test_the_bundle_is_filled_from_the_samples_repository(tmp_path: Path) -> None:
    url = str(tmp_path / "sample.git")
    command = compose_init.fill_bundle(tmp_path, Imports(url=url, ref="main"))
    assert command[3:] == ["import", url, "--ref", "main", "--into", str(tmp_path / "bigquery-etl")]
    made = subprocess.run(
        ["git", "--git-dir", url, "ls-tree", "-r", "--name-only", "main"], capture_output=True, text=True, check=True
    )
    assert made.stdout == "dags/bqetl_sample.py\n"


def test_another_repository_is_not_made(tmp_path: Path) -> None:
    compose_init.fill_bundle(tmp_path, Imports(url="https://example.com/o/r", ref="main"))
    assert list(tmp_path.iterdir()) == []


def test_what_a_connection_leads_to_is_left_to_the_bundle(
    commands: list[tuple[list[str], dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", "made-up-secret")
    monkeypatch.setenv("WTMO_IMPORT_CONN_ID", "git_private")
    assert compose_init.main() == 0
    assert [argv[0] for argv, _ in commands] == ["db", "pools", "users"]


def test_every_declared_pool_is_made(tmp_path: Path) -> None:
    made = json.loads(compose_init.pools_file(tmp_path).read_text())
    assert {name: pool["slots"] for name, pool in made.items()} == {pool.name: pool.slots for pool in POOLS}
