"""The views of ``INFORMATION_SCHEMA`` that can be had: SCHEMATA, TABLES, COLUMNS, PARTITIONS, VIEWS, ROUTINES."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from . import values
from .errors import unsupported
from .partitions import Partitioning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .storage import Storage, Table
    from .values import Field

_SQL_NAME = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
PARTITIONS_SUMMARY: list[Field] = [
    {"name": name, "type": kind, "mode": "NULLABLE"}
    for name, kind in (
        ("project_id", "STRING"),
        ("dataset_id", "STRING"),
        ("table_id", "STRING"),
        ("partition_id", "STRING"),
        ("creation_time", "INTEGER"),
        ("creation_timestamp", "TIMESTAMP"),
        ("last_modified_time", "INTEGER"),
        ("last_modified_timestamp", "TIMESTAMP"),
    )
]
"""Columns of ``table$__PARTITIONS_SUMMARY__``."""


def view(storage: Storage, project: str, dataset: str, name: str) -> tuple[list[Field], list[dict[str, Any]]]:
    """Columns and rows (as JSON objects) of one view for one dataset.

    :raises BigQueryError: a view that is not there.
    """
    if name not in _VIEWS:
        raise unsupported(f"INFORMATION_SCHEMA.{name}")
    columns, rows = _VIEWS[name]
    fields = [{"name": key, "type": kind, "mode": "NULLABLE"} for key, kind in columns.items()]
    return fields, list(rows(storage, project, dataset))


def partitions_summary(storage: Storage, table: Table) -> list[dict[str, Any]]:
    """Rows of ``table$__PARTITIONS_SUMMARY__``."""
    ref = table.ref
    return [
        {
            "project_id": ref.project,
            "dataset_id": ref.dataset,
            "table_id": ref.table,
            "partition_id": summary.partition,
            "creation_time": summary.modified,
            "creation_timestamp": summary.modified / 1000,
            "last_modified_time": summary.modified,
            "last_modified_timestamp": summary.modified / 1000,
        }
        for summary in storage.partitions(table.id)
    ]


def _time(milliseconds: Any) -> str:
    return dt.datetime.fromtimestamp(int(milliseconds) / 1000, dt.UTC).isoformat()


def _schemata(storage: Storage, project: str, dataset: str) -> Iterator[dict[str, Any]]:
    resource = storage.dataset(project, dataset)
    yield {
        "catalog_name": project,
        "schema_name": dataset,
        "creation_time": _time(resource["creationTime"]),
        "last_modified_time": _time(resource["lastModifiedTime"]),
        "location": resource.get("location"),
    }


def _tables(storage: Storage, project: str, dataset: str) -> Iterator[dict[str, Any]]:
    for table in storage.tables(project, dataset):
        kind = "VIEW" if table.view_query is not None else "BASE TABLE"
        yield {
            "table_catalog": project,
            "table_schema": dataset,
            "table_name": table.ref.table,
            "table_type": kind,
            "is_insertable_into": "NO" if kind == "VIEW" else "YES",
            "is_typed": "NO",
            "creation_time": _time(table.resource["creationTime"]),
        }


def _columns(storage: Storage, project: str, dataset: str) -> Iterator[dict[str, Any]]:
    for table in storage.tables(project, dataset):
        partitioning = Partitioning.of(table.resource)
        clustering = [name.lower() for name in (table.resource.get("clustering") or {}).get("fields", [])]
        for position, field in enumerate(table.fields, 1):
            name = field["name"]
            partitioned = partitioning is not None and (partitioning.column or "").lower() == name.lower()
            yield {
                "table_catalog": project,
                "table_schema": dataset,
                "table_name": table.ref.table,
                "column_name": name,
                "ordinal_position": position,
                "is_nullable": "NO" if field.get("mode") == "REQUIRED" else "YES",
                "data_type": sql_type(field),
                "is_generated": "NEVER",
                "is_hidden": "NO",
                "is_system_defined": "NO",
                "is_partitioning_column": "YES" if partitioned else "NO",
                "clustering_ordinal_position": clustering.index(name.lower()) + 1
                if name.lower() in clustering
                else None,
            }


def _partitions(storage: Storage, project: str, dataset: str) -> Iterator[dict[str, Any]]:
    for table in storage.tables(project, dataset):
        for summary in storage.partitions(table.id):
            yield {
                "table_catalog": project,
                "table_schema": dataset,
                "table_name": table.ref.table,
                "partition_id": summary.partition or None,
                "total_rows": summary.rows,
                "total_logical_bytes": summary.size,
                "total_billable_bytes": summary.size,
                "last_modified_time": _time(summary.modified),
                "storage_tier": "ACTIVE",
            }


def _views(storage: Storage, project: str, dataset: str) -> Iterator[dict[str, Any]]:
    for table in storage.tables(project, dataset):
        if table.view_query is not None:
            yield {
                "table_catalog": project,
                "table_schema": dataset,
                "table_name": table.ref.table,
                "view_definition": table.view_query,
                "use_standard_sql": "YES",
            }


def _routines(storage: Storage, project: str, dataset: str) -> Iterator[dict[str, Any]]:
    for routine in storage.routines(project, dataset):
        yield {
            "specific_catalog": project,
            "specific_schema": dataset,
            "specific_name": routine["routineReference"]["routineId"],
            "routine_catalog": project,
            "routine_schema": dataset,
            "routine_name": routine["routineReference"]["routineId"],
            "routine_type": "FUNCTION",
            "routine_body": "SQL",
            "routine_definition": routine.get("definitionBody"),
            "created": _time(routine["creationTime"]),
            "last_altered": _time(routine["lastModifiedTime"]),
        }


def sql_type(field: Field) -> str:
    """A field's type as SQL writes it: ``ARRAY<STRUCT<a INT64>>``."""
    name = str(_SQL_NAME.get(field["type"], field["type"]))
    if name == "RECORD":
        name = "STRUCT<" + ", ".join(f"{inner['name']} {sql_type(inner)}" for inner in field["fields"]) + ">"
    elif name == "RANGE":
        name = f"RANGE<{field['rangeElementType']['type']}>"
    elif field.get("maxLength"):
        name += f"({field['maxLength']})"
    elif field.get("precision"):
        name += f"({field['precision']}, {field['scale']})" if field.get("scale") else f"({field['precision']})"
    return f"ARRAY<{name}>" if values.is_repeated(field) else name


_TABLE = {"table_catalog": "STRING", "table_schema": "STRING", "table_name": "STRING"}
_VIEWS: dict[str, tuple[dict[str, str], Callable[[Storage, str, str], Iterator[dict[str, Any]]]]] = {
    "SCHEMATA": (
        {
            "catalog_name": "STRING",
            "schema_name": "STRING",
            "creation_time": "TIMESTAMP",
            "last_modified_time": "TIMESTAMP",
            "location": "STRING",
        },
        _schemata,
    ),
    "TABLES": (
        _TABLE
        | {"table_type": "STRING", "is_insertable_into": "STRING", "is_typed": "STRING", "creation_time": "TIMESTAMP"},
        _tables,
    ),
    "COLUMNS": (
        _TABLE
        | {
            "column_name": "STRING",
            "ordinal_position": "INTEGER",
            "is_nullable": "STRING",
            "data_type": "STRING",
            "is_generated": "STRING",
            "is_hidden": "STRING",
            "is_system_defined": "STRING",
            "is_partitioning_column": "STRING",
            "clustering_ordinal_position": "INTEGER",
        },
        _columns,
    ),
    "PARTITIONS": (
        _TABLE
        | {
            "partition_id": "STRING",
            "total_rows": "INTEGER",
            "total_logical_bytes": "INTEGER",
            "total_billable_bytes": "INTEGER",
            "last_modified_time": "TIMESTAMP",
            "storage_tier": "STRING",
        },
        _partitions,
    ),
    "VIEWS": (_TABLE | {"view_definition": "STRING", "use_standard_sql": "STRING"}, _views),
    "ROUTINES": (
        {
            "specific_catalog": "STRING",
            "specific_schema": "STRING",
            "specific_name": "STRING",
            "routine_catalog": "STRING",
            "routine_schema": "STRING",
            "routine_name": "STRING",
            "routine_type": "STRING",
            "routine_body": "STRING",
            "routine_definition": "STRING",
            "created": "TIMESTAMP",
            "last_altered": "TIMESTAMP",
        },
        _routines,
    ),
}
