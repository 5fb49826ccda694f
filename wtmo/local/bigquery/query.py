"""Running SQL: queries, DML and DDL, one statement after another."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from . import ddl, values
from .catalog import ROW_NUMBER, Binder, Bound, Relation, Rows, Scope, anew, numbered
from .errors import BigQueryError, already_exists, invalid, invalid_query, not_found, unsupported
from .googlesql import Cancellation
from .merge import Merge
from .partitions import Partitioning
from .protos import nodes, service
from .routines import routine_resource
from .storage import ANONYMOUS_DATASET, Part, TableRef, now_ms
from .syntax import quoted
from .writes import (
    Destination,
    as_described,
    change_schema,
    check_table,
    dataset_resource,
    split_rows,
    table_resource,
    touch,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .catalog import Once
    from .googlesql import EvaluatorPool
    from .storage import Resource, Storage, Table
    from .syntax import Node
    from .values import Field

ANONYMOUS_LIFETIME_MS = 24 * 3600 * 1000
_TARGET = "$target"
"""Suffix of the name under which a DML statement's target is known to ZetaSQL."""

_STATEMENTS = {
    "QueryStatement": "query",
    "AssertStatement": "assert",
    "InsertStatement": "insert",
    "UpdateStatement": "update",
    "DeleteStatement": "delete",
    "MergeStatement": "merge",
    "TruncateStatement": "truncate",
    "CreateTableStatement": "create_table",
    "CreateViewStatement": "create_view",
    "CreateFunctionStatement": "create_function",
    "CreateSchemaStatement": "create_schema",
    "DropStatement": "drop",
    "DropFunctionStatement": "drop_function",
    "AlterTableStatement": "alter_table",
    "ExportDataStatement": "export_data",
}
"""The kinds of statement that can be run, and the method of :class:`QueryRun` that does."""
_KINDS_OF_DML = [
    nodes.RESOLVED_INSERT_STMT,
    nodes.RESOLVED_UPDATE_STMT,
    nodes.RESOLVED_DELETE_STMT,
    nodes.RESOLVED_MERGE_STMT,
]


@dataclass
class Outcome:
    """What a statement or transfer did; goes into the job's statistics."""

    statement_type: str
    references: list[TableRef] = field(default_factory=list)
    fields: list[Field] | None = None
    destination: TableRef | None = None
    rows: int | None = None
    written: int | None = None
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    ddl_operation: str | None = None
    ddl_target: TableRef | None = None
    statements: int = 1
    input_bytes: int = 0
    output_bytes: int = 0
    bad_records: int = 0
    file_counts: list[int] = field(default_factory=list)

    @property
    def affected(self) -> int | None:
        """``numDmlAffectedRows``; None for what is no DML."""
        dml = self.statement_type in {"INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE_TABLE"}
        return self.inserted + self.updated + self.deleted if dml else None


class TableLocks:
    """One lock a table: whoever writes a table holds it, so that nothing comes between the read and the write of an
    UPDATE.
    """

    def __init__(self) -> None:
        """No table is locked."""
        self._guard = threading.Lock()
        self._locks: dict[TableRef, threading.RLock] = {}

    @contextlib.contextmanager
    def hold(self, ref: TableRef) -> Generator[None]:
        """Wait for the table's lock and hold it."""
        with self._guard:
            lock = self._locks.setdefault(ref, threading.RLock())
        with lock:
            yield


def scope_of(configuration: Resource, project: str) -> Scope:
    """Read default project, default dataset and parameters of a query's configuration.

    :raises BigQueryError: legacy SQL, an option that can't be had, or parameters of both modes.
    """
    if configuration.get("useLegacySql") is True:
        raise unsupported("legacy SQL (useLegacySql: true)")
    for option in ("createSession", "tableDefinitions", "userDefinedFunctionResources"):
        if configuration.get(option):
            raise unsupported(f"the query option {option}")
    own_project = project
    for given in configuration.get("connectionProperties") or ():
        if given.get("key") != "dataset_project_id":
            raise unsupported(f"the connection property {given.get('key')}")
        project = str(given.get("value"))
    parameters = configuration.get("queryParameters") or ()
    default = configuration.get("defaultDataset") or {}
    dataset = (default.get("projectId") or own_project, default["datasetId"]) if default.get("datasetId") else None
    named = [bool(parameter.get("name")) for parameter in parameters]
    mode = str(configuration.get("parameterMode") or "").upper()
    positional = mode == "POSITIONAL" or (not mode and bool(named) and not any(named))
    if (positional and any(named)) or (named and not positional and not all(named)):
        raise invalid("Query parameters must be all named or all positional")
    return Scope(project, dataset, parameters, positional)


class QueryRun:
    """One run of a query job's SQL.

    :param configuration: ``configuration.query`` of the job. :param project: whose names are meant.
    :param job: names the anonymous table of the result. :param storage_url: where EXPORT DATA writes.
    :param once: of the :class:`Binder`. Default: what is described is read anew.
    """

    def __init__(
        self,
        storage: Storage,
        pool: EvaluatorPool,
        locks: TableLocks,
        configuration: Resource,
        project: str,
        *,
        job: str = "",
        cancellation: Cancellation | None = None,
        dry_run: bool = False,
        storage_url: str | None = None,
        once: Once = anew,
    ) -> None:
        """Hold what the statements share.

        :raises BigQueryError: the configuration makes no sense.
        """
        self._storage = storage
        self._locks = locks
        self._configuration = configuration
        self._project = project
        self._job = job
        self._dry_run = dry_run
        self._storage_url = storage_url
        self._sql = configuration.get("query")
        if not isinstance(self._sql, str) or not self._sql.strip():
            raise BigQueryError("required", "Required parameter is missing: query")
        self._source = self._sql.encode()
        self._scope = scope_of(configuration, project)
        self._binder = Binder(
            storage, pool, self._scope, cancellation or Cancellation(), with_rows=not dry_run, once=once
        )
        self._functions: list[Node] = []

    # -- the run

    def run(self, finish: Callable[[Outcome], None], progress: Callable[[], None]) -> None:
        """Run all statements.

        :param finish: called with the outcome inside the transaction of the last write; the job's end belongs to it.
        :param progress: called inside the transaction of each earlier write of a script.
        :raises BigQueryError: of the first that fails. Those before it stay done.
        """
        statements = self._statements()
        *earlier, last = statements
        if earlier and self._configuration.get("destinationTable"):
            raise invalid("configuration.query.destinationTable cannot be set for scripts")
        results: list[Outcome] = []

        def step(outcome: Outcome) -> None:
            results.append(outcome)
            progress()

        def end(outcome: Outcome) -> None:
            if earlier:
                outcome = replace(outcome, statement_type="SCRIPT", statements=len(statements))
                outcome.references = list(
                    dict.fromkeys(ref for result in [*results, outcome] for ref in result.references)
                )
            finish(outcome)

        for statement in earlier:
            self._execute(statement, step)
        self._execute(last, end)

    def _execute(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        for function in self._functions:
            if function.start < node.start:
                made = self._binder.function(self._source, function)
                self._binder.temporary[tuple(made.proto.name_path)] = made
        getattr(self, f"_run_{_STATEMENTS[node.kind]}")(node, finish)

    def analyze(self) -> Outcome:
        """What a dry run answers: type, schema and tables of the statement.

        :raises BigQueryError: the SQL is wrong.
        """
        statements = self._statements()
        if len(statements) > 1:
            return Outcome("SCRIPT", statements=len(statements))
        outcomes: list[Outcome] = []
        self._execute(statements[0], outcomes.append)
        return outcomes[0]

    def _statements(self) -> list[Node]:
        """All statements but those that make temporary functions; these go to ``_functions``.

        A function is made anew for each statement after it, since the tables that it reads may have changed.
        """
        result = []
        for node in self._binder.parse(self._sql or ""):
            if node.kind == "CreateFunctionStatement" and node.values.get("scope"):
                self._functions.append(node)
            elif node.kind in _STATEMENTS:
                result.append(node)
            else:
                written = self._source[node.start : node.end].split(maxsplit=1)[0].decode().upper()
                raise unsupported(f"{written} ({_words(node.kind)})")
        if not result:
            raise invalid_query("Syntax error: Unexpected end of statement")
        return result

    def _bind(self, node: Node) -> Bound:
        bound = self._binder.bind(self._source, node)
        for function in self._binder.temporary.values():
            bound.absorb(function.tables)
        return bound

    # -- SELECT

    def _run_query(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        bound = self._bind(node)
        outcome = Outcome("SELECT", bound.references)
        if self._dry_run:
            outcome.fields = self._binder.columns(bound)
            finish(outcome)
            return
        rows = self._binder.evaluate(bound)
        destination = self._destination()
        outcome.fields, outcome.rows, outcome.destination = rows.fields, len(rows.rows), destination.ref
        if self._configuration.get("destinationTable"):
            outcome.written = len(rows.rows)
        with self._locks.hold(destination.ref), self._storage.transaction():
            write_rows(self._storage, as_described(self._storage, destination), rows.fields, rows.rows)
            finish(outcome)

    def _destination(self) -> Destination:
        if self._configuration.get("destinationTable"):
            return Destination.of(self._configuration, self._project, default_write="WRITE_EMPTY")
        with contextlib.suppress(BigQueryError):
            self._storage.create_dataset(
                self._project, ANONYMOUS_DATASET, dataset_resource(self._project, ANONYMOUS_DATASET, {})
            )
        name = "anon" + hashlib.sha256(self._job.encode()).hexdigest()
        ref = TableRef(self._project, ANONYMOUS_DATASET, name)
        return Destination(ref, write="WRITE_TRUNCATE", expires=now_ms() + ANONYMOUS_LIFETIME_MS)

    def _run_assert(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        bound = self._bind(node)
        expression, description = node.need("expr"), node.child("description")
        bound.edits.replace(node.start, expression.start, "SELECT ")
        sql = bound.edits.apply(node.start, expression.end)
        if not self._dry_run:
            (row,) = self._binder.evaluate(bound, sql).rows
            if not row.cell[0].bool_value:
                raise invalid_query(str(description.values["string_value"]) if description else "Assertion failed")
        with self._storage.transaction():
            finish(Outcome("ASSERT", bound.references))

    # -- DML

    def _target(self, node: Node, bound: Bound) -> tuple[Table, Node]:
        path = node.child("target_path")
        if path is None or path.kind != "PathExpression":
            raise unsupported("nested DML")
        if node.child("returning"):
            raise unsupported("THEN RETURN")
        if node.child("assert_rows_modified"):
            raise unsupported("ASSERT_ROWS_MODIFIED")
        ref = self._binder.resolve(path.path())
        table = self._storage.table(ref)
        if table.view_query is not None:
            raise invalid_query(f"{ref} is a view and can't be changed by DML")
        self._binder.check_partition_filter(table, node)
        if ref not in bound.references:
            bound.references.append(ref)
        return table, path

    def _key(self, table: Table) -> str:
        return f"{table.ref.project}.{table.ref.dataset}.{table.ref.table}{_TARGET}"

    def _run_insert(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        if node.values.get("insert_mode"):
            raise unsupported("INSERT OR IGNORE / REPLACE / UPDATE")
        bound = self._bind(node)
        table, path = self._target(node, bound)
        fields = table.fields
        columns = node.child("column_list")
        for column in columns.children("identifiers") if columns else ():
            if str(column.values["id_string"]).upper() in {"_PARTITIONTIME", "_PARTITIONDATE"}:
                raise unsupported(f"INSERT into the pseudo column {column.values['id_string']}")
        if any(inner.kind == "DefaultLiteral" for inner in node.walk()):
            raise unsupported("DEFAULT in INSERT")
        bound.relations[self._key(table)] = Relation(fields)
        bound.edits.replace(path.start, path.end, quoted(self._key(table)))
        outcome = Outcome("INSERT", bound.references)
        if self._dry_run:
            self._binder.analyze(bound, _KINDS_OF_DML, bound.text())
            finish(outcome)
            return
        rows = [service.TableData.Row(cell=row.cell) for row in self._binder.modify(bound, bound.text())]
        outcome.inserted = outcome.written = len(rows)
        with self._locks.hold(table.ref), self._storage.transaction():
            write_rows(self._storage, Destination(table.ref, write="WRITE_APPEND"), fields, rows)
            finish(outcome)

    def _run_update(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        bound = self._bind(node)
        table, path = self._target(node, bound)
        alias = "" if node.child("alias") else f" AS {quoted(table.ref.table)}"
        bound.edits.replace(path.start, path.end, quoted(self._key(table)) + alias)
        outcome = Outcome("UPDATE", bound.references)
        with self._locks.hold(table.ref):
            table = self._storage.table(table.ref)
            relation = self._numbered_target(bound, table)
            if self._dry_run:
                self._binder.analyze(bound, _KINDS_OF_DML, bound.text())
                finish(outcome)
                return
            made = self._binder.modify(bound, bound.text())
            width = len(relation.fields)
            changed = {row.cell[-1].int64_value: service.TableData.Row(cell=row.cell[:width]) for row in made}
            outcome.updated = outcome.written = len(changed)
            with self._storage.transaction():
                self._replace_rows(table, set(), changed, [])
                finish(outcome)

    def _run_delete(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        bound = self._bind(node)
        table, path = self._target(node, bound)
        if node.child("where") is None:
            raise invalid_query(f"DELETE must have a WHERE clause at [{_place(self._source, node.start)}]")
        alias = "" if node.child("alias") else f" AS {quoted(table.ref.table)}"
        bound.edits.replace(node.start, path.start, " ".join(("SELECT", quoted(ROW_NUMBER), "FROM ")))
        bound.edits.replace(path.start, path.end, quoted(self._key(table)) + alias)
        outcome = Outcome("DELETE", bound.references)
        with self._locks.hold(table.ref):
            table = self._storage.table(table.ref)
            self._numbered_target(bound, table)
            if self._dry_run:
                self._binder.columns(bound)
                finish(outcome)
                return
            removed = {row.cell[0].int64_value for row in self._binder.evaluate(bound).rows}
            outcome.deleted = len(removed)
            with self._storage.transaction():
                self._replace_rows(table, removed, {}, [])
                finish(outcome)

    def _numbered_target(self, bound: Bound, table: Table) -> Relation:
        """The target's rows. The caller holds the table's lock, and ``table`` was read after it got that."""
        relation = numbered(self._binder.stored(table))
        bound.relations[self._key(table)] = relation
        return relation

    def _replace_rows(self, table: Table, deleted: set[int], updated: dict[int, Any], inserted: list[Any]) -> None:
        """Change rows by their numbers. Partitions without a changed row are left alone.

        An updated row goes to the partition that its column says, or stays in its partition where there is no such
        column.
        """
        partitioning = Partitioning.of(table.resource)
        stays = partitioning is not None and partitioning.column is None
        kept: dict[str, list[Any]] = {}
        moved: dict[str | None, list[Any]] = {None: inserted}
        touched = set()
        number = 0
        for part in self._storage.parts(table.id):
            rows = kept.setdefault(part.partition, [])
            for row in service.TableData.FromString(part.data).row:
                if number in updated:
                    moved.setdefault(part.partition if stays else None, []).append(updated[number])
                elif number not in deleted:
                    rows.append(row)
                if number in updated or number in deleted:
                    touched.add(part.partition)
                number += 1
        for partition in touched:
            self._storage.clear(table.id, partition)
            if kept[partition]:
                data = service.TableData(row=kept[partition]).SerializeToString()
                self._storage.add_parts(table.id, [Part(partition, len(kept[partition]), data)])
        for home, rows in moved.items():
            self._storage.add_parts(table.id, split_rows(rows, table.fields, table, home))
        touch(self._storage, table)

    def _run_merge(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        bound = self._bind(node)
        table, _ = self._target(node, bound)
        outcome = Outcome("MERGE", bound.references)
        with self._locks.hold(table.ref):
            table = self._storage.table(table.ref)
            merge = Merge(self._binder, bound, table, self._key(table), numbered(self._binder.stored(table)))
            if self._dry_run:
                merge.analyze()
                finish(outcome)
                return
            changes = merge.run()
            outcome.inserted, outcome.updated, outcome.deleted = (
                len(changes.inserted),
                len(changes.updated),
                len(changes.deleted),
            )
            outcome.written = outcome.inserted + outcome.updated
            with self._storage.transaction():
                self._replace_rows(table, changes.deleted, changes.updated, changes.inserted)
                finish(outcome)

    def _run_truncate(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        if node.child("where"):
            raise unsupported("TRUNCATE TABLE ... WHERE")
        bound = self._bind(node)
        table, _ = self._target(node, bound)
        outcome = Outcome("TRUNCATE_TABLE", bound.references)
        with self._locks.hold(table.ref), self._storage.transaction():
            outcome.deleted = sum(p.rows for p in self._storage.partitions(table.id))
            if not self._dry_run:
                self._storage.clear(table.id)
                touch(self._storage, table)
            finish(outcome)

    # -- DDL

    def _name(self, node: Node, field_: str = "name", kind: str = "Table") -> TableRef:
        return self._binder.resolve(node.need(field_).path(), kind)

    def _existing(self, node: Node, found: Any, error: BigQueryError) -> str:
        """What a CREATE does: CREATE, REPLACE or SKIP.

        :raises BigQueryError: it exists, and neither OR REPLACE nor IF NOT EXISTS is said.
        """
        if not found:
            return "CREATE"
        if node.values.get("is_or_replace"):
            return "REPLACE"
        if node.values.get("is_if_not_exists"):
            return "SKIP"
        raise error

    def _option(self, text: str) -> Any:
        """The value of an expression in an OPTIONS list, as JSON."""
        (parsed,) = self._binder.parse(f"SELECT {text} AS value")
        bound = self._binder.bind(f"SELECT {text} AS value".encode(), parsed)
        rows = self._binder.evaluate(bound)
        return values.to_plain(rows.rows[0].cell[0], rows.fields[0])

    def _run_create_table(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        for clause, name in (("clone_data_source", "CLONE"), ("copy_data_source", "COPY"), ("like_table_name", "LIKE")):
            if node.child(clause):
                raise unsupported(f"CREATE TABLE ... {name}")
        if node.values.get("scope"):
            raise unsupported("CREATE TEMP TABLE")
        ref = self._name(node)
        location = self._storage.dataset(ref.project, ref.dataset).get("location", "US")
        query, elements = node.child("query"), node.child("table_element_list")
        properties = ddl.table_properties(node, self._source, self._option)
        fields = ddl.column_fields(elements, self._source, self._option) if elements else []
        bound = self._bind(node)
        outcome = Outcome("CREATE_TABLE_AS_SELECT" if query else "CREATE_TABLE", bound.references, ddl_target=ref)
        rows: Rows | None = None
        if query is not None:
            if elements is not None:
                raise unsupported("CREATE TABLE with both a list of columns and AS SELECT")
            part = replace(bound, node=query)
            if self._dry_run:
                fields = self._binder.columns(part)
            else:
                rows = self._binder.evaluate(part)
                fields = rows.fields
            outcome.fields = fields
        resource = table_resource(ref, location, schema={"fields": fields}, **properties)
        check_table(resource)
        with self._locks.hold(ref), self._storage.transaction():
            outcome.ddl_operation = self._existing(node, self._storage.find_table(ref), already_exists("Table", ref))
            if not self._dry_run and outcome.ddl_operation != "SKIP":
                if outcome.ddl_operation == "REPLACE":
                    self._storage.delete_table(ref)
                self._storage.create_table(ref, resource)
                if rows is not None:
                    outcome.written = len(rows.rows)
                    outcome.destination = ref
                    write_rows(self._storage, Destination(ref, write="WRITE_APPEND"), fields, rows.rows)
            finish(outcome)

    def _run_export_data(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        from .transfers import check_export, export

        listed = node.child("options_list")
        options = ddl.export_options(listed, self._source, self._option) if listed else {}
        check_export(options, self._storage_url)
        bound = self._bind(node)
        part = replace(bound, node=node.need("query"))
        outcome = Outcome("EXPORT_DATA", bound.references)
        if self._dry_run:
            self._binder.columns(part)
        else:
            rows = self._binder.evaluate(part)
            outcome.rows = len(rows.rows)
            outcome.file_counts = export(rows.rows, rows.fields, options, self._storage_url or "")
        with self._storage.transaction():
            finish(outcome)

    def _run_create_view(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        ref = self._name(node)
        query = node.need("query")
        location = self._storage.dataset(ref.project, ref.dataset).get("location", "US")
        text = self._source[query.start : query.end].decode()
        fields, references = view_schema(self._binder, ref, text)
        properties = ddl.view_properties(node, fields, self._source, self._option)
        view = {"query": text, "useLegacySql": False}
        resource = table_resource(ref, location, view=view, schema={"fields": fields}, **properties)
        outcome = Outcome("CREATE_VIEW", references, ddl_target=ref)
        with self._locks.hold(ref), self._storage.transaction():
            found = self._storage.find_table(ref)
            outcome.ddl_operation = self._existing(node, found, already_exists("Table", ref))
            if found and outcome.ddl_operation == "REPLACE" and found.view_query is None:
                raise invalid_query(f"{ref} is a table, not a view")
            if not self._dry_run and outcome.ddl_operation != "SKIP":
                if found:
                    self._storage.delete_table(ref)
                self._storage.create_table(ref, resource)
            finish(outcome)

    def _run_create_function(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        ref = self._name(node.need("function_declaration"), kind="Function")
        function = self._binder.function(self._source, node)
        body = node.need("sql_function_body")
        text = self._source[body.start + 1 : body.end - 1].decode().strip()
        resource = routine_resource(ref, function.proto, text)
        if options := node.child("options_list"):
            resource |= ddl.options(options, self._source, self._option, allowed={"description"})
        outcome = Outcome("CREATE_FUNCTION")
        with self._storage.transaction():
            found = self._storage.find_routine(ref)
            outcome.ddl_operation = self._existing(node, found, already_exists("Routine", ref))
            if not self._dry_run and outcome.ddl_operation != "SKIP":
                self._storage.put_routine(ref, resource, replace=True)
            finish(outcome)

    def _run_create_schema(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        project, dataset = self._schema(node)
        properties: Resource = {}
        if options := node.child("options_list"):
            properties = ddl.options(
                options, self._source, self._option, allowed={"description", "labels", "location", "friendlyName"}
            )
        outcome = Outcome("CREATE_SCHEMA")
        with self._storage.transaction():
            found = any(d["datasetReference"]["datasetId"] == dataset for d in self._storage.datasets(project))
            outcome.ddl_operation = self._existing(node, found, already_exists("Dataset", f"{project}:{dataset}"))
            if outcome.ddl_operation == "REPLACE":
                raise unsupported("CREATE OR REPLACE SCHEMA")
            if not self._dry_run and not found:
                self._storage.create_dataset(project, dataset, dataset_resource(project, dataset, properties))
            finish(outcome)

    def _schema(self, node: Node) -> tuple[str, str]:
        names = ".".join(node.need("name").path()).split(".")
        return (".".join(names[:-1]) or self._project, names[-1])

    def _run_drop(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        head = self._source[node.start : node.need("name").start].decode()
        kind = re.sub(r"--[^\n]*|#[^\n]*|/\*.*?\*/", " ", head, flags=re.DOTALL).upper().split()[1:]
        if kind[:1] == ["SCHEMA"]:
            self._drop_schema(node, finish)
            return
        if kind[:1] not in (["TABLE"], ["VIEW"]):
            raise unsupported(f"DROP {' '.join(kind)}")
        ref = self._name(node)
        outcome = Outcome(f"DROP_{kind[0]}", ddl_operation="DROP", ddl_target=ref)
        with self._locks.hold(ref), self._storage.transaction():
            table = self._storage.find_table(ref)
            if table is None:
                if not node.values.get("is_if_exists"):
                    raise not_found("Table", ref)
                outcome.ddl_operation = "SKIP"
            elif (table.view_query is not None) != (kind[0] == "VIEW"):
                raise invalid(f"Cannot drop {ref}, which has type {table.resource['type']}, by DROP {kind[0]}")
            elif not self._dry_run:
                self._storage.delete_table(ref)
            finish(outcome)

    def _drop_schema(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        project, dataset = self._schema(node)
        text = self._source[node.start : node.end].decode().upper()
        outcome = Outcome("DROP_SCHEMA", ddl_operation="DROP")
        with self._storage.transaction():
            try:
                self._storage.dataset(project, dataset)
            except BigQueryError:
                if not node.values.get("is_if_exists"):
                    raise
                outcome.ddl_operation = "SKIP"
            else:
                if not self._dry_run:
                    self._storage.delete_dataset(project, dataset, contents=text.split()[-1] == "CASCADE")
            finish(outcome)

    def _run_drop_function(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        ref = self._name(node, kind="Function")
        outcome = Outcome("DROP_FUNCTION", ddl_operation="DROP")
        with self._storage.transaction():
            if self._storage.find_routine(ref) is None and node.values.get("is_if_exists"):
                outcome.ddl_operation = "SKIP"
            elif not self._dry_run:
                self._storage.delete_routine(ref)
            finish(outcome)

    def _run_alter_table(self, node: Node, finish: Callable[[Outcome], None]) -> None:
        ref = self._name(node, "path")
        actions = node.child("action_list")
        outcome = Outcome("ALTER_TABLE", ddl_operation="ALTER", ddl_target=ref)
        with self._locks.hold(ref), self._storage.transaction():
            table = self._storage.table(ref)
            for action in actions.children("actions") if actions else ():
                table = self._alter(table, action)
            if self._dry_run:
                raise unsupported("dry run of ALTER TABLE")
            touch(self._storage, table)
            finish(outcome)

    def _alter(self, table: Table, action: Node) -> Table:
        if action.kind == "AddColumnAction":
            (new,) = ddl.column_fields(action, self._source, self._option)
            if any(f["name"].lower() == new["name"].lower() for f in table.fields):
                if action.values.get("is_if_not_exists"):
                    return table
                raise invalid_query(f"Column already exists: {new['name']}")
            if new["mode"] == "REQUIRED":
                raise invalid_query(f"Cannot add required column {new['name']} to an existing table")
            return change_schema(self._storage, table, [*table.fields, new])
        if action.kind == "SetOptionsAction" and (options := action.child("options_list")):
            return self._storage.update_table(
                table, {**table.resource, **ddl.table_options(options, self._source, self._option, table.resource)}
            )
        raise unsupported(f"ALTER TABLE ... {_words(action.kind.removesuffix('Action'))}")


def view_schema(binder: Binder, ref: TableRef, sql: str) -> tuple[list[Field], list[TableRef]]:
    """Columns of a view, and the tables that it reads.

    :raises BigQueryError: the view's SQL is wrong.
    """
    rows, references = binder.nested(ref.project, with_rows=False).run_view(sql)
    return rows.fields, references


def _words(kind: str) -> str:
    """``BeginEndBlock`` to ``BEGIN END BLOCK``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.removesuffix("Statement")).upper()


def _place(source: bytes, offset: int) -> str:
    head = source[:offset].decode()
    return f"{head.count(chr(10)) + 1}:{len(head) - head.rfind(chr(10))}"
