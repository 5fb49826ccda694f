"""BigQuery jobs as the command lines ask for them, and what is read from a job that ended.

google-cloud-bigquery takes a second to import, so it is imported by the functions that need it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from utils.errors import WtmoError
from utils.labels import label_value

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from google.api_core.retry import Retry
    from google.cloud import bigquery

    from utils.bqetl.checkout import TableFolder

AIRFLOW_LABELS = {
    "airflow-dag": "AIRFLOW_CTX_DAG_ID",
    "airflow-task": "AIRFLOW_CTX_TASK_ID",
    "airflow-run": "AIRFLOW_CTX_DAG_RUN_ID",
    "airflow-try": "AIRFLOW_CTX_TRY_NUMBER",
    "airflow-owner": "AIRFLOW_CTX_DAG_OWNER",
    "airflow-tier": "AIRFLOW_CTX_DAG_TIER",
}
# On a job whose table is an intermediate result: its rows are not rows that the task wrote.
TEMPORARY = {"wtmo-temporary": "true"}
CHECK_FAILED = "ETL Data Check Failed: "

_ARRAY = re.compile(r"ARRAY<(\w+)>", re.IGNORECASE)
_TABLE = re.compile(r"(?:(?:(?P<project>[\w-]+)[:.])?(?P<dataset>\w+)\.)?(?P<table>[\w$-]+)")
_DATASET = re.compile(r"(?:(?P<project>[\w-]+)[:.])?(?P<dataset>\w+)")
_POSITION = re.compile(r"at \[(\d+):(\d+)\]")


def airflow_labels(environment: Mapping[str, str]) -> dict[str, str]:
    """Labels that lead from a job to its task instance, owner and impact tier, for costs; one whose variable is missing is left out."""
    return {label: label_value(environment[name]) for label, name in AIRFLOW_LABELS.items() if environment.get(name)}


# What a command asks for


def job_config(
    options: argparse.Namespace,
    *,
    project: str,
    default_dataset: str | None,
    destination: str | None,
    default_project: str | None = None,
) -> bigquery.QueryJobConfig:
    """The job that the options ask for.

    :param project: the project that the job runs in and bills.
    :param default_dataset: ``project.dataset`` of names without one. It says nothing of names with a dataset alone.
    :param destination: ``project.dataset.table[$partition]``.
    :param default_project: the project of names with a dataset alone. Default: ``project``. The query runner has a
        session for it, a connection property does the same
        (https://cloud.google.com/bigquery/docs/reference/rest/v2/ConnectionProperty).
    :raises WtmoError: a value does not parse.
    """
    from google.cloud import bigquery

    config = bigquery.QueryJobConfig(
        dry_run=options.dry_run,
        priority="BATCH" if options.batch else "INTERACTIVE",
        query_parameters=[parse_parameter(text) for text in options.parameter],
        labels=dict(_label(text) for text in options.label),
        use_legacy_sql=options.use_legacy_sql,
    )
    if default_dataset:
        config.default_dataset = bigquery.DatasetReference.from_string(default_dataset)
    if default_project and default_project != project and not options.use_legacy_sql:
        config.connection_properties = [bigquery.ConnectionProperty("dataset_project_id", default_project)]
    if options.maximum_bytes_billed:
        config.maximum_bytes_billed = options.maximum_bytes_billed
    if not destination:
        return config
    config.destination = bigquery.TableReference.from_string(destination)
    config.create_disposition = "CREATE_IF_NEEDED"
    config.write_disposition = write_disposition(options)
    config.schema_update_options = [option for option in options.schema_update_option if option] or None
    kind, field, expiration = (
        getattr(options, f"time_partitioning_{name}") for name in ("type", "field", "expiration")
    )
    if kind or field or expiration:
        config.time_partitioning = bigquery.TimePartitioning(
            type_=(kind or "DAY").upper(), field=field, expiration_ms=expiration * 1000 if expiration else None
        )
    if options.clustering_fields:
        config.clustering_fields = options.clustering_fields.split(",")
    return config


def write_disposition(options: argparse.Namespace) -> str:
    """Truncate, unless ``--append_table`` or ``--noreplace``: the latter alone refuses a table that has rows."""
    if options.append_table:
        return "WRITE_APPEND"
    return "WRITE_EMPTY" if options.replace is False else "WRITE_TRUNCATE"


def overwrites_table(destination: str, options: argparse.Namespace) -> bool:
    """Whether the run replaces the whole table, and so loses its field descriptions."""
    return "$" not in destination and not options.dry_run and write_disposition(options) == "WRITE_TRUNCATE"


def parse_parameter(text: str) -> bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter:
    """A query parameter in bq's form ``[name]:[type]:value``: no name is positional, no type is STRING, NULL is null.

    ``name:ARRAY<type>:[json]`` is an array. Structs are refused.
    """
    from google.cloud import bigquery

    parts = text.split(":", 2)
    if len(parts) != 3:
        raise WtmoError(f"--parameter={text}: not NAME:TYPE:VALUE", fix="For example submission_date:DATE:2026-06-01.")
    name, kind, value = parts[0] or None, parts[1].upper() or "STRING", parts[2]
    if kind.startswith("STRUCT"):
        raise WtmoError(f"--parameter={text}: STRUCT parameters are not supported here")
    if not kind.startswith("ARRAY"):
        return bigquery.ScalarQueryParameter(name, kind, None if value == "NULL" else _scalar(text, kind, value))
    element = _ARRAY.fullmatch(kind)
    try:
        values = json.loads(value)
    except ValueError:
        values = None
    if not element or not isinstance(values, list):
        raise WtmoError(
            f"--parameter={text}: not an array parameter", fix='For example channels:ARRAY<STRING>:["beta", "release"].'
        )
    return bigquery.ArrayQueryParameter(name, element[1], values)


def _scalar(text: str, kind: str, value: str) -> Any:
    if kind != "JSON":
        return value
    try:
        return json.loads(value)  # the client library writes it as JSON again
    except ValueError as error:
        raise WtmoError(f"--parameter={text}: no JSON, {error}", fix='For example options:JSON:{"a": 1}.') from error


def split_dataset(text: str | None, project: str, dataset: str) -> tuple[str, str]:
    """Project and dataset of ``[project:]dataset``, with the given ones where the text names none."""
    if not text:
        return project, dataset
    match = _DATASET.fullmatch(text)
    if not match:
        raise WtmoError(f"--dataset_id={text}: not [project:]dataset")
    return match["project"] or project, match["dataset"]


def qualified(table: str, project: str, dataset: str) -> str:
    """``project.dataset.table`` of ``[[project(: or .)]dataset.]table``, a ``$partition`` kept."""
    match = _TABLE.fullmatch(table)
    if not match or not (match["dataset"] or dataset):
        raise WtmoError(
            f"--destination_table={table}: not [[project:]dataset.]table[$partition]",
            fix="Name its dataset there or with --dataset_id.",
        )
    return f"{match['project'] or project}.{match['dataset'] or dataset}.{match['table']}"


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition(":")
    return key, value


# Tables


def schema_fields(fields: Sequence[Mapping[str, Any]]) -> list[bigquery.SchemaField]:
    """Fields of a schema.yaml or schema.json as the client library's."""
    from google.cloud import bigquery

    return [bigquery.SchemaField.from_api_repr({"mode": "NULLABLE", **field}) for field in fields]


def put_descriptions_back(client: bigquery.Client, destination: str, folder: TableFolder, *, retry: Retry) -> str:
    """Give the table the schema of schema.yaml, whose field descriptions an overwrite lost; what was done, or why not.

    The rows are written by then. As for the query runner, descriptions that can't be put back are no failure.
    """
    from google.cloud import bigquery

    try:
        table = bigquery.Table(destination, schema=schema_fields(folder.schema))
        client.update_table(table, ["schema"], retry=retry)
    except Exception as error:  # of BigQuery, of the network or of a field that the client library does not take
        return f"WARNING: could not put the field descriptions of schema.yaml back on {destination}: {error}"
    return f"Put the field descriptions of schema.yaml back on {destination}"


# What became of a job


def describe(job: bigquery.QueryJob) -> str:
    """One line on a job: id, rows written, bytes processed, slot time."""
    processed = f"{job.total_bytes_processed or 0:,} bytes"
    if job.dry_run:
        return f"would process {processed} (dry run)"
    written = rows_written(job)
    rows = "" if written is None else f"{written:,} rows written, "
    slot_time = "" if job.slot_millis is None else f", {job.slot_millis / 1000:,.1f} slot seconds"
    return f"job {job_name(job)}, {rows}{processed} processed{slot_time}"


def job_name(job: bigquery.QueryJob) -> str:
    """``project:location.id``, as BigQuery's console writes it."""
    return f"{job.project}:{job.location}.{job.job_id}"


def rows_written(job: bigquery.QueryJob) -> int | None:
    """Rows that the job wrote, as BigQuery counts them: of a query with a destination, or of DML; None of others."""
    if job.num_dml_affected_rows is not None:
        return int(job.num_dml_affected_rows)
    plan = job.query_plan
    return int(plan[-1].records_written) if plan and plan[-1].records_written is not None else None


def point_at(sql: str, message: str) -> str:
    """The line of ``sql`` that BigQuery's ``at [line:column]`` means, with a mark below; empty without a position."""
    found = _POSITION.search(message)
    lines = sql.splitlines()
    if not found or not 0 < int(found[1]) <= len(lines):
        return ""
    line, column = int(found[1]), int(found[2])
    number = f"  {line} | "
    return f"\n{number}{lines[line - 1]}\n{' ' * (len(number) + column - 1)}^"


def check_message(error: str) -> str:
    """What a failed check says: the text given to ERROR(), or all of BigQuery's message when the SQL itself is wrong."""
    found = re.search(rf"{re.escape(CHECK_FAILED)}.*?(?=; error in |\n|$)", error)
    return found[0].removeprefix(CHECK_FAILED) if found else error
