"""What is said of queries, what of it is kept, and what makes it forgotten."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from utils.config import ROOT
from wtmo.checks import queries
from wtmo.graph.model import Query
from wtmo.local.bigquery import refusals as engine
from wtmo.local.bigquery.googlesql import EvaluatorCrash, EvaluatorPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Write = Callable[[str, str], None]

HARVEST = "fields:\n- {name: day, type: DATE}\n- {name: apples, type: INT64}\n"
QUERY = Query(
    "pod",
    "f",
    sql="SELECT day, lib.twice(apples) FROM d.harvest WHERE day = @day",
    project="p",
    parameters=("day:DATE:2026-06-01",),
)
WRONG = replace(QUERY, sql="SELECT pears FROM d.harvest")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of the checkout, or remove it."""

    def file(name: str, text: str) -> None:
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text:
            path.write_text(text)
        else:
            path.unlink()

    file("sql/p/d/harvest/schema.yaml", HARVEST)
    file("sql/p/d/harvest/metadata.yaml", "friendly_name: Harvest\n")
    file("sql/p/lib/twice/udf.sql", "CREATE FUNCTION lib.twice(x INT64) AS (x * 2)")
    return file


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The SQL of queries that the engine was asked about."""
    sql: list[str] = []
    ask = engine.Refusals.ask

    def counted(self: engine.Refusals, jobs: Sequence[tuple[Any, str]]) -> Iterator[tuple[int, engine.Answer]]:
        sql.extend(job["query"] for job, _ in jobs)
        return ask(self, jobs)

    monkeypatch.setattr(engine.Refusals, "ask", counted)
    return sql


def said(tmp_path: Path, *asked: Query) -> list[str | None]:
    found = queries.refusals(asked, tmp_path / "checkout", cache=tmp_path / "cache")
    return [found[query] for query in asked]


@pytest.mark.usefixtures("write")
def test_nothing_changed_and_no_engine_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = said(tmp_path, QUERY, WRONG)
    assert first[0] is None
    assert "Unrecognized name: pears" in (first[1] or "")
    monkeypatch.setattr(engine, "Refusals", None)
    assert said(tmp_path, QUERY, WRONG) == first
    assert said(tmp_path, WRONG) == first[1:]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sql/p/d/harvest/schema.yaml", HARVEST + "- {name: pears, type: INT64}\n"),
        ("sql/p/d/harvest/schema.yaml", ""),
        ("sql/p/d/harvest/metadata.yaml", "bigquery: {time_partitioning: {field: day}}\n"),
        ("sql/p/d/harvest/view.sql", "CREATE VIEW d.harvest AS SELECT DATE '2026-06-01' AS day, 1 AS apples"),
        ("sql/p/d/harvest/materialized_view.sql", "CREATE MATERIALIZED VIEW d.harvest AS SELECT 1 AS apples"),
        ("sql/p/lib/twice/udf.sql", "CREATE FUNCTION lib.twice(x STRING) AS (x)"),
        ("sql/p/lib/twice/udf.sql", ""),
    ],
)
def test_a_description_that_changes_is_looked_at_again(
    tmp_path: Path, write: Write, asked: list[str], name: str, text: str
) -> None:
    said(tmp_path, QUERY)
    write(name, text)
    for _ in range(2):
        said(tmp_path, QUERY)
    assert len(asked) == 2


def test_a_table_that_was_missing_is_looked_for_again(tmp_path: Path, write: Write, asked: list[str]) -> None:
    missing = replace(QUERY, sql="SELECT pears FROM d.orchard", parameters=())
    assert said(tmp_path, missing) == said(tmp_path, missing) == [None]
    assert len(asked) == 1
    write("sql/p/d/orchard/schema.yaml", HARVEST)
    assert "Unrecognized name: pears" in (said(tmp_path, missing)[0] or "")


def test_what_a_view_is_made_of_counts_for_who_reads_it(tmp_path: Path, write: Write, asked: list[str]) -> None:
    write("sql/p/d/good/view.sql", "CREATE VIEW d.good AS SELECT * FROM d.harvest")
    readers = [replace(QUERY, sql=f"SELECT {number}, pears FROM d.good", parameters=()) for number in range(2)]
    assert all("pears" in (words or "") for words in said(tmp_path, *readers))
    write("sql/p/d/harvest/schema.yaml", HARVEST + "- {name: pears, type: INT64}\n")
    assert said(tmp_path, *readers) == [None, None]
    assert len(asked) == 4


def test_a_file_that_a_schema_takes_descriptions_from_is_part_of_it(
    tmp_path: Path, write: Write, asked: list[str]
) -> None:
    tag = "!include-field-description {file: sql/shared.yaml, field: apples}"
    write("sql/p/d/harvest/schema.yaml", f"fields:\n- name: apples\n  type: INT64\n  description: {tag}\n")
    wrong = replace(WRONG, parameters=())
    assert said(tmp_path, wrong) == [None]
    write("sql/shared.yaml", "fields:\n- {name: apples, description: Of this day.}\n")
    assert "pears" in (said(tmp_path, wrong)[0] or "")
    write("sql/shared.yaml", "fields:\n- {name: apples, description: Of any day.}\n")
    said(tmp_path, wrong)
    assert len(asked) == 3


@pytest.mark.usefixtures("write")
@pytest.mark.parametrize(
    "other",
    [
        replace(QUERY, sql=f"{QUERY.sql} -- edited"),
        replace(QUERY, parameters=("day:STRING:2026-06-01",)),
        replace(QUERY, project="q"),
        replace(QUERY, dataset="p.d"),
    ],
)
def test_another_query_is_asked_about(tmp_path: Path, asked: list[str], other: Query) -> None:
    said(tmp_path, QUERY)
    said(tmp_path, other)
    assert len(asked) == 2


@pytest.mark.usefixtures("write")
def test_a_query_of_another_task_is_not(tmp_path: Path, asked: list[str]) -> None:
    said(tmp_path, QUERY)
    said(tmp_path, replace(QUERY, engine="native", file="g", destination="p.d.t"))
    assert len(asked) == 1


@pytest.mark.usefixtures("write")
@pytest.mark.parametrize("name", [*queries._OF_TOOL, "wtmo/local/bigquery/new.py"])
def test_an_edit_of_the_engine_asks_for_all(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tool = tmp_path / "tool"
    for each in queries._OF_TOOL:
        path = tool / each / "a.py" if (ROOT / each).is_dir() else tool / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("A = 1\n")
    monkeypatch.setattr(queries, "ROOT", tool)
    said(tmp_path, QUERY)
    edited = tool / name / "a.py" if (tool / name).is_dir() else tool / name
    edited.write_text("A = 2\n")
    said(tmp_path, QUERY)
    assert len(asked) == 2


@pytest.mark.usefixtures("write")
@pytest.mark.parametrize("package", ["zetasql", "wasmtime"])
def test_another_version_of_the_engine_asks_for_all(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    said(tmp_path, QUERY)
    monkeypatch.setattr(queries, "version", lambda name: "99" if name == package else "1")
    said(tmp_path, QUERY)
    assert len(asked) == 2


def test_what_changes_while_it_is_looked_at_is_not_kept(
    tmp_path: Path, write: Write, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = engine.Refusals._ask

    def edits(self: engine.Refusals, *job: Any) -> engine.Answer:
        answer = ask(self, *job)
        write("sql/p/d/harvest/schema.yaml", HARVEST + "- {name: pears, type: INT64}\n")
        return answer

    monkeypatch.setattr(engine.Refusals, "_ask", edits)
    assert "pears" in (said(tmp_path, WRONG)[0] or "")
    monkeypatch.undo()
    assert said(tmp_path, WRONG) == [None]


@pytest.mark.usefixtures("write")
def test_a_crash_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = EvaluatorPool.call_raw

    def crashes(self: EvaluatorPool, rpc: str, *rest: Any) -> bytes:
        if rpc == "Analyze":
            raise EvaluatorCrash("it fell")
        return call(self, rpc, *rest)

    monkeypatch.setattr(EvaluatorPool, "call_raw", crashes)
    assert said(tmp_path, WRONG, QUERY) == [None, None]
    monkeypatch.undo()
    words = said(tmp_path, WRONG, QUERY)
    assert "pears" in (words[0] or "")


@pytest.mark.usefixtures("write")
def test_an_exception_is_no_answer_and_what_came_before_it_is(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = engine.Refusals._ask

    def fails(self: engine.Refusals, configuration: dict[str, Any], project: str) -> engine.Answer:
        if "pears" in configuration["query"]:
            raise RuntimeError("a fault of ours")
        return ask(self, configuration, project)

    said(tmp_path, QUERY)
    monkeypatch.setattr(engine.Refusals, "_ask", fails)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        said(tmp_path, QUERY, WRONG)
    monkeypatch.setattr(engine.Refusals, "_ask", ask)
    assert "pears" in (said(tmp_path, QUERY, WRONG)[1] or "")
    assert [sql == QUERY.sql for sql in asked] == [True, False, False]


def test_an_answer_that_can_not_be_read_is_none(tmp_path: Path, write: Write, asked: list[str]) -> None:
    write("sql/p/d/harvest/metadata.yaml", "")
    said(tmp_path, WRONG)
    [file] = (tmp_path / "cache").rglob("*.json")
    for content in ("", "[]", "{}", '{"refused": 1'):
        file.write_text(content)
        assert "pears" in (said(tmp_path, WRONG)[0] or "")
    assert len(asked) == 5


@pytest.mark.usefixtures("write")
def test_answers_of_the_codes_that_were_used_last_stay(tmp_path: Path) -> None:
    for number in range(queries._KEPT_CODES):
        old = tmp_path / "cache" / f"old{number}"
        old.mkdir(parents=True)
        os.utime(old, (1000 + number, 1000 + number))
    said(tmp_path, QUERY)
    names = {path.name for path in (tmp_path / "cache").iterdir()}
    assert len(names) == queries._KEPT_CODES
    assert "old0" not in names


@pytest.mark.usefixtures("write")
def test_nothing_is_kept_where_nobody_says_where(tmp_path: Path, asked: list[str]) -> None:
    for _ in range(2):
        assert queries.refusals([QUERY], tmp_path / "checkout") == {QUERY: None}
    assert len(asked) == 2


def test_without_a_checkout_syntax_is_told(tmp_path: Path, write: Write, asked: list[str]) -> None:
    wrong = replace(QUERY, sql="SELECT 1,, 2", parameters=())
    found = queries.refusals([wrong, WRONG], None, cache=tmp_path / "cache")
    assert "Syntax error" in (found[wrong] or "")
    assert found[WRONG] is None
    # Of what is not in any checkout nothing can be told; what a checkout has is asked about.
    assert "pears" in (said(tmp_path, WRONG)[0] or "")
    assert len(asked) == 3


def test_a_parameter_that_is_none_is_told_without_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "Refusals", None)
    assert said(tmp_path, replace(QUERY, parameters=("day",))) == ["--parameter=day: not NAME:TYPE:VALUE"]


@pytest.mark.usefixtures("write")
def test_it_says_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    queries.refusals(
        [QUERY, WRONG], tmp_path / "checkout", report=lambda line, done=0, total=0: told.append((done, total))
    )
    assert told == [(1, 2), (2, 2)]
