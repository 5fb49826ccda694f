"""The picture as a document: what it needs, quotes, and where it puts its words."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from wtmo.graph.graph import Graph
from wtmo.graph.model import Dag, File, Inventory, Task
from wtmo.graph.picture import TIERS, Arrow, Box, html, picture, svg

HOSTILE = "<script>alert(1)</script><!--<b>&\"']]>"
SVG = "{http://www.w3.org/2000/svg}"


def hostile() -> tuple[list[Box], list[Arrow]]:
    """Two boxes and an arrow whose every word is code."""
    box = Box(HOSTILE, HOSTILE, HOSTILE, HOSTILE, "tier_1", x=10, y=100, width=80)
    other = Box(f"{HOSTILE}2", HOSTILE, HOSTILE, HOSTILE, "none", focus=True, x=200, y=100, width=80)
    return [box, other], [Arrow(HOSTILE, f"{HOSTILE}2", hints=[HOSTILE])]


def test_a_drawing_is_xml_and_its_words_are_words() -> None:
    boxes, arrows = hostile()
    root = ElementTree.fromstring(svg(boxes, arrows, HOSTILE, HOSTILE))
    names = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert names == {"svg", "style", "defs", "marker", "path", "rect", "text", "g", "title"}
    assert [each.get("data-key") for each in root.iter(f"{SVG}g") if each.get("data-key")] == [box.key for box in boxes]
    assert root.get("aria-label") == HOSTILE
    assert root.findall(f"{SVG}text")[0].text == HOSTILE


def test_a_page_has_one_script_and_its_words_are_words() -> None:
    boxes, arrows = hostile()
    drawn = html(boxes, arrows, HOSTILE, HOSTILE)
    assert drawn.lower().count("<script") == drawn.lower().count("</script") == 1
    assert "<!--" not in drawn
    assert "<b>" not in drawn
    pairs = re.search(r"const pairs = (.*);", drawn)
    assert pairs is not None
    assert json.loads(pairs[1]) == [[HOSTILE, f"{HOSTILE}2"]]


@pytest.mark.parametrize("draw", [html, svg])
def test_a_picture_loads_nothing(draw: type) -> None:
    drawn = draw([Box("k", "k", "d", "", "tier_1")], [], "t", "about")
    assert not re.findall(r"https?:", drawn.replace("http://www.w3.org/2000/svg", ""))
    assert set(re.findall(r"url\(([^)]*)\)", drawn)) <= {"#tip"}
    assert not re.findall(r"\b(?:src|href)=|@import|fetch\(|XMLHttpRequest", drawn)


def test_a_page_forbids_the_network() -> None:
    assert "Content-Security-Policy\" content=\"default-src 'none'; style-src" in html([], [], "t", "about")


@pytest.mark.parametrize("letters", [10, 60, 200])
def test_a_title_does_not_run_into_the_legend_nor_out_of_the_picture(letters: int) -> None:
    boxes = [Box(tier, "t", "d", "", tier, focus=True, width=80) for tier in TIERS]
    root = ElementTree.fromstring(svg(boxes, [], "m" * letters, "a" * letters))
    legend = root.findall(f"{SVG}g")[0]
    start = float(re.findall(r"translate\(([\d.]+) 0\)", legend.get("transform", ""))[0])
    # The widest letters on average that a system's font of 20 px has in ids.
    assert 32 + letters * 12 < start
    ends = [start + float(text.get("x", "")) + 7 * len(text.text or "") for text in legend.findall(f"{SVG}text")]
    assert max(ends) <= float(root.get("width", "")) - 16
    told = [text.text for text in legend.findall(f"{SVG}text")]
    assert told[:5] == ["Tier 1", "Tier 2", "Tier 3", "no tier", "asked for"]


def test_only_colours_that_are_there_have_a_name() -> None:
    box = Box("k", "k", "d", "", "tier_2")
    for drawn in (svg([box], [], "t", "a"), html([box], [], "t", "a")):
        assert "Tier 2" in drawn
        assert "Tier 1" not in drawn
    assert "asked for" not in svg([box], [], "t", "a")


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"kind": "CronDataIntervalTimetable", "expression": "0 2 * * *"}, "0 2 * * *"),
        ({"kind": "DeltaDataIntervalTimetable", "delta": 5400.0}, "every 1.5 h"),
        ({"kind": "NullTimetable"}, "by hand"),
        ({"kind": "OnceTimetable"}, "once"),
        ({"kind": "MultiWeekTimetable"}, "MultiWeek"),
        ({}, "by hand"),
    ],
)
def test_a_box_of_a_dag_says_when_it_runs(schedule: dict[str, str], said: str) -> None:
    dag = Dag("d", "b", "d.py", schedule=schedule, tasks=tuple(Task(f"t{number}", "X") for number in range(60)))
    found = Graph(Inventory("2026-06-01", (File("b", "d.py", dags=(dag,)),)))
    (box,), _ = picture(found, found.of("d"), [])
    assert box.detail == f"60 tasks · {said}"


def test_a_long_column_stands_as_even_parts_below_the_title() -> None:
    tasks = tuple(Task(f"t{number:02}", "X") for number in range(47))
    found = Graph(Inventory("2026-06-01", (File("b", "d.py", dags=(Dag("d", "b", "d.py", tasks=tasks),)),)))
    boxes, _ = picture(found, found.of("d"), [])
    columns: dict[float, list[float]] = {}
    for box in boxes:
        columns.setdefault(box.x, []).append(box.y)
    assert [len(column) for column in columns.values()] == [16, 16, 15]
    assert min(box.y for box in boxes) == 92, "no empty rows above"
