"""Writing rows to a table: dispositions, schema updates, partitions. Used by queries, loads, copies and
``insertAll``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from . import values
from .errors import BigQueryError, already_exists, invalid, not_found
from .partitions import Partitioning, find_field, parts_key, split_decorator
from .protos import service
from .storage import WHOLE, Part, TableRef, etag, now_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .storage import Resource, Storage, Table
    from .values import Field

ADDITION, RELAXATION = "ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"
LAYOUT = ("timePartitioning", "rangePartitioning", "clustering")


@dataclass(frozen=True)
class Destination:
    """Where a job writes, and how; the fields are those of a job's configuration.

    :param partition: what follows ``$`` in the table id.
    :param layout: ``timePartitioning``, ``rangePartitioning``, ``clustering``.
    :param properties: description, labels and the like of a table that is made.
    """

    ref: TableRef
    partition: str | None = None
    create: str = "CREATE_IF_NEEDED"
    write: str = "WRITE_EMPTY"
    updates: frozenset[str] = frozenset()
    layout: Resource = field(default_factory=dict)
    properties: Resource = field(default_factory=dict)
    expires: int | None = None

    @classmethod
    def of(cls, configuration: Resource, project: str, *, default_write: str) -> Destination:
        """Read ``destinationTable`` and what goes with it from the configuration of a query, load or copy job.

        :raises BigQueryError: an impossible option.
        """
        target = configuration["destinationTable"]
        name, partition = split_decorator(str(target.get("tableId", "")))
        write = configuration.get("writeDisposition") or default_write
        create = configuration.get("createDisposition") or "CREATE_IF_NEEDED"
        updates = frozenset(configuration.get("schemaUpdateOptions") or ())
        if write not in {"WRITE_TRUNCATE", "WRITE_APPEND", "WRITE_EMPTY"}:
            raise invalid(f"Invalid value for writeDisposition: {write}")
        if create not in {"CREATE_IF_NEEDED", "CREATE_NEVER"}:
            raise invalid(f"Invalid value for createDisposition: {create}")
        if unknown := updates - {ADDITION, RELAXATION}:
            raise invalid(f"Invalid value for schemaUpdateOptions: {', '.join(sorted(unknown))}")
        if updates and write != "WRITE_APPEND" and not (write == "WRITE_TRUNCATE" and partition):
            raise invalid(
                "Schema update options should only be specified with WRITE_APPEND disposition, "
                "or with WRITE_TRUNCATE disposition on a table partition."
            )
        ref = TableRef(target.get("projectId") or project, str(target.get("datasetId", "")), name)
        layout = {key: configuration[key] for key in LAYOUT if configuration.get(key)}
        return cls(
            ref, partition, create, write, updates, layout, configuration.get("destinationTableProperties") or {}
        )


def dataset_resource(project: str, dataset: str, properties: Resource) -> Resource:
    """The resource of a new dataset."""
    now = str(now_ms())
    reference = {"projectId": project, "datasetId": dataset}
    return {"location": "US", **properties, "datasetReference": reference, "creationTime": now, "lastModifiedTime": now}


def table_resource(ref: TableRef, location: str, **properties: Any) -> Resource:
    """The resource of a new table or view."""
    now = str(now_ms())
    kind = "VIEW" if properties.get("view") else "TABLE"
    resource = {
        "tableReference": ref.to_json(),
        "type": kind,
        "creationTime": now,
        "lastModifiedTime": now,
        "location": location,
    }
    return resource | {key: value for key, value in properties.items() if value is not None}


def as_described(storage: Storage, destination: Destination) -> Destination:
    """Make what a deployment has made in production before a query writes to it for the first time, if the checkout describes it.

    That is the dataset, and the table of a ``schema.yaml``. Where there is only a ``metadata.yaml``, the query makes the table, with
    its partitioning and clustering unless the job names others. Call it inside a transaction.

    :return: the destination, with the layout that the query is to give it.
    :raises BigQueryError: the files are wrong.
    """
    definitions, ref = storage.definitions, destination.ref
    if definitions is None or not definitions.has_dataset(ref) or storage.find_table(ref):
        return destination
    make_dataset(storage, ref.project, ref.dataset)
    if described := definitions.table(ref):
        location = storage.dataset(ref.project, ref.dataset)["location"]
        storage.create_table(ref, table_resource(ref, location, **described.resource))
        return destination
    return replace(destination, layout={**definitions.layout(ref), **destination.layout})


def make_dataset(storage: Storage, project: str, dataset: str) -> None:
    """Make a dataset that may be there already."""
    try:
        storage.dataset(project, dataset)
    except BigQueryError:
        storage.create_dataset(project, dataset, dataset_resource(project, dataset, {}))


def write_rows(storage: Storage, destination: Destination, fields: list[Field], rows: Sequence[Any]) -> Table:
    """Put rows into a table as its destination says; the table is made where it is missing. Call it inside a
    transaction.

    :param fields: the rows' schema. :param rows: ``TableData.Row`` messages.
    :raises BigQueryError: the table, its schema, its partitioning or a row does not allow it. Nothing is written then.
    """
    table = _prepared_table(storage, destination, fields)
    partitioning = Partitioning.of(table.resource)
    partition = parts_key(partitioning, destination.partition)
    parts = split_rows(rows, fields, table, partition)
    if destination.write == "WRITE_EMPTY" and any(
        part.rows for part in storage.partitions(table.id) if partition in {None, part.partition}
    ):
        raise already_exists("Table", destination.ref)
    if destination.write == "WRITE_TRUNCATE":
        storage.clear(table.id, partition)
    storage.add_parts(table.id, parts)
    return touch(storage, table)


def touch(storage: Storage, table: Table) -> Table:
    """Note that the table has changed now."""
    return storage.update_table(table, {**table.resource, "lastModifiedTime": str(now_ms())})


def split_rows(rows: Sequence[Any], fields: list[Field], table: Table, partition: str | None) -> list[Part]:
    """Rows as the parts of a table, one a partition.

    :param partition: the only partition they may go to; None: each to its own.
    :raises BigQueryError: a row that the table or the partition can't take.
    """
    partitioning = Partitioning.of(table.resource)
    target = table.fields
    column = -1
    if partitioning and partitioning.column:
        column = [f["name"].lower() for f in target].index(partitioning.column.lower())
    home = partition or (partitioning.current() if partitioning and partitioning.column is None else WHOLE)
    same = [f["name"].lower() for f in fields] == [f["name"].lower() for f in target] and not any(
        f["type"] == "RECORD" for f in fields
    )
    groups: dict[str, Any] = {}
    for row in rows:
        cells = row.cell if same else values.conform(row.cell, fields, target)
        values.check_stored(cells, target)
        key = partitioning.partition_of(cells[column], target[column]) if partitioning and column >= 0 else home
        if partition is not None and key != partition:
            raise invalid(f"Some rows belong to different partitions rather than destination partition {partition}")
        groups.setdefault(key, service.TableData()).row.append(row if same else service.TableData.Row(cell=cells))
    return [Part(key, len(data.row), data.SerializeToString()) for key, data in groups.items()]


def _prepared_table(storage: Storage, destination: Destination, fields: list[Field]) -> Table:
    """The table to write to, with the schema that it has after the write."""
    ref = destination.ref
    table = storage.find_table(ref)
    if table is None:
        location = storage.dataset(ref.project, ref.dataset).get("location", "US")
        if destination.create == "CREATE_NEVER":
            raise not_found("Table", ref)
        layout = dict(destination.layout)
        if destination.partition and not Partitioning.of(layout):
            layout["timePartitioning"] = {"type": Partitioning.of_decorator(destination.partition).kind}
        resource = table_resource(ref, location, schema={"fields": fields}, **layout, **destination.properties)
        check_table(resource)
        return storage.create_table(ref, resource, destination.expires)
    if table.view_query is not None:
        raise invalid(f"{ref} is not allowed for this operation because it is currently a VIEW.")
    _check_layout(table, destination)
    if destination.write == "WRITE_TRUNCATE" and not destination.partition:
        layout = destination.layout if destination.layout.get("clustering") else {}
        resource = {**table.resource, **layout, **destination.properties, "schema": {"fields": fields}}
        check_table(resource)
        storage.clear(table.id)
        return storage.update_table(table, resource)
    if not table.fields:  # made without a schema: takes that of the first rows
        return storage.update_table(table, {**table.resource, "schema": {"fields": fields}})
    merged = merged_schema(ref, table.fields, fields, destination.updates)
    return change_schema(storage, table, merged)


def check_table(resource: Resource) -> None:
    """:raises BigQueryError: schema, partitioning and clustering of a table do not fit each other."""
    fields = resource.get("schema", {}).get("fields", [])
    partitioning = Partitioning.of(resource)
    if partitioning and (fields or partitioning.column):
        partitioning.check_schema(fields)
    for column in (resource.get("clustering") or {}).get("fields", []):
        if find_field(fields, column.split(".")[0]) is None and column.lower() not in {
            "_partitiontime",
            "_partitiondate",
        }:
            raise invalid(f"The field specified for clustering cannot be found in the schema: {column}")


def _check_layout(table: Table, destination: Destination) -> None:
    given = Partitioning.of(destination.layout)
    existing = Partitioning.of(table.resource)
    if given is not None and given != existing:
        raise invalid(
            f"Incompatible table partitioning specification for {table.ref}. "
            f"Expects partitioning specification {_described(existing)}, "
            f"but input partitioning specification is {_described(given)}"
        )
    clustering, old = destination.layout.get("clustering"), table.resource.get("clustering")
    if clustering and destination.write != "WRITE_TRUNCATE" and clustering != old:
        raise invalid(
            f"Incompatible table clustering specification for {table.ref}: it has {old}, the input says {clustering}"
        )


def _described(partitioning: Partitioning | None) -> str:
    if partitioning is None:
        return "none"
    return f"interval(type:{partitioning.kind.lower()}" + (
        f",field:{partitioning.column})" if partitioning.column else ")"
    )


def merged_schema(
    ref: TableRef, old: list[Field], new: list[Field], updates: frozenset[str], where: str = ""
) -> list[Field]:
    """A table's schema after rows of another schema came to it: fields are matched by name, new ones go to the end.

    :param updates: ``ALLOW_FIELD_ADDITION``, ``ALLOW_FIELD_RELAXATION``.
    :raises BigQueryError: a change that is not allowed.
    """
    mismatch = f"Provided Schema does not match Table {ref}."
    given = {f["name"].lower(): f for f in new}
    merged = []
    for existing in old:
        incoming = given.pop(existing["name"].lower(), None)
        result = dict(existing)
        path = where + existing["name"]
        if incoming is not None:
            if incoming["type"] != existing["type"]:
                raise invalid(f"{mismatch} Field {path} has changed type from {existing['type']} to {incoming['type']}")
            if values.is_repeated(incoming) != values.is_repeated(existing):
                raise invalid(
                    f"{mismatch} Field {path} has changed mode from {existing.get('mode')} to {incoming.get('mode')}"
                )
            if existing["type"] == "RECORD":
                result["fields"] = merged_schema(ref, existing["fields"], incoming["fields"], updates, f"{path}.")
        if (
            existing.get("mode") == "REQUIRED"
            and RELAXATION in updates
            and (incoming is None or incoming.get("mode") != "REQUIRED")
        ):
            result["mode"] = "NULLABLE"
        merged.append(result)
    for incoming in given.values():
        path = where + incoming["name"]
        if ADDITION not in updates:
            raise invalid(f"{mismatch} Cannot add fields (field: {path})")
        if incoming.get("mode") == "REQUIRED":
            raise invalid(f"{mismatch} Cannot add required fields to an existing schema. (field: {path})")
        merged.append(incoming)
    return merged


def change_schema(storage: Storage, table: Table, fields: list[Field]) -> Table:
    """Give a table another schema; stored rows get NULL for fields that are new. Call it inside a transaction."""
    old = table.fields
    if fields == old:
        return table
    if old and _shape(old) != _shape(fields):
        parts = storage.parts(table.id)
        storage.clear(table.id)
        for part in parts:
            data = service.TableData.FromString(part.data)
            rows = [service.TableData.Row(cell=values.conform(row.cell, old, fields)) for row in data.row]
            storage.add_parts(
                table.id, [Part(part.partition, part.rows, service.TableData(row=rows).SerializeToString())]
            )
    return storage.update_table(table, {**table.resource, "schema": {"fields": fields}})


def _shape(fields: list[Field]) -> list[Any]:
    return [(f["name"].lower(), _shape(f.get("fields", []))) for f in fields]


def table_to_json(storage: Storage, table: Table) -> Resource:
    """The resource as ``tables.get`` answers it, with counts, sizes and times."""
    resource = dict(table.resource)
    ref = table.ref
    if table.view_query is None:
        summaries = storage.partitions(table.id)
        modified = [int(resource["lastModifiedTime"]), *(summary.modified for summary in summaries)]
        size = str(sum(summary.size for summary in summaries))
        resource |= {
            "numRows": str(sum(summary.rows for summary in summaries)),
            "numBytes": size,
            "numLongTermBytes": "0",
            "numTotalLogicalBytes": size,
            "lastModifiedTime": str(max(modified)),
        }
    resource |= {
        "kind": "bigquery#table",
        "id": str(ref),
        "selfLink": f"/bigquery/v2/projects/{ref.project}/datasets/{ref.dataset}/tables/{ref.table}",
    }
    return resource | {"etag": etag(resource)}


def safe_name(text: str) -> bool:
    """True for what BigQuery takes as the id of a dataset or function."""
    return re.fullmatch(r"\w{1,1024}", text) is not None
