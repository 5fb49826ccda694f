"""What BigQuery would refuse is told; what it may take is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wtmo.local.bigquery.googlesql import EvaluatorCrash, EvaluatorPool
from wtmo.local.bigquery.refusals import Answer, Refusals
from wtmo.local.bigquery.storage import TableRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of the checkout."""

    def file(name: str, text: str) -> None:
        path = tmp_path / "sql" / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    struct = "  type: RECORD\n  fields: [{name: city, type: STRING}, {name: zip, type: INT64}]\n"
    file("d/left/schema.yaml", f"fields:\n- {{name: b, type: STRING}}\n- {{name: a, type: INT64}}\n- name: s\n{struct}")
    file(
        "d/right/schema.yaml", f"fields:\n- {{name: a, type: INT64}}\n- {{name: b, type: STRING}}\n- name: s\n{struct}"
    )
    file("d/twice/udf.sql", "CREATE FUNCTION d.twice(x INT64) AS (x * 2)")
    file("d/wrong/udf.sql", "CREATE FUNCTION d.wrong(x INT64) AS (y)")
    file("d/broken/schema.yaml", "fields: [")
    return file


def ask(tmp_path: Path, *queries: str, **configuration: Any) -> list[Answer]:
    with Refusals(tmp_path) as engines:
        jobs = [({"query": sql, "useLegacySql": False, **configuration}, "p") for sql in queries]
        return [answer for _, answer in sorted(engines.ask(jobs), key=lambda pair: pair[0])]


FAULTS = {
    "SELECT 1,, 2": "Syntax error",
    "SELECT c FROM d.left": "Unrecognized name: c",
    "SELECT s.street FROM d.left": "Field name street does not exist in STRUCT<",
    "SELECT a FROM d.left WHERE b = 1": "No matching signature for operator =",
    "SELECT a, SUM(a) FROM d.left": "neither grouped nor aggregated",
    "SELECT SUMM(a) FROM d.left": "Function not found: SUMM; Did you mean sum?",
    "SELECT a, a FROM d.left": "Duplicate column names",
    "SELECT d.twice('a')": "No matching signature for function",
    "CREATE TEMP FUNCTION f(x INT64) AS (y); SELECT f(1)": "Unrecognized name: y",
    "SELECT @day": "Query parameter 'day' not found",
}
SOUND = [
    # What a deployed table's order of columns decides.
    "SELECT * FROM d.left UNION ALL SELECT * FROM d.right",
    "SELECT a, b FROM (SELECT 'x' AS b, 1 AS a UNION ALL SELECT * EXCEPT (s) FROM d.right) WHERE a = 1",
    "SELECT IF(TRUE, l, r).a FROM d.left AS l, d.right AS r",
    "SELECT l.s = STRUCT(1 AS zip, 'Rome' AS city) FROM d.left AS l",
    # What BigQuery or another repository has.
    "SELECT SEARCH(b, 'x') FROM d.left",
    "SELECT AGG(a) FROM d.left",
    "SELECT TF_IDF(b) FROM d.left",
    "SELECT other.f(a) FROM d.left",
    "SELECT ML.SOMETHING(a) FROM d.left",
    # What the local engine can't do.
    "SELECT " + "+".join(["1"] * 3_000),
    "SELECT * FROM d.left FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP() WHERE c",
    "EXPORT MODEL m OPTIONS (uri = 'gs://a/b')",
    # What is not described, or wrongly.
    "SELECT c FROM d.nowhere",
    "SELECT c FROM d.left, d.nowhere",
    "SELECT c FROM q.d.`events_*`",
    "SELECT c FROM d.broken",
    "SELECT d.wrong(1)",
]
VIEWS = [
    "{% set x = 1 %}\nCREATE VIEW d.v AS SELECT {{ x }} AS a",
    "CREATE VIEW d.v AS SELECT c FROM d.left",
    "CREATE VIEW d.v AS SELECT * FROM d.v",
    "CREATE VIEW d.v (one, two) AS SELECT 1 AS a",
    "CREATE VIEW d.other AS SELECT 1 AS a",
    "CREATE VIEW d.v AS SELECT d.wrong(1) AS a",
]


@pytest.mark.usefixtures("write")
def test_a_fault_of_the_query_is_told(tmp_path: Path) -> None:
    answers = ask(tmp_path, *FAULTS)
    told = {sql: answer.refused or "" for sql, answer in zip(FAULTS, answers, strict=True)}
    assert {sql: told[sql] for sql, words in FAULTS.items() if words not in told[sql]} == {}


def test_what_bigquery_may_take_is_not_told(tmp_path: Path, write: Write) -> None:
    views = [f"v{number}" for number in range(len(VIEWS))]
    for name, text in zip(views, VIEWS, strict=True):
        write(f"d/{name}/view.sql", text.replace("d.v", f"d.{name}"))
    asked = [*SOUND, *(f"SELECT c FROM d.{name}" for name in views)]
    told = zip(asked, ask(tmp_path, *asked), strict=True)
    assert {sql: answer.refused for sql, answer in told if answer.refused} == {}


def test_a_filter_that_the_engine_does_not_see_is_not_missed(tmp_path: Path, write: Write) -> None:
    write("d/left/metadata.yaml", "bigquery: {time_partitioning: {field: day, require_partition_filter: true}}\n")
    write("d/left/schema.yaml", "fields: [{name: day, type: DATE}]\n")
    sql = "WITH x AS (SELECT day AS d FROM d.left) SELECT * FROM x WHERE d = '2026-06-01'"
    assert [answer.refused for answer in ask(tmp_path, sql)] == [None]


def test_an_answer_names_what_was_looked_for(tmp_path: Path, write: Write) -> None:
    write("d/v/view.sql", "CREATE VIEW d.v AS SELECT d.f(a) AS a FROM d.left")
    write("d/f/udf.sql", "CREATE FUNCTION d.f(x INT64) AS (x)")
    answers = ask(tmp_path, "SELECT a FROM d.v", "SELECT a FROM d.v", "SELECT a FROM d.nowhere", "SELECT 1")
    names = [{ref.table for ref in answer.names} for answer in answers]
    assert names == [{"v", "f", "left"}, {"v", "f", "left"}, {"nowhere"}, set()]
    assert TableRef("p", "d", "v") in answers[0].names
    assert all(answer.lasting for answer in answers)


def test_what_many_queries_name_is_made_once(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("d/f/udf.sql", "CREATE FUNCTION d.f(x INT64) AS (x)")
    write("d/v/view.sql", "CREATE VIEW d.v AS SELECT d.f(a) AS a FROM d.left")
    write("d/bad/view.sql", "CREATE VIEW d.bad AS SELECT d.f(nothing) AS a FROM d.left")
    calls: list[str] = []
    call = EvaluatorPool.call_raw
    monkeypatch.setattr("wtmo.local.bigquery.refusals.ENGINES", 1)
    monkeypatch.setattr(EvaluatorPool, "call_raw", lambda self, rpc, *rest: calls.append(rpc) or call(self, rpc, *rest))
    answers = ask(
        tmp_path, *(f"SELECT a, {n} FROM d.v" for n in range(5)), *(f"SELECT a, {n} FROM d.bad" for n in range(5))
    )
    assert [answer.refused for answer in answers] == [None] * 10
    # A statement is analysed for the function, for either view, and for each query of the good one.
    assert calls.count("Analyze") == 3 + 5


def test_a_crash_does_not_last(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("d/v/view.sql", "CREATE VIEW d.v AS SELECT a FROM d.left")
    call = EvaluatorPool.call_raw

    def falls(self: EvaluatorPool, rpc: str, *rest: Any) -> bytes:
        if rpc == "Analyze":
            monkeypatch.setattr(EvaluatorPool, "call_raw", call)
            raise EvaluatorCrash("it fell")
        return call(self, rpc, *rest)

    monkeypatch.setattr("wtmo.local.bigquery.refusals.ENGINES", 1)
    monkeypatch.setattr(EvaluatorPool, "call_raw", falls)
    first, second = ask(tmp_path, "SELECT c FROM d.v", "SELECT c FROM d.v")
    assert first == Answer(None, first.names, lasting=False)
    assert "Unrecognized name: c" in (second.refused or "")
