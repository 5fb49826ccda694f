"""Which partitions and columns a query can do without.

The evaluator takes the rows of a table whole, and most of its time goes into reading them. Two things are left out where
that changes no result; in doubt everything is read:

- *Partitions* of a table that is partitioned by day. A condition of the WHERE clause that stands right above the table's
  FROM clause, joined to the others by AND, and that mentions nothing but the partitioning column, constants and
  parameters, is evaluated once for each partition. A condition that holds for NULL is not used: an outer join gives
  NULL for rows that are not there.
- *Columns* that the analysed query does not read. Their cells are sent as NULL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .syntax import POSITIONAL, Edits, encoded_varint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .partitions import Partitioning
    from .syntax import Node
    from .values import Field

# What a condition may be made of: deterministic, with nothing in it that could be another table's.
_ALLOWED = {
    *("AndExpr", "OrExpr", "UnaryExpression", "BinaryExpression", "BetweenExpression", "InExpression", "InList"),
    *("NullLiteral", "BooleanLiteral", "IntLiteral", "StringLiteral", "StringLiteralComponent", "DateOrTimeLiteral"),
    *("ParameterExpr", "PathExpression", "Identifier", "Location", "FunctionCall", "IntervalExpr", "ExtractExpression"),
    *("CastExpression", "SimpleType", "UnnestExpression", "ExpressionWithOptAlias", "ArrayConstructor"),
}
_FUNCTIONS = {
    *("DATE", "DATE_ADD", "DATE_SUB", "DATE_DIFF", "DATE_TRUNC", "DATETIME", "DATETIME_ADD", "DATETIME_SUB"),
    *("TIMESTAMP", "TIMESTAMP_ADD", "TIMESTAMP_SUB", "TIMESTAMP_TRUNC"),
}
_DATE_PARTS = {"DAY", "DAYOFWEEK", "DAYOFYEAR", "WEEK", "ISOWEEK", "MONTH", "QUARTER", "YEAR", "ISOYEAR"}
# The columns of the probe, one row a partition.
DAY, FIRST, LAST = "`$day`", "`$first`", "`$last`"

_COMPARISONS = {6: f"{LAST} >", 7: f"{FIRST} <", 8: f"{LAST} >=", 9: f"{FIRST} <="}
"""By ``ASTBinaryExpressionEnums.Op``: which end of a day decides whether a value of it can compare so."""


@dataclass(frozen=True)
class Use:
    """One mention of a table in a FROM clause.

    :param name: by which its columns may be qualified. :param conditions: those of the WHERE clause above it.
    :param taken: names of other things in the FROM clause, which a column could be mistaken for. All lower case.
    """

    name: str
    conditions: list[Node] = field(default_factory=list)
    taken: frozenset[str] = frozenset()


def uses(statement: Node) -> dict[Node, Use]:
    """The mentions of tables in a statement that a WHERE clause filters, by their ``TablePathExpression``."""
    found: dict[Node, Use] = {}
    for select in statement.walk():
        where, clause = select.child("where_clause"), select.child("from_clause")
        if select.kind != "Select" or where is None or clause is None:
            continue
        conditions = list(_conjuncts(where.need("expression")))
        tables = list(_tables(clause.need("table_expression")))
        for table in tables:
            others = [other for other in tables if other is not table]
            found[table] = Use(_name(table), conditions, _taken(clause, others))
    return found


def _conjuncts(expression: Node) -> Iterable[Node]:
    if expression.kind == "AndExpr":
        for inner in expression.children("conjuncts"):
            yield from _conjuncts(inner)
    else:
        yield expression


def _tables(node: Node) -> Iterable[Node]:
    """The tables that a FROM clause joins. One with more to it than a name (PIVOT, TABLESAMPLE, ..) is left out."""
    if node.kind == "TablePathExpression" and set(node.nodes) <= {"path_expr", "alias"}:
        yield node
    elif node.kind == "Join":
        yield from _tables(node.need("lhs"))
        yield from _tables(node.need("rhs"))
    elif node.kind == "ParenthesizedJoin" and set(node.nodes) == {"join"}:
        yield from _tables(node.need("join"))


def _name(table: Node) -> str:
    alias = table.child("alias")
    if alias:
        return str(alias.need("identifier").values["id_string"]).lower()
    return table.need("path_expr").path()[-1].split(".")[-1].lower()


def _taken(clause: Node, others: Iterable[Node]) -> frozenset[str]:
    """Names that something in a FROM clause has, as an alias or by default."""
    names = {_name(other) for other in others}
    for node in clause.walk():
        if node.kind in {"Alias", "WithOffset", "UnnestExpression"}:
            names |= {str(i.values["id_string"]).lower() for i in node.walk() if i.kind == "Identifier"}
    return frozenset(names)


def conditions(
    source: bytes, use: Use, partitioning: Partitioning, fields: Iterable[Field], functions: Collection[str]
) -> list[str]:
    """The conditions above a table that say which of its days are wanted, in terms of the probe's columns.

    :param source: the text of the statement. :param functions: lower-case names of the statement's own functions.
    """
    types = {f["name"].lower(): f["type"] for f in fields}
    if partitioning.kind != "DAY":
        return []
    if partitioning.column is None:
        columns = {"_partitiontime": FIRST, "_partitiondate": DAY}
    else:
        column = partitioning.column.lower()
        columns = {column: DAY if types[column] == "DATE" else ""}
    if use.taken & set(columns) or (use.name in columns):
        return []
    made = (_Condition(source, use.name, columns, functions).rewrite(node) for node in use.conditions)
    return [text for text in made if text is not None]


class _Condition:
    """Rewrites a condition on a partitioning column.

    :param columns: what stands for each column in the probe; the empty string for a TIMESTAMP or DATETIME, of which a
        day has many.
    """

    def __init__(self, source: bytes, table: str, columns: dict[str, str], functions: Collection[str]) -> None:
        self._edits = Edits(source)
        self._table = table
        self._columns = columns
        self._functions = functions

    def rewrite(self, node: Node) -> str | None:
        """The condition's text, true for every day that has a row for which it is true; None where it can't be used."""
        if not all(inner.kind in _ALLOWED for inner in node.walk()):
            return None
        if (comparison := self._comparison(node)) is not None:
            return comparison
        return self._text(node) if self._replace(node) else None

    def _comparison(self, node: Node) -> str | None:
        """``column >= constant`` and the like, where a day has many values: one of its ends decides."""
        column = node.child("lhs")
        if column is None or self._stand_in(column) != "" or node.values.get("is_not"):
            return None
        if node.kind == "BetweenExpression":
            bounds = [node.need("low"), node.need("high")]
            if not any(map(self._mentions, bounds)) and all(map(self._replace, bounds)):
                low, high = map(self._text, bounds)
                return f"({LAST} >= {low} AND {FIRST} <= {high})"
        comparison = _COMPARISONS.get(int(node.values.get("op", 0))) if node.kind == "BinaryExpression" else None
        if comparison:
            bound = node.need("rhs")
            if not self._mentions(bound) and self._replace(bound):
                return f"({comparison} {self._text(bound)})"
        return None

    def _text(self, node: Node) -> str:
        # A comment may end it.
        return f"({self._edits.apply(node.start, node.end).strip()}\n)"

    def _stand_in(self, node: Node) -> str | None:
        """What stands for a column; None for what is no partitioning column."""
        if node.kind != "PathExpression":
            return None
        path = [name.lower() for name in node.path()]
        if len(path) == 2 and path[0] == self._table:
            del path[0]
        return self._columns.get(path[0]) if len(path) == 1 else None

    def _mentions(self, node: Node) -> bool:
        return any(self._stand_in(inner) is not None for inner in node.walk())

    def _replace(self, node: Node) -> bool:
        """Put the probe's columns in place of the partitioning column. False where it stands for itself, or for what
        is neither it nor constant.
        """
        if node.kind == "SimpleType":
            return True
        if node.kind == "PathExpression":
            stand_in = self._stand_in(node)
            if stand_in is None:
                return len(node.path()) == 1 and node.path()[0].upper() in _DATE_PARTS
            self._edits.replace(node.start, node.end, stand_in)
            return stand_in != ""
        if node.kind == "ParameterExpr" and (position := node.values.get("position")):
            self._edits.replace(node.start, node.end, f"@{POSITIONAL}{position}")
        if node.kind == "FunctionCall":
            path, arguments = node.need("function").path(), node.children("arguments")
            if len(path) != 1 or path[0].upper() not in _FUNCTIONS or path[0].lower() in self._functions:
                return False
            if set(node.nodes) != {"function", "arguments"}:
                return False
            if path[0].upper() == "DATE" and len(arguments) == 1 and self._stand_in(arguments[0]) == "":
                self._edits.replace(node.start, node.end, DAY)
                return True
            return all(map(self._replace, arguments))
        return all(self._replace(child) for children in node.nodes.values() for child in children)


def probe(conditions: list[str], days: list[str], kind: str) -> str:
    """A query that evaluates conditions for days: the columns are the conditions, the last row is for NULL.

    :param days: partition ids, ``20260601``. :param kind: type of the column, TIMESTAMP or DATETIME (or DATE, where it
        makes no difference).
    """
    moment = "DATETIME" if kind == "DATETIME" else "TIMESTAMP"
    zone = "+00" if moment == "TIMESTAMP" else ""
    rows = []
    for day in days:
        date = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        first, last = (f"{moment} '{date} {time}{zone}'" for time in ("00:00:00", "23:59:59.999999"))
        rows.append(f"(DATE '{date}', {first}, {last})")
    struct = f"STRUCT<{DAY} DATE, {FIRST} {moment}, {LAST} {moment}>"
    columns = ", ".join(f"{text} IS TRUE" for text in conditions)
    array = f"ARRAY<{struct}>[{', '.join([*rows, '(NULL, NULL, NULL)'])}]"
    return " ".join(("SELECT", columns, "FROM", f"UNNEST({array})"))


def admitted(days: list[str], answers: list[list[bool]]) -> set[str]:
    """The days for which every condition holds that doesn't hold for NULL.

    :param answers: the rows of :func:`probe`.
    """
    *rows, null = answers
    return {
        day
        for day, row in zip(days, rows, strict=True)
        if all(holds for holds, always in zip(row, null, strict=True) if not always)
    }


def columns_read(analysis: Node) -> dict[str, set[str]]:
    """The columns that an analysed query reads of each table, lower case, by the table's name in the catalogue."""
    read: dict[str, set[str]] = {}
    for node in analysis.walk():
        if node.kind == "ResolvedTableScan":
            names = {str(column.values["name"]).lower() for column in node.children("column_list")}
            read.setdefault(str(node.need("table").values["name"]), set()).update(names)
    return read


def without_cells(data: bytes, kept: Collection[int], width: int) -> bytes:
    """Serialized ``TableData`` with NULL in place of all cells but some.

    :param kept: positions of cells to keep. :param width: cells a row.
    """
    last, out, position = max(kept, default=-1), [], 0
    null = b"\x0a\x00"
    while position < len(data):
        size, position = _length(data, position)
        end, index, cells = position + size, 0, []
        while position < end and index <= last:
            start = position
            size, position = _length(data, position)
            position += size
            cells.append(data[start:position] if index in kept else null)
            index += 1
        cells.append(null * (width - index))
        row = b"".join(cells)
        out += [b"\x0a", encoded_varint(len(row)), row]
        position = end
    return b"".join(out)


def _length(data: bytes, position: int) -> tuple[int, int]:
    """The length of the field 1 that begins here, and where its content begins."""
    if data[position] != 0x0A:
        raise ValueError("stored rows are not TableData")
    position += 1
    size = data[position]
    if size >= 0x80:
        size, shift = size & 0x7F, 7
        while True:
            position += 1
            byte = data[position]
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
    return size, position + 1
