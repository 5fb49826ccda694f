"""Which tables a query reads and writes, in its spelling and in those of others."""

from __future__ import annotations

import pytest

from wtmo.graph.model import Query
from wtmo.graph.tables import Use, use_of


@pytest.mark.parametrize(
    ("sql", "reads", "writes"),
    [
        ("SELECT * FROM t", {"p.d.t"}, set()),
        ("SELECT * FROM e.t", {"p.e.t"}, set()),
        ("SELECT * FROM `q.e.t_*`", {"q.e.t"}, set()),
        ("SELECT * FROM `q.e.t*`", {"q.e.t"}, set()),
        ("SELECT * FROM e.INFORMATION_SCHEMA.TABLES", {"e.INFORMATION_SCHEMA.TABLES"}, set()),
        ("WITH c AS (SELECT 1) SELECT * FROM c", set(), set()),
        ("WITH c AS (SELECT 1) SELECT * FROM c JOIN e.c USING (a)", {"p.e.c"}, set()),
        ("CREATE TEMP TABLE x AS SELECT * FROM e.a; INSERT INTO e.b SELECT * FROM x", {"p.e.a"}, {"p.e.b"}),
        ("CREATE OR REPLACE TABLE e.b AS SELECT * FROM e.a", {"p.e.a"}, {"p.e.b"}),
        ("CREATE TEMP FUNCTION f(x INT64) AS (x + 1); SELECT f(a) FROM e.a", {"p.e.a"}, set()),
        ("CREATE OR REPLACE FUNCTION e.f(x INT64) AS (x + 1); SELECT e.f(a) FROM e.a", {"p.e.a"}, set()),
        ("SELECT * FROM INFORMATION_SCHEMA.TABLES", {"INFORMATION_SCHEMA.TABLES"}, set()),
        ("DELETE FROM e.b WHERE a IN (SELECT a FROM e.a)", {"p.e.a"}, {"p.e.b"}),
        ("UPDATE e.b SET a = 1 WHERE TRUE", set(), {"p.e.b"}),
        ("INSERT INTO e.b SELECT * FROM e.b", {"p.e.b"}, {"p.e.b"}),
    ],
)
def test_names_are_whole_and_none_is_made_up(sql: str, reads: set[str], writes: set[str]) -> None:
    assert use_of(Query("pod", sql=sql, project="billing", dataset="p.d")) == Use(frozenset(reads), frozenset(writes))


def test_without_a_default_dataset_the_project_that_pays_counts() -> None:
    assert use_of(Query("pod", sql="SELECT * FROM e.t JOIN u USING (a)", project="p")).reads == {"p.e.t", "u"}


def test_a_query_without_sql_says_why_and_what_it_writes() -> None:
    query = Query("pod", destination="p.d.t$20260601", error="No such file")
    assert use_of(query) == Use(writes=frozenset({"p.d.t"}), error="No such file")


def test_sql_that_is_too_deep_is_an_error_of_that_query() -> None:
    assert use_of(Query("pod", sql=f"SELECT {'(' * 5000}1{')' * 5000}")).error
