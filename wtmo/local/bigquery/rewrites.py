"""What BigQuery has and ZetaSQL's evaluator lacks, said in other words that mean the same.

=====================================  ==============================================================================
written                                evaluated
=====================================  ==============================================================================
``MAX_BY(x, y)``, ``MIN_BY(x, y)``     ``ANY_VALUE(x HAVING MAX y)``, ``... HAVING MIN y)``, as BigQuery defines them
``APPROX_COUNT_DISTINCT(x)``           ``COUNT(DISTINCT x)``: exact
``APPROX_QUANTILES(x, n)``             exact quantiles of the sorted values
``APPROX_TOP_COUNT(x, n)``             exact counts
``PARSE_DATE('%F', s)`` and the like   ``%F``, ``%T``, ``%D``, ``%R`` spelled out
``SESSION_USER()``                     :data:`USER`
``WITH`` in the body of a function     its queries where they are named: the evaluator sees no arguments inside WITH
=====================================  ==============================================================================
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import unsupported
from .syntax import Edits, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from .syntax import Node

USER = "local@wtmo.invalid"
"""Who all jobs belong to."""

HELPERS = {
    "__approx_quantiles": (
        ("sorted", "number"),
        # The i-th of n+1 values that cut the sorted values into n parts of equal size.
        "IF(COALESCE(ARRAY_LENGTH(sorted), 0) = 0, NULL, ARRAY("
        "SELECT sorted[OFFSET(CAST(ROUND(i * (ARRAY_LENGTH(sorted) - 1) / number) AS INT64))]"
        " FROM UNNEST(GENERATE_ARRAY(0, number)) AS i ORDER BY i))",
    ),
    "__approx_top_count": (
        ("elements", "number"),
        "ARRAY(SELECT AS STRUCT value, count FROM ("
        "SELECT value, COUNT(*) AS count, ROW_NUMBER() OVER (ORDER BY COUNT(*) DESC) AS place"
        " FROM UNNEST(elements) AS value GROUP BY value) WHERE place <= number ORDER BY place)",
    ),
}
"""SQL functions that the rewritten text calls: parameters and body."""

_PARSERS = {"PARSE_DATE", "PARSE_TIMESTAMP", "PARSE_DATETIME", "PARSE_TIME"}
_SPELLED_OUT = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%D": "%m/%d/%y", "%R": "%H:%M"}


def rewrite_call(edits: Edits, call: Node) -> str | None:
    """Rewrite one function call.

    :returns: the name in :data:`HELPERS` that the text calls now, if any.
    """
    function, arguments = call.child("function"), call.children("arguments")
    if function is None or call.values.get("is_chained_call"):
        return None
    name = ".".join(function.path()).upper().removeprefix("SAFE.")
    if name in {"MAX_BY", "MIN_BY"} and len(arguments) == 2:
        edits.replace(function.start, function.end, "ANY_VALUE")
        comma = _find(edits.source, b",", arguments[0].end, arguments[1].start)
        edits.replace(comma, comma + 1, f" HAVING {name[:3]} ")
    elif name == "APPROX_COUNT_DISTINCT":
        edits.replace(function.start, function.end, "COUNT")
        _insert_after_parenthesis(edits, call, "DISTINCT ")
    elif name in {"APPROX_QUANTILES", "APPROX_TOP_COUNT"} and len(arguments) == 2:
        if call.values.get("distinct"):
            raise unsupported(f"{name}(DISTINCT ...)")
        helper = f"__{name.lower()}"
        edits.replace(function.start, function.end, helper)
        _insert_after_parenthesis(edits, call, "ARRAY_AGG(")
        comma = _find(edits.source, b",", arguments[0].end, arguments[1].start)
        first = edits.source[arguments[0].start : arguments[0].end].decode()
        edits.replace(comma, comma, f" IGNORE NULLS ORDER BY {first})" if name == "APPROX_QUANTILES" else ")")
        _drop_null_handling(edits, call, arguments[1])
        return helper
    elif name in _PARSERS and arguments and arguments[0].kind == "StringLiteral":
        literal = arguments[0]
        text = edits.source[literal.start : literal.end].decode()
        spelled = re.sub(r"%%|%[FTDR]", lambda m: _SPELLED_OUT.get(m[0], m[0]), text)
        if spelled != text:
            edits.replace(literal.start, literal.end, spelled)
    elif name == "SESSION_USER" and not arguments:
        edits.replace(call.start, call.end, f"'{USER}'")
    return None


def _drop_null_handling(edits: Edits, call: Node, last: Node) -> None:
    """Take ``IGNORE NULLS`` (what is done anyway) out; ``RESPECT NULLS`` is refused."""
    tail = edits.source[last.end : call.end]
    if re.search(rb"\bRESPECT\b", tail, re.IGNORECASE):
        raise unsupported("RESPECT NULLS in APPROX_QUANTILES")
    if found := re.search(rb"\bIGNORE\s+NULLS\b", tail, re.IGNORECASE):
        edits.replace(last.end + found.start(), last.end + found.end(), "")


def _insert_after_parenthesis(edits: Edits, call: Node, text: str) -> None:
    function = call.child("function")
    opening = _find(edits.source, b"(", function.end if function else call.start, call.end) + 1
    edits.replace(opening, opening, text)


def _find(source: bytes, character: bytes, start: int, end: int) -> int:
    """Where a character stands between two places, outside comments."""
    blanked = re.sub(rb"/\*.*?\*/|--[^\n]*|#[^\n]*", lambda m: b" " * len(m[0]), source[start:end], flags=re.DOTALL)
    return start + blanked.index(character)


def inline_ctes(source: bytes, parse: Callable[[str], list[Node]], statement: Node) -> tuple[bytes, Node]:
    """A CREATE FUNCTION statement without WITH in its body: each reference to a common table expression becomes its
    query.

    A query named twice is evaluated twice, as BigQuery does.

    :param parse: gives the statements of a text.
    :returns: the text and its (only) statement; the same ones where there is no WITH.
    """
    body = statement.child("sql_function_body")
    while body is not None:
        query = next((n for n in body.walk() if n.kind == "Query" and n.child("with_clause")), None)
        clause = query.child("with_clause") if query else None
        if query is None or clause is None:
            break
        if clause.values.get("recursive"):
            raise unsupported("WITH RECURSIVE in the body of a function")
        edits = Edits(source)
        _inline(edits, query, clause)
        text = edits.apply(statement.start, statement.end)
        source = text.encode()
        (statement,) = parse(text)
        body = statement.child("sql_function_body")
    return source, statement


def _inline(edits: Edits, query: Node, clause: Node) -> None:
    texts: dict[str, str] = {}
    for entry in clause.children("with"):
        inner, alias = entry.child("query"), entry.child("alias")
        if inner is None or alias is None:
            raise unsupported("this form of WITH in the body of a function")
        part = Edits(edits.source)
        for node in inner.walk():
            _replace_reference(part, node, texts)
        texts[str(alias.values["id_string"]).lower()] = part.apply(inner.start, inner.end).strip()
    edits.replace(clause.start, clause.end, "")
    for node in query.walk():
        if not clause.start <= node.start < clause.end:
            _replace_reference(edits, node, texts)


def _replace_reference(edits: Edits, node: Node, texts: dict[str, str]) -> None:
    path = node.child("path_expr") if node.kind == "TablePathExpression" else None
    if path is None or len(path.path()) != 1:
        return
    name = path.path()[0]
    if name.lower() in texts:
        alias = "" if node.child("alias") else f" AS {quoted(name)}"
        edits.replace(path.start, path.end, f"(\n{texts[name.lower()]}\n){alias}")
