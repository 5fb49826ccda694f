"""``script/bqetl query run``, ``script/bqetl query run-multipart`` and ``bq query``.

The runner of bigquery-etl renders the file, works out project, dataset and destination and calls ``bq query``. Here the
same options become one query job. Where a billing project is given, the job runs there with the file's own project
and dataset as default dataset, which is what the runner's session is for.
"""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from utils.bqetl.jobs import (
    describe,
    job_config,
    put_descriptions_back,
    qualified,
    split_dataset,
)
from utils.bqetl.plans import Query, plan_multipart, plan_query
from wtmo.local.bqetl.warehouse import refuse_legacy_sql, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from google.cloud import bigquery

    from utils.bqetl.checkout import Checkout
    from wtmo.local.bqetl.warehouse import Warehouse


def run(options: argparse.Namespace, checkout: Checkout, warehouse: Warehouse) -> int:
    """``query run NAME``: render the file, run it, write its destination.

    After a whole-table overwrite the field descriptions of schema.yaml are put back.
    """
    refuse_legacy_sql(options)
    plan = plan_query(options, checkout)
    ((query,),) = plan.stages
    _execute(query, options, warehouse)
    if plan.destination and plan.describes:
        client = warehouse.client(query.project)
        say(put_descriptions_back(client, plan.destination, plan.folder, retry=warehouse.retry))
    return 0


def bq(options: argparse.Namespace, warehouse: Warehouse, *, default_project: str, sql: str) -> int:
    """``bq query``: run a text of SQL.

    :param default_project: where the command line names none, as the image's .bigqueryrc says.
    """
    refuse_legacy_sql(options)
    project = options.project_id or default_project
    dataset_project, dataset = split_dataset(options.dataset_id, project, "")
    destination = None
    if options.destination_table:
        destination = qualified(options.destination_table, dataset_project, dataset)
    default_dataset = f"{dataset_project}.{dataset}" if dataset else None
    config = job_config(options, project=project, default_dataset=default_dataset, destination=destination)
    _execute(Query("query", "bq query", sql, project, config), options, warehouse)
    return 0


def run_multipart(options: argparse.Namespace, checkout: Checkout, warehouse: Warehouse) -> int:
    """``query run-multipart DIR``: run each ``part*.sql`` into a temporary table, write the join of all of them."""
    plan = plan_multipart(options, checkout, key=uuid.uuid4().hex)
    parts, *rest = plan.stages

    def run_part(part: Query) -> None:
        job = warehouse.run(part.sql, what=part.title, project=part.project, config=part.config)
        _tell(part, job, warehouse)

    project = parts[0].project
    try:
        with ThreadPoolExecutor(options.parallelism) as pool:
            list(pool.map(run_part, parts))
        for (join,) in rest:
            _execute(join, options, warehouse)
    finally:
        warehouse.delete_tables(plan.temporary, project=project)
    return 0


def _execute(query: Query, options: argparse.Namespace, warehouse: Warehouse) -> None:
    """Run one query and say what it did; without a destination, its rows."""
    config, what = query.config, query.title
    target = ""
    if destination := config.destination:
        target = f" into {destination.project}.{destination.dataset_id}.{destination.table_id}"
        target += f" ({config.write_disposition})"
    say(f"Running {what} in {query.project}{target}")
    for parameter in options.parameter:
        say(f"  --parameter={parameter}")
    job = warehouse.run(query.sql, what=what, project=query.project, config=config)
    _tell(query, job, warehouse)
    if not config.dry_run and not destination and job.statement_type in {"SELECT", None}:
        say(shown_rows(warehouse.rows(job, what=what, most=options.max_rows), options.format))


def _tell(query: Query, job: bigquery.QueryJob, warehouse: Warehouse) -> None:
    """Say what a job did, and which tables that it read nobody has made here."""
    say(f"{query.title}: {describe(job)}")
    if job.statement_type == "SCRIPT":  # what it read, it may have dropped
        return
    for table in job.referenced_tables:
        name = f"{table.project}.{table.dataset_id}.{table.table_id}"
        if warehouse.table(name, project=query.project) is None:
            say(f"{query.title}: {name} is not there; read without rows, with the columns of its schema.yaml")


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
