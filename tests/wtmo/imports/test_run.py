"""Imports from end to end with a fake translator and a fake sandbox: what is served, held back, retired, refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.wtmo.imports.conftest import DAY, START, dag
from utils.config import ROOT, environment
from wtmo.errors import WtmoError
from wtmo.imports import verdicts
from wtmo.imports.plan import retire
from wtmo.imports.run import Options, Outcome, materialise, run_import
from wtmo.imports.source import FolderSource, GitSource
from wtmo.imports.status import held_of, read_status
from wtmo.imports.store import Store, digest
from wtmo.imports.verdicts import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.wtmo.imports.conftest import Repository, Work
    from wtmo.imports.run import Tools

ALL = Options(max_held=1.0)


@pytest.fixture
def bring(repository: Repository, store: Store, tools: Tools) -> Callable[..., Outcome]:
    def bring(options: Options = ALL, tools: Tools = tools, store: Store = store) -> Outcome:
        return run_import(GitSource(str(repository.path), store.mirror), store, options, tools=tools)

    return bring


def served(store: Store) -> dict[str, str]:
    assert store.current is not None
    assert store.sound(store.current)
    return {name.removeprefix("dags/"): text.decode() for name, text in store.current.files().items()}


def new(name: str, *more: str) -> str:
    return dag(name, *more).replace("schedule_interval", "schedule")


def test_good_files_are_served_translated(
    repository: Repository, bring: Callable[..., Outcome], store: Store, work: Work
) -> None:
    commit = repository.commit({"a.py": dag("a"), "sub/b.py": dag("b")}, "Auto-push")
    outcome = bring()
    assert (outcome.outcome, outcome.exit_status, outcome.translated, outcome.loaded) == ("imported", 0, 2, 2)
    assert served(store) == {"a.py": new("a"), "sub/b.py": new("b")}
    assert re.fullmatch(rf"{commit}-[0-9a-f]{{16}}", outcome.version or "")
    assert outcome.status["rules"] == {"schedule": {"files": 2, "changes": 2}}
    assert sorted(work.loaded) == ["a.py", "by_hand.py", "sub/b.py"]


def test_with_nothing_new_nothing_is_done(
    repository: Repository, bring: Callable[..., Outcome], store: Store, work: Work
) -> None:
    repository.commit({"a.py": dag("a"), "b.py": dag("b", "UNKNOWN")})
    first = bring()
    work.translated.clear()
    work.starts = 0
    again = bring()
    assert (again.outcome, again.version, again.exit_status) == ("unchanged", first.version, 1)
    assert (work.translated, work.starts) == ([], 0)
    assert read_status(store, START + 30 * DAY)["last"]["outcome"] == "unchanged"


def test_only_what_changed_is_worked_on(repository: Repository, bring: Callable[..., Outcome], work: Work) -> None:
    repository.commit({f"{name}.py": dag(name) for name in "abcdef"})
    bring()
    work.translated.clear()
    work.loaded.clear()
    repository.commit({"b.py": dag("b", "# more\n")})
    assert bring().outcome == "imported"
    assert (work.translated, work.loaded) == (["b.py"], ["b.py"])


@pytest.mark.parametrize(("fault", "reason"), [("UNKNOWN\n", "a word that is not known"), ("RAISES\n", "it raises")])
def test_a_bad_file_keeps_its_last_good_version(
    repository: Repository, bring: Callable[..., Outcome], store: Store, fault: str, reason: str
) -> None:
    first = repository.commit({"a.py": dag("a"), "b.py": dag("b")}, "Good")
    repository.commit({"a.py": dag("a", "# newer and good\n")}, "Newer")
    repository.commit({"a.py": dag("a", fault)}, "Bad")
    repository.commit({"a.py": dag("a", "\n", fault), "b.py": dag("b", "# newer\n")}, "Worse")
    outcome = bring()
    assert served(store) == {"a.py": new("a", "# newer and good\n"), "b.py": new("b", "# newer\n")}
    [held] = outcome.status["held_back"]
    assert held["file"] == "a.py"
    assert held["problems"] == [{"line": 4, "reason": reason}]
    assert held["subject"] == "Worse"
    assert held["serves"]["subject"] == "Newer"
    assert outcome.exit_status == 1

    repository.commit({"a.py": dag("a", "# mended\n")}, "Mended")
    outcome = bring()
    assert served(store)["a.py"] == new("a", "# mended\n")
    assert (outcome.status["held_back"], outcome.exit_status) == ([], 0)
    assert first


def test_a_file_that_was_never_good_is_not_served(
    repository: Repository, bring: Callable[..., Outcome], store: Store
) -> None:
    repository.commit({"a.py": dag("a", "RAISES"), "b.py": dag("b")})
    [held] = bring().status["held_back"]
    assert held["serves"] is None
    assert set(served(store)) == {"b.py"}


def test_the_search_for_a_good_version_ends(
    repository: Repository, bring: Callable[..., Outcome], store: Store, work: Work
) -> None:
    repository.commit({"a.py": dag("a"), "b.py": dag("b")})
    for number in range(22):
        repository.commit({"a.py": dag("a", f"# {number}\n", "RAISES")})
    [held] = bring().status["held_back"]
    assert held["serves"] is None
    assert work.loaded.count("a.py") == 21


def test_links_are_held_back_and_what_was_there_stays(
    repository: Repository, bring: Callable[..., Outcome], store: Store
) -> None:
    repository.commit({"a.py": dag("a")})
    (repository.path / "dags" / "a.py").unlink()
    (repository.path / "dags" / "a.py").symlink_to("/etc/passwd")
    repository.commit({}, "Link")
    [held] = bring().status["held_back"]
    assert held["problems"] == [{"line": None, "reason": "is a symbolic link; put the file itself there"}]
    assert served(store) == {"a.py": new("a")}


def test_the_same_bytes_whoever_makes_them_whenever(
    repository: Repository,
    bring: Callable[..., Outcome],
    store: Store,
    tmp_path: Path,
    tools: Tools,
    at: Callable[[Tools, float], Tools],
) -> None:
    """A store that followed each commit and one that sees only the last have the same tree."""
    steps: list[dict[str, str | None]] = [
        {"a.py": dag("a"), "b.py": dag("b"), "c.py": dag("c"), "d.py": dag("d")},
        {"a.py": dag("a", "RAISES"), "b.py": None},
        {"c.py": dag("a"), "d.py": dag("d", "UNKNOWN")},
        {"a.py": dag("a", "UNKNOWN"), "e.py": dag("d")},
    ]
    versions = set()
    for step in steps:
        repository.commit(step)
        versions.add(bring().version)
    assert len(versions) == len(steps)
    fresh = Store(tmp_path / "fresh")
    assert bring(tools=at(tools, 500), store=fresh).version == bring().version
    assert served(fresh) == served(store)


class TestDagIds:
    def test_a_hand_written_dag_is_not_shadowed(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store
    ) -> None:
        repository.commit({"a.py": dag("a"), "b.py": dag("b")})
        repository.commit({"a.py": "# first\n" + dag("by_hand")})
        [held] = bring().status["held_back"]
        reason = "declares the DAG by_hand, which is that of dags/by_hand.py"
        assert held["problems"] == [{"line": 2, "reason": reason}]
        assert served(store) == {"a.py": new("a"), "b.py": new("b")}

    def test_a_hand_written_file_that_does_not_load_counts_by_its_name(
        self, repository: Repository, bring: Callable[..., Outcome], tools: Tools
    ) -> None:
        (tools.dags / "broken_one.py").write_text("RAISES")
        repository.commit({"x.py": dag("broken_one")})
        assert len(bring().status["held_back"]) == 1

    def test_a_new_hand_written_dag_takes_its_id_at_once(
        self, repository: Repository, bring: Callable[..., Outcome], tools: Tools, store: Store
    ) -> None:
        repository.commit({"x.py": dag("x"), "y.py": dag("y")})
        bring()
        (tools.dags / "x.py").write_text(dag("x"))
        outcome = bring()
        assert (outcome.outcome, len(outcome.status["held_back"])) == ("imported", 1)
        assert set(served(store)) == {"y.py"}

    def test_another_file_s_dag_is_not_shadowed(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store
    ) -> None:
        """The file that is named after the DAG has it, however young."""
        repository.commit({"old.py": dag("x")})
        repository.commit({"x.py": dag("x")})
        [held] = bring().status["held_back"]
        assert held["file"] == "old.py"
        assert held["problems"][0]["reason"] == "declares the DAG x, which is that of x.py"
        assert set(served(store)) == {"x.py"}

    def test_else_the_older_file_has_it(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store
    ) -> None:
        repository.commit({"z.py": dag("x")})
        repository.commit({"a.py": dag("x")})
        assert [held["file"] for held in bring().status["held_back"]] == ["a.py"]
        assert set(served(store)) == {"z.py"}

    def test_a_file_that_loses_goes_back_to_a_version_that_does_not_collide(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store
    ) -> None:
        repository.commit({"a.py": dag("a"), "b.py": dag("b")})
        repository.commit({"b.py": dag("b") + dag("a")})
        bring()
        assert served(store) == {"a.py": new("a"), "b.py": new("b")}


class TestRetired:
    def test_a_file_that_vanished_is_served_without_schedule_for_a_week(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store
    ) -> None:
        repository.commit({"a.py": dag("a"), "b.py": dag("b", "x = 1")})
        removal = repository.commit({"b.py": None}, "Remove b")
        outcome = bring()
        text = served(store)["b.py"]
        assert text.startswith('with DAG("b", schedule=None) as dag:\n    pass\nx = 1\n# Retired: ')
        assert f"removed by commit {removal[:12]}" in text
        [retired] = outcome.status["retired"]
        assert (retired["file"], retired["outcome"], retired["dags"]) == ("b.py", "served", ["b"])
        assert retired["subject"] == "Remove b"
        assert outcome.exit_status == 0
        repository.commit({}, days=6.9)
        bring()
        assert "b.py" in served(store)
        repository.commit({}, days=0.2)
        outcome = bring()
        assert set(served(store)) == {"a.py"}
        assert outcome.status["retired"] == []

    def test_it_comes_back_as_it_was(self, repository: Repository, bring: Callable[..., Outcome], store: Store) -> None:
        repository.commit({"a.py": dag("a"), "b.py": dag("b")})
        repository.commit({"b.py": None})
        bring()
        repository.commit({"b.py": dag("b")})
        bring()
        assert served(store)["b.py"] == new("b")

    def test_a_renamed_file_is_not_served_twice(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store
    ) -> None:
        repository.commit({"a.py": dag("a"), "b.py": dag("b")})
        repository.commit({"b.py": None, "moved.py": dag("b")})
        outcome = bring()
        assert set(served(store)) == {"a.py", "moved.py"}
        assert [entry["outcome"] for entry in outcome.status["retired"]] == ["its DAG is now that of moved.py"]
        assert outcome.status["held_back"] == []

    def test_its_last_good_version_is_what_stays(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store
    ) -> None:
        repository.commit({"a.py": dag("a"), "b.py": dag("b"), "c.py": dag("c", "RAISES")})
        repository.commit({"b.py": dag("b", "RAISES")})
        repository.commit({"b.py": None, "c.py": None})
        outcome = bring()
        assert served(store)["b.py"].startswith('with DAG("b", schedule=None)')
        assert {entry["file"]: entry["outcome"] for entry in outcome.status["retired"]} == {
            "b.py": "served",
            "c.py": "no version passes: it raises",
        }

    def test_days_are_an_option(self, repository: Repository, bring: Callable[..., Outcome], store: Store) -> None:
        repository.commit({"a.py": dag("a"), "b.py": dag("b")})
        repository.commit({"b.py": None})
        bring(replace(ALL, retire_days=0))
        assert set(served(store)) == {"a.py"}

    @pytest.mark.parametrize(
        ("text", "retired"),
        [
            (
                'with DAG("a", schedule="0 3 * * *") as d:\n  pass\n',
                'with DAG("a", schedule=None) as d:\n  pass\n# N\n',
            ),
            (
                'd = m.DAG(\n  "ä",\n  schedule=timedelta(\n    days=1\n  ),\n)',
                'd = m.DAG(\n  "ä",\n  schedule=None,\n)\n# N\n',
            ),
            (
                'DAG("ü", schedule="x"); DAG("b", schedule=y)\n',
                'DAG("ü", schedule=None); DAG("b", schedule=None)\n# N\n',
            ),
            ('f(schedule="x")\n', 'f(schedule="x")\n# N\n'),
        ],
    )
    def test_only_the_schedule_changes(self, text: str, retired: str) -> None:
        assert retire(text.encode(), "# N\n").decode() == retired


class TestTooManyHeldBack:
    def test_it_stops_and_changes_nothing(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store, work: Work
    ) -> None:
        names = [f"d{number:02}" for number in range(20)]
        repository.commit({f"{name}.py": dag(name) for name in names})
        before = bring(Options()).version
        repository.commit({f"{name}.py": dag(name, "UNKNOWN") for name in names[:2]})
        at_limit = bring(Options())
        assert (at_limit.outcome, at_limit.exit_status) == ("imported", 1)
        repository.commit({"d05.py": dag("d05", "RAISES"), "d06.py": dag("d06", "# newer\n")})
        outcome = bring(Options())
        assert (outcome.outcome, outcome.exit_status, outcome.version) == ("stopped", 2, at_limit.version)
        assert outcome.why == "3 of 20 files would be held back, more than 10%: nothing was changed"
        assert served(store)["d06.py"] == new("d06")
        assert before != at_limit.version
        told = read_status(store, START + 30 * DAY)
        assert told["last"]["outcome"] == "stopped"
        assert [entry["file"] for entry in held_of(told)] == ["d00.py", "d01.py", "d05.py"]

        work.loaded.clear()
        assert bring(Options()).why == outcome.why
        assert work.loaded == [], "not judged again for nothing"
        assert bring(Options(max_held=0.2)).outcome == "imported"

    def test_an_empty_tree_is_never_served(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store
    ) -> None:
        repository.commit({"a.py": dag("a", "UNKNOWN")})
        outcome = bring()
        assert (outcome.outcome, outcome.why) == ("stopped", "none of 1 files passes: nothing was changed")
        assert store.current is None

    def test_a_source_without_files_is_no_source(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store
    ) -> None:
        repository.commit({"a.py": dag("a")})
        bring()
        repository.git("rm", "--quiet", "-r", "dags")
        repository.commit({})
        with pytest.raises(WtmoError, match="has no Python files"):
            bring()
        assert set(served(store)) == {"a.py"}


def test_a_source_that_can_not_be_read_leaves_all_and_says_since_when(
    repository: Repository,
    bring: Callable[..., Outcome],
    store: Store,
    tools: Tools,
    at: Callable[[Tools, float], Tools],
) -> None:
    repository.commit({"a.py": dag("a")})
    bring(tools=at(tools, 2))
    shutil.move(repository.path, repository.path.with_name("away"))
    for days in (3, 4):
        with pytest.raises(WtmoError, match="cannot fetch HEAD"):
            bring(tools=at(tools, days))
    assert served(store) == {"a.py": new("a")}
    told = read_status(store, START + 5 * DAY)
    assert told["last"]["outcome"] == "failed"
    assert "cannot fetch HEAD" in told["last"]["why"]
    assert told["last"]["failing_since"] == "2026-06-04T08:00:00+00:00"
    assert told["source_age"] == 3 * DAY
    assert told["age"] == 4 * DAY
    shutil.move(repository.path.with_name("away"), repository.path)
    bring(tools=at(tools, 5))
    assert "failing_since" not in read_status(store, START + 5 * DAY)["last"]


def test_what_failed_to_load_is_tried_again_after_an_hour(
    repository: Repository, bring: Callable[..., Outcome], work: Work, tools: Tools, at: Callable[[Tools, float], Tools]
) -> None:
    """A time limit can be the machine's fault."""
    repository.commit({"a.py": dag("a"), "b.py": dag("b", "RAISES")})
    bring(tools=at(tools, 1))
    work.translated.clear()
    for hours, loads in ((0.5, []), (0.9, []), (1.1, ["b.py"]), (1.5, []), (2.2, ["b.py"])):
        work.loaded.clear()
        bring(tools=at(tools, 1 + hours / 24))
        assert work.loaded == loads
    assert work.translated == [], "a translation is remembered"


def test_another_translator_judges_all_anew(
    repository: Repository, bring: Callable[..., Outcome], work: Work, tools: Tools
) -> None:
    repository.commit({"a.py": dag("a")})
    first = bring()
    work.translated.clear()
    again = bring(tools=replace(tools, fingerprint=lambda: "f2"))
    assert work.translated == ["a.py"]
    assert (again.outcome, again.version) == ("unchanged", first.version), "the same bytes are the same version"


def test_a_damaged_tree_is_mended(repository: Repository, bring: Callable[..., Outcome], store: Store) -> None:
    repository.commit({"a.py": dag("a")})
    bring()
    path = store.root / "current" / "dags" / "a.py"
    path.chmod(0o644)
    path.write_text("rm -rf")
    assert bring().outcome == "unchanged"
    assert served(store) == {"a.py": new("a")}


def test_only_some_files(repository: Repository, bring: Callable[..., Outcome], store: Store) -> None:
    repository.commit({"a.py": dag("a"), "b.py": dag("b")})
    bring(replace(ALL, only="a*"))
    assert set(served(store)) == {"a.py"}
    bring()
    with pytest.raises(WtmoError, match=r"1 files are served that 'a\*' does not match"):
        bring(replace(ALL, only="a*"))
    with pytest.raises(WtmoError, match="has no Python files that match 'x'"):
        bring(replace(ALL, only="x"))
    assert set(served(store)) == {"a.py", "b.py"}


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "files").mkdir()
        return tmp_path / "files"

    def bring(self, folder: Path, store: Store, tools: Tools) -> Outcome:
        return run_import(FolderSource(folder, tools.now), store, ALL, tools=tools)

    def test_the_last_good_version_is_the_one_that_was_served(self, folder: Path, store: Store, tools: Tools) -> None:
        (folder / "a.py").write_text(dag("a"))
        first = self.bring(folder, store, tools)
        assert (first.version or "").startswith("folder-")
        assert self.bring(folder, store, tools).outcome == "unchanged"
        for bad in ("UNKNOWN", "RAISES"):
            (folder / "a.py").write_text(dag("a", bad))
            outcome = self.bring(folder, store, tools)
            assert store.current is not None
            assert store.current.files()["dags/a.py"] == new("a").encode()
            [held] = outcome.status["held_back"]
            assert held["serves"] is not None

    def test_what_vanished_is_retired_from_when_it_was_missed(
        self, folder: Path, store: Store, tools: Tools, at: Callable[[Tools, float], Tools]
    ) -> None:
        for name in "ab":
            (folder / f"{name}.py").write_text(dag(name))
        self.bring(folder, store, at(tools, 0))
        (folder / "b.py").unlink()
        for days, expected in ((1, {"a", "b"}), (7.9, {"a", "b"}), (8.1, {"a"})):
            self.bring(folder, store, at(tools, days))
            assert store.current is not None
            assert {path.stem for path in store.current.dags.iterdir()} == expected


class TestMaterialise:
    @pytest.fixture
    def make(self, repository: Repository, tools: Tools) -> Callable[..., Any]:
        def make(version: str, store: Store, tools: Tools = tools, options: Options = ALL) -> dict[str, bytes]:
            return materialise(
                version, GitSource(str(repository.path), store.mirror), store, options, tools=tools
            ).files()

        return make

    def test_from_the_store(
        self, repository: Repository, bring: Callable[..., Outcome], store: Store, make: Callable[..., Any], work: Work
    ) -> None:
        repository.commit({"a.py": dag("a")})
        version = bring().version
        repository.commit({"a.py": dag("a", "# newer")})
        bring()
        shutil.rmtree(repository.path)
        work.loaded.clear()
        assert make(version, store) == {"dags/a.py": new("a").encode()}
        assert work.loaded == []

    def test_anew_without_loading_when_all_was_good(
        self,
        repository: Repository,
        bring: Callable[..., Outcome],
        tmp_path: Path,
        make: Callable[..., Any],
        work: Work,
    ) -> None:
        repository.commit({"a.py": dag("a"), "b.py": dag("b"), "c.py": dag("c")})
        repository.commit({"b.py": None, "c.py": dag("c", "UNKNOWN")})
        version = bring().version
        repository.commit({"a.py": dag("a", "# newer")})
        work.loaded.clear()
        fresh = Store(tmp_path / "fresh")
        assert f"{digest(make(version, fresh))}" == (version or "").rpartition("-")[2]
        assert work.loaded == []
        assert fresh.current is None, "what is served is for the import to say"

    def test_anew_with_the_sandbox_when_a_file_did_not_load(
        self,
        repository: Repository,
        bring: Callable[..., Outcome],
        tmp_path: Path,
        make: Callable[..., Any],
        work: Work,
    ) -> None:
        repository.commit({"a.py": dag("a"), "b.py": dag("b")})
        repository.commit({"a.py": dag("a", "RAISES")})
        version = bring().version
        work.loaded.clear()
        assert make(version, Store(tmp_path / "fresh"))["dags/a.py"] == new("a").encode()
        assert "a.py" in work.loaded

    def test_what_another_translator_made_is_refused(
        self,
        repository: Repository,
        bring: Callable[..., Outcome],
        tmp_path: Path,
        make: Callable[..., Any],
        tools: Tools,
    ) -> None:
        repository.commit({"a.py": dag("a")})
        version = bring().version
        other = replace(tools, translate=lambda files: [replace(t, text=t.text + b"#") for t in tools.translate(files)])
        fresh = Store(tmp_path / "fresh")
        with pytest.raises(WtmoError, match="cannot be made anew here"):
            make(version, fresh, other)
        assert not fresh.versions.exists()

    def test_a_commit_that_is_gone_is_refused(
        self, repository: Repository, bring: Callable[..., Outcome], tmp_path: Path, make: Callable[..., Any]
    ) -> None:
        repository.commit({"a.py": dag("a")})
        with pytest.raises(WtmoError, match=f"cannot fetch {'0' * 40}"):
            make(f"{'0' * 40}-{'0' * 16}", Store(tmp_path / "fresh"))

    @pytest.mark.parametrize("version", ["folder-0123456789abcdef", "HEAD-0123456789abcdef", "x", "../../etc-0"])
    def test_a_version_that_is_no_commit_s(self, store: Store, make: Callable[..., Any], version: str) -> None:
        with pytest.raises(WtmoError, match="only a version of a git commit can be made anew"):
            make(version, store)


def test_the_fingerprint_is_of_the_shared_code(tmp_path: Path) -> None:
    for name in ("operators", "utils", "config", "wtmo/imports"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.py").write_text("1")
    for name in ("requirements.txt", "config/airflow.cfg"):
        (tmp_path / name).write_text("1")
    seen = {fingerprint(tmp_path)}
    for name in (
        "operators/x.py",
        "utils/x.py",
        "config/x.py",
        "wtmo/imports/x.py",
        "requirements.txt",
        "config/airflow.cfg",
    ):
        (tmp_path / name).write_text("2")
        seen.add(fingerprint(tmp_path))
    assert len(seen) == 7
    (tmp_path / "utils" / "notes.txt").write_text("2")
    assert fingerprint(tmp_path) in seen
    for name in verdicts.SHARED:
        assert (ROOT / name).exists(), f"{name} is part of the fingerprint and is gone"


def test_with_nothing_to_do_nothing_heavy_is_imported() -> None:
    """Of Airflow, the parser and the sandbox: seconds that the check of an unchanged source would wait for."""
    code = (
        "import sys, json; import wtmo.cli, wtmo.imports.run, wtmo.imports.status, wtmo.imports.source;"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, check=True, timeout=60
    )
    heavy = {"airflow", "libcst", "sqlalchemy", "wtmo.imports.sandbox", "wtmo.imports.translate", "kubernetes", "git"}
    assert heavy & set(json.loads(done.stdout)) == set()
