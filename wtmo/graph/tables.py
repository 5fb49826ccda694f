"""BigQuery tables that query tasks read and write: the layer below the graph of tasks.

What a task reads stands in its SQL, which is there for tasks that hold it and, with a checkout of bigquery-etl, for those that
name a file of it (:func:`wtmo.graph.inventory.inventory`). Partitions (``$20260601``) and ends of sharded names play no part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlglot import exp

    from wtmo.graph.graph import Graph, Node
    from wtmo.graph.model import Query


@dataclass(frozen=True)
class Use:
    """Tables of a task, ``project.dataset.table`` as far as it can be told.

    :param error: why the SQL can't be read. None: it can, or there is none.
    """

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    error: str | None = None


class Tables:
    """Which task reads and writes which table.

    :param graph: whose query tasks are looked at.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    @cached_property
    def of_task(self) -> dict[Node, Use]:
        """What each query task uses."""
        return {node: use_of(task.query) for node, task in sorted(self._graph.tasks.items()) if task.query is not None}

    @cached_property
    def readers(self) -> Mapping[str, list[Node]]:
        """Tasks that read a table, by its name."""
        return self._by_table("reads")

    @cached_property
    def writers(self) -> Mapping[str, list[Node]]:
        """Tasks that write a table, by its name."""
        return self._by_table("writes")

    @cached_property
    def edges(self) -> list[tuple[Node, Node, str]]:
        """From the task that writes a table to each other that reads it, with the table. Sorted."""
        return sorted(
            (writer, reader, table)
            for table, writers in self.writers.items()
            for writer in writers
            for reader in self.readers.get(table, ())
            if reader != writer
        )

    @cached_property
    def unordered(self) -> list[tuple[Node, Node, str]]:
        """Those of :attr:`edges` whose reader does not come after the writer in the graph of tasks."""
        after = {writer: self._graph.downstream(writer) for writer, _, _ in self.edges}
        return [edge for edge in self.edges if edge[1] not in after[edge[0]]]

    def _by_table(self, what: str) -> dict[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        for node, use in self.of_task.items():
            for table in getattr(use, what):
                found.setdefault(table, []).append(node)
        return dict(sorted(found.items()))


def use_of(query: Query) -> Use:
    """The tables of one query."""
    writes = frozenset([bare(query.destination)]) if query.destination else frozenset()
    if query.sql is None:
        return Use(writes=writes, error=query.error)
    reads, written, error = _parsed(query.sql)
    full = {name: _full(name, query) for name in reads | written}
    return Use(frozenset(full[name] for name in reads), writes | frozenset(full[name] for name in written), error)


def bare(table: str) -> str:
    """A table's name without partition.

    >>> bare("p.d.t_v1$20260601")
    'p.d.t_v1'
    """
    return table.partition("$")[0]


def _full(name: str, query: Query) -> str:
    """With the query's default dataset, or its project."""
    missing = 2 - name.count(".")
    if missing == 2:
        return f"{query.dataset}.{name}" if query.dataset else name
    project = (query.dataset or "").partition(".")[0] or query.project
    return f"{project}.{name}" if missing == 1 and project and not _is_information_schema(name) else name


def _is_information_schema(name: str) -> bool:
    return "information_schema" in name.lower()


@lru_cache(maxsize=8192)
def _parsed(sql: str) -> tuple[frozenset[str], frozenset[str], str | None]:
    """Tables read and written, as they are named, and why the SQL can't be read."""
    import sqlglot
    from sqlglot import exp

    try:
        statements = [each for each in sqlglot.parse(sql, read="bigquery") if each is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        return frozenset(), frozenset(), re.sub(r"\x1b\[\d+m", "", str(error)).strip()[:500]
    reads: set[str] = set()
    writes: set[str] = set()
    for statement in statements:
        made: set[str] = set()
        target = (
            statement.args.get("this")
            if isinstance(statement, exp.Create | exp.Insert | exp.Merge | exp.Update | exp.Delete)
            else None
        )
        table = target.find(exp.Table) if isinstance(target, exp.Expression) else None
        if table is not None and not (isinstance(statement, exp.Create) and statement.kind not in {"TABLE", "VIEW"}):
            made.add(_name(table))
        named = {cte.alias_or_name for cte in statement.find_all(exp.CTE)}
        for each in statement.find_all(exp.Table):
            if each is table or not each.name or (not each.db and each.name in named):
                continue
            reads.add(_name(each))
        writes |= made
    temporary = {name for name in writes if "." not in name}
    return frozenset(reads - temporary), frozenset(writes - temporary), None


def _name(table: exp.Table) -> str:
    name = ".".join(part.name for part in table.parts)
    return re.sub(r"_?\*$", "", name)
