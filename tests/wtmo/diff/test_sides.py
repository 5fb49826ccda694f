"""What BASE and HEAD can be: refs, checkouts, folders, imports, kept inventories."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from utils.config import environment
from wtmo.diff.sides import load, open_side, save
from wtmo.errors import WtmoError
from wtmo.graph.inventory import IMPORTED, OWN, Source
from wtmo.graph.model import Dag, File, Inventory, Run, Task, Wait

if TYPE_CHECKING:
    from pathlib import Path


def git(repository: Path, *arguments: str) -> None:
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}  # fmt: skip
    own = {**environment(), **identity, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True, env=own)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits: ``first`` with one DAG, the branch ``main`` with two and another utility. The work tree has a third."""
    root = tmp_path / "repository"
    for folder in ("dags/etl", "operators", "utils", "tests"):
        (root / folder).mkdir(parents=True)
    (root / "dags/etl/a.py").write_text("a = 1\n")
    (root / "operators/o.py").write_text("o = 1\n")
    (root / "utils/u.py").write_text("u = 1\n")
    (root / "tests/t.py").write_text("t = 1\n")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    git(root, "tag", "first")
    (root / "dags/etl/b.py").write_text("b = 1\n")
    (root / "utils/u.py").write_text("u = 2\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "two")
    (root / "dags/etl/c.py").write_text("c = 1\n")
    return root


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*.py")}


def into(tmp_path: Path) -> Path:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return folder


def test_a_ref_comes_with_its_own_operators_and_leaves_the_work_tree_alone(repository: Path, tmp_path: Path) -> None:
    before = names(repository)
    imported = Source(IMPORTED, tmp_path / "served")
    side = open_side("first", into(tmp_path), [imported], repository)
    own, generated = side.sources
    assert (own.bundle, names(own.root)) == (OWN, {"etl/a.py"})
    assert names(own.code) == {"dags/etl/a.py", "operators/o.py", "utils/u.py"}
    assert (own.code / "utils/u.py").read_text() == "u = 1\n"
    assert (generated.bundle, generated.root, generated.code) == (IMPORTED, tmp_path / "served", own.code)
    assert side.told.startswith("first (")
    assert names(repository) == before
    assert (repository / "utils/u.py").read_text() == "u = 2\n"


def test_a_commit_before_another(repository: Path, tmp_path: Path) -> None:
    assert names(open_side("main^", into(tmp_path), (), repository).sources[0].root) == {"etl/a.py"}


def test_a_checkout_is_taken_as_it_is(repository: Path, tmp_path: Path) -> None:
    (own,) = open_side(str(repository), into(tmp_path)).sources
    assert (own.bundle, own.code) == (OWN, repository)
    assert names(own.root) == {"etl/a.py", "etl/b.py", "etl/c.py"}


def test_a_folder_of_dags(tmp_path: Path) -> None:
    (tmp_path / "folder/dags").mkdir(parents=True)
    for name in ("folder", "folder/dags"):
        (source,) = open_side(str(tmp_path / name), tmp_path).sources
        assert (source.bundle, source.root) == (IMPORTED, tmp_path / "folder/dags")


def test_an_import(tmp_path: Path) -> None:
    store = tmp_path / "store"
    (store / "trees/abc-1/dags").mkdir(parents=True)
    (store / "current").symlink_to("trees/abc-1")
    side = open_side(str(store), tmp_path)
    assert [(source.bundle, source.root) for source in side.sources] == [(IMPORTED, store / "trees/abc-1/dags")]
    assert "abc-1" in side.told
    (store / "current").unlink()
    (store / "current").symlink_to("trees/gone")
    with pytest.raises(WtmoError, match="serves nothing"):
        open_side(str(store), tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "--output=/tmp/x", "first..main", "", "$(touch x)", "main:dags"])
def test_what_is_neither_a_ref_nor_a_folder(repository: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(WtmoError, match="is no git ref of this repository and no folder"):
        open_side(name, into(tmp_path), (), repository)


def test_a_ref_without_dags(repository: Path, tmp_path: Path) -> None:
    git(repository, "rm", "--quiet", "-r", "-f", "dags")
    git(repository, "commit", "--quiet", "-m", "three")
    with pytest.raises(WtmoError, match="main has no dags/"):
        open_side("main", into(tmp_path), (), repository)


def test_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = into(tmp_path)
    with pytest.raises(WtmoError, match="no git"):
        open_side("main", folder, (), folder)


def test_git_s_variables_of_a_hook_do_not_count(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert open_side("first", into(tmp_path), (), repository).sources


def test_an_inventory_is_kept_whole(tmp_path: Path) -> None:
    wait = Wait("x", ("y",), how="function", dates=(("2026-06-01T00:00:00+00:00", ("2026-05-31T00:00:00+00:00",)),))
    dag = Dag("d", OWN, "d.py", run=Run("a", "b", "c"), fires=(("a", "b", "c"),), tasks=(Task("t", "S", waits=wait),))
    kept = Inventory("2026-06-01", (File(OWN, "d.py", dags=(dag,)), File(OWN, "e.py", refused="no", line=3)))
    save(kept, tmp_path / "kept.json")
    assert load(tmp_path / "kept.json") == kept
    assert open_side(str(tmp_path / "kept.json"), tmp_path).kept == kept


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 0, "date": "x", "files": []}', '{"format": 1, "files": [{}]}']
)
def test_a_file_that_holds_no_inventory(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(WtmoError, match=r"x\.json"):
        open_side(str(tmp_path / "x.json"), tmp_path)
