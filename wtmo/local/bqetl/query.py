"""``script/bqetl query run``, ``script/bqetl query run-multipart`` and ``bq query``.

The runner of bigquery-etl renders the file, works out project, dataset and destination and calls ``bq query``. Here the
same options become one query job. Where a billing project is given, the job runs there with the file's own project
and dataset as default dataset, which is what the runner's session is for.
"""

from __future__ import annotations

import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from wtmo.errors import WtmoError
from wtmo.local.bqetl.checkout import QUERY_FILES
from wtmo.local.bqetl.warehouse import TEMPORARY, job_name, rows_written, say, schema_fields, storage_layout

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from google.cloud import bigquery

    from wtmo.local.bqetl.checkout import Checkout, TableFolder
    from wtmo.local.bqetl.warehouse import Warehouse

_ARRAY = re.compile(r"ARRAY<(\w+)>", re.IGNORECASE)
_TABLE = re.compile(r"(?:(?:(?P<project>[\w-]+)[:.])?(?P<dataset>\w+)\.)?(?P<table>[\w$-]+)")
_DATASET = re.compile(r"(?:(?P<project>[\w-]+)[:.])?(?P<dataset>\w+)")


def run(options: argparse.Namespace, checkout: Checkout, warehouse: Warehouse) -> int:
    """``query run NAME``: render the file, run it, write its destination.

    After a whole-table overwrite the field descriptions of schema.yaml are put back.
    """
    path = checkout.find(options.name, QUERY_FILES, project=options.project_id)
    if path.suffix != ".sql":
        raise WtmoError(
            f"{checkout.shown(path)} is no .sql file", fix="Python queries don't run on the local platform."
        )
    folder = checkout.folder(path)
    sql = checkout.render(path)
    dataset_project, dataset = split_dataset(options.dataset_id, options.project_id or folder.project, folder.dataset)
    project = options.billing_project or options.project_id or folder.project
    destination = None
    if options.destination_table and path.name != "script.sql":
        destination = qualified(options.destination_table, dataset_project, dataset)
    config = job_config(options, default_dataset=f"{dataset_project}.{dataset}", destination=destination)
    what = checkout.shown(path)

    if destination and not options.dry_run:
        _prepare(destination, folder, config, warehouse, project=project)
    _execute(sql, what, options, config, warehouse, project=project)
    if destination and overwrites_table(destination, options) and folder.has_descriptions:
        _put_descriptions_back(destination, folder, warehouse, project=project)
    return 0


def bq(options: argparse.Namespace, warehouse: Warehouse, *, default_project: str, sql: str) -> int:
    """``bq query``: run a text of SQL.

    :param default_project: where the command line names none, as the image's .bigqueryrc says.
    """
    project = options.project_id or default_project
    dataset_project, dataset = split_dataset(options.dataset_id, project, "")
    destination = None
    if options.destination_table:
        destination = qualified(options.destination_table, dataset_project, dataset)
    default_dataset = f"{dataset_project}.{dataset}" if dataset else None
    config = job_config(options, default_dataset=default_dataset, destination=destination)
    _execute(sql, "bq query", options, config, warehouse, project=project)
    return 0


def run_multipart(options: argparse.Namespace, checkout: Checkout, warehouse: Warehouse) -> int:
    """``query run-multipart DIR``: run each ``part*.sql`` into a temporary table, write the join of all of them.

    Parts are not rendered. They are joined as ``FULL JOIN ... USING (<--using>)``.
    """
    from google.cloud import bigquery

    folder = checkout.folder(checkout.find(options.query_dir, ("part1.sql",)))
    parts = sorted(folder.path.glob("part*.sql"))
    dataset_project, dataset = split_dataset(options.dataset_id, options.project_id or folder.project, folder.dataset)
    project = options.project_id or folder.project
    destination = qualified(options.destination_table, dataset_project, dataset)
    parameters = [parse_parameter(text) for text in options.parameter]
    temporary = [f"{options.temp_dataset}.bqetl_{uuid.uuid4().hex}" for _ in parts]

    def run_part(part: Path, table: str) -> bigquery.QueryJob:
        config = bigquery.QueryJobConfig(
            destination=table,
            default_dataset=f"{dataset_project}.{dataset}",
            dry_run=options.dry_run,
            priority=options.priority,
            query_parameters=parameters,
            labels=TEMPORARY,
        )
        what = checkout.shown(part)
        job = warehouse.run(part.read_text(), what=what, project=project, config=config)
        say(f"{what}: {describe(job)}")
        return job

    if not options.dry_run:
        warehouse.create_dataset(options.temp_dataset, project=project, temporary=True)
    try:
        with ThreadPoolExecutor(options.parallelism) as pool:
            list(pool.map(run_part, parts, temporary))
        if options.dry_run:
            return 0
        joined = "".join(f"\nFULL JOIN\n  `{table}`\n  USING ({options.using})" for table in temporary[1:])
        config = job_config(options, default_dataset=None, destination=destination)
        config.query_parameters = []
        config.priority = options.priority
        _prepare(destination, folder, config, warehouse, project=project)
        sql = f"SELECT\n  *\nFROM\n  `{temporary[0]}`{joined}"
        _execute(sql, f"join of the {len(parts)} parts", options, config, warehouse, project=project)
    finally:
        if not options.dry_run:
            warehouse.delete_tables(temporary, project=project)
    return 0


def _execute(
    sql: str,
    what: str,
    options: argparse.Namespace,
    config: bigquery.QueryJobConfig,
    warehouse: Warehouse,
    *,
    project: str,
) -> None:
    """Run one query and say what it did; without a destination, its rows."""
    destination = config.destination
    target = ""
    if destination:
        target = f" into {destination.project}.{destination.dataset_id}.{destination.table_id}"
        target += f" ({config.write_disposition})"
    say(f"Running {what} in {project}{target}")
    for parameter in options.parameter:
        say(f"  --parameter={parameter}")
    job = warehouse.run(sql, what=what, project=project, config=config)
    say(f"{what}: {describe(job)}")
    if not config.dry_run and not destination and job.statement_type in {"SELECT", None}:
        say(shown_rows(warehouse.rows(job, what=what, most=options.max_rows), options.format))


def _prepare(
    destination: str, folder: TableFolder, config: bigquery.QueryJobConfig, warehouse: Warehouse, *, project: str
) -> None:
    """Create the destination as its folder declares it, if it does not exist; without schema.yaml the job creates it."""
    table = destination.partition("$")[0]
    if warehouse.table(table, project=project):
        return
    warehouse.create_dataset(table.rpartition(".")[0], project=project)
    if folder.schema:
        warehouse.create_table(table, folder, project=project)
        return
    partitioning, clustering = storage_layout(folder.metadata)
    config.time_partitioning = config.time_partitioning or partitioning
    config.clustering_fields = config.clustering_fields or clustering or None


def _put_descriptions_back(destination: str, folder: TableFolder, warehouse: Warehouse, *, project: str) -> None:
    from google.api_core.exceptions import GoogleAPIError
    from google.cloud import bigquery

    table = bigquery.Table(destination, schema=schema_fields(folder.schema))
    try:
        warehouse.client(project).update_table(table, ["schema"], retry=warehouse.retry)
    except (GoogleAPIError, OSError) as error:
        what = f"putting the descriptions of {folder.dataset}/{folder.table}/schema.yaml back on {destination}"
        raise warehouse.explain(error, what=what) from error
    say(f"Put the field descriptions of schema.yaml back on {destination}")


def overwrites_table(destination: str, options: argparse.Namespace) -> bool:
    """Whether the run replaces the whole table, and so loses its field descriptions."""
    return "$" not in destination and not (options.dry_run or options.append_table or options.replace is False)


def job_config(
    options: argparse.Namespace, *, default_dataset: str | None, destination: str | None
) -> bigquery.QueryJobConfig:
    """The job that the options ask for.

    :raises WtmoError: legacy SQL is asked for, or a value does not parse.
    """
    from google.cloud import bigquery

    if getattr(options, "use_legacy_sql", False):
        raise WtmoError("--use_legacy_sql=true: legacy SQL does not run here", fix="Write GoogleSQL.")
    config = bigquery.QueryJobConfig(
        dry_run=options.dry_run,
        priority="BATCH" if options.batch else "INTERACTIVE",
        query_parameters=[parse_parameter(text) for text in options.parameter],
        labels=dict(_label(text) for text in options.label),
    )
    if default_dataset:
        config.default_dataset = bigquery.DatasetReference.from_string(default_dataset)
    if options.maximum_bytes_billed:
        config.maximum_bytes_billed = options.maximum_bytes_billed
    if not destination:
        return config
    config.destination = bigquery.TableReference.from_string(destination)
    config.create_disposition = "CREATE_IF_NEEDED"
    config.write_disposition = write_disposition(options)
    # Airflow passes an empty update option on days on which the schema does not change.
    config.schema_update_options = [option for option in options.schema_update_option if option] or None
    if options.time_partitioning_field or options.time_partitioning_type:
        config.time_partitioning = bigquery.TimePartitioning(
            type_=(options.time_partitioning_type or "DAY").upper(), field=options.time_partitioning_field
        )
    if options.clustering_fields:
        config.clustering_fields = options.clustering_fields.split(",")
    return config


def write_disposition(options: argparse.Namespace) -> str:
    """Truncate, unless ``--append_table`` or ``--noreplace``: the latter alone refuses a table that has rows."""
    if options.append_table:
        return "WRITE_APPEND"
    return "WRITE_EMPTY" if options.replace is False else "WRITE_TRUNCATE"


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
        return bigquery.ScalarQueryParameter(name, kind, None if value == "NULL" else value)
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


def describe(job: bigquery.QueryJob) -> str:
    """One line on a job: id, rows written, bytes."""
    processed = f"{job.total_bytes_processed or 0:,} bytes"
    if job.dry_run:
        return f"would process {processed} (dry run)"
    written = rows_written(job)
    rows = "" if written is None else f"{written:,} rows written, "
    return f"job {job_name(job)}, {rows}{processed} processed"


def shown_rows(rows: Sequence[dict[str, Any]], style: str) -> str:
    """Rows as ``bq`` shows them: ``json``, ``prettyjson``, ``csv``, or a table."""
    if style in {"json", "prettyjson"}:
        return json.dumps(rows, default=str, indent=2 if style == "prettyjson" else None)
    columns = list(rows[0]) if rows else []
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    if style == "csv":
        import csv
        import io

        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *cells])
        return text.getvalue().rstrip("\n")
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    lines = ["|".join(["", *(f" {cell:<{w}} " for cell, w in zip(row, widths, strict=True)), ""]) for row in cells]
    head = "|".join(["", *(f" {name:<{w}} " for name, w in zip(columns, widths, strict=True)), ""])
    return "\n".join([rule, head, rule, *lines, rule]) if rows else "0 rows"


def _cell(value: object) -> str:
    if value is None:
        return "NULL"
    return json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)
