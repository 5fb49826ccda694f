"""What the bundle of imported DAGs is given: the sample, a folder, a repository; and the query files beside it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.wtmo.imports.conftest import Repository, dag
from wtmo.errors import WtmoError
from wtmo.imports.source import GitSource
from wtmo.imports.translate import translate
from wtmo.local import generated
from wtmo.local.state import State

if TYPE_CHECKING:
    from pathlib import Path


def quiet(_: str) -> None:
    """Take a report and say nothing."""


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def git(origin: generated.Origin, *arguments: str) -> str:
    done = subprocess.run(["git", "--git-dir", origin.url, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_sample_is_the_same_commit_everywhere(state: State, tmp_path: Path) -> None:
    first = generated.sample(state)
    commit = git(first, "rev-parse", first.ref)
    assert git(generated.sample(State(tmp_path / "another")), "rev-parse", "main") == commit
    assert git(generated.sample(state), "rev-parse", "main") == commit, "a second start makes no commit"
    assert git(first, "log", "-1", "--format=%an %ae %cI") == "wtmo wtmo@localhost.invalid 2026-06-01T00:00:00+00:00"


def test_the_sample_is_in_the_form_that_is_translated() -> None:
    """A sample that needs no translation would show nothing."""
    for file in generated.SAMPLE_FILES.glob("*.py"):
        rules = {change.rule for change in translate(file.read_bytes(), file.name).changes}
        assert {"moved-import", "dag-schedule", "task-concurrency"} <= rules


def test_a_changed_folder_is_a_further_commit(state: State, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "dags").mkdir(parents=True)
    (folder / "setup.py").write_text("no DAG")
    (folder / "dags" / "a.py").write_text(dag("a"))
    (folder / "dags" / "b.py").write_text(dag("b"))
    first = generated.origin(state, str(folder), None)
    before = git(first, "rev-parse", "main")
    (folder / "dags" / "a.py").write_text(dag("a", "# more\n"))
    (folder / "dags" / "b.py").unlink()
    assert generated.origin(state, str(folder), None) == first
    assert git(first, "rev-parse", "main^") == before
    assert git(first, "ls-tree", "-r", "--name-only", "main") == "dags/a.py"
    assert git(first, "show", "main:dags/a.py").endswith("# more")


@pytest.mark.parametrize("wrong", ["nothing", "link"])
def test_a_folder_that_can_not_be_served_is_named(state: State, tmp_path: Path, wrong: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    if wrong == "link":
        (folder / "a.py").symlink_to("/etc/passwd")
    with pytest.raises(WtmoError, match="holds no Python files" if wrong == "nothing" else r"a\.py is a symbolic link"):
        generated.origin(state, str(folder), None)


def test_a_repository_is_taken_at_its_branch_of_generated_dags(
    state: State, repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a.py": dag("a")})
    where = str(repository.path)
    assert generated.origin(state, where, None) == generated.Origin(where, "HEAD")
    repository.git("branch", "generated-dags")
    assert generated.origin(state, where, None).ref == "generated-dags"
    assert generated.origin(state, where, "main").ref == "main"
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", where, str(clone), at=None)
    found = generated.origin(state, str(clone), None)
    assert found.ref == "refs/remotes/origin/generated-dags"
    assert set(GitSource(found.url, tmp_path / "m.git", ref=found.ref).snapshot().files) == {"a.py"}


def test_query_files_are_those_of_the_branch_generated_sql(
    state: State, repository: Repository, tmp_path: Path
) -> None:
    repository.commit({"a.py": dag("a")})
    imported = generated.origin(state, str(repository.path), None)
    assert generated.checkout(state, None, imported, quiet) is None
    query = repository.path / "sql" / "p" / "d" / "t" / "query.sql"
    query.parent.mkdir(parents=True)
    repository.git("checkout", "--quiet", "-b", "generated-sql")
    for text in ("SELECT 1", "SELECT 2"):
        query.write_text(text)
        repository.commit({})
        for where in (None, str(repository.path / ".git")):
            folder = generated.checkout(state, where, imported, quiet)
            assert folder
            assert (folder / "sql" / "p" / "d" / "t" / "query.sql").read_text() == text
            assert not (folder / "dags").exists()
    assert len(list((state.root / "generated").glob("sql-*"))) == 1, "an older one is removed"
    fetched = generated.Origin(str(state.root / "generated" / "sql.git"), "refs/wtmo/source")
    assert git(fetched, "rev-list", "--count", fetched.ref) == "1", "the history of 12,000 files stays where it is"


def test_a_folder_of_query_files_is_taken_as_it_is(state: State, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sql").mkdir(parents=True)
    nothing = generated.Origin("/nowhere", "HEAD")
    assert generated.checkout(state, str(tmp_path / "mine"), nothing, quiet) == tmp_path / "mine"
    (tmp_path / "empty").mkdir()
    with pytest.raises(WtmoError, match=r"neither a folder sql/ nor a branch generated-sql"):
        generated.checkout(state, str(tmp_path / "empty"), nothing, quiet)


def test_what_up_is_told(state: State, repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sql").mkdir(parents=True)
    repository.commit({"a.py": dag("a")})
    assert generated.supplied(state, None, None, None, quiet) == (None, None)
    assert generated.supplied(state, None, None, str(tmp_path / "mine"), quiet) == (None, tmp_path / "mine")
    given = generated.supplied(state, str(repository.path), "main", None, quiet)
    assert given == (generated.Origin(str(repository.path), "main"), None)
    with pytest.raises(WtmoError, match="a ref of nothing"):
        generated.supplied(state, None, "main", None, quiet)


def test_a_link_in_a_repository_of_query_files_leads_nowhere(
    state: State, repository: Repository, tmp_path: Path
) -> None:
    repository.git("checkout", "--quiet", "-b", "generated-sql")
    (repository.path / "sql").mkdir()
    (repository.path / "sql" / "out").symlink_to("/etc")
    repository.commit({"a.py": dag("a")})
    with pytest.raises(WtmoError, match="cannot write the files of"):
        generated.checkout(state, str(repository.path / ".git"), generated.Origin("/nowhere", "HEAD"), quiet)


def test_where_git_is_told_to_work_otherwise_has_no_say(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    assert generated.sample(state).url == str(state.root / "generated" / "sample.git")
    assert not (tmp_path / "elsewhere").exists()


def test_status_is_of_the_platforms_own_bundle_when_it_has_one(state: State, tmp_path: Path) -> None:
    other = tmp_path / "imports"
    assert generated.default_store(state, other).root == other
    own = generated.store(state).root
    own.mkdir(parents=True)
    (own / "last.json").write_text("{}")
    assert generated.default_store(state, other).root == own
