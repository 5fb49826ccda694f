"""MERGE, which the evaluator lacks, as a FULL JOIN that says which clause takes which rows, and one UPDATE a clause.

The source is evaluated once. Every UPDATE runs on the pairs of target and source rows that its clause takes, so values
are checked and coerced by ZetaSQL as MERGE's own. An INSERT is an UPDATE too, of blank rows whose columns have names
that no source has: only so are literals coerced as in VALUES and the source's columns alone visible.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import values
from .catalog import ROW_NUMBER, Bound, Relation, Rows, numbered
from .errors import invalid_query, unsupported
from .protos import nodes, service
from .syntax import quoted

if TYPE_CHECKING:
    from .catalog import Binder
    from .storage import Table
    from .syntax import Node

_NOT_MATCHED_BY_SOURCE, _NOT_MATCHED_BY_TARGET = 2, 3
_INSERT, _UPDATE, _DELETE = 1, 2, 3
_SOURCE, _PAIRS, _BLANK = "$merge_source", "$merge_pairs", "$merge_blank"
_ROW = quoted(ROW_NUMBER)
_PAIR_FIELDS = [{"name": "__pair_target", "type": "INTEGER"}, {"name": "__pair_source", "type": "INTEGER"}]


@dataclass
class Changes:
    """What a MERGE does to its target: rows by number, and whole new rows."""

    deleted: set[int] = field(default_factory=set)
    updated: dict[int, Any] = field(default_factory=dict)
    inserted: list[Any] = field(default_factory=list)


class Merge:
    """One MERGE statement.

    :param key: name under which the target is known to ZetaSQL. :param target: its rows, numbered.
    """

    def __init__(self, binder: Binder, bound: Bound, table: Table, key: str, target: Relation) -> None:
        """Bind the target.

        :raises BigQueryError: a form of MERGE that is not supported.
        """
        node = bound.node
        path = node.need("target_path")
        if any(inner.kind == "DefaultLiteral" for inner in node.walk()):
            raise unsupported("DEFAULT in MERGE")
        self._binder = binder
        self._bound = bound
        self._table = table
        self._using = node.need("table_expression")
        self._condition = node.need("merge_condition")
        self._clauses = node.need("when_clauses").children("clause_list")
        self._key = key
        self._target_alias = quoted(_alias(node) or table.ref.table)
        bound.relations[key] = target
        bound.edits.replace(
            path.start, path.end, quoted(key) + ("" if node.child("alias") else f" AS {self._target_alias}")
        )

    def analyze(self) -> None:
        """Check the whole statement.

        :raises BigQueryError: ``invalidQuery`` with the place of the error.
        """
        self._binder.analyze(self._bound, [nodes.RESOLVED_MERGE_STMT], self._bound.text())

    def run(self) -> Changes:
        """Work out what changes.

        :raises BigQueryError: ``invalidQuery``; for example two source rows for one target row.
        """
        self.analyze()
        source = self._source()
        self._bound.relations[_SOURCE] = source
        taken: dict[int, list[tuple[int | None, int | None]]] = {}
        for row in self._evaluate(self._choice()).rows:
            target, origin, clause = (None if c.WhichOneof("value") is None else c.int64_value for c in row.cell)
            if clause is not None:
                taken.setdefault(clause, []).append((target, origin))
        changed = [
            target
            for index, pairs in taken.items()
            for target, _ in pairs
            if self._action(index).values["action_type"] != _INSERT
        ]
        if len(changed) != len(set(changed)):
            raise invalid_query("UPDATE/MERGE must match at most one source row for each target row")
        changes = Changes()
        for index, pairs in sorted(taken.items()):
            action = self._action(index)
            if action.values["action_type"] == _DELETE:
                changes.deleted.update(target for target, _ in pairs if target is not None)
            elif action.values["action_type"] == _UPDATE:
                changes.updated |= self._updated(action, pairs)
            else:
                changes.inserted += self._inserted(action, pairs, source)
        return changes

    def _source(self) -> Relation:
        """The rows to merge, numbered."""
        rows = self._evaluate(" ".join(("SELECT * FROM", self._text(self._using))))
        return numbered(Relation(rows.fields, chunks=[rows.data]))

    @property
    def _source_alias(self) -> str:
        name = _alias(self._using)
        if name is None and (path := self._using.child("path_expr")):
            name = ".".join(path.path()).split(".")[-1]
        return quoted(name) if name else "`$source`"

    def _choice(self) -> str:
        """A query for (target row, source row, clause)."""
        target, source = f"{self._target_alias}.{_ROW}", f"{self._source_alias}.{_ROW}"
        cases = []
        for index, clause in enumerate(self._clauses):
            match = clause.values["match_type"]
            condition = f"{target} IS {'' if match == _NOT_MATCHED_BY_TARGET else 'NOT '}NULL"
            condition += f" AND {source} IS {'' if match == _NOT_MATCHED_BY_SOURCE else 'NOT '}NULL"
            if search := clause.child("search_condition"):
                condition += f" AND ({self._text(search)})"
            cases.append(f"WHEN {condition} THEN {index}")
        tables = f"{quoted(self._key)} AS {self._target_alias} FULL JOIN {quoted(_SOURCE)} AS {self._source_alias}"
        columns = f"{target} AS t, {source} AS s, CASE {' '.join(cases)} END AS clause"
        return " ".join(("SELECT", columns, "FROM", tables, "ON", f"({self._text(self._condition)})"))

    def _updated(self, action: Node, pairs: list[tuple[int | None, int | None]]) -> dict[int, Any]:
        made = self._update(self._key, self._target_alias, self._text(action.need("update_item_list")), pairs)
        width = len(self._table.fields)
        return {row.cell[-1].int64_value: service.TableData.Row(cell=row.cell[:width]) for row in made}

    def _inserted(self, action: Node, pairs: list[tuple[int | None, int | None]], source: Relation) -> list[Any]:
        columns, row = action.child("insert_column_list"), action.child("insert_row")
        names = [str(c.values["id_string"]).lower() for c in columns.children("identifiers")] if columns else None
        positions = {f["name"].lower(): i for i, f in enumerate(self._table.fields)}
        places = [positions[name] for name in names] if names is not None else list(positions.values())
        given = [f"({self._text(value)})" for value in row.children("values")] if row else []
        if not given:  # INSERT ROW
            given = [f"{self._source_alias}.{quoted(f['name'])}" for f in source.fields]
        fields = [
            {**f, "name": f"__column_{i}", "mode": "REPEATED" if values.is_repeated(f) else "NULLABLE"}
            for i, f in enumerate(self._table.fields)
        ]
        blank = service.TableData(row=[service.TableData.Row(cell=values.conform([], [], fields)) for _ in pairs])
        self._bound.relations[_BLANK] = numbered(Relation(fields, chunks=[blank.SerializeToString()]))
        items = ", ".join(f"__column_{place} = {text}" for place, text in zip(places, given, strict=True))
        numbered_pairs = [(number, origin) for number, (_, origin) in enumerate(pairs)]
        made = self._update(_BLANK, "__blank", items, numbered_pairs)
        return [service.TableData.Row(cell=row.cell[: len(fields)]) for row in made]

    def _update(self, key: str, alias: str, items: str, pairs: Any) -> list[Any]:
        """The rows that an UPDATE makes of the target rows of pairs, joined with their source rows."""
        rows = [
            values.to_row({"__pair_target": target, "__pair_source": origin}, _PAIR_FIELDS) for target, origin in pairs
        ]
        self._bound.relations[_PAIRS] = Relation(_PAIR_FIELDS, chunks=[service.TableData(row=rows).SerializeToString()])
        joined = f"{quoted(_PAIRS)} AS __pairs"
        if any(origin is not None for _, origin in pairs):
            source = self._source_alias
            joined += f" JOIN {quoted(_SOURCE)} AS {source} ON __pairs.__pair_source = {source}.{_ROW}"
        where = f"__pairs.__pair_target = {alias}.{_ROW}"
        sql = " ".join(("UPDATE", quoted(key), "AS", alias, "SET", items, "FROM", joined, "WHERE", where))
        return self._binder.modify(self._bound, sql)

    def _evaluate(self, sql: str) -> Rows:
        return self._binder.evaluate(self._bound, sql)

    def _text(self, node: Node) -> str:
        return self._bound.edits.apply(node.start, node.end).strip()

    def _action(self, index: int) -> Node:
        return self._clauses[index].need("action")


def _alias(node: Node) -> str | None:
    alias = node.child("alias")
    identifier = alias.child("identifier") if alias else None
    return str(identifier.values["id_string"]) if identifier else None
