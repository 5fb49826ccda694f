"""Jobs that move rows without SQL: load, copy and extract."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import gcs, values
from .errors import BigQueryError, invalid, invalid_query, unsupported
from .partitions import Partitioning, parts_key, split_decorator
from .protos import service
from .query import Outcome
from .storage import TableRef
from .writes import LAYOUT, Destination, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .query import TableLocks
    from .storage import Resource, Storage, Table
    from .values import Field

_FORMATS = {"NEWLINE_DELIMITED_JSON", "CSV"}
_LOAD_OPTIONS = {
    *("allowJaggedRows", "allowQuotedNewlines", "autodetect", "clustering", "createDisposition", "destinationTable"),
    *("encoding", "fieldDelimiter", "ignoreUnknownValues", "maxBadRecords", "nullMarker", "quote", "rangePartitioning"),
    *(
        "schema",
        "schemaUpdateOptions",
        "skipLeadingRows",
        "sourceFormat",
        "sourceUris",
        "timePartitioning",
        "writeDisposition",
    ),
    *("destinationTableProperties", "createSession"),
}
_GZIP = b"\x1f\x8b"


def check(kind: str, configuration: Resource, project: str, uploaded: bool, storage_url: str | None) -> None:
    """Refuse what can't run.

    :raises BigQueryError: 400 or 501, naming it.
    """
    if kind == "load":
        source = str(configuration.get("sourceFormat") or "CSV").upper()
        if source not in _FORMATS:
            raise unsupported(f"load of {source}", query=False)
        if unknown := {key for key, value in configuration.items() if value} - _LOAD_OPTIONS:
            raise unsupported(f"load with {', '.join(sorted(unknown))}", query=False)
        if not configuration.get("destinationTable"):
            raise BigQueryError("required", "Required parameter is missing: destinationTable")
        if not uploaded and not configuration.get("sourceUris"):
            raise BigQueryError("required", "Load configuration must specify at least one source URI")
        Destination.of(configuration, project, default_write="WRITE_APPEND")
    elif kind == "copy":
        if str(configuration.get("operationType") or "COPY").upper() not in {"COPY", "OPERATION_TYPE_UNSPECIFIED"}:
            raise unsupported(f"copy job of type {configuration['operationType']}", query=False)
        Destination.of(configuration, project, default_write="WRITE_EMPTY")
    else:
        target = str(configuration.get("destinationFormat") or "CSV").upper()
        if target not in _FORMATS:
            raise unsupported(f"extract to {target}", query=False)
    if (kind == "extract" or (kind == "load" and not uploaded)) and not storage_url:
        raise unsupported(f"{kind} with gs:// (start it with --storage-url)", query=False)


def run(
    kind: str,
    storage: Storage,
    locks: TableLocks,
    configuration: Resource,
    project: str,
    upload: bytes | None,
    storage_url: str | None,
    finish: Callable[[Outcome], None],
) -> None:
    """Do a job.

    :param finish: called with the outcome inside the transaction of the write.
    :raises BigQueryError: the job fails with it, and nothing is written.
    """
    if kind == "load":
        data = [upload] if upload is not None else gcs.read(storage_url or "", configuration["sourceUris"])
        _load(storage, locks, configuration, project, data, finish)
    elif kind == "copy":
        _copy(storage, locks, configuration, project, finish)
    else:
        _extract(storage, configuration, project, storage_url or "", finish)


# ----------------------------------------------------------------------------------------------------------------- load


def _load(
    storage: Storage,
    locks: TableLocks,
    configuration: Resource,
    project: str,
    files: list[bytes],
    finish: Callable[[Outcome], None],
) -> None:
    destination = Destination.of(configuration, project, default_write="WRITE_APPEND")
    storage.dataset(destination.ref.project, destination.ref.dataset)
    json_source = str(configuration.get("sourceFormat") or "CSV").upper() == "NEWLINE_DELIMITED_JSON"
    records: list[tuple[int, Any]] = []
    for data in files:
        text = _decoded(gzip.decompress(data) if data[:2] == _GZIP else data, configuration)
        records += _json_records(text) if json_source else _csv_records(text, configuration)
    fields = _load_schema(storage, configuration, destination)
    rows, bad = _convert(records, fields, configuration, json_source=json_source)
    with locks.hold(destination.ref), storage.transaction():
        table = write_rows(storage, destination, fields, rows)
        size = sum(part.size for part in storage.partitions(table.id))
        outcome = Outcome("LOAD", written=len(rows), destination=table.ref, output_bytes=size, bad_records=bad)
        outcome.input_bytes, outcome.file_counts = sum(map(len, files)), [len(files)]
        finish(outcome)


def _decoded(data: bytes, configuration: Resource) -> str:
    encoding = str(configuration.get("encoding") or "UTF-8").upper()
    codec = {"UTF-8": "utf-8-sig", "ISO-8859-1": "latin-1"}.get(encoding)
    if codec is None:
        raise unsupported(f"load with encoding {encoding}", query=False)
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise invalid(
            f"Error while reading data, error message: the data is not {encoding}: byte {error.start}"
        ) from None


def _json_records(text: str) -> Iterator[tuple[int, Any]]:
    """Line number and object of each line that is not blank. Numbers keep their digits."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise invalid(
                f"Error while reading data, error message: JSON parsing error in line {number}: {error}"
            ) from None


def _csv_records(text: str, configuration: Resource) -> list[tuple[int, Any]]:
    delimiter = {"": ",", "tab": "\t", "\\t": "\t"}.get(
        str(configuration.get("fieldDelimiter") or ""), configuration.get("fieldDelimiter")
    )
    quote = '"' if configuration.get("quote") is None else configuration["quote"]
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=str(delimiter),
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )
    skip = int(configuration.get("skipLeadingRows") or 0)
    records = [(number, row) for number, row in enumerate(reader, 1) if row]
    return records[skip:]


def _load_schema(storage: Storage, configuration: Resource, destination: Destination) -> list[Field]:
    if given := (configuration.get("schema") or {}).get("fields"):
        return values.checked_schema(given)
    table = storage.find_table(destination.ref)
    if table is not None and table.fields and not configuration.get("autodetect"):
        return table.fields
    if configuration.get("autodetect"):
        raise unsupported("schema autodetection in a load; give a schema", query=False)
    raise invalid(f"No schema specified on job or table {destination.ref}.")


def _convert(records: Any, fields: list[Field], configuration: Resource, *, json_source: bool) -> tuple[list[Any], int]:
    allowed, bad = int(configuration.get("maxBadRecords") or 0), 0
    ignore = bool(configuration.get("ignoreUnknownValues"))
    rows = []
    for number, record in records:
        try:
            made = record if json_source else _csv_object(record, fields, configuration)
            rows.append(values.to_row(made, fields, ignore_unknown=ignore))
        except BigQueryError as error:
            bad += 1
            if bad > allowed:
                raise invalid(
                    f"Error while reading data, error message: line {number}: {error.message}", error.location
                ) from None
    return rows, bad


def _csv_object(record: list[str], fields: list[Field], configuration: Resource) -> dict[str, Any]:
    if len(record) > len(fields) and not configuration.get("ignoreUnknownValues"):
        raise invalid(f"Too many values in row: {len(record)} for {len(fields)} columns")
    if len(record) < len(fields) and not configuration.get("allowJaggedRows"):
        raise invalid(
            f"CSV table references column position {len(record)}, but line contains only {len(record)} columns"
        )
    null = str(configuration.get("nullMarker") or "")
    result: dict[str, Any] = {}
    for field, text in zip(fields, record, strict=False):
        if values.is_repeated(field) or field["type"] == "RECORD":
            raise invalid(f"CSV can't hold the field {field['name']}")
        empty_is_null = text == "" and field["type"] not in {"STRING", "BYTES"}
        result[field["name"]] = (
            None if (text == null and (null or field["type"] not in {"STRING", "BYTES"})) or empty_is_null else text
        )
    return result


# ----------------------------------------------------------------------------------------------------------------- copy


def _copy(
    storage: Storage, locks: TableLocks, configuration: Resource, project: str, finish: Callable[[Outcome], None]
) -> None:
    destination = Destination.of(configuration, project, default_write="WRITE_EMPTY")
    sources = [
        _source(storage, s, project)
        for s in configuration.get("sourceTables") or [configuration.get("sourceTable") or {}]
    ]
    first = sources[0][0]
    if any(table.fields != first.fields for table, _ in sources):
        raise invalid("The source tables of a copy must have the same schema")
    layout = {key: first.resource[key] for key in LAYOUT if first.resource.get(key)}
    properties = {key: first.resource[key] for key in ("description", "labels") if first.resource.get(key)}
    destination = replace(destination, layout=layout if destination.partition is None else {}, properties=properties)
    with locks.hold(destination.ref), storage.transaction():
        groups: dict[str | None, list[Any]] = {}
        for table, decorator in sources:
            partitioning = Partitioning.of(table.resource)
            by_ingestion = partitioning is not None and partitioning.column is None
            for part in storage.parts(table.id, parts_key(partitioning, decorator)):
                home = part.partition if by_ingestion and destination.partition is None else destination.partition
                groups.setdefault(home, []).extend(service.TableData.FromString(part.data).row)
        if (
            destination.write == "WRITE_TRUNCATE"
            and destination.partition is None
            and storage.find_table(destination.ref)
        ):
            storage.delete_table(destination.ref)  # a copy replaces everything, its partitioning too
        target = write_rows(storage, destination, first.fields, [])
        for partition, rows in groups.items():
            append = Destination(destination.ref, partition, write="WRITE_APPEND")
            target = write_rows(storage, append, first.fields, rows)
        size = sum(part.size for part in storage.partitions(target.id))
        finish(Outcome("COPY", written=sum(map(len, groups.values())), output_bytes=size))


def _source(storage: Storage, reference: Resource, project: str) -> tuple[Table, str | None]:
    name, decorator = split_decorator(str(reference.get("tableId", "")))
    table = storage.table(TableRef(reference.get("projectId") or project, str(reference.get("datasetId", "")), name))
    if table.view_query is not None:
        raise invalid(f"{table.ref} is a view, which can't be read by this job")
    return table, decorator


# -------------------------------------------------------------------------------------------------------------- extract


def _extract(
    storage: Storage, configuration: Resource, project: str, storage_url: str, finish: Callable[[Outcome], None]
) -> None:
    table, decorator = _source(storage, configuration.get("sourceTable") or {}, project)
    uris = configuration.get("destinationUris") or [configuration.get("destinationUri")]
    parts = storage.parts(table.id, parts_key(Partitioning.of(table.resource), decorator))
    rows = [row for part in parts for row in service.TableData.FromString(part.data).row]
    target = str(configuration.get("destinationFormat") or "CSV").upper()
    data = (
        _as_json(rows, table.fields)
        if target == "NEWLINE_DELIMITED_JSON"
        else _as_csv(rows, table.fields, configuration)
    )
    compression = str(configuration.get("compression") or "NONE").upper()
    if compression not in {"NONE", "GZIP"}:
        raise unsupported(f"extract with compression {compression}", query=False)
    if compression == "GZIP":
        data = gzip.compress(data, mtime=0)
    for uri in uris:
        gcs.write(storage_url, str(uri).replace("*", "000000000000"), data)
    with storage.transaction():
        finish(Outcome("EXTRACT", written=len(rows), file_counts=[1] * len(uris)))


def check_export(options: Resource, storage_url: str | None) -> None:
    """Refuse an EXPORT DATA that can't run.

    :param options: those of :func:`.ddl.export_options`. :raises BigQueryError: naming it.
    """
    uri = options.get("uri")
    if not isinstance(uri, str) or not uri.startswith("gs://") or uri.count("*") != 1:
        raise invalid_query("EXPORT DATA: the option uri must be a path gs://... with one *")
    if (target := str(options.get("format") or "").upper()) not in {"CSV", "JSON"}:
        raise unsupported(f"EXPORT DATA with format {target or '(none)'}")
    if (compression := str(options.get("compression") or "NONE").upper()) not in {"NONE", "GZIP"}:
        raise unsupported(f"EXPORT DATA with compression {compression}")
    if not storage_url:
        raise unsupported("EXPORT DATA (start it with --storage-url)")


def export(rows: Sequence[Any], fields: list[Field], options: Resource, storage_url: str) -> list[int]:
    """Write the rows of an EXPORT DATA as one file, ``*`` of its path replaced. Returns the number of files.

    :raises BigQueryError: there is no such bucket, or there is a file already and ``overwrite`` is off.
    """
    uri = str(options["uri"])
    if not options.get("overwrite") and gcs.names(storage_url, uri):
        raise invalid_query(f"EXPORT DATA: {uri} is not empty; set the option overwrite to true")
    if str(options["format"]).upper() == "JSON":
        data = _as_json(rows, fields)
    else:
        csv_options = {
            "printHeader": bool(options.get("header")),
            "fieldDelimiter": options.get("field_delimiter"),
        }
        data = _as_csv(rows, fields, csv_options)
    if str(options.get("compression") or "NONE").upper() == "GZIP":
        data = gzip.compress(data, mtime=0)
    gcs.write(storage_url, uri.replace("*", "000000000000"), data)
    return [1]


def _as_json(rows: Sequence[Any], fields: list[Field]) -> bytes:
    lines = []
    for row in rows:
        pairs = zip(fields, row.cell, strict=True)
        record = {field["name"]: values.to_plain(cell, field) for field, cell in pairs}
        lines.append(
            json.dumps({key: value for key, value in record.items() if value is not None}, ensure_ascii=False) + "\n"
        )
    return "".join(lines).encode()


def _as_csv(rows: Sequence[Any], fields: list[Field], configuration: Resource) -> bytes:
    for field in fields:
        if values.is_repeated(field) or field["type"] == "RECORD":
            raise invalid(f"Operation cannot be performed on a nested schema. Field: {field['name']}")
    out = io.StringIO()
    delimiter = {"": ",", "tab": "\t", "\\t": "\t"}.get(given := str(configuration.get("fieldDelimiter") or ""), given)
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    if configuration.get("printHeader", True):
        writer.writerow([field["name"] for field in fields])
    for row in rows:
        cells = [values.to_plain(cell, field) for cell, field in zip(row.cell, fields, strict=True)]
        writer.writerow([
            str(c).lower() if isinstance(c, bool) else json.dumps(c) if isinstance(c, dict | list) else c for c in cells
        ])
    return out.getvalue().encode()
