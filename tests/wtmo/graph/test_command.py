"""``wtmo graph`` over a graph: what is meant, and what the tree says."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from wtmo.commands.graph import _as_json, _tree, find
from wtmo.errors import WtmoError
from wtmo.graph.graph import Graph
from wtmo.graph.model import Dag, File, Inventory, Task, Wait

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
