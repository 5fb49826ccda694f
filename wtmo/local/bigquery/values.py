"""Types and values: BigQuery's JSON schemas and cells on one side, ZetaSQL's protocol buffers on the other.

A *field* is a BigQuery ``TableFieldSchema`` as a dict (``{"name": "a", "type": "STRING", "mode": "REPEATED", "fields":
[...]}``). A *cell* of a REST answer is ``{"v": ...}``; scalars are strings. Rows are stored as serialized ``TableData``
messages whose cells follow the order of the table's fields.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import math
import re
from decimal import Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Any

from .errors import invalid, unsupported
from .protos import service, types
from .protos import values as protos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Field = dict[str, Any]
"""A BigQuery ``TableFieldSchema``."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_KIND = {
    "STRING": types.TYPE_STRING,
    "BYTES": types.TYPE_BYTES,
    "INTEGER": types.TYPE_INT64,
    "FLOAT": types.TYPE_DOUBLE,
    "BOOLEAN": types.TYPE_BOOL,
    "NUMERIC": types.TYPE_NUMERIC,
    "BIGNUMERIC": types.TYPE_BIGNUMERIC,
    "DATE": types.TYPE_DATE,
    "DATETIME": types.TYPE_DATETIME,
    "TIME": types.TYPE_TIME,
    "TIMESTAMP": types.TYPE_TIMESTAMP,
    "JSON": types.TYPE_JSON,
    "INTERVAL": types.TYPE_INTERVAL,
    "RANGE": types.TYPE_RANGE,
    "RECORD": types.TYPE_STRUCT,
}
_NAME = {kind: name for name, kind in _KIND.items()}
ALIASES = {
    "INT64": "INTEGER",
    "INT": "INTEGER",
    "SMALLINT": "INTEGER",
    "BIGINT": "INTEGER",
    "TINYINT": "INTEGER",
    "BYTEINT": "INTEGER",
    "FLOAT64": "FLOAT",
    "BOOL": "BOOLEAN",
    "DECIMAL": "NUMERIC",
    "BIGDECIMAL": "BIGNUMERIC",
    "STRUCT": "RECORD",
}
"""SQL's names of types, and the names that a schema in JSON gives them."""

_NUMERIC_SCALE, _NUMERIC_LIMIT = 9, 10**38
_BIGNUMERIC_SCALE, _BIGNUMERIC_LIMIT = 38, 1 << 255


# ---------------------------------------------------------------------------------------------------------------- types


def field_type_name(field: Field) -> str:
    """The field's type by the name that BigQuery's API gives it (``INTEGER`` for ``INT64``).

    :raises BigQueryError: unknown, or not supported here.
    """
    name = str(field.get("type", "")).upper()
    name = ALIASES.get(name, name)
    if name in {"GEOGRAPHY", "FOREIGN"}:
        raise unsupported(f"type {name} (field {field.get('name')})", query=False)
    if name not in _KIND:
        raise invalid(f"Invalid value for type: {field.get('type')} is not a valid value")
    return name


def is_repeated(field: Field) -> bool:
    """True for ``mode: REPEATED``."""
    return str(field.get("mode", "")).upper() == "REPEATED"


def checked_schema(fields: Any) -> list[Field]:
    """A schema with types and modes in the API's spelling.

    :raises BigQueryError: a name, type or mode that BigQuery refuses.
    """
    if not isinstance(fields, list):
        raise invalid("schema.fields must be a list")
    seen: set[str] = set()
    result = []
    for field in fields:
        name = field.get("name", "") if isinstance(field, dict) else ""
        if not isinstance(name, str) or not re.fullmatch(r"[^!\"$()*,./;?@\[\]\\^`{}~]{1,300}", name):
            raise invalid(
                f'Invalid field name "{name}". '
                "Fields must contain the allowed characters, and be at most 300 characters long."
            )
        if name.lower() in seen:
            raise invalid(f"Duplicate field name: {name}")
        seen.add(name.lower())
        mode = str(field.get("mode") or "NULLABLE").upper()
        if mode not in {"NULLABLE", "REQUIRED", "REPEATED"}:
            raise invalid(f"Invalid value for mode: {mode} is not a valid value (field {name})")
        if field.get("defaultValueExpression"):
            raise unsupported(f"default values (field {name})", query=False)
        checked = {**field, "type": field_type_name(field), "mode": mode}
        if checked["type"] == "RECORD":
            if not field.get("fields"):
                raise invalid(f"Field {name} is type RECORD but has no schema")
            checked["fields"] = checked_schema(field["fields"])
        elif checked["type"] == "RANGE":
            element = str((field.get("rangeElementType") or {}).get("type", "")).upper()
            if element not in {"DATE", "DATETIME", "TIMESTAMP"}:
                raise invalid(f"Field {name} is type RANGE and needs rangeElementType DATE, DATETIME or TIMESTAMP")
        result.append(checked)
    return result


def to_type(field: Field) -> Any:
    """The ``TypeProto`` of a field."""
    name = field_type_name(field)
    proto = types.TypeProto(type_kind=_KIND[name])
    if name == "RECORD":
        proto.struct_type.SetInParent()
        for inner in field["fields"]:
            proto.struct_type.field.add(field_name=inner["name"], field_type=to_type(inner))
    elif name == "RANGE":
        proto.range_type.element_type.type_kind = _KIND[field["rangeElementType"]["type"].upper()]
    if is_repeated(field):
        array = types.TypeProto(type_kind=types.TYPE_ARRAY)
        array.array_type.element_type.CopyFrom(proto)
        return array
    return proto


def to_field(name: str, proto: Any) -> Field:
    """The field that a result column of this type becomes: ``NULLABLE``, or ``REPEATED`` for an array."""
    mode = "NULLABLE"
    if proto.type_kind == types.TYPE_ARRAY:
        mode, proto = "REPEATED", proto.array_type.element_type
    if proto.type_kind not in _NAME:
        raise unsupported(f"a column of type {types.TypeKind.Name(proto.type_kind).removeprefix('TYPE_')} ({name})")
    field: Field = {"name": name, "type": _NAME[proto.type_kind], "mode": mode}
    if proto.type_kind == types.TYPE_STRUCT:
        inner = proto.struct_type.field
        field["fields"] = [to_field(f.field_name or f"_field_{i}", f.field_type) for i, f in enumerate(inner, 1)]
    elif proto.type_kind == types.TYPE_RANGE:
        field["rangeElementType"] = {"type": _NAME[proto.range_type.element_type.type_kind]}
    return field


# ------------------------------------------------------------------------------------------------------ JSON to ZetaSQL


def to_value(value: Any, field: Field, where: str = "") -> Any:
    """Read a JSON value (of a load, an ``insertAll`` or a query parameter) as a ``ValueProto`` of the field's type.

    As BigQuery does, a REPEATED field takes NULL as the empty array, and a repeated RECORD a lone object.

    :param where: prefix of the field's name in messages.
    :raises BigQueryError: the value is not of the type, or a REQUIRED value is missing.
    """
    name = where + field["name"]
    if is_repeated(field):
        proto = protos.ValueProto()
        proto.array_value.SetInParent()
        if value is None:
            return proto
        if isinstance(value, dict) and field["type"] == "RECORD":
            value = [value]
        if not isinstance(value, list):
            raise invalid(f"Array specified for non-repeated field or no array for repeated field: {name}.", name)
        element = {**field, "mode": "NULLABLE"}
        for item in value:
            if item is None:
                raise invalid(f"Only optional fields can be set to NULL. Field: {name}; Value: NULL", name)
            proto.array_value.element.append(to_value(item, element, where))
        return proto
    if value is None:
        if str(field.get("mode", "")).upper() == "REQUIRED":
            raise invalid(f"Missing required field: {name}.", name)
        return protos.ValueProto()
    if isinstance(value, list) and field["type"] != "JSON":
        raise invalid(f"Array specified for non-repeated field: {name}.", name)
    type_name = field_type_name(field)
    if type_name == "RECORD":
        if not isinstance(value, dict):
            raise invalid(f"This field: {name} is not a record.", name)
        proto = protos.ValueProto()
        proto.struct_value.SetInParent()
        proto.struct_value.field.extend(
            _record(value, field["fields"], f"{name}.", ignore_unknown=bool(field.get("_ignore")))
        )
        return proto
    if isinstance(value, dict) and type_name not in {"JSON", "RANGE"}:
        raise invalid(
            f"Could not convert non-record value to type {type_name}. Field: {name}; Value: {_shown(value)}", name
        )
    try:
        return _scalar(value, field, type_name)
    except (ValueError, TypeError, KeyError, OverflowError, InvalidOperation, binascii.Error):
        raise invalid(
            f"Could not convert value to {type_name.lower()}. Field: {name}; Value: {_shown(value)}", name
        ) from None


def _record(row: dict[str, Any], fields: Sequence[Field], where: str, *, ignore_unknown: bool) -> list[Any]:
    given = {key.lower(): value for key, value in row.items()}
    known = {field["name"].lower() for field in fields}
    if not ignore_unknown:
        for key in row:
            if key.lower() not in known:
                raise invalid(f"no such field: {where}{key}.", f"{where}{key}")
    if ignore_unknown:
        fields = [{**field, "_ignore": True} for field in fields]
    return [to_value(given.get(field["name"].lower()), field, where) for field in fields]


def null() -> Any:
    """The NULL of any type."""
    return protos.ValueProto()


def to_row(row: Any, fields: Sequence[Field], *, ignore_unknown: bool = False) -> Any:
    """Read one JSON object as a ``TableData.Row`` in the order of the fields.

    :param ignore_unknown: leave out keys that are no field (``ignoreUnknownValues``) instead of refusing them.
    """
    if not isinstance(row, dict):
        raise invalid("JSON table encountered a row that is not an object")
    return service.TableData.Row(cell=_record(row, fields, "", ignore_unknown=ignore_unknown))


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _scalar(value: Any, field: Field, type_name: str) -> Any:
    if type_name == "RANGE":
        return _parse_range(value, field["rangeElementType"]["type"].upper())
    proto = _PARSERS[type_name](value)
    _check_parameters(proto, field, type_name)
    return proto


def _check_parameters(proto: Any, field: Field, type_name: str) -> None:
    """Hold a value against ``maxLength``, ``precision`` and ``scale`` of its field."""
    if limit := field.get("maxLength"):
        size = len(proto.string_value if type_name == "STRING" else proto.bytes_value)
        if size > int(limit):
            raise invalid(
                f"Field {field['name']}: {type_name}({limit}) has maximum length {limit} "
                f"but got a value with length {size}"
            )
    if precision := field.get("precision"):
        number = _decimal(proto)
        digits, scale = int(precision), int(field.get("scale") or 0)
        if number != round(number, scale) or abs(number) >= 10 ** (digits - scale):
            raise invalid(f"Field {field['name']}: {type_name}({digits}, {scale}) can't hold {number}")


def _parse_string(value: Any) -> Any:
    if isinstance(value, bool):
        value = "true" if value else "false"
    return protos.ValueProto(string_value=value if isinstance(value, str) else json.dumps(value))


def _parse_bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return protos.ValueProto(bytes_value=value)
    text = str(value).replace("-", "+").replace("_", "/")
    return protos.ValueProto(bytes_value=base64.b64decode(text + "=" * (-len(text) % 4), validate=True))


def _parse_integer(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError
        value = int(value)
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d+\s*", value):
        number = Decimal(value)
        if number != number.to_integral_value():
            raise ValueError
        value = int(number)
    return protos.ValueProto(int64_value=int(value))


def _parse_float(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError
    return protos.ValueProto(double_value=float(value))


def _parse_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        return protos.ValueProto(bool_value=value)
    text = str(value).strip().lower()
    if text in {"true", "t", "yes", "y", "1"}:
        return protos.ValueProto(bool_value=True)
    if text in {"false", "f", "no", "n", "0"}:
        return protos.ValueProto(bool_value=False)
    raise ValueError


def _scaled(value: Any, scale: int, limit: int) -> bytes:
    if isinstance(value, bool):
        raise TypeError
    with localcontext() as context:
        context.prec = 200
        number = int((Decimal(str(value).strip()) * 10**scale).quantize(Decimal(1), rounding="ROUND_HALF_UP"))
    if not -limit <= number < limit:
        raise OverflowError
    magnitude = number if number >= 0 else ~number
    return number.to_bytes(magnitude.bit_length() // 8 + 1, "little", signed=True)


def _parse_numeric(value: Any) -> Any:
    return protos.ValueProto(numeric_value=_scaled(value, _NUMERIC_SCALE, _NUMERIC_LIMIT))


def _parse_bignumeric(value: Any) -> Any:
    return protos.ValueProto(bignumeric_value=_scaled(value, _BIGNUMERIC_SCALE, _BIGNUMERIC_LIMIT))


_DATE = r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})"
_TIME = r"(?P<H>\d{1,2}):(?P<M>\d{1,2}):(?P<S>\d{1,2})(?:\.(?P<f>\d{0,9}))?"
_SHORT_TIME = r"(?P<H>\d{1,2}):(?P<M>\d{1,2})(?::(?P<S>\d{1,2})(?:\.(?P<f>\d{0,9}))?)?"
_ZONE = r"\s*(?P<z>Z|UTC|[+-]\d{1,2}(?::?\d{2})?)?"
_DATE_RE = re.compile(_DATE)
_TIME_RE = re.compile(_TIME)
_DATETIME_RE = re.compile(rf"{_DATE}(?:[Tt ]{_SHORT_TIME})?")
_TIMESTAMP_RE = re.compile(rf"{_DATE}(?:[Tt ]{_SHORT_TIME})?{_ZONE}", re.IGNORECASE)


def _match(pattern: re.Pattern[str], value: Any) -> dict[str, str | None]:
    match = pattern.fullmatch(str(value).strip().replace("/", "-"))
    if not match:
        raise ValueError
    return match.groupdict()


def _micros(parts: dict[str, str | None]) -> int:
    fraction = parts.get("f") or ""
    if fraction[6:].strip("0"):
        raise ValueError("finer than a microsecond")
    return int(fraction[:6].ljust(6, "0"))


def _naive(parts: dict[str, str | None]) -> dt.datetime:
    y, m, d, hour, minute, second = (int(parts.get(key) or 0) for key in "ymdHMS")
    return dt.datetime(y, m, d, hour, minute, second, _micros(parts))


def _parse_date(value: Any) -> Any:
    parts = _match(_DATE_RE, value)
    return protos.ValueProto(date_value=_naive(parts).toordinal() - _EPOCH.toordinal())


def _parse_timestamp(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+(\.\d+)?([eE][+-]?\d+)?\s*", value):
        value = Decimal(value)
    if isinstance(value, int | float | Decimal):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
        return timestamp_value(round(Decimal(str(value)) * 1_000_000))
    parts = _match(_TIMESTAMP_RE, value)
    zone = (parts["z"] or "UTC").upper()
    micros = (_naive(parts) - _EPOCH.replace(tzinfo=None)) // dt.timedelta(microseconds=1)
    if zone not in {"Z", "UTC"}:
        digits = zone[1:].replace(":", "")
        hours, minutes = (int(digits), 0) if len(digits) <= 2 else (int(digits[:-2]), int(digits[-2:]))
        if hours > 14 or minutes > 59:
            raise ValueError
        micros -= (hours * 60 + minutes) * 60_000_000 * (-1 if zone[0] == "-" else 1)
    return timestamp_value(micros)


def timestamp_value(micros: int) -> Any:
    """A TIMESTAMP from microseconds since 1970."""
    if not -62135596800_000000 <= micros < 253402300800_000000:
        raise OverflowError
    proto = protos.ValueProto()
    proto.timestamp_value.seconds, rest = divmod(micros, 1_000_000)
    proto.timestamp_value.nanos = rest * 1000
    return proto


def _parse_datetime(value: Any) -> Any:
    moment = _naive(_match(_DATETIME_RE, str(value).strip()))
    proto = protos.ValueProto()
    bits = moment.year << 26 | moment.month << 22 | moment.day << 17
    proto.datetime_value.bit_field_datetime_seconds = bits | moment.hour << 12 | moment.minute << 6 | moment.second
    proto.datetime_value.nanos = moment.microsecond * 1000
    return proto


def _parse_time(value: Any) -> Any:
    parts = _match(_TIME_RE, value)
    time = dt.time(int(parts["H"] or 0), int(parts["M"] or 0), int(parts["S"] or 0), _micros(parts))
    return protos.ValueProto(
        time_value=(time.hour << 12 | time.minute << 6 | time.second) << 30 | time.microsecond * 1000
    )


def _parse_json(value: Any) -> Any:
    if isinstance(value, str):
        json.loads(value)
        return protos.ValueProto(json_value=value)
    return protos.ValueProto(json_value=json.dumps(value, separators=(",", ":"), ensure_ascii=False))


_INTERVAL_RE = re.compile(
    r"(?P<ys>[+-]?)(?P<y>\d+)-(?P<m>\d+) (?P<d>[+-]?\d+) "
    r"(?P<ts>[+-]?)(?P<H>\d+):(?P<M>\d+):(?P<S>\d+)(?:\.(?P<f>\d{1,6}))?"
)


def _parse_interval(value: Any) -> Any:
    match = _INTERVAL_RE.fullmatch(str(value))
    if not match:
        raise ValueError
    months = int(match["y"]) * 12 + int(match["m"])
    if months > 120_000:
        raise OverflowError
    packed = months << 13 | (1 << 31 if match["ys"] == "-" and months else 0)
    seconds = (int(match["H"]) * 60 + int(match["M"])) * 60 + int(match["S"])
    micros = (seconds * 1_000_000 + int((match["f"] or "").ljust(6, "0"))) * (-1 if match["ts"] == "-" else 1)
    data = micros.to_bytes(8, "little", signed=True) + int(match["d"]).to_bytes(4, "little", signed=True)
    return protos.ValueProto(interval_value=data + packed.to_bytes(4, "little"))


def _parse_range(value: Any, element: str) -> Any:
    if isinstance(value, dict):
        bounds = [value.get("start"), value.get("end")]
    else:
        match = re.fullmatch(r"\[\s*(.*?)\s*,\s*(.*?)\s*\)", str(value))
        if not match:
            raise ValueError
        bounds = [None if text.upper() in {"UNBOUNDED", "NULL"} else text for text in match.groups()]
    proto = protos.ValueProto()
    for name, bound in zip(("start", "end"), bounds, strict=True):
        getattr(proto.range_value, name).CopyFrom(protos.ValueProto() if bound is None else _PARSERS[element](bound))
    return proto


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "STRING": _parse_string,
    "BYTES": _parse_bytes,
    "INTEGER": _parse_integer,
    "FLOAT": _parse_float,
    "BOOLEAN": _parse_boolean,
    "NUMERIC": _parse_numeric,
    "BIGNUMERIC": _parse_bignumeric,
    "DATE": _parse_date,
    "DATETIME": _parse_datetime,
    "TIME": _parse_time,
    "TIMESTAMP": _parse_timestamp,
    "JSON": _parse_json,
    "INTERVAL": _parse_interval,
}


# ------------------------------------------------------------------------------------------------------ ZetaSQL to JSON


def to_json(value: Any, field: Field, timestamps: str = "FLOAT64") -> Any:
    """The ``v`` of a REST cell.

    :param timestamps: ``INT64`` (microseconds), ``FLOAT64`` (seconds) or ``ISO8601_STRING``, as ``formatOptions``
        choose.
    """
    if is_repeated(field):
        element = {**field, "mode": "NULLABLE"}
        return [{"v": to_json(item, element, timestamps)} for item in value.array_value.element]
    if value.WhichOneof("value") is None:
        return None
    if field["type"] == "RECORD":
        pairs = zip(value.struct_value.field, field["fields"], strict=True)
        return {"f": [{"v": to_json(item, inner, timestamps)} for item, inner in pairs]}
    return _text(value, field, timestamps)


def row_to_json(row: Any, fields: Sequence[Field], timestamps: str = "FLOAT64") -> dict[str, Any]:
    """A row as the REST API gives it: ``{"f": [{"v": ...}, ...]}``."""
    return {"f": [{"v": to_json(cell, field, timestamps)} for cell, field in zip(row.cell, fields, strict=True)]}


def to_plain(value: Any, field: Field) -> Any:
    """The value as newline-delimited JSON of an export has it: objects by name, lists, INTEGER as text, FLOAT and
    BOOLEAN bare.
    """
    if is_repeated(field):
        element = {**field, "mode": "NULLABLE"}
        return [to_plain(item, element) for item in value.array_value.element]
    if value.WhichOneof("value") is None:
        return None
    if field["type"] == "RECORD":
        pairs = zip(value.struct_value.field, field["fields"], strict=True)
        return {inner["name"]: to_plain(item, inner) for item, inner in pairs}
    if field["type"] == "BOOLEAN":
        return value.bool_value
    if field["type"] == "FLOAT" and math.isfinite(value.double_value):
        return value.double_value
    if field["type"] == "JSON":
        return json.loads(value.json_value)
    if field["type"] == "TIMESTAMP":
        return _timestamp_text(value).replace("T", " ").replace("Z", " UTC")
    return _text(value, field, "ISO8601_STRING")


def micros(value: Any) -> int:
    """Microseconds since 1970 of a TIMESTAMP value."""
    return int(value.timestamp_value.seconds * 1_000_000 + value.timestamp_value.nanos // 1000)


def date_of(value: Any) -> dt.date:
    """The date of a DATE value."""
    return dt.date.fromordinal(_EPOCH.toordinal() + value.date_value)


def datetime_of(value: Any) -> dt.datetime:
    """The (naive) moment of a DATETIME value."""
    bits = value.datetime_value.bit_field_datetime_seconds
    nanos = value.datetime_value.nanos
    return dt.datetime(
        bits >> 26, bits >> 22 & 15, bits >> 17 & 31, bits >> 12 & 31, bits >> 6 & 63, bits & 63, nanos // 1000
    )


def timestamp_of(value: Any) -> dt.datetime:
    """The moment, in UTC, of a TIMESTAMP value."""
    return _EPOCH + dt.timedelta(microseconds=micros(value))


def _timestamp_text(value: Any) -> str:
    return _fraction(timestamp_of(value).replace(tzinfo=None)) + "Z"


def _fraction(moment: dt.datetime | dt.time) -> str:
    return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds")


def _decimal(value: Any) -> Decimal:
    """The exact number of a NUMERIC or BIGNUMERIC value."""
    kind = value.WhichOneof("value")
    scale = _NUMERIC_SCALE if kind == "numeric_value" else _BIGNUMERIC_SCALE
    with localcontext() as context:
        context.prec = 100
        return Decimal(int.from_bytes(getattr(value, kind), "little", signed=True)).scaleb(-scale)


def _decimal_text(value: Any) -> str:
    text = f"{_decimal(value):f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def _float_text(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return repr(number)


def _interval_text(value: Any) -> str:
    data = value.interval_value
    micros_total = int.from_bytes(data[:8], "little", signed=True)
    days = int.from_bytes(data[8:12], "little", signed=True)
    packed = int.from_bytes(data[12:16], "little")
    months = (packed & 0x7FFF_FFFF) >> 13  # the lowest 13 bits: nanoseconds, which BigQuery has not
    if packed >> 31:
        months = -months
    sign, total = ("-" if micros_total < 0 else ""), abs(micros_total)
    seconds, fraction = divmod(total, 1_000_000)
    clock = f"{sign}{seconds // 3600}:{seconds // 60 % 60}:{seconds % 60}"
    if fraction:
        clock += f".{fraction:06d}".rstrip("0")
    return f"{'-' if months < 0 else ''}{abs(months) // 12}-{abs(months) % 12} {days} {clock}"


def _text(value: Any, field: Field, timestamps: str) -> str:
    type_name = field["type"]
    if type_name == "TIMESTAMP":
        if timestamps == "ISO8601_STRING":
            return _timestamp_text(value)
        if timestamps == "INT64":
            return str(micros(value))
        return f"{Decimal(micros(value)).scaleb(-6):f}"
    if type_name == "RANGE":
        element = {"name": "", "type": field["rangeElementType"]["type"]}
        bounds = (value.range_value.start, value.range_value.end)
        texts = ["UNBOUNDED" if b.WhichOneof("value") is None else _text(b, element, timestamps) for b in bounds]
        return f"[{texts[0]}, {texts[1]})"
    return _WRITERS[type_name](value)


_WRITERS: dict[str, Callable[[Any], str]] = {
    "STRING": lambda v: v.string_value,
    "BYTES": lambda v: base64.b64encode(v.bytes_value).decode(),
    "INTEGER": lambda v: str(v.int64_value),
    "FLOAT": lambda v: _float_text(v.double_value),
    "BOOLEAN": lambda v: "true" if v.bool_value else "false",
    "NUMERIC": _decimal_text,
    "BIGNUMERIC": _decimal_text,
    "DATE": lambda v: date_of(v).isoformat(),
    "DATETIME": lambda v: _fraction(datetime_of(v)),
    "TIME": lambda v: _fraction(_time_of(v)),
    "JSON": lambda v: v.json_value,
    "INTERVAL": _interval_text,
}


def _time_of(value: Any) -> dt.time:
    bits, nanos = value.time_value >> 30, value.time_value & ((1 << 30) - 1)
    return dt.time(bits >> 12 & 31, bits >> 6 & 63, bits & 63, nanos // 1000)


# ------------------------------------------------------------------------------------------------------ rows of a table


def conform(cells: Sequence[Any], source: Sequence[Field], target: Sequence[Field]) -> list[Any]:
    """Cells in the order of ``source``, put in the order of ``target``; a field that ``source`` lacks becomes NULL
    (or ``[]``).
    """
    position = {field["name"].lower(): index for index, field in enumerate(source)}
    result = []
    for field in target:
        index = position.get(field["name"].lower())
        if index is None:
            empty = protos.ValueProto()
            if is_repeated(field):
                empty.array_value.SetInParent()
            result.append(empty)
        elif field["type"] == "RECORD":
            result.append(_conform_record(cells[index], source[index], field))
        else:
            result.append(cells[index])
    return result


def _conform_record(value: Any, source: Field, target: Field) -> Any:
    proto = protos.ValueProto()
    if is_repeated(source):
        proto.array_value.SetInParent()
        inner_source, inner_target = {**source, "mode": "NULLABLE"}, {**target, "mode": "NULLABLE"}
        proto.array_value.element.extend(
            _conform_record(v, inner_source, inner_target) for v in value.array_value.element
        )
    elif value.WhichOneof("value") is not None:
        proto.struct_value.SetInParent()
        proto.struct_value.field.extend(conform(value.struct_value.field, source["fields"], target["fields"]))
    return proto


def check_stored(cells: Iterable[Any], fields: Sequence[Field], where: str = "") -> None:
    """Make computed cells what a table can hold: a NULL array becomes empty.

    :raises BigQueryError: an array with a NULL in it, NULL in a REQUIRED field, or a value too long for its field.
    """
    for cell, field in zip(cells, fields, strict=True):
        missing = cell.WhichOneof("value") is None
        if is_repeated(field):
            if missing:
                cell.array_value.SetInParent()
            element = {**field, "mode": "NULLABLE"}
            for item in cell.array_value.element:
                if item.WhichOneof("value") is None:
                    raise invalid(f"Array cannot have a null element; error in writing field {where}{field['name']}")
                check_stored([item], [element], where)
        elif missing:
            if field.get("mode") == "REQUIRED":
                raise invalid(f"Required field {where}{field['name']} cannot be null")
        elif field["type"] == "RECORD":
            check_stored(cell.struct_value.field, field["fields"], f"{where}{field['name']}.")
        elif field.get("maxLength") or field.get("precision"):
            _check_parameters(cell, field, field["type"])
