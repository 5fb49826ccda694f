"""Binding a statement: which tables and functions it names, and ZetaSQL's catalogue of exactly those.

ZetaSQL takes rows only for tables of its top-level catalogue. So each dotted table path of a statement is replaced by
one quoted name (``ds.t`` becomes ```p.ds.t` AS t``), and places in error messages are led back to the text that the
user wrote.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from google.protobuf import message_factory

from . import information_schema, pruning, rewrites, values
from .errors import BigQueryError, invalid, invalid_query, unsupported
from .googlesql import Cancellation, EvaluatorCrash, EvaluatorError, EvaluatorPool
from .partitions import Partitioning, find_field
from .protos import catalog as catalogs
from .protos import functions, language, nodes, options, service, signatures
from .routines import routine_sql
from .storage import TableRef
from .syntax import POSITIONAL, Edits, Node, decode, encoded_varint, quoted, submessages

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

    from .definitions import Definition
    from .storage import Storage, Table
    from .values import Field

T = TypeVar("T")

MAX_DEPTH = 32
"""Views and functions in one another: BigQuery has 16 levels of views, and functions between them."""
WHOLE_ROWS = 1 << 17
"""Bytes of rows up to which a query gets them with all their cells: less than it costs to look what it reads."""

ROW_NUMBER = "__row_number"
"""Pseudo column by which UPDATE, DELETE and MERGE tell rows apart."""

_NOT_THE_QUERY_S = {2, 8, 12, 13}
"""Status codes for what the evaluator can't do or fails at: unknown, exhausted, unimplemented, internal."""
_PARTITION_TIME: Field = {"name": "_PARTITIONTIME", "type": "TIMESTAMP", "mode": "NULLABLE"}
_PARTITION_DATE: Field = {"name": "_PARTITIONDATE", "type": "DATE", "mode": "NULLABLE"}
_TABLE_SUFFIX: Field = {"name": "_TABLE_SUFFIX", "type": "STRING", "mode": "NULLABLE"}
_TYPE_ALIASES = {"INTEGER": "INTEGER", "BOOLEAN": "BOOLEAN"} | {
    alias: name for alias, name in values.ALIASES.items() if alias not in {"INT64", "FLOAT64", "BOOL", "STRUCT"}
}


@dataclass(frozen=True)
class Scope:
    """What names and parameters mean in a query.

    :param dataset: project and dataset of unqualified tables. :param parameters: ``queryParameters`` of the job.
    """

    project: str
    dataset: tuple[str, str] | None = None
    parameters: Sequence[dict[str, Any]] = ()
    positional: bool = False


@dataclass
class Function:
    """A SQL function, ready for the catalogue."""

    proto: Any
    tables: Bound


@dataclass
class Relation:
    """A table as a statement sees it: its columns, those that ``*`` leaves out, and its rows."""

    fields: list[Field]
    pseudo: list[Field] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)


@dataclass
class Bound:
    """What a statement needs: the edited text, and what its names stand for."""

    edits: Edits
    node: Node
    relations: dict[str, Relation] = field(default_factory=dict)
    functions: dict[tuple[str, ...], Function] = field(default_factory=dict)
    references: list[TableRef] = field(default_factory=list)
    uses: dict[TableRef, list[pruning.Use | None]] = field(default_factory=dict)

    def text(self, node: Node | None = None) -> str:
        """The edited text of the statement or a part of it, blanks before it."""
        part = node or self.node
        return self.edits.apply(part.start, part.end)

    def absorb(self, other: Bound) -> None:
        """Take over the tables and functions that another one needs."""
        self.relations |= other.relations
        self.functions |= other.functions
        self.references += [ref for ref in other.references if ref not in self.references]


@dataclass
class Rows:
    """The result of a query."""

    fields: list[Field]
    rows: Sequence[Any]

    @property
    def data(self) -> bytes:
        """The rows as one serialized ``TableData``."""
        data: bytes = service.TableData(row=self.rows).SerializeToString()
        return data


class Once(Protocol):
    """Gives what was made for a key before, or makes it."""

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """:raises BigQueryError: it can't be made."""
        ...


def anew(key: Hashable, make: Callable[[], T]) -> T:
    """Makes it, whatever was made before."""
    return make()


class Binder:
    """Binds, analyses and evaluates statements for one job.

    :param with_rows: False for a dry run: tables have no rows and nothing is evaluated.
    :param stored_sql: True for the SQL of views and functions, which need no partition filter of their own.
    :param once: makes what is described of views and functions. Default: each time, as the files and rows are then.
    """

    def __init__(
        self,
        storage: Storage,
        pool: EvaluatorPool,
        scope: Scope,
        cancellation: Cancellation,
        *,
        with_rows: bool = True,
        stored_sql: bool = False,
        once: Once = anew,
    ) -> None:
        """Hold what a job's statements share."""
        self._storage = storage
        self._pool = pool
        self._scope = scope
        self._cancellation = cancellation
        self._with_rows = with_rows
        self._stored_sql = stored_sql
        self._once = once
        self.temporary: dict[tuple[str, ...], Function] = {}
        self._inside: list[tuple[str, TableRef]] = []
        self._renamed: dict[str, str] = {}

    # -- text to bound statement

    def parse(self, source: str) -> list[Node]:
        """The statements of a script.

        :raises BigQueryError: ``invalidQuery`` with the place of the syntax error.
        """
        request = service.ParseRequest(sql_statement=source, options=self._pool.language(), allow_script=True)
        try:
            answer = self._pool.call_raw("Parse", request, self._cancellation)
        except (EvaluatorError, EvaluatorCrash) as error:
            _raise(error)
        script = decode(answer, service.ParseResponse.DESCRIPTOR).child("parsed_script")
        statements = script.child("statement_list_node") if script else None
        return statements.children("statement_list") if statements else []

    def bind(self, source: bytes, node: Node) -> Bound:
        """Find what the names in a statement mean, but for the table that it writes.

        :raises BigQueryError: 404 for a missing table, or 400.
        """
        bound = Bound(Edits(source), node)
        known = self._table_names(source[node.start : node.end].decode())
        filtered = {} if node.kind == "CreateFunctionStatement" else pruning.uses(node)
        tables = []
        for inner in node.walk():
            if inner.kind in {"TablePathExpression", "TableClause"}:
                path = inner.child("path_expr") or inner.child("table_path")
                if path and path.path() in known:
                    bound.uses.setdefault(self.resolve(path.path()), []).append(filtered.get(inner))
                    tables.append((inner, path))
            elif inner.kind == "FunctionCall" and (path := inner.child("function")):
                self._bind_function(bound, path.path())
                if renamed := self._renamed.get(".".join(path.path()).lower()):
                    bound.edits.replace(path.start, path.end, renamed)
                if helper := rewrites.rewrite_call(bound.edits, inner):
                    bound.functions[helper,] = Function(_helper(helper), bound)
            elif inner.kind == "ParameterExpr" and (position := inner.values.get("position")):
                self._bind_positional(bound, inner, int(position))
            elif inner.kind in _REFUSED:
                raise unsupported(_REFUSED[inner.kind])
        for table in tables:
            self._bind_table(bound, *table)
        return bound

    def _bind_positional(self, bound: Bound, node: Node, position: int) -> None:
        """Give a ``?`` a name: the evaluator takes values of named parameters only."""
        if not self._scope.positional or position > len(self._scope.parameters):
            raise invalid_query(f"Query parameter number {position} is not defined")
        bound.edits.replace(node.start, node.end, f"@{POSITIONAL}{position}")

    def _table_names(self, statement: str) -> set[tuple[str, ...]]:
        request = service.ExtractTableNamesFromStatementRequest(sql_statement=statement, options=self._pool.language())
        try:
            answer = self._pool.call(
                "ExtractTableNamesFromStatement",
                request,
                service.ExtractTableNamesFromStatementResponse,
                self._cancellation,
            )
        except (EvaluatorError, EvaluatorCrash) as error:
            _raise(error)
        return {tuple(name.table_name_segment) for name in answer.table_name}

    def resolve(self, path: Sequence[str], kind: str = "Table") -> TableRef:
        """The full name of a table or function that a path means here.

        :raises BigQueryError: it has no dataset, or is no name.
        """
        names = ".".join(path).split(".")
        if len(names) == 1 and self._scope.dataset:
            return TableRef(*self._scope.dataset, names[0])
        if len(names) == 2:
            return TableRef(self._scope.project, *names)
        if len(names) >= 3:
            return TableRef(".".join(names[:-2]), names[-2], names[-1])
        raise invalid(f'{kind} "{names[0]}" must be qualified with a dataset (e.g. dataset.table).')

    def _bind_table(self, bound: Bound, node: Node, path: Node) -> None:
        segments = path.path()
        names = ".".join(segments).split(".")
        upper = [name.upper() for name in names]
        if "INFORMATION_SCHEMA" in upper:
            ref, relation = self._information_schema(names, upper.index("INFORMATION_SCHEMA"))
        else:
            ref = self.resolve(segments)
            relation = None
        key = segments[0] if len(names) == 1 else f"{ref.project}.{ref.dataset}.{ref.table}"
        if any(other.lower() == key.lower() and other != key for other in bound.relations):
            raise unsupported(f"two tables in one query whose names differ only by case: {key}")
        if key not in bound.relations:
            bound.relations[key] = relation or self._relation(bound, ref)
        if len(names) > 1:
            alias = "" if node.child("alias") or "*" in ref.table else f" AS {quoted(ref.table)}"
            bound.edits.replace(path.start, path.end, quoted(key) + alias)

    def _information_schema(self, names: list[str], index: int) -> tuple[TableRef, Relation]:
        before, view = names[:index], ".".join(names[index + 1 :]).upper()
        if not before and self._scope.dataset:
            before = list(self._scope.dataset)
        if len(before) == 1 and not before[0].lower().startswith("region-"):
            before = [self._scope.project, *before]
        if len(before) < 2:
            raise unsupported(f"{'.'.join(names)} without a dataset")
        project, dataset = ".".join(before[:-1]), before[-1]
        self._storage.dataset(project, dataset)
        fields, rows = information_schema.view(self._storage, project, dataset, view)
        data = (
            service.TableData(row=[values.to_row(row, fields) for row in rows])
            if self._with_rows
            else service.TableData()
        )
        ref = TableRef(project, f"{dataset}.INFORMATION_SCHEMA", view)
        return ref, Relation(fields, chunks=[data.SerializeToString()])

    def _relation(self, bound: Bound, ref: TableRef) -> Relation:
        if "$" in ref.table:
            raise invalid_query(f"Table ID with decorators is not supported in standard SQL: {ref}")
        if ref.table.endswith("*"):
            with self._storage.snapshot():
                return self._wildcard(bound, ref)
        before = self._storage.find_table(ref)
        if before is None and (relation := self._described(bound, ref)):
            return relation
        # Not inside the snapshot, which keeps all other readers waiting.
        unwanted = self._unwanted(bound, before) if before else set()
        with self._storage.snapshot():
            table = self._storage.table(ref)
            bound.references.append(ref)
            if table.view_query is None:
                self.check_partition_filter(table, bound.node)
                return self.stored(table, unwanted if table == before else set())
        relation, references = self._view(ref, table.view_query)
        bound.references += [other for other in references if other not in bound.references]
        return relation

    def _described(self, bound: Bound, ref: TableRef) -> Relation | None:
        """A view or table that is not stored but described, or None.

        :raises BigQueryError: what is described is wrong.
        """
        definitions = self._storage.definitions
        if definitions and (view := definitions.view(ref)):
            relation, references = self._once(("view", ref), lambda: self._described_view(view, ref))
            bound.references += [other for other in references if other not in bound.references]
            return relation
        if definitions and (table := definitions.table(ref)):
            bound.references.append(ref)
            self.check_partition_filter(table, bound.node)
            return self.stored(table)
        return None

    def _described_view(self, view: Definition, ref: TableRef) -> tuple[Relation, list[TableRef]]:
        statement = self._statement(view, ref, {"CreateViewStatement", "CreateMaterializedViewStatement"}, "view")
        query = statement.need("query")
        relation, references = self._view(ref, Edits(view.sql.encode()).apply(query.start, query.end))
        if listed := statement.child("column_with_options_list"):
            columns = listed.children("column_with_options")
            names = [str(column.children("name")[0].values["id_string"]) for column in columns]
            if len(names) != len(relation.fields):
                raise invalid_query(f"{view.file} names {len(names)} columns of {len(relation.fields)}")
            relation.fields = [{**f, "name": name} for f, name in zip(relation.fields, names, strict=True)]
        return relation, references

    def _statement(self, definition: Definition, ref: TableRef, kinds: Collection[str], what: str) -> Node:
        """The CREATE statement of a file that makes what has the name.

        :raises BigQueryError: the file has none, or can't be read.
        """
        binder = self.nested(ref.project, with_rows=False)
        try:
            for node in binder.parse(definition.sql):
                path = (node.child("function_declaration") or node).child("name")
                if node.kind in kinds and path and binder.resolve(path.path()) == ref:
                    return node
        except BigQueryError as error:
            raise BigQueryError(error.reason, f"{error.message} of {definition.file}", error.location) from error
        raise invalid_query(f"{definition.file} makes no {what} {'.'.join(ref)}")

    def check_partition_filter(self, table: Table, node: Node) -> None:
        """Refuse a statement that nowhere filters by the partitioning column of a table that requires it.

        BigQuery demands a filter that it can prune partitions by; here any mention of the column in a WHERE or ON
        clause passes.
        """
        if (
            self._stored_sql
            or not table.resource.get("requirePartitionFilter")
            or node.kind in {"InsertStatement", "TruncateStatement"}
        ):
            return
        partitioning = Partitioning.of(table.resource)
        wanted = {(partitioning.column or "_PARTITIONTIME").lower()} if partitioning else set()
        if partitioning and partitioning.column is None:
            wanted.add("_partitiondate")
        clauses = [
            n
            for n in node.walk()
            if n.kind in {"WhereClause", "OnClause", "DeleteStatement", "UpdateStatement", "MergeStatement"}
        ]
        named = {str(i.values["id_string"]).lower() for n in clauses for i in n.walk() if i.kind == "Identifier"}
        if not wanted & named:
            columns = " or ".join(sorted(wanted))
            raise invalid_query(
                f"Cannot query over table '{'.'.join(table.ref)}' without a filter over "
                f"column(s) '{columns}' that can be used for partition elimination"
            )

    def _unwanted(self, bound: Bound, table: Table) -> set[str]:
        """The partitions of a table that the statement can do without, as far as :mod:`.pruning` can tell."""
        partitioning, mentions = Partitioning.of(table.resource), bound.uses.get(table.ref, [])
        uses = [use for use in mentions if use is not None]
        if not self._with_rows or partitioning is None or not uses or len(uses) < len(mentions):
            return set()
        days = [s.partition for s in self._storage.partitions(table.id) if s.partition.isdigit()]
        own = {path[-1].lower() for path in self.temporary} | set(self._renamed)
        column = find_field(table.fields, partitioning.column) if partitioning.column else None
        unwanted = set(days)
        for use in uses:
            conditions = pruning.conditions(bound.edits.source, use, partitioning, table.fields, own)
            if not conditions or len(days) < 2:
                return set()
            sql = pruning.probe(conditions, days, column["type"] if column else "TIMESTAMP")
            try:
                rows = self.evaluate(Bound(Edits(sql.encode()), Node(end=len(sql.encode())))).rows
            except BigQueryError:
                return set()  # the query itself will say what is wrong, or knows a name that the probe doesn't
            unwanted -= pruning.admitted(days, [[cell.bool_value for cell in row.cell] for row in rows])
        return unwanted

    def stored(self, table: Table, unwanted: Collection[str] = ()) -> Relation:
        """A table's columns and rows.

        :param unwanted: partitions to leave out. Default: none.
        """
        relation = Relation(table.fields)
        partitioning = Partitioning.of(table.resource)
        ingestion = partitioning is not None and partitioning.column is None
        if ingestion:
            relation.pseudo = (
                [_PARTITION_TIME, _PARTITION_DATE] if partitioning and partitioning.kind == "DAY" else [_PARTITION_TIME]
            )
        if not self._with_rows:
            return relation
        for part in self._storage.parts_without(table.id, unwanted):
            extra = (
                _partition_cells(partitioning, part.partition)[: len(relation.pseudo)]
                if partitioning and ingestion
                else []
            )
            relation.chunks.append(_with_cells(part.data, extra))
        return relation

    def _wildcard(self, bound: Bound, ref: TableRef) -> Relation:
        prefix = ref.table[:-1]
        self._storage.dataset(ref.project, ref.dataset)
        tables = [
            t
            for t in self._storage.tables(ref.project, ref.dataset)
            if t.ref.table.startswith(prefix) and t.view_query is None
        ]
        if not tables:
            raise invalid_query(f"{ref} does not match any table.")
        newest = max(tables, key=lambda table: int(table.resource["creationTime"]))
        relation = Relation(newest.fields, [_TABLE_SUFFIX])
        for table in tables:
            bound.references.append(table.ref)
            for part in self._storage.parts(table.id) if self._with_rows else ():
                suffix = values.to_value(table.ref.table.removeprefix(prefix), _TABLE_SUFFIX)
                rows = [
                    values.conform(row.cell, table.fields, newest.fields)
                    for row in service.TableData.FromString(part.data).row
                ]
                data = service.TableData(row=[service.TableData.Row(cell=[*cells, suffix]) for cells in rows])
                relation.chunks.append(data.SerializeToString())
        return relation

    def _view(self, ref: TableRef, sql: str) -> tuple[Relation, list[TableRef]]:
        inner = self._within("View", ref)
        try:
            rows, references = inner.run_view(sql)
        except BigQueryError as error:
            message = f"{error.message}; failed to parse view '{'.'.join(ref)}'"
            raise BigQueryError(error.reason, message, error.location) from error
        return Relation(rows.fields, chunks=[rows.data]), references

    def _within(self, kind: str, ref: TableRef) -> Binder:
        """A binder for the SQL of a view or function that this one's SQL names.

        :raises BigQueryError: it is named in its own SQL, or too deep.
        """
        if (kind, ref) in self._inside:
            raise invalid_query(f"{kind} {ref} is part of a loop")
        if len(self._inside) >= MAX_DEPTH:
            raise unsupported(f"views and functions nested deeper than {MAX_DEPTH}")
        inner = self.nested(ref.project, with_rows=self._with_rows)
        inner._inside = [*self._inside, (kind, ref)]
        return inner

    def nested(self, project: str, *, with_rows: bool) -> Binder:
        """A binder for SQL that is kept in a project (of a view or function), where the job's names mean nothing."""
        return Binder(
            self._storage,
            self._pool,
            Scope(project),
            self._cancellation,
            with_rows=with_rows,
            stored_sql=True,
            once=self._once,
        )

    def run_view(self, sql: str) -> tuple[Rows, list[TableRef]]:
        """Evaluate (in a dry run: analyse) the one query of a view.

        :raises BigQueryError: it is not one query, or wrong.
        """
        statements = self.parse(sql)
        if len(statements) != 1 or statements[0].kind != "QueryStatement":
            raise invalid_query("A view must be one query")
        bound = self.bind(sql.encode(), statements[0])
        rows = self.evaluate(bound) if self._with_rows else Rows(self.columns(bound), [])
        return rows, bound.references

    # -- functions

    def _bind_function(self, bound: Bound, path: tuple[str, ...]) -> None:
        names = ".".join(path).split(".")
        if len(names) < 2 or path in bound.functions or len(names) > 3 or names[0].upper() == "SAFE":
            return
        ref = self.resolve(path, "Function")
        if routine := self._storage.find_routine(ref):
            inner = self._within("Function", ref)
            sql = routine_sql(routine)
            function = inner.function(sql.encode(), inner.parse(sql)[0], path)
        elif self._storage.definitions and (definition := self._storage.definitions.function(ref)):
            function = self._once(("function", ref, path), lambda: self._described_function(definition, ref, path))
        else:
            return  # built in (NET.HOST), or unknown, which the analyser says better
        bound.functions[path] = function
        bound.absorb(function.tables)

    def _described_function(self, definition: Definition, ref: TableRef, path: tuple[str, ...]) -> Function:
        inner = self._within("Function", ref)
        statement = self._statement(definition, ref, {"CreateFunctionStatement"}, "function")
        try:
            return inner.function(definition.sql.encode(), statement, path)
        except BigQueryError as error:
            message = f"{error.message}; failed to make function '{'.'.join(ref)}' of {definition.file}"
            raise BigQueryError(error.reason, message, error.location) from error

    def function(self, source: bytes, node: Node, path: tuple[str, ...] | None = None) -> Function:
        """Make a function of its CREATE FUNCTION statement.

        :param path: the name it is called by. Default: that of the statement.
        :raises BigQueryError: not SQL, or wrong.
        """
        body = node.child("sql_function_body")
        name_node = (node.child("function_declaration") or node).child("name")
        name = name_node.path() if name_node else ()
        if body is None or name_node is None:
            written = node.child("language")
            raise unsupported(
                f"function {'.'.join(name)} in language {written.values['id_string'] if written else 'unknown'}"
            )
        source, node = rewrites.inline_ctes(source, self.parse, node)
        body = node.child("sql_function_body") or body
        bound = self.bind(source, node)
        request = service.AnalyzeRequest(
            options=self.analyzer_options([nodes.RESOLVED_CREATE_FUNCTION_STMT]),
            simple_catalog=self.catalog(Bound(bound.edits, node)),
            sql_statement=bound.edits.apply(node.start, body.start) + "(NULL)",
        )
        try:
            answer = self._pool.call("Analyze", request, service.AnalyzeResponse, self._cancellation)
        except (EvaluatorError, EvaluatorCrash) as error:
            _raise(error, bound.edits, node.start)
        statement = answer.resolved_statement.resolved_create_statement_node.resolved_create_function_stmt_node
        signature = statement.signature
        if not statement.has_explicit_return_type:
            signature.return_type.CopyFrom(_any_type())
        text = bound.edits.apply(body.start + 1, body.end - 1)
        aggregate = bool(node.values.get("is_aggregate"))
        if (
            path is None and name[0].lower() in self._pool.builtin_functions()
        ):  # of ZetaSQL, not of BigQuery: FIRST, LABELS, ...
            self._renamed[name[0].lower()] = f"__function_{name[0]}"
            name = (f"__function_{name[0]}",)
        return Function(
            _sql_function(path or name, signature, statement.argument_name_list, text, aggregate=aggregate), bound
        )

    def check_routine(self, routine: dict[str, Any]) -> None:
        """:raises BigQueryError: the function of a ``Routine`` resource can't be made."""
        sql = routine_sql(routine)
        self.function(sql.encode(), self.parse(sql)[0])

    # -- bound statement to ZetaSQL

    def analyzer_options(self, kinds: Iterable[int] = (), *, evaluated: bool = False) -> Any:
        """BigQuery's dialect with the job's parameters.

        :param kinds: the statements allowed besides queries.
        :param evaluated: with what the evaluator needs done to the statement, which takes a fifth of an analysis.
        """
        result = options.AnalyzerOptionsProto(default_timezone="UTC", prune_unused_columns=True)
        result.language_options.CopyFrom(self._pool.language())
        result.language_options.supported_statement_kinds.extend(kinds)
        result.error_message_mode = language.ERROR_MESSAGE_ONE_LINE
        if evaluated:
            result.enabled_rewrites.extend(_REWRITES)
        for name, kind, _ in self._parameters():
            result.query_parameters.add(name=name, type=kind)
        return result

    def _parameters(self) -> list[tuple[str, Any, Any]]:
        """Name, ``TypeProto`` and ``ValueProto`` of each query parameter."""
        result = []
        for position, parameter in enumerate(self._scope.parameters, 1):
            name = f"{POSITIONAL}{position}" if self._scope.positional else parameter.get("name")
            field_ = parameter_field(name or "", parameter.get("parameterType") or {})
            value = parameter_value(parameter.get("parameterValue") or {}, field_)
            proto = values.to_value(value, field_) if value is not None else values.null()
            result.append((field_["name"], values.to_type(field_), proto))
        return result

    def catalog(self, bound: Bound) -> Any:
        """ZetaSQL's catalogue of what the statement names."""
        root = catalogs.SimpleCatalogProto(name="bigquery")
        root.builtin_function_options.language_options.CopyFrom(self._pool.language())
        for alias, name in _TYPE_ALIASES.items():
            root.named_type.add(name=alias, type=values.to_type({"name": alias, "type": name}))
        for key, relation in bound.relations.items():
            table = root.table.add(name=key)
            for column in relation.fields:
                table.column.add(name=column["name"], type=values.to_type(column))
            for column in relation.pseudo:
                table.column.add(name=column["name"], type=values.to_type(column), is_pseudo_column=True)
        for path, function in (bound.functions | self.temporary).items():
            _folder(root, path[:-1]).custom_function.add().CopyFrom(function.proto)
        return root

    def columns(self, bound: Bound) -> list[Field]:
        """Analyse a query and say what columns it has.

        :raises BigQueryError: ``invalidQuery``.
        """
        request = service.AnalyzeRequest(
            options=self.analyzer_options(), simple_catalog=self.catalog(bound), sql_statement=bound.text()
        )
        try:
            answer = self._pool.call_raw("Analyze", request, self._cancellation)
        except (EvaluatorError, EvaluatorCrash) as error:
            _raise(error, bound.edits, bound.node.start)
        return result_fields(_output_columns(answer))

    def analyze(self, bound: Bound, kinds: Iterable[int], sql: str) -> None:
        """Analyse a statement that is no query.

        :raises BigQueryError: ``invalidQuery``.
        """
        request = service.AnalyzeRequest(
            options=self.analyzer_options(kinds), simple_catalog=self.catalog(bound), sql_statement=sql
        )
        try:
            self._pool.call_raw("Analyze", request, self._cancellation)
        except (EvaluatorError, EvaluatorCrash) as error:
            _raise(error, bound.edits, bound.node.start)

    def evaluate(self, bound: Bound, sql: str | None = None) -> Rows:
        """Run a query.

        :param sql: the text to run. Default: the edited text of the statement.
        :raises BigQueryError: ``invalidQuery``.
        """
        request = service.EvaluateQueryRequest(
            sql=bound.text() if sql is None else sql,
            options=self.analyzer_options(evaluated=True),
            simple_catalog=self.catalog(bound),
        )
        answer = self._evaluate(
            "EvaluateQuery", request, bound, service.EvaluateQueryResponse, self._cells_read(bound, request)
        )
        columns = [(column.name, column.type) for column in answer.prepared.columns]
        return Rows(result_fields(columns), answer.content.table_data.row)

    def _cells_read(self, bound: Bound, request: Any) -> dict[str, list[bytes]]:
        """The rows of large tables with only the cells that a query reads, by the table's name."""
        inside = [f.tables for f in (bound.functions | self.temporary).values() if f.tables is not bound]
        large = {
            key: relation
            for key, relation in bound.relations.items()
            if sum(map(len, relation.chunks)) > WHOLE_ROWS and not any(key in tables.relations for tables in inside)
        }
        if not large:
            return {}
        question = service.AnalyzeRequest(
            options=request.options, simple_catalog=request.simple_catalog, sql_statement=request.sql
        )
        try:
            answer = self._pool.call_raw("Analyze", question, self._cancellation)
        except (EvaluatorError, EvaluatorCrash):
            return {}  # the evaluation will say what is wrong
        read = pruning.columns_read(decode(answer, service.AnalyzeResponse.DESCRIPTOR))
        cells = {}
        for key in large.keys() & read.keys():
            relation = large[key]
            names = [column["name"].lower() for column in [*relation.fields, *relation.pseudo]]
            kept = {index for index, name in enumerate(names) if name in read[key]}
            if len(kept) < len(names):
                cells[key] = [pruning.without_cells(chunk, kept, len(names)) for chunk in relation.chunks]
        return cells

    def modify(self, bound: Bound, sql: str) -> list[Any]:
        """Run an INSERT or UPDATE and give the rows that it makes: of all columns, in the order of the target's
        relation.
        """
        kinds = [nodes.RESOLVED_INSERT_STMT, nodes.RESOLVED_UPDATE_STMT]
        analyzer_options = self.analyzer_options(kinds, evaluated=True)
        analyzer_options.prune_unused_columns = False  # else it reads cells that it has pruned, and traps
        request = service.EvaluateModifyRequest(sql=sql, options=analyzer_options, simple_catalog=self.catalog(bound))
        return list(self._evaluate("EvaluateModify", request, bound, service.EvaluateModifyResponse).content)

    def _evaluate(
        self,
        rpc: str,
        request: Any,
        bound: Bound,
        response: Any,
        cells: dict[str, list[bytes]] | None = None,
    ) -> Any:
        for name, _, value in self._parameters():
            request.params.add(name=name, value=value)
        number = type(request).DESCRIPTOR.fields_by_name["table_content"].number
        data = [request.SerializeToString()]
        for key, relation in bound.relations.items():
            data.append(_content_entry(number, key.encode(), (cells or {}).get(key, relation.chunks)))
        try:
            return self._pool.call(rpc, b"".join(data), response, self._cancellation)
        except (EvaluatorError, EvaluatorCrash) as error:
            _raise(error, bound.edits, bound.node.start)


_REFUSED = {
    "ForSystemTime": "FOR SYSTEM_TIME AS OF (time travel)",
    "WithConnectionClause": "connections",
    "TVF": "table functions",
    "GraphTableQuery": "GRAPH_TABLE",
}
_REWRITES = [number for name, number in language.ResolvedASTRewrite.items() if number > 0 and "TEST" not in name]


def _sql_function(
    path: Sequence[str], signature: Any, arguments: Sequence[str], body: str, *, aggregate: bool = False
) -> Any:
    """A ``FunctionProto`` that ZetaSQL's analyser puts in place of each call."""
    mode = signatures.FunctionEnums.AGGREGATE if aggregate else signatures.FunctionEnums.SCALAR
    proto = functions.FunctionProto(name_path=path, group="Templated_SQL_Function", mode=mode, signature=[signature])
    proto.templated_sql_function_argument_name.extend(arguments)
    location = proto.parse_resume_location
    location.input, location.filename, location.byte_position = body, "", 0
    return proto


def _any_type() -> Any:
    return functions.FunctionArgumentTypeProto(kind=signatures.ARG_TYPE_ARBITRARY, num_occurrences=1)


def _helper(name: str) -> Any:
    arguments, body = rewrites.HELPERS[name]
    signature = functions.FunctionSignatureProto(return_type=_any_type(), argument=[_any_type() for _ in arguments])
    return _sql_function((name,), signature, arguments, body)


def _folder(root: Any, path: Sequence[str]) -> Any:
    for name in path:
        root = next((inner for inner in root.catalog if inner.name == name), None) or root.catalog.add(name=name)
    return root


# ------------------------------------------------------------------------------------------------------------- encoding


def _tagged(number: int, *pieces: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return b"".join((encoded_varint(number << 3 | 2), encoded_varint(sum(map(len, pieces))), *pieces))


def _content_entry(number: int, key: bytes, chunks: Sequence[bytes]) -> bytes:
    """An entry of the map ``table_content``: the rows are not decoded on their way from the disk to the evaluator."""
    table_data = _tagged(1, *chunks)  # TableContent.table_data
    return _tagged(number, _tagged(1, key), _tagged(2, table_data))


def _with_cells(data: bytes, cells: Sequence[Any]) -> bytes:
    if not cells:
        return data
    table = service.TableData.FromString(data)
    for row in table.row:
        row.cell.extend(cells)
    result: bytes = table.SerializeToString()
    return result


def _partition_cells(partitioning: Partitioning, partition: str) -> list[Any]:
    start = partitioning.start_of(partition)
    if start is None:
        return [values.null(), values.null()]
    micros = (start - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    return [values.timestamp_value(micros), values.to_value(start.date().isoformat(), _PARTITION_DATE)]


def numbered(relation: Relation, first: int = 0) -> Relation:
    """The relation with :data:`ROW_NUMBER` as a further pseudo column."""
    chunks, number = [], first
    for chunk in relation.chunks:
        table = service.TableData.FromString(chunk)
        for row in table.row:
            row.cell.add(int64_value=number)
            number += 1
        chunks.append(table.SerializeToString())
    return Relation(relation.fields, [*relation.pseudo, {"name": ROW_NUMBER, "type": "INTEGER"}], chunks)


def _output_columns(answer: bytes) -> list[tuple[str, Any]]:
    """Names and types of a query's columns, from a serialized ``AnalyzeResponse`` that may be too deep for protobuf."""
    path = ("resolved_statement", "resolved_query_stmt_node", "output_column_list")
    found = submessages(answer, service.AnalyzeResponse.DESCRIPTOR, *path)
    columns: list[Any] = [message_factory.GetMessageClass(descriptor).FromString(data) for descriptor, data in found]
    return [(column.name, column.column.type) for column in columns]


def _raise(error: EvaluatorError | EvaluatorCrash, edits: Edits | None = None, start: int = 0) -> NoReturn:
    """Turn what ZetaSQL says into what BigQuery says, with the place in the user's text."""
    if isinstance(error, EvaluatorCrash):
        raise unsupported(str(error)) from error

    def place(match: re.Match[str]) -> str:
        line, column = int(match[1]), int(match[2])
        if edits:
            line, column = edits.original_place(line, column, start)
        return f" at [{line}:{column}]"

    message = re.sub(r"\s*\[at (\d+):(\d+)\]", place, error.message)
    if error.code in _NOT_THE_QUERY_S:
        raise unsupported(message) from error
    raise invalid_query(message) from error


# -------------------------------------------------------------------------------------------------------------- columns


def result_fields(columns: Sequence[tuple[str, Any]]) -> list[Field]:
    """The schema of a result: columns without a name are called ``f0_``, ``f1_``, ...

    :raises BigQueryError: two columns have one name.
    """
    fields, unnamed = [], 0
    for name, kind in columns:
        if not name or name.startswith("$"):
            name, unnamed = f"f{unnamed}_", unnamed + 1
        fields.append(values.to_field(name, kind))
    names = [field_["name"].lower() for field_ in fields]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise invalid_query(
            f"Duplicate column names in the result are not supported. Found duplicate(s): {', '.join(doubled)}"
        )
    return fields


# ----------------------------------------------------------------------------------------------------------- parameters


def parameter_field(name: str, kind: dict[str, Any]) -> Field:
    """The field of a ``QueryParameterType``.

    :raises BigQueryError: an array of arrays, or no type.
    """
    type_name = str(kind.get("type", "")).upper()
    if type_name == "ARRAY":
        element = parameter_field(name, kind.get("arrayType") or {})
        if values.is_repeated(element):
            raise invalid("Arrays of arrays are not supported as query parameters")
        return {**element, "mode": "REPEATED"}
    result: Field = {"name": name, "type": type_name, "mode": "NULLABLE"}
    if type_name in {"STRUCT", "RECORD"}:
        result["fields"] = [
            parameter_field(s.get("name") or "", s.get("type") or {}) for s in kind.get("structTypes") or []
        ]
    if type_name == "RANGE":
        result["rangeElementType"] = kind.get("rangeElementType") or {}
    result["type"] = values.field_type_name(result)
    return result


def parameter_value(value: dict[str, Any], field_: Field) -> Any:
    """The plain JSON value of a ``QueryParameterValue``."""
    if values.is_repeated(field_):
        element = {**field_, "mode": "NULLABLE"}
        return [parameter_value(item, element) for item in value.get("arrayValues") or []]
    if field_["type"] == "RECORD":
        given = value.get("structValues")
        if given is None:
            return None
        return {inner["name"]: parameter_value(given.get(inner["name"]) or {}, inner) for inner in field_["fields"]}
    if field_["type"] == "RANGE" and "rangeValue" in value:
        return {key: bound.get("value") for key, bound in value["rangeValue"].items()}
    return value.get("value")
