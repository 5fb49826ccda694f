"""Load a seeds folder into the live tables of the local BigQuery, and make their stable twins."""

from __future__ import annotations

import datetime as dt
import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.api_core.retry import Retry
    from google.cloud import bigquery

PARTITION_FIELD = "submission_timestamp"
KEY_FIELD = "document_id"
LABELS = {"type": "seeds"}
PATIENCE = 30.0  # seconds to go on asking a BigQuery that does not answer

_NAME = re.compile(r"(?P<dataset>\w+)_live\.(?P<table>\w+)")
_RETIRED = re.compile(r"(?P<dataset>\w+)_stable\.(?P<table>\w+)\.schema\.json")
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|nan", re.IGNORECASE)
_INTEGERS = {"INTEGER", "INT64"}
_NUMBERS = {"FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC"}
_BOOLEANS = {"BOOLEAN", "BOOL"}
_RECORDS = {"RECORD", "STRUCT"}
_TEXTS = {"STRING", "BYTES", "DATE", "DATETIME", "TIME", "TIMESTAMP", "GEOGRAPHY", "INTERVAL"}
_TYPES = _INTEGERS | _NUMBERS | _BOOLEANS | _RECORDS | _TEXTS | {"JSON"}


@dataclass
class Seed:
    """One table of a seeds folder, read and found sound.

    :param days: rows of each day of arrival, and the file that holds them.
    :param sent: False for pings that nobody sends any more: only the stable table is made.
    """

    dataset: str
    table: str
    schema: list[dict[str, Any]]
    days: dict[dt.date, tuple[Path, int]] = field(default_factory=dict)
    sent: bool = True

    @property
    def live(self) -> str:
        """``dataset.table`` of the live table."""
        return f"{self.dataset}_live.{self.table}"

    @property
    def stable(self) -> str:
        """``dataset.table`` of the stable table."""
        return f"{self.dataset}_stable.{self.table}"

    @property
    def rows(self) -> int:
        """Rows of all days."""
        return sum(count for _, count in self.days.values())


def load_seeds(client: bigquery.Client, folder: Path, project: str = "moz-fx-data-shared-prod") -> dict[str, int]:
    """Bring every file of a seeds folder into its live table.

    All files are read and checked first: when one is wrong, nothing is loaded. Then datasets and tables that are missing
    are made, the stable twins too, partitioned by day on ``submission_timestamp``; and of each live table exactly the
    partitions of the days that the file has rows of are replaced, so loading a folder again changes nothing.

    Tables that lack fields of the seeds get them, as ingestion's tables do; any other difference is refused.

    :param folder: holds ``<dataset>_live.<table>.ndjson`` and ``<dataset>_live.<table>.schema.json``. A
        ``<dataset>_stable.<table>.schema.json`` alone makes a stable table without rows.
    :returns: rows by live table, ``dataset.table``.
    :raises WtmoError: naming file and line of what is wrong, or what BigQuery refused.
    """
    from google.api_core.exceptions import GoogleAPIError

    with tempfile.TemporaryDirectory(prefix="wtmo-seeds-") as split:
        seeds = read_seeds(folder, Path(split))
        try:
            for seed in seeds:
                _make_tables(client, seed, project)
            jobs = [
                (_start_load(client, seed, file, f"{project}.{seed.live}${day:%Y%m%d}"), rows)
                for seed in seeds
                for day, (file, rows) in sorted(seed.days.items())
            ]
            for job, rows in jobs:
                job.result(retry=_retry())
                if job.output_rows != rows:
                    raise WtmoError(f"{job.destination}: {job.output_rows} rows were loaded of {rows}")
        except (GoogleAPIError, OSError) as error:
            raise WtmoError(f"Could not load {folder} into {project}: {error}") from error
    return {seed.live: seed.rows for seed in seeds if seed.sent}


def read_seeds(folder: Path, split: Path) -> list[Seed]:
    """Check every file of the folder, and write the rows of each day to a file of their own below ``split``.

    :raises WtmoError: naming file and line.
    """
    if not folder.is_dir():
        raise WtmoError(
            f"There is no seeds folder {folder}", fix="Make one: python -m wtmo.local.pings generate FOLDER."
        )
    files = sorted(folder.glob("*.ndjson"))
    if not files:
        raise WtmoError(f"{folder} holds no seeds", fix="Seeds are files <dataset>_live.<table>.ndjson.")
    retired = [
        Seed(match["dataset"], match["table"], _read_schema(file), sent=False)
        for file in sorted(folder.glob("*_stable.*.schema.json"))
        if (match := _RETIRED.fullmatch(file.name))
    ]
    return [*(_read_seed(file, split) for file in files), *retired]


def _read_seed(file: Path, split: Path) -> Seed:
    match = _NAME.fullmatch(file.stem)
    if not match:
        raise WtmoError(f"{file}: not the name of a seed", fix="Name it <dataset>_live.<table>.ndjson.")
    seed = Seed(match["dataset"], match["table"], _read_schema(file.with_suffix(".schema.json")))
    parts: dict[dt.date, int] = {}
    for number, row in _rows(file):
        try:
            check_row(row, seed.schema)
            day = arrival_day(row)
        except ValueError as error:
            raise WtmoError(f"{file}:{number}: {error}") from None
        # Opened anew for each row: a file may hold more days than a process may open files.
        with (split / f"{file.stem}.{day}.ndjson").open("a") as part:
            part.write(json.dumps(row) + "\n")
        parts[day] = parts.get(day, 0) + 1
    seed.days = {day: (split / f"{file.stem}.{day}.ndjson", count) for day, count in parts.items()}
    return seed


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of an NDJSON file with their line numbers, from 1; blank lines are skipped."""
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise WtmoError(f"{file}:{number}: not JSON: {error}") from None
                if not isinstance(row, dict):
                    raise WtmoError(f"{file}:{number}: not a JSON object")
                yield number, row
    except OSError as error:
        raise WtmoError(f"Can't read {file}: {error.strerror}") from error


def _read_schema(file: Path) -> list[dict[str, Any]]:
    try:
        schema = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise WtmoError(
            f"{file} is missing", fix="Each seed needs its schema: a JSON list of BigQuery fields."
        ) from None
    except OSError as error:
        raise WtmoError(f"Can't read {file}: {error.strerror}") from error
    except ValueError as error:
        raise WtmoError(f"{file}: not JSON: {error}") from None
    _check_schema(schema, str(file))
    types = {column["name"]: column["type"].upper() for column in schema}
    for name, kind in ((PARTITION_FIELD, "TIMESTAMP"), (KEY_FIELD, "STRING")):
        if types.get(name) != kind:
            raise WtmoError(f"{file}: a ping table needs the field {name}, a {kind}")
    columns: list[dict[str, Any]] = schema
    return columns


def _check_schema(fields: object, place: str) -> None:
    if not isinstance(fields, list) or not fields:
        raise WtmoError(f"{place}: not a list of BigQuery fields")
    for column in fields:
        if not isinstance(column, dict) or not {"name", "type"} <= column.keys():
            raise WtmoError(f"{place}: {json.dumps(column)[:80]} is no field: it needs name and type")
        kind = str(column["type"]).upper()
        if kind not in _TYPES:
            raise WtmoError(f"{place}: field {column['name']} has the unknown type {column['type']}")
        if kind in _RECORDS:
            _check_schema(column.get("fields"), f"{place}: fields of {column['name']}")


def arrival_day(row: dict[str, Any]) -> dt.date:
    """The UTC day of a row's ``submission_timestamp``; ValueError when it has none or no ``document_id``."""
    if not row.get(KEY_FIELD):
        raise ValueError(f"no {KEY_FIELD}")
    value = row.get(PARTITION_FIELD)
    if not value:
        raise ValueError(f"no {PARTITION_FIELD}")
    try:
        moment = dt.datetime.fromisoformat(str(value).replace(" UTC", "Z"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC).date()
    except (ValueError, OverflowError):
        raise ValueError(f"{PARTITION_FIELD} {value!r} is no timestamp such as 2026-06-01T12:30:00Z") from None


def check_row(row: dict[str, Any], schema: list[dict[str, Any]], place: str = "") -> None:
    """ValueError when the row has a field that the schema lacks, lacks a required one, or has a value of another type."""
    columns = {column["name"]: column for column in schema}
    for name, value in row.items():
        if name not in columns:
            raise ValueError(f"the schema has no field {place}{name}")
        _check_value(value, columns[name], f"{place}{name}")
    for name, column in columns.items():
        if column.get("mode", "").upper() == "REQUIRED" and row.get(name) is None:
            raise ValueError(f"no {place}{name}, which is required")


def _check_value(value: object, column: dict[str, Any], place: str) -> None:
    repeated = column.get("mode", "").upper() == "REPEATED"
    if value is None:
        return
    if repeated and not isinstance(value, list):
        raise ValueError(f"{place} is repeated, but the value is no array")
    kind = column["type"].upper()
    for element in value if repeated and isinstance(value, list) else [value]:
        if kind in _RECORDS and isinstance(element, dict):
            check_row(element, column["fields"], f"{place}.")
        elif not _fits(element, kind):
            raise ValueError(f"{place} is a {column['type']}, but the value is {json.dumps(element)[:60]}")


def _fits(value: object, kind: str) -> bool:
    """Whether BigQuery's JSON load takes the value as that type, as far as the JSON type tells."""
    if kind in _RECORDS or value is None:
        return False  # an object was checked field by field; an array has no null elements
    if kind in _BOOLEANS:
        return isinstance(value, bool) or str(value).lower() in {"true", "false"}
    if kind in _INTEGERS:
        return not isinstance(value, bool) and bool(_INTEGER.fullmatch(str(value)))
    if kind in _NUMBERS:
        return not isinstance(value, bool) and bool(_NUMBER.fullmatch(str(value)))
    return kind == "JSON" or isinstance(value, str | int | float | bool)


def _make_tables(client: bigquery.Client, seed: Seed, project: str) -> None:
    from google.api_core.exceptions import NotFound
    from google.cloud import bigquery

    schema = _schema_fields(seed.schema)
    for name in [f"{project}.{table}" for table in ([seed.live, seed.stable] if seed.sent else [seed.stable])]:
        try:
            found = client.get_table(name, retry=_retry())
        except NotFound:
            client.create_dataset(name.rpartition(".")[0], exists_ok=True, retry=_retry())
            table = bigquery.Table(name, schema=schema)
            table.time_partitioning = bigquery.TimePartitioning(type_="DAY", field=PARTITION_FIELD)
            client.create_table(table, exists_ok=True, retry=_retry())
            continue
        there, wanted = _shape(found.schema), _shape(schema)
        if there.items() <= wanted.items():
            if there != wanted:
                found.schema = schema
                client.update_table(found, ["schema"], retry=_retry())
            continue
        raise WtmoError(
            f"{name} exists with other fields than {seed.live if seed.sent else seed.stable}.schema.json: "
            f"{_difference(found.schema, schema)}",
            fix=f"Drop it, or give the seed its schema: wtmo bq 'DROP TABLE `{name}`'.",
        )


def _shape(fields: list[bigquery.SchemaField] | tuple[bigquery.SchemaField, ...], place: str = "") -> dict[str, str]:
    """Type and mode of each field by its dotted path; descriptions do not count."""
    same = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
    shape = {}
    for column in fields:
        kind = column.field_type.upper()
        shape[f"{place}{column.name}"] = f"{same.get(kind, kind)} {column.mode}"
        shape |= _shape(column.fields, f"{place}{column.name}.")
    return shape


def _difference(found: list[bigquery.SchemaField], wanted: list[bigquery.SchemaField]) -> str:
    there, here = _shape(found), _shape(wanted)
    names = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    return ", ".join(f"{name} ({there.get(name, 'absent')}, seed: {here.get(name, 'absent')})" for name in names[:3])


def _start_load(client: bigquery.Client, seed: Seed, file: Path, partition: str) -> bigquery.LoadJob:
    """Start the job that replaces one partition by the rows of a file."""
    from google.cloud import bigquery

    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
        write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        labels=LABELS,
        schema=_schema_fields(seed.schema),
    )
    with file.open("rb") as rows:
        return client.load_table_from_file(rows, partition, job_config=config)


def _retry() -> Retry:
    from google.cloud import bigquery

    return bigquery.DEFAULT_RETRY.with_timeout(PATIENCE)


def _schema_fields(schema: list[dict[str, Any]]) -> list[bigquery.SchemaField]:
    from google.cloud import bigquery

    return [bigquery.SchemaField.from_api_repr({"mode": "NULLABLE", **column}) for column in schema]
