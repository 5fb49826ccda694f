"""What is remembered of files, and what makes it forgotten."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from utils.config import ROOT
from wtmo.graph import inventory as library
from wtmo.graph.inventory import Source, inventory
from wtmo.graph.model import Dag, File, Query, Task
from wtmo.imports.sandbox import Described

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wtmo.imports.sandbox import Place


class FakeSandbox:
    """Tells of each file a DAG of its name; of one that says so, that it was late."""

    asked: list[str]
    made: list[tuple[Path, ...]]

    def __init__(self, *, roots: Sequence[Path], code: Path) -> None:
        self.made.append((code, *roots))

    def __enter__(self) -> FakeSandbox:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def describe(self, places: Sequence[Place], date: str) -> Iterator[Described]:
        for place in places:
            self.asked.append(f"{place.bundle}:{place.name}@{date}")
            if "late" in (place.root / place.name).read_text():
                yield Described(place, File(place.bundle, place.name, refused="late", refused_kind="late"))
            elif "refused" in (place.root / place.name).read_text():
                yield Described(place, File(place.bundle, place.name, refused="no", refused_kind="import"))
            else:
                found = Dag(Path(place.name).stem, place.bundle, place.name)
                yield Described(place, File(place.bundle, place.name, dags=(found,)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(FakeSandbox, "asked", [], raising=False)
    monkeypatch.setattr(FakeSandbox, "made", [], raising=False)
    monkeypatch.setattr(library, "Sandbox", FakeSandbox)
    return FakeSandbox.asked


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A tree of shared modules."""
    tree = tmp_path / "tree"
    for name in ("operators", "utils", "config"):
        (tree / name).mkdir(parents=True)
        (tree / name / "a.py").write_text("A = 1\n")
    return tree


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "dags"
    (root / "etl").mkdir(parents=True)
    for name in ("etl/one.py", "two.py"):
        (root / name).write_text(f"# {name}\n")
    return root


def test_an_edit_of_one_file_asks_for_one(asked: list[str], bundle: Path, code: Path, tmp_path: Path) -> None:
    def look(date: str = "2026-06-01", root: Path = bundle, tree: Path = code) -> list[str]:
        asked.clear()
        found = inventory([Source("b", root, tree)], cache=tmp_path / "cache", date=date)
        assert [file.name for file in found.files] == ["etl/one.py", "two.py"]
        assert sorted(found.dags) == ["one", "two"]
        return [line.partition("@")[0] for line in asked]

    assert look() == ["b:etl/one.py", "b:two.py"]
    assert look() == []
    (bundle / "two.py").write_text("# edited\n")
    assert look() == ["b:two.py"]
    assert look("2026-06-02") == ["b:etl/one.py", "b:two.py"]
    (code / "utils" / "a.py").write_text("A = 2\n")
    assert look() == ["b:etl/one.py", "b:two.py"]
    (bundle / "query.sql").write_text("SELECT 1")
    assert look() == ["b:etl/one.py", "b:two.py"], "a file that a template may name"
    # Where the folders lie plays no part.
    shutil.copytree(bundle, tmp_path / "elsewhere")
    shutil.copytree(code, tmp_path / "tree_elsewhere")
    assert look(root=tmp_path / "elsewhere", tree=tmp_path / "tree_elsewhere") == []
    for file in (tmp_path / "cache").rglob("*.json"):
        file.write_text('{"bundle": 3}')
    assert look() == ["b:etl/one.py", "b:two.py"], "what is damaged is looked at anew"


def test_what_may_be_the_machines_fault_is_tried_again(asked: list[str], bundle: Path, tmp_path: Path) -> None:
    (bundle / "etl" / "one.py").write_text("late")
    (bundle / "two.py").write_text("refused")
    for _ in range(2):
        found = inventory([Source("b", bundle)], cache=tmp_path / "cache")
        assert [file.refused_kind for file in found.files] == ["late", "import"]
    assert asked == ["b:etl/one.py@2026-06-01", "b:two.py@2026-06-01", "b:etl/one.py@2026-06-01"]


def test_one_sandbox_a_tree(asked: list[str], bundle: Path, code: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    told: list[tuple[int, int]] = []
    found = inventory(
        [Source("a", bundle), Source("b", other), Source("c", bundle, code)],
        cache=None,
        report=lambda line, done=0, total=0: told.append((done, total)),
    )
    assert FakeSandbox.made == [(ROOT, bundle, other), (code, bundle)]
    assert told == [(number, 6) for number in range(1, 7)]
    assert len(found.files) == 6
    assert found.twice == {
        "one": ("a:etl/one.py", "b:etl/one.py", "c:etl/one.py"),
        "two": ("a:two.py", "b:two.py", "c:two.py"),
    }


def test_only_some_files(asked: list[str], bundle: Path) -> None:
    (bundle / ".hidden").mkdir()
    (bundle / ".hidden" / "a.py").write_text("")
    found = inventory([Source("b", bundle)], cache=None, only=lambda bundle, name: name == Path("etl/one.py"))
    assert [file.name for file in found.files] == ["etl/one.py"]


def test_sql_comes_from_the_checkout(tmp_path: Path) -> None:
    folder = tmp_path / "sql" / "p" / "d" / "t_v1"
    folder.mkdir(parents=True)
    (folder / "query.sql").write_text("SELECT {{ 1 + 1 }} FROM a.b")
    (folder / "checks.sql").write_text("#fail\nASSERT TRUE;\n#warn\nASSERT FALSE;\n")

    def of(file: str, *arguments: str) -> Query:
        task = Task("t", "x", rendered={"arguments": list(arguments)}, query=Query("pod", file=file))
        (found,) = library._with_sql(
            [File("b", "f", dags=(Dag("d", "b", "f", tasks=(task,)),))], library.Checkout(tmp_path)
        )
        query = found.dags[0].tasks[0].query
        assert query is not None
        return query

    assert of("sql/p/d/t_v1/query.sql", "query", "sql/p/d/t_v1/query.sql").sql == "SELECT 2 FROM a.b"
    check = of("sql/p/d/t_v1/checks.sql", "script/bqetl", "check", "run", "--marker", "fail", "sql/p/d/t_v1")
    assert "ASSERT TRUE" in (check.sql or "")
    assert "FALSE" not in (check.sql or "")
    missing = of("sql/p/d/none/query.sql", "query", "sql/p/d/none/query.sql")
    assert missing.sql is None
    assert "No such file" in (missing.error or "")
