"""What is remembered of files, and what makes it forgotten."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from utils.config import ROOT
from utils.errors import WtmoError
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


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("import helper", True),
        ("import json, helper as h", True),
        ("import json, \\\n    helper", True),
        ("if True: from helper import A", True),
        ("from helper import (\n    A,\n)", True),
        ("from middle import B", True),
        ("from pack.mod import C", True),
        ("import pack.mod", True),
        ("from pack import mod", True),
        ("import importlib\nimportlib.import_module('hel' + 'per')", True),
        ("__import__('helper')", True),
        ("import helpers", False),
        ("from utils.helper import A", False),
        ("waits_for = 'helper'", False),
        ("import json", False),
    ],
)
def test_an_edit_of_a_module_beside_asks_for_its_users(
    asked: list[str], bundle: Path, tmp_path: Path, text: str, uses: bool
) -> None:
    (bundle / "pack" / "deep").mkdir(parents=True)
    (bundle / "pack" / "mod.py").write_text("from . import deep\n")
    (bundle / "pack" / "deep" / "__init__.py").write_text("from ..other import D\n")
    (bundle / "pack" / "other.py").write_text("from helper import A as D\n")
    (bundle / "middle.py").write_text("from helper import A as B\n")
    (bundle / "helper.py").write_text("A = 1\n")
    (bundle / "two.py").write_text(f"{text}\n")

    def look() -> set[str]:
        asked.clear()
        inventory([Source("b", bundle)], cache=tmp_path / "cache")
        return {line.partition("@")[0].partition(":")[2] for line in asked}

    others = {"helper.py", "middle.py", "pack/mod.py", "pack/deep/__init__.py", "pack/other.py"}
    assert look() == {"etl/one.py", "two.py", *others}
    assert look() == set()
    (bundle / "helper.py").write_text("A = 2\n")
    assert look() == others | ({"two.py"} if uses else set())
    (bundle / "helper.py").unlink()
    assert look() == others - {"helper.py"} | ({"two.py"} if uses else set())


def test_a_package_s_init_counts_as_imported(asked: list[str], bundle: Path, tmp_path: Path) -> None:
    (bundle / "pack").mkdir()
    for name in ("__init__.py", "mod.py", "other.py"):
        (bundle / "pack" / name).write_text("")
    (bundle / "two.py").write_text("import pack.mod\n")
    inventory([Source("b", bundle)], cache=tmp_path / "cache")
    asked.clear()
    (bundle / "pack" / "__init__.py").write_text("A = 1\n")
    (bundle / "pack" / "other.py").write_text("A = 1\n")
    inventory([Source("b", bundle)], cache=tmp_path / "cache")
    assert {line.partition("@")[0] for line in asked} == {"b:pack/__init__.py", "b:pack/other.py", "b:two.py"}
    asked.clear()
    (bundle / "pack" / "other.py").write_text("A = 2\n")
    inventory([Source("b", bundle)], cache=tmp_path / "cache")
    assert [line.partition("@")[0] for line in asked] == ["b:pack/other.py"]


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


@pytest.mark.parametrize("name", ["config/airflow.cfg", "config/settings.py", "operators/new.py", "utils/a.py"])
def test_an_edit_of_the_tree_asks_for_all(
    asked: list[str], bundle: Path, code: Path, tmp_path: Path, name: str
) -> None:
    inventory([Source("b", bundle, code)], cache=tmp_path / "cache")
    (code / name).write_text("# edited\n")
    asked.clear()
    inventory([Source("b", bundle, code)], cache=tmp_path / "cache")
    assert len(asked) == 2


@pytest.mark.parametrize(
    "name", ["wtmo/imports/a.py", "wtmo/graph/describe/a.py", "wtmo/graph/model.py", "requirements.txt"]
)
def test_an_edit_of_the_tool_asks_for_all(
    asked: list[str], bundle: Path, code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tool = tmp_path / "tool"
    (tool / name).parent.mkdir(parents=True)
    monkeypatch.setattr(library, "ROOT", tool)
    inventory([Source("b", bundle, code)], cache=tmp_path / "cache")
    (tool / name).write_text("# edited\n")
    asked.clear()
    inventory([Source("b", bundle, code)], cache=tmp_path / "cache")
    assert len(asked) == 2


def test_a_file_of_another_bundle_is_another(asked: list[str], bundle: Path, code: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        asked.clear()
        found = inventory([Source(name, bundle, code)], cache=tmp_path / "cache")
        assert len(asked) == 2
        assert {dag.bundle for dag in found.dags.values()} == {name}


def test_the_cache_keeps_the_versions_of_the_code_that_were_used_last(
    asked: list[str], bundle: Path, code: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"

    def folders() -> dict[str, Path]:
        return {folder.name: folder for folder in cache.iterdir()}

    inventory([Source("b", bundle, code)], cache=cache)
    (first,) = folders().values()
    for number in range(library._KEPT_CODES - 1):
        old = cache / f"old{number}"
        old.mkdir()
        os.utime(old, (1000 + number, 1000 + number))
    # As if the first were the oldest: that it is used makes it the newest.
    os.utime(first, (1, 1))
    inventory([Source("b", bundle, code)], cache=cache)
    assert len(folders()) == library._KEPT_CODES
    (code / "utils" / "a.py").write_text("A = 2\n")
    inventory([Source("b", bundle, code)], cache=cache)
    assert len(folders()) == library._KEPT_CODES
    assert first.name in folders()
    assert "old0" not in folders(), "the one that was used longest ago"


def test_no_file_and_no_folder_are_errors(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WtmoError, match=r"there is no DAG file in .*empty"):
        inventory([Source("b", tmp_path / "empty")], cache=None)
    with pytest.raises(WtmoError, match=r"there is no folder .*gone"):
        inventory([Source("b", tmp_path / "gone")], cache=None)
    with pytest.raises(WtmoError, match="no folder at all"):
        inventory([], cache=None)


@pytest.mark.parametrize(
    ("arguments", "sql"),
    [
        (
            ["script/bqetl", "query", "run-multipart", "--using", "a", "--destination_table", "t", "sql/p/d/parts"],
            "SELECT 1;\nSELECT 2",
        ),
        (["script/bqetl", "query", "run-multipart", "sql/p/d/parts"], None),
        (["script/bqetl", "check", "run", "--marker", "warn", "sql/p/d/t_v1"], "#warn\nSELECT 'p.d.t_v1';"),
        (
            ["script/bqetl", "check", "run", "--marker", "fail", "--parameter", "day:DATE:2026-06-01", "sql/p/d/u_v1"],
            "#fail\nSELECT '2026-06-01';",
        ),
        (["query", "--project_id=p", "sql/p/d/t_v1/query.py"], None),
    ],
)
def test_each_kind_of_command_has_its_sql(tmp_path: Path, arguments: list[str], sql: str | None) -> None:
    for name, text in {
        "parts/part1.sql": "SELECT 1",
        "parts/part2.sql": "SELECT 2",
        "t_v1/query.py": "import os",
        "t_v1/checks.sql": "#fail\nSELECT 1;\n#warn\nSELECT '{{ project_id }}.{{ dataset_id }}.{{ table_name }}';",
        "u_v1/checks.sql": "#fail\nSELECT '{{ day }}';",
    }.items():
        path = tmp_path / "sql" / "p" / "d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = library._query(Query("pod", file="f"), arguments, library.Checkout(tmp_path))
    assert found.sql == sql
    assert (found.error is None) == (sql is not None)


@pytest.mark.parametrize("text", ["{{ 1 / 0 }}", "{{ 1 + 'a' }}", "{{ x }}", "{% if %}", "{{ ''.__class__.__mro__ }}"])
def test_a_mistake_in_a_query_file_is_that_query_s_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sql" / "p" / "d" / "t_v1" / "query.sql"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    found = library._query(Query("pod", file="f"), ["query", "sql/p/d/t_v1/query.sql"], library.Checkout(tmp_path))
    assert found.sql is None
    assert "query.sql:1" in (found.error or "")
