"""What compose does before Airflow starts: three commands, the password on none of their command lines."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

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
    return ran


def test_the_password_is_only_on_standard_input(
    commands: list[tuple[list[str], dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", "made-up-secret")
    assert compose_init.main() == 0
    assert [argv[:2] for argv, _ in commands] == [["db", "migrate"], ["pools", "import"], ["users", "create"]]
    assert "made-up-secret" not in json.dumps([argv for argv, _ in commands])
    assert commands[-1][1]["input"] == "made-up-secret\nmade-up-secret\n"


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


def test_every_declared_pool_is_made(tmp_path: Path) -> None:
    made = json.loads(compose_init.pools_file(tmp_path).read_text())
    assert {name: pool["slots"] for name, pool in made.items()} == {pool.name: pool.slots for pool in POOLS}
