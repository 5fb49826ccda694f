"""``wtmo graph`` over a graph: what is meant, and what the tree says."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from rich.console import Console
from typer.testing import CliRunner

from wtmo.cli import app
from wtmo.commands.graph import _as_json, _tree, find
from wtmo.errors import WtmoError
from wtmo.graph import inventory as library
from wtmo.graph.graph import Graph
from wtmo.graph.model import Dag, File, Inventory, Task, Wait

if TYPE_CHECKING:
    from pathlib import Path

TASK = Task("g.b", "X", upstream=("a",))
MARKER = Task("mark", "X", marker=True, waits=Wait("other", ("t",), how="template", delta=-7200.0))
DAGS = (
    Dag("root", "b", "root.py", tags=("impact/tier_1",), tasks=(Task("a", "X"), TASK, MARKER)),
    Dag("root.two", "b", "two.py", tasks=(Task("wait", "X", waits=Wait("root", ("g.b",), delta=3600.0)),)),
    Dag("other", "b", "other.py", tasks=(Task("t", "X"),)),
)
REFUSED = File("b", "broken.py", refused="it does not load", refused_kind="syntax")


@pytest.fixture
def whole() -> Graph:
    return Graph(Inventory("2026-06-01", (*(File("b", dag.file, dags=(dag,)) for dag in DAGS), REFUSED)))


def test_a_dag_and_a_task_are_found(whole: Graph) -> None:
    assert find(whole, "other") == [("other", "t")]
    assert find(whole, "root.g.b") == [("root", "g.b")]
    assert find(whole, "root.two.wait") == [("root.two", "wait")]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("othr", "there is no DAG 'othr'"),
        ("root.c", "DAG root has no task 'c'"),
        ("broken", "it does not load"),
    ],
)
def test_what_is_not_there_is_an_error(whole: Graph, what: str, said: str) -> None:
    with pytest.raises(WtmoError, match=said):
        find(whole, what)


def test_the_tree_has_each_dag_once_with_its_way(whole: Graph) -> None:
    focus = find(whole, "root")
    console = Console(width=160, file=StringIO())
    with console.capture() as said:
        console.print(_tree(whole, focus, whole.downstream(*focus), whole.after, "after", "root"))
    text = said.get()
    assert "root  after: 2 tasks of 2 other DAGs" in text
    assert "g.b → wait (sensor, 1 h earlier)" in text
    assert "mark → t (marker, 2 h earlier)" in text
    assert text.count("root.two") == 1


def test_json_says_dates_and_tiers(whole: Graph) -> None:
    focus = find(whole, "root.a")
    told = _as_json(whole, focus, {}, whole.downstream(*focus))
    assert told["after"] == [
        {"dag": "root", "task": "g.b", "tier": "tier_1", "distance": 1, "first_run": None},
        {"dag": "root.two", "task": "wait", "tier": "none", "distance": 2, "first_run": None},
    ]
    assert [edge["seconds_earlier"] for edge in told["edges"]] == [3600.0]


@pytest.mark.parametrize(
    ("options", "about", "keys"),
    [
        ([], "1 task of 0 other DAGs before, 1 task of 1 other DAG after", ["root/a", "root/g.b", "root.two/wait"]),
        (["--up"], "1 task of 0 other DAGs before", ["root/a", "root/g.b"]),
        (["--down"], "1 task of 1 other DAG after", ["root/g.b", "root.two/wait"]),
        (
            ["--down", "--depth", "1"],
            "1 task of 1 other DAG after, at most 1 edge away",
            ["root/g.b", "root.two/wait"],
        ),
    ],
)
def test_a_picture_says_what_it_shows(
    whole: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], about: str, keys: list[str]
) -> None:
    monkeypatch.setattr(library, "inventory", lambda sources, report: whole.inventory)
    svg, html = tmp_path / "a.svg", tmp_path / "a.html"
    said = CliRunner().invoke(
        app, ["graph", "root.g.b", "--dags", str(tmp_path), "--svg", str(svg), "--html", str(html), *options]
    )
    assert said.exit_code == 0, said.output
    root = ElementTree.fromstring(svg.read_text())
    drawn = [each.get("data-key") for each in root.iter("{http://www.w3.org/2000/svg}g")]
    assert sorted(key for key in drawn if key) == sorted(keys)
    assert [text.text for text in root.findall("{http://www.w3.org/2000/svg}text")] == ["root.g.b", about]
    assert about in html.read_text()


def test_a_picture_that_can_not_be_written_is_an_error(
    whole: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(library, "inventory", lambda sources, report: whole.inventory)
    said = CliRunner().invoke(
        app, ["graph", "root", "--dags", str(tmp_path), "--svg", str(tmp_path / "gone" / "a.svg")]
    )
    assert said.exit_code == 2
    assert "can't write" in said.stderr
