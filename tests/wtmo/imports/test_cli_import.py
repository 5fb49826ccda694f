"""``wtmo import``: exit status, tables, JSON, and what --check leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from tests.wtmo.imports.conftest import dag
from wtmo.cli import app
from wtmo.imports import run
from wtmo.imports.compare import Difference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.wtmo.imports.conftest import Repository
    from wtmo.imports.run import Tools


@pytest.fixture
def wtmo(
    repository: Repository, tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    def fake_differences(_: object, sources: dict[str, bytes]) -> list[Difference]:
        return [Difference(name, "retries", "1", "2") for name, text in sources.items() if b"DIFFERS" in text]

    monkeypatch.setattr(run, "Tools", lambda: replace(tools, differences=fake_differences))

    def wtmo(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["import", *arguments, "--into", str(tmp_path / "into")])

    return wtmo


def test_all_good(repository: Repository, wtmo: Callable[..., Result], tmp_path: Path) -> None:
    commit = repository.commit({"a.py": dag("a"), "b.py": dag("b")})
    result = wtmo(str(repository.path), "--ref", "main")
    assert result.exit_code == 0, result.output
    assert "translated 2 of 2" in result.stderr
    assert "loaded in the sandbox 2 of 2" in result.stderr
    assert ["schedule", "2", "2"] in [line.split() for line in result.stdout.splitlines()]
    assert ["2", "passed"] in [line.split() for line in result.stdout.splitlines()]
    assert f"imported. Served: {commit}-" in result.stdout
    assert (tmp_path / "into" / "current" / "dags" / "a.py").exists()
    assert "unchanged. Served: " in wtmo(str(repository.path)).stdout


def test_something_held_back(repository: Repository, wtmo: Callable[..., Result]) -> None:
    repository.commit({"a.py": dag("a"), "b.py": dag("b")}, "Good")
    commit = repository.commit({"a.py": dag("a", "UNKNOWN\n", "UNKNOWN\n")}, "Bad by somebody@example.com")
    result = wtmo(str(repository.path), "--max-held", "0.5")
    assert result.exit_code == 1
    for shown in (result.stdout, wtmo("status").stdout):
        assert "a.py:3" in shown
        assert "a word that is not known (and 1 more)" in shown
        assert commit[:12] in shown
        assert "Bad by …" in shown
        assert "example.com" not in shown
    told = json.loads(wtmo("status", "--json").stdout)
    assert [problem["line"] for problem in told["held_back"][0]["problems"]] == [3, 4]
    assert told["held_back"][0]["serves"]["subject"] == "Good"
    assert told["last"]["outcome"] == "imported"
    assert "key" not in told
    outcome = json.loads(wtmo(str(repository.path), "--json", "--max-held", "0.5").stdout)
    assert (outcome["outcome"], outcome["exit_status"]) == ("unchanged", 1)


def test_too_much_held_back(repository: Repository, wtmo: Callable[..., Result]) -> None:
    repository.commit({"a.py": dag("a"), "b.py": dag("b")})
    wtmo(str(repository.path))
    repository.commit({"a.py": dag("a", "RAISES")})
    result = wtmo(str(repository.path))
    assert result.exit_code == 2
    assert "stopped: 1 of 2 files would be held back, more than 10%: nothing was changed" in result.stdout
    status = wtmo("status").stdout
    assert "last import stopped: 1 of 2 files" in status
    assert "it raises" in status


def test_a_source_that_can_not_be_read(repository: Repository, wtmo: Callable[..., Result]) -> None:
    repository.commit({"a.py": dag("a")})
    for arguments in (["/nowhere"], [str(repository.path), "--ref", "none"], ["ext::sh -c id"], ["-x"]):
        result = wtmo(*arguments)
        assert result.exit_code == 2, arguments
        assert result.stderr


def test_check_writes_nothing(repository: Repository, wtmo: Callable[..., Result], tmp_path: Path) -> None:
    repository.commit({"a.py": dag("a"), "b.py": dag("b")})
    assert wtmo(str(repository.path), "--check").exit_code == 0
    assert not (tmp_path / "into").exists()
    repository.commit({"b.py": dag("b", "# DIFFERS\n")})
    result = wtmo(str(repository.path), "--check")
    assert result.exit_code == 1
    assert ["b.py", "retries", "1", "2"] in [line.split() for line in result.stdout.splitlines()]
    assert json.loads(wtmo(str(repository.path), "--check", "--json").stdout)["differences"][0]["where"] == "b.py"


def test_status_before_any_import(wtmo: Callable[..., Result]) -> None:
    result = wtmo("status")
    assert result.exit_code == 2
    assert "nothing was imported into" in result.stderr


def test_status_tells_what_vanished(repository: Repository, wtmo: Callable[..., Result]) -> None:
    repository.commit({"a.py": dag("a"), "b.py": dag("b")})
    commit = repository.commit({"b.py": None})
    wtmo(str(repository.path))
    [line] = [line for line in wtmo("status").stdout.splitlines() if line.startswith("b.py")]
    assert commit[:12] in line
    assert "2026-06-10" in line
