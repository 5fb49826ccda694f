"""Reading CREATE statements: columns, partitioning, clustering and OPTIONS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import values
from .errors import invalid_query, unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from .storage import Resource
    from .syntax import Node
    from .values import Field

_OPTION_NAMES = {
    "description": "description",
    "friendly_name": "friendlyName",
    "labels": "labels",
    "location": "location",
    "require_partition_filter": "requirePartitionFilter",
    "partition_expiration_days": "partitionExpirationDays",
    "expiration_timestamp": "expirationTime",
}
_TABLE_OPTIONS = {"description", "friendlyName", "labels", "requirePartitionFilter", "partitionExpirationDays"}


def options(node: Node, source: bytes, evaluate: Callable[[str], Any], *, allowed: set[str]) -> Resource:
    """An OPTIONS list by the names of the REST API.

    :param evaluate: gives the value of an expression. :raises BigQueryError: an option that is not allowed.
    """
    result: Resource = {}
    for entry in node.children("options_entries"):
        name, value = entry.need("name"), entry.need("value")
        written = str(name.values["id_string"])
        key = _OPTION_NAMES.get(written.lower(), "")
        if key not in allowed:
            raise unsupported(f"OPTIONS({written})")
        given = evaluate(source[value.start : value.end].decode())
        if key == "labels":
            given = {pair[first]: pair[second] for pair in given or () for first, second in [list(pair)]}
        result[key] = given
    return result


def table_options(node: Node, source: bytes, evaluate: Callable[[str], Any], existing: Resource) -> Resource:
    """The OPTIONS of a table as changes of its resource."""
    result = options(node, source, evaluate, allowed=_TABLE_OPTIONS)
    days = result.pop("partitionExpirationDays", None)
    if days is not None:
        time = result.get("timePartitioning") or existing.get("timePartitioning")
        if not time:
            raise invalid_query("partition_expiration_days can be set only for a table partitioned by time")
        result["timePartitioning"] = {**time, "expirationMs": str(int(float(days) * 86_400_000))}
    return result


_EXPORT_OPTIONS = {"uri", "format", "compression", "field_delimiter", "header", "overwrite"}


def export_options(node: Node, source: bytes, evaluate: Callable[[str], Any]) -> Resource:
    """The OPTIONS of EXPORT DATA, by their own names in lower case.

    :raises BigQueryError: an option that is not known.
    """
    result: Resource = {}
    for entry in node.children("options_entries"):
        value = entry.need("value")
        name = str(entry.need("name").values["id_string"])
        if name.lower() not in _EXPORT_OPTIONS:
            raise unsupported(f"EXPORT DATA with OPTIONS({name})")
        result[name.lower()] = evaluate(source[value.start : value.end].decode())
    return result


def table_properties(node: Node, source: bytes, evaluate: Callable[[str], Any]) -> Resource:
    """Partitioning, clustering and options of a CREATE TABLE."""
    result: Resource = {}
    if by := node.child("partition_by"):
        (expression,) = by.children("partitioning_expressions")
        result |= _partitioning(expression, source)
    if by := node.child("cluster_by"):
        result["clustering"] = {"fields": [".".join(e.path()) for e in by.children("clustering_expressions")]}
    if listed := node.child("options_list"):
        result |= table_options(listed, source, evaluate, result)
    return result


def view_properties(node: Node, fields: list[Field], source: bytes, evaluate: Callable[[str], Any]) -> Resource:
    """Options of a CREATE VIEW; descriptions of its columns are put into ``fields``."""
    if columns := node.child("column_with_options_list"):
        listed = columns.children("column_with_options")
        names = [str(c.children("name")[0].values["id_string"]) for c in listed]
        if names != [field["name"] for field in fields]:
            raise unsupported("CREATE VIEW with other column names than its query has")
        for field, column in zip(fields, listed, strict=True):
            if given := column.child("options_list"):
                field |= options(given, source, evaluate, allowed={"description"})
    listed_options = node.child("options_list")
    allowed = {"description", "friendlyName", "labels"}
    return options(listed_options, source, evaluate, allowed=allowed) if listed_options else {}


def _partitioning(node: Node, source: bytes) -> Resource:
    text = source[node.start : node.end].decode()
    if node.kind == "PathExpression":
        column = ".".join(node.path())
        if column.upper() == "_PARTITIONDATE":
            return {"timePartitioning": {"type": "DAY"}}
        return {"timePartitioning": {"type": "DAY", "field": column}}
    function, arguments = node.child("function"), node.children("arguments")
    name = ".".join(function.path()).upper() if function else ""
    column = ".".join(arguments[0].path()) if arguments and arguments[0].kind == "PathExpression" else ""
    if name == "DATE" and len(arguments) == 1 and column:
        return {
            "timePartitioning": {"type": "DAY"}
            if column.upper() == "_PARTITIONTIME"
            else {"type": "DAY", "field": column}
        }
    if name in {"DATE_TRUNC", "TIMESTAMP_TRUNC", "DATETIME_TRUNC"} and len(arguments) == 2 and column:
        unit = ".".join(arguments[1].path()).upper()
        if unit in {"HOUR", "DAY", "MONTH", "YEAR"}:
            return {
                "timePartitioning": {"type": unit}
                if column.upper() == "_PARTITIONTIME"
                else {"type": unit, "field": column}
            }
    if name == "RANGE_BUCKET" and len(arguments) == 2 and column:
        bounds = [source[a.start : a.end].decode() for a in arguments[1].children("arguments")]
        if len(bounds) == 3 and all(bound.lstrip("-").isdigit() for bound in bounds):
            return {
                "rangePartitioning": {
                    "field": column,
                    "range": dict(zip(("start", "end", "interval"), bounds, strict=True)),
                }
            }
    raise unsupported(f"PARTITION BY {text}")


def column_fields(node: Node, source: bytes, evaluate: Callable[[str], Any]) -> list[Field]:
    """The fields of a list of column definitions.

    :raises BigQueryError: constraints, defaults, generated columns, unknown types.
    """
    fields = []
    for column in node.children("elements") or node.children("column_definition"):
        schema, name = column.child("schema"), column.child("name")
        if column.kind != "ColumnDefinition" or schema is None or name is None:
            raise unsupported(f"{column.kind} in CREATE TABLE")
        fields.append(_column(str(name.values["id_string"]), schema, source, evaluate))
    return values.checked_schema(fields)


def _column(name: str, schema: Node, source: bytes, evaluate: Callable[[str], Any]) -> Field:
    for clause in ("default_expression", "generated_column_info", "collate"):
        if schema.child(clause):
            raise unsupported(f"{clause.split('_')[0]} of column {name}")
    field: Field
    if schema.kind == "ArrayColumnSchema":
        element = schema.need("element_schema")
        field = {**_column(name, element, source, evaluate), "mode": "REPEATED"}
    elif schema.kind == "StructColumnSchema":
        inner = schema.children("struct_fields")
        field = {
            "name": name,
            "type": "RECORD",
            "mode": "NULLABLE",
            "fields": [_struct_field(f, source, evaluate) for f in inner],
        }
    elif schema.kind == "SimpleColumnSchema":
        field = {"name": name, "type": ".".join(schema.need("type_name").path()).upper(), "mode": "NULLABLE"}
    else:
        raise unsupported(f"column {name} of type {source[schema.start : schema.end].decode()}")
    if attributes := schema.child("attributes"):
        for attribute in attributes.children("values"):
            if attribute.kind != "NotNullColumnAttribute":
                raise unsupported(f"{source[attribute.start : attribute.end].decode()} on column {name}")
            field["mode"] = "REQUIRED"
    if parameters := schema.child("type_parameters"):
        numbers = [source[p.start : p.end].decode() for p in parameters.children("parameters")]
        keys = ("maxLength",) if values.field_type_name(field) in {"STRING", "BYTES"} else ("precision", "scale")
        field |= dict(zip(keys, numbers, strict=False))
    if listed := schema.child("options_list"):
        field |= options(listed, source, evaluate, allowed={"description"})
    return field


def _struct_field(node: Node, source: bytes, evaluate: Callable[[str], Any]) -> Field:
    name, schema = node.child("name"), node.child("schema")
    if name is None or schema is None:
        raise invalid_query("A STRUCT column of a table must name its fields")
    return _column(str(name.values["id_string"]), schema, source, evaluate)
