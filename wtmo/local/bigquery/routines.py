"""Persistent SQL functions: the ``Routine`` resource, and the CREATE FUNCTION statement that it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import values
from .errors import invalid, unsupported
from .protos import signatures, types
from .storage import now_ms
from .syntax import quoted

if TYPE_CHECKING:
    from .storage import Resource, TableRef

_SQL_NAME = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}


def routine_sql(routine: Resource) -> str:
    """The statement that makes the function, under its bare name.

    :raises BigQueryError: it is not a SQL function.
    """
    name = routine["routineReference"]["routineId"]
    if routine.get("routineType", "SCALAR_FUNCTION") not in {"SCALAR_FUNCTION", "AGGREGATE_FUNCTION"}:
        raise unsupported(f"routine {name} of type {routine['routineType']}")
    if routine.get("language", "SQL") != "SQL":
        raise unsupported(f"function {name} in language {routine['language']}")
    arguments = ", ".join(_argument_sql(argument) for argument in routine.get("arguments") or ())
    returns = f" RETURNS {_type_sql(routine['returnType'])}" if routine.get("returnType") else ""
    aggregate = "AGGREGATE " if routine.get("routineType") == "AGGREGATE_FUNCTION" else ""
    body = routine.get("definitionBody", "")
    return f"CREATE TEMP {aggregate}FUNCTION {quoted(name)}({arguments}){returns} AS (\n{body}\n)"


def _argument_sql(argument: dict[str, Any]) -> str:
    kind = "ANY TYPE" if argument.get("argumentKind") == "ANY_TYPE" else _type_sql(argument.get("dataType") or {})
    suffix = " NOT AGGREGATE" if argument.get("isAggregate") is False else ""
    return f"{quoted(argument['name'])} {kind}{suffix}"


def _type_sql(kind: dict[str, Any]) -> str:
    """A ``StandardSqlDataType`` in SQL."""
    name = str(kind.get("typeKind", ""))
    if name == "ARRAY":
        return f"ARRAY<{_type_sql(kind.get('arrayElementType') or {})}>"
    if name == "STRUCT":
        inner = (kind.get("structType") or {}).get("fields") or []
        return (
            "STRUCT<"
            + ", ".join(f"{quoted(f['name']) + ' ' if f.get('name') else ''}{_type_sql(f['type'])}" for f in inner)
            + ">"
        )
    if name == "RANGE":
        return f"RANGE<{_type_sql(kind.get('rangeElementType') or {})}>"
    if not name.isalnum():
        raise invalid(f"Invalid value for typeKind: {name!r}")
    return name


def standard_type(proto: Any) -> dict[str, Any]:
    """The ``StandardSqlDataType`` of a ``TypeProto``."""
    if proto.type_kind == types.TYPE_ARRAY:
        return {"typeKind": "ARRAY", "arrayElementType": standard_type(proto.array_type.element_type)}
    if proto.type_kind == types.TYPE_STRUCT:
        inner = [{"name": f.field_name, "type": standard_type(f.field_type)} for f in proto.struct_type.field]
        return {"typeKind": "STRUCT", "structType": {"fields": inner}}
    if proto.type_kind == types.TYPE_RANGE:
        return {"typeKind": "RANGE", "rangeElementType": standard_type(proto.range_type.element_type)}
    name = values.to_field("", proto)["type"]
    return {"typeKind": _SQL_NAME.get(name, name)}


def routine_resource(ref: TableRef, function: Any, body: str) -> Resource:
    """The resource of a function that a CREATE FUNCTION statement made.

    :param function: its ``FunctionProto``. :param body: the expression, as written.
    """
    signature = function.signature[0]
    arguments: list[dict[str, Any]] = []
    for name, argument in zip(function.templated_sql_function_argument_name, signature.argument, strict=True):
        if argument.kind == signatures.ARG_TYPE_FIXED:
            arguments.append({"name": name, "dataType": standard_type(argument.type)})
        else:
            arguments.append({"name": name, "argumentKind": "ANY_TYPE"})
        if argument.options.is_not_aggregate:
            arguments[-1]["isAggregate"] = False
    aggregate = function.mode == signatures.FunctionEnums.AGGREGATE
    now = str(now_ms())
    resource: Resource = {
        "routineReference": {"projectId": ref.project, "datasetId": ref.dataset, "routineId": ref.table},
        "routineType": "AGGREGATE_FUNCTION" if aggregate else "SCALAR_FUNCTION",
        "language": "SQL",
        "arguments": arguments,
        "definitionBody": body,
        "creationTime": now,
        "lastModifiedTime": now,
    }
    if signature.return_type.kind == signatures.ARG_TYPE_FIXED:
        resource["returnType"] = standard_type(signature.return_type.type)
    return resource
