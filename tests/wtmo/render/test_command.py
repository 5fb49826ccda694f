"""``wtmo render`` from the command line: what is loaded, what it prints, and what its exit status says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from wtmo.cli import app
from wtmo.graph.inventory import OWN, Source
from wtmo.graph.model import Dag, File, Inventory, Task, Template
from wtmo.render import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

WRONG = Template("bash_command", "{{ dss }}", None, error="'dss' is undefined")
DAGS = {
    "plain.py": Dag("plain", OWN, "plain.py", tasks=(Task("b", "E"), Task("a", "E", rendered={"x": "1"}))),
    "wrong.py": Dag("wrong-one", OWN, "wrong.py", tasks=(Task("t", "E", templates=(WRONG,)),)),
    "family.py": Dag("made_from_parts", OWN, "family.py", tasks=(Task("t", "E"),)),
}


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the files that each look loads. Of each DAG's file only the family's does not name it."""
    for name, dag in DAGS.items():
        (tmp_path / name).write_text(f"DAG({dag.dag_id!r})" if name != "family.py" else "DAG('made_' + x)")
    looks: list[list[str]] = []

    def inventory(sources: Any, *, date: str, only: Callable[[str, Path], bool] | None = None, **_: Any) -> Inventory:
        names = [name for name in sorted(DAGS) if only is None or only(OWN, Path(name))]
        looks.append(names)
        return Inventory(date, tuple(File(OWN, name, dags=(DAGS[name],)) for name in names))

    monkeypatch.setattr(run, "inventory", inventory)
    monkeypatch.setattr(run, "default_sources", lambda: [Source(OWN, tmp_path)])
    monkeypatch.setattr(run, "imported_sources", lambda _: ())
    return looks


def render(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["render", "--date", "2026-06-01", *arguments])


def test_a_dag_is_shown_and_only_its_file_is_loaded(loaded: list[list[str]]) -> None:
    done = render("plain")
    assert done.exit_code == 0
    assert [each["task"] for each in yaml.safe_load_all(done.stdout)] == ["plain.a", "plain.b"]
    assert loaded == [["plain.py"]]


def test_a_dag_that_no_file_names_is_looked_for_in_all(loaded: list[list[str]]) -> None:
    assert render("made_from_parts").exit_code == 0
    assert loaded == [sorted(DAGS)]


def test_a_task_as_json(loaded: list[list[str]]) -> None:
    assert json.loads(render("plain", "a", "--json").stdout) == [
        {"task": "plain.a", "operator": "E", "fields": {"x": "1"}}
    ]


@pytest.mark.parametrize(("arguments", "said"), [(("plane",), "Did you mean 'plain'?"), (("plain", "c"), "Known: 'a', 'b'."), ((), "name a DAG, or give --all"), (("plain", "--all"), "name a DAG, or give --all")])  # fmt: skip
def test_what_is_not_there_is_2_and_says_what_to_type(
    loaded: list[list[str]], arguments: tuple[str, ...], said: str
) -> None:
    done = render(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_what_can_not_be_rendered_is_1(loaded: list[list[str]]) -> None:
    done = render("wrong-one")
    assert done.exit_code == 1
    assert "- 'bash_command: ''dss'' is undefined'" in done.stdout


def test_all_into_a_folder(loaded: list[list[str]], tmp_path: Path) -> None:
    done = render("--all", "--out", str(tmp_path / "out"))
    assert done.stdout == f"{tmp_path / 'out'}: 4 tasks in 3 files\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "made_from_parts.yaml",
        "plain.yaml",
        "wrong-one.yaml",
    ]


def test_snapshots_are_not_made_of_dags_that_do_not_load(
    loaded: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(File(OWN, "plain.py"), refused="NameError: x")
    monkeypatch.setattr(run, "inventory", lambda *_, **__: Inventory("2026-06-01", (broken,)))
    done = CliRunner().invoke(app, ["snapshots"])
    assert done.exit_code == 2
    assert "plain.py does not load: NameError: x" in done.stderr


def test_a_file_that_names_a_dag_but_does_not_make_it_is_not_all_that_is_loaded(
    loaded: list[list[str]], tmp_path: Path
) -> None:
    (tmp_path / "plain.py").write_text("# waits for made_from_parts")
    assert render("made_from_parts").exit_code == 0
    assert loaded == [["plain.py"], sorted(DAGS)]
