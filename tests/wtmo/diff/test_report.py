"""A difference as a reviewer reads it: short, complete, and harmless whatever stands in an argument."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from wtmo.diff import report
from wtmo.diff.compare import compare
from wtmo.diff.impact import Impact
from wtmo.graph.model import Dag, File, Inventory, Query, Task


def task(task_id: str = "t", **attributes: Any) -> Task:
    return Task(task_id, "GKEPodOperator", attributes=attributes)


def dag(dag_id: str, *tasks: Task, hour: int = 1) -> Dag:
    fires = tuple(
        (f"2026-06-0{day}T0{hour}:00:00+00:00",) * 2 + (f"2026-06-0{day + 1}T0{hour}:00:00+00:00",)
        for day in range(1, 8)
    )
    schedule = {"kind": "CronDataIntervalTimetable", "expression": f"0 {hour} * * *", "timezone": "UTC"}
    return Dag(dag_id, "b", f"{dag_id}.py", schedule=schedule, fires=fires, tags=("impact/tier_2",), tasks=tasks)


def inventory(*dags: Dag, refused: tuple[File, ...] = ()) -> Inventory:
    return Inventory("2026-06-01", (*(File("b", each.file, dags=(each,)) for each in dags), *refused))


SAME = compare(inventory(dag("d", task())), inventory(dag("d", task())))
FACTORY = compare(
    inventory(*(dag(f"d{dag_}", *(task(f"t{each}", retries=1) for each in range(20))) for dag_ in range(3))),
    inventory(*(dag(f"d{dag_}", *(task(f"t{each}", retries=2) for each in range(20))) for dag_ in range(3))),
)


def test_no_difference_says_so() -> None:
    assert report.text(SAME) == "no difference\n"
    assert "no difference" in report.markdown(SAME)
    assert report.data(SAME)["empty"] is True


def test_sixty_tasks_of_one_factory_take_three_lines() -> None:
    lines = report.text(FACTORY).strip().splitlines()
    assert lines[0] == "DAGs: 60 tasks changed"
    assert lines[2:] == [
        "changed",
        "  60 tasks of 3 DAGs: d0.t0, d0.t1, d0.t10, d0.t11 and 56 more",
        "    retries: 1 → 2",
    ]


def test_what_it_was_and_what_it_is() -> None:
    before = dag("d", task("a", arguments=["--x=1", "--y"], execution_timeout=5400.0), hour=1)
    after = dag("d", task("a", arguments=["--x=2", "--y", "--z"]), hour=2)
    told = report.text(compare(inventory(before), inventory(after)))
    assert "    arguments: --x=1 → --x=2\n    arguments: + --z\n" in told
    assert "    execution_timeout: 1 h 30 min → (none)\n" in told
    assert "    schedule: 0 1 * * * → 0 2 * * *\n" in told
    runs = ", ".join(f"2026-06-0{day} 02:00" for day in range(2, 7))
    assert f"next_runs: {runs} (before: 2026-06-02 01:00, …)\n" in told


def test_new_gone_and_renamed() -> None:
    base = inventory(dag("old", task("a"), task("b")), dag("d", task("x")))
    head = inventory(dag("new", task("a"), task("b")), dag("d", task("x"), Task("y", "BashOperator")))
    told = report.text(compare(base, head))
    assert "+ DAG new (tier 2, 0 1 * * *, first run 2026-06-02 01:00, 2 tasks): perhaps old before" in told
    assert (
        "- DAG old (tier 2, 0 1 * * *, 2 tasks): perhaps new now; its runs and their history stay with the old name"
        in told
    )
    assert "+ task of d: y (BashOperator)" in told


def test_tasks_that_may_be_renamed_stand_together() -> None:
    def made(form: str) -> Dag:
        return dag("d", *(task(form.format(each), arguments=[f"--of={each}"]) for each in ("one", "two", "three")))

    told = report.text(compare(inventory(made("{}")), inventory(made("x_{}"))))
    assert "  + 3 tasks of d: x_one, x_three, x_two (GKEPodOperator)\n" in told
    assert f"\n{report.RENAMED}\n  d: one → x_one, three → x_three, two → x_two\n" in told


def test_one_task_that_is_new_in_many_dags_is_one_line() -> None:
    base = inventory(*(dag(f"d{each}", task("a")) for each in range(5)))
    head = inventory(*(dag(f"d{each}", task("a"), Task("guard", "ShortCircuitOperator")) for each in range(5)))
    told = report.text(compare(base, head))
    assert "+ task guard (ShortCircuitOperator) in 5 DAGs: d0, d1, d2, d3 and 1 more" in told
    assert told.count("guard") == 1


def test_a_file_that_no_longer_loads_is_named_with_line_reason_and_dags() -> None:
    broken = File("b", "d.py", refused="NameError: name 'x' is not defined", line=7)
    difference = compare(inventory(dag("d", task()), dag("e", task())), inventory(dag("e", task()), refused=(broken,)))
    for told in (report.text(difference), report.markdown(difference)):
        assert re.search(r"d\.py line 7 no longer loads; not compared: d", told)
        assert "NameError: name 'x' is not defined" in told
    assert report.data(difference)["refused"] == [{"file": "d.py", "line": 7, "reason": broken.refused}]


def test_sql_is_told_line_by_line() -> None:
    before = dag("d", Task("q", "Q", query=Query("native", sql="SELECT\n  a\nFROM t\n")))
    after = dag("d", Task("q", "Q", query=Query("native", sql="SELECT\n  b\nFROM t\n")))
    told = report.markdown(compare(inventory(before), inventory(after)))
    assert "```diff\n@@ -1,3 +1,3 @@\n SELECT\n-  a\n+  b\n FROM t\n```" in told


def test_a_long_text_is_cut() -> None:
    before, after = ("".join(f"{word} {number}\n" for number in range(200)) for word in ("old", "new"))
    told = report.text(compare(inventory(dag("d", task("a", sql=before))), inventory(dag("d", task("a", sql=after)))))
    assert len(told.splitlines()) < report.MOST_LINES + 10
    assert "… 341 more lines" in told


def test_a_long_list_is_folded() -> None:
    head = inventory(dag("d", task("t")), *(dag(f"new{number:02}", task("t")) for number in range(30)))
    told = report.markdown(compare(inventory(dag("d", task("t"))), head))
    before, _, folded = told.partition("<details><summary>18 further lines</summary>")
    assert "new11" in before
    assert "new12" not in before
    assert "new29" in folded


IMPACT = Impact({"tier 1": ("up", "x"), "tier 3": ("y",)}, {"tier 1": 5, "tier 3": 1}, 0, {"d0": "2026-06-02T01:00:00+00:00", "x": "2026-06-02T03:00:00+00:00"})  # fmt: skip


def test_the_blast_radius_stands_at_the_top() -> None:
    told = report.text(FACTORY, IMPACT).splitlines()
    assert told[1] == "downstream of it: 3 other DAGs (tier 1: 2 DAGs with 5 tasks, tier 3: 1 DAG with 1 task)"
    assert told[2] == "first affected run: d0, 2026-06-02 01:00"
    assert "- tier 1: `up`, `x` (2026-06-02 03:00)" in report.markdown(FACTORY, IMPACT)
    assert "nothing else depends on what changed" in report.text(FACTORY, Impact())


def test_markdown_has_one_entry_and_folds_the_names() -> None:
    told = report.markdown(FACTORY)
    assert told.count("`retries`: `1` → `2`") == 1
    before, _, folded = told.partition("<details>")
    assert "d2.t7" not in before
    assert "d0.t0" in folded


def test_a_comment_has_a_bounded_length_and_says_what_shows_the_rest() -> None:
    wide = "x" * 400
    base = inventory(*(dag(f"d{number}", task("t", arguments=[f"{wide}{number}"])) for number in range(400)))
    head = inventory(*(dag(f"d{number}", task("t", arguments=[f"{number * 7}{wide}"])) for number in range(400)))
    told = report.markdown(compare(base, head), how="wtmo diff main .")
    assert len(told) <= report.LONGEST
    assert re.search(r"and \d+ more entries, too long for a comment: `wtmo diff main \.` shows all", told)
    assert told.count("<details>") == told.count("</details>")


@pytest.mark.parametrize(
    "hostile",
    [
        "`</details><script>alert(1)</script>",
        "```\n@everyone\n```",
        "**x** [a](http://b) @someone",
        "$(rm -rf)",
        "a|b\\",
    ],
)
def test_nothing_in_a_value_becomes_markdown(hostile: str) -> None:
    difference = compare(
        inventory(dag("d", task("a", arguments=["--x"]))), inventory(dag("d", task("a", arguments=["--x", hostile])))
    )
    told = report.markdown(difference)
    line = hostile.replace("\n", "⏎")
    spans = re.findall(r"(?<!`)(`+)(?!`) ?(.*?) ?(?<!`)\1(?!`)", told)
    assert any(line.strip() in span for _, span in spans), told
    outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", told)
    assert "script" not in outside
    assert "@" not in outside


def test_a_name_or_reason_becomes_no_markdown_either() -> None:
    broken = File("b", "_a_b_/@all/#1/<b>*x*.py", refused="Error: ``` </details> @all")
    told = report.markdown(compare(inventory(dag("d", task())), inventory(dag("d", task()), refused=(broken,))))
    assert r"**\_a_b\_/@​all/#​1/&lt;b&gt;\*x\*.py no longer loads**" in told
    assert "\n````text\n" in told, "the fence is longer than any in the reason"


def test_json_has_all_of_it() -> None:
    told = json.loads(json.dumps(report.data(FACTORY, IMPACT)))
    assert len(told["changed"][0]["nodes"]) == 60
    assert told["changed"][0]["changes"] == [{"fact": "retries", "before": 1, "after": 2}]
    assert told["impact"]["dags"]["tier 1"] == ["up", "x"]
