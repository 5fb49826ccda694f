"""``script/bqetl copy_deduplicate``: a day of each live table into its stable table, one row a ``document_id``.

Of the rows that share a ``document_id`` on a day the earliest by ``submission_timestamp`` is kept; equal ones are told
apart by their content, so a second run keeps the same row. With ``--slices`` each slice of the day keeps the documents
whose earliest row of the whole day lies in it, which makes the slices disjoint: together they are exactly the result
of one query. Left out of production's program: dropping the city of Glean pings (it asks a service of Mozilla's).
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from utils.bqetl.jobs import TEMPORARY, rows_written
from wtmo.errors import WtmoError
from wtmo.local.bqetl.warehouse import QueryError, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from google.cloud import bigquery

    from wtmo.local.bqetl.warehouse import Warehouse

LIVE, STABLE = "_live", "_stable"

DEDUPLICATE = """\
SELECT
  *
FROM
  `{live}` AS live
WHERE
  DATE(submission_timestamp) >= DATE_SUB(DATE(@start_time), INTERVAL @preceding_days DAY)
  AND submission_timestamp < @end_time{not_automation}
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY
      document_id
    ORDER BY
      submission_timestamp,
      TO_JSON_STRING(live)
  ) = 1
  AND submission_timestamp >= @start_time
"""
# Pings of test automation are dropped: https://bugzilla.mozilla.org/show_bug.cgi?id=1657360
NOT_AUTOMATION = """
  AND 'automation' NOT IN (
    SELECT TRIM(tag) FROM UNNEST(SPLIT(metadata.header.x_source_tags, ',')) AS tag
  )"""
COUNT = """\
SELECT
  COUNT(*) AS row_count
FROM
  `{table}`
WHERE
  DATE(submission_timestamp) = @day
"""
ROWS = COUNT.replace("COUNT(*) AS row_count", "*")
# BigQuery's reasons for a query that may well succeed the next time.
RETRIABLE = {"resourcesExceeded", "responseTooLarge"}


@dataclass
class Partition:
    """One day of one live table, and what was done for it.

    :param live: ``dataset.table``.
    :param stable: the stable twin that the query writes. Default: of the same name, in the ``_stable`` dataset.
    :param final: with ``--write-to-v2``, the v1 table that the partition is copied to afterwards.
    :param parts: one temporary table a slice; empty for a day in one piece.
    :param rows_out: rows of the stable partition.
    :param error: why it was not written.
    """

    live: str
    day: dt.date
    stable: str = ""
    final: str = ""
    sql: str = ""
    parts: list[str] = field(default_factory=list)
    rows_out: int = 0
    error: Exception | None = None

    def __post_init__(self) -> None:
        """Name the stable twin."""
        dataset, _, table = self.live.partition(".")
        self.stable = self.stable or f"{dataset.removesuffix(LIVE)}{STABLE}.{table}"

    def __str__(self) -> str:
        """Name the partition that is written."""
        return f"{self.stable}${self.day:%Y%m%d}"


def _noting_errors(step: Callable[..., None]) -> Callable[..., None]:
    """A step of one partition: skipped after an error of an earlier one, its own error is kept for the report."""

    @functools.wraps(step)
    def run(self: CopyDeduplicate, partition: Partition, *arguments: int) -> None:
        if partition.error:
            return
        try:
            step(self, partition, *arguments)
        except (QueryError, WtmoError) as error:
            partition.error = error

    return run


class CopyDeduplicate:
    """One run of the command.

    :param options: as :mod:`wtmo.local.bqetl.cli` parses them.
    """

    def __init__(self, options: argparse.Namespace, warehouse: Warehouse) -> None:
        """Take the options; nothing is asked of BigQuery yet."""
        self.options = options
        self.warehouse = warehouse
        self.project: str = options.project_id
        self.slices: int = 24 if options.hourly else options.slices
        self._billing = itertools.cycle(options.billing_projects or [self.project])

    def run(self) -> int:
        """Write the partitions; those of other tables too when one fails. 1 when any failed."""
        tables = self.live_tables()
        partitions = [Partition(table, day) for table in tables for day in dict.fromkeys(self.options.dates)]
        slices = [(partition, number) for partition in partitions for number in range(self.slices)]
        try:
            with ThreadPoolExecutor(self.options.parallelism) as pool:
                list(pool.map(self._prepare, partitions))
                list(pool.map(self._deduplicate, *zip(*slices, strict=True)))
                list(pool.map(self._finish, partitions))
        finally:
            parts = [part for partition in partitions for part in partition.parts]
            self.warehouse.delete_tables(parts, project=self.project)
        failed = [partition for partition in partitions if partition.error]
        for partition in failed:
            say(f"FAILED {partition}: {partition.error}")
        done = "planned (dry run)" if self.options.dry_run else "written"
        say(f"{len(partitions) - len(failed)} of {len(partitions)} partitions {done}")
        return 1 if failed else 0

    def live_tables(self) -> list[str]:
        """The live tables, ``dataset.table``, that ``--only`` and ``--except`` leave, sorted.

        :raises WtmoError: when an ``--only`` matches no live table, or when nothing is left to do: production's
            program would succeed having done nothing.
        """
        only: Sequence[str] = self.options.only
        tables = self._all_live_tables(only)
        for pattern in only:
            if not any(fnmatchcase(table, pattern) for table in tables):
                raise WtmoError(
                    f"--only {pattern} matches no live table of {self.project}",
                    fix=f"Live tables are named <dataset>{LIVE}.<table>; load them first (wtmo day, or a seeds folder).",
                )
        if only:
            chosen = [table for table in tables if any(fnmatchcase(table, pattern) for pattern in only)]
        else:
            excluded: Sequence[str] = self.options.exclude
            chosen = [table for table in tables if not any(fnmatchcase(table, pattern) for pattern in excluded)]
        if not chosen:
            raise WtmoError(
                f"No live table of {self.project} is left to copy: {len(tables)} exist, --except leaves none"
            )
        return sorted(chosen)

    def _all_live_tables(self, patterns: Sequence[str]) -> list[str]:
        """Every live table in the datasets that the patterns (none: all) can mean."""
        from google.api_core.exceptions import GoogleAPIError

        wanted = [pattern.partition(".")[0] for pattern in patterns] or ["*"]
        client, retry = self.warehouse.client(self.project), self.warehouse.retry
        try:
            datasets = [
                dataset.dataset_id
                for dataset in client.list_datasets(self.project, retry=retry)
                if dataset.dataset_id.endswith(LIVE) and any(fnmatchcase(dataset.dataset_id, name) for name in wanted)
            ]
            return [
                f"{dataset}.{table.table_id}"
                for dataset in datasets
                for table in client.list_tables(f"{self.project}.{dataset}", retry=retry)
                if "beam_load_sink" not in table.table_id
            ]
        except (GoogleAPIError, OSError) as error:
            raise self.warehouse.explain(error, what=f"listing the live tables of {self.project}") from error

    @_noting_errors
    def _prepare(self, partition: Partition) -> None:
        """Find the stable twin, build the SQL, name the tables of the slices."""
        if partition.live in self.options.write_to_v2:
            partition.final = partition.stable
            partition.stable = re.sub(r"_v1$", "_v2", partition.stable)
        for name in filter(None, [partition.stable, partition.final]):
            if not self.warehouse.table(f"{self.project}.{name}", project=self.project):
                raise QueryError(f"the stable table {self.project}.{name} does not exist")
        live = self.warehouse.table(f"{self.project}.{partition.live}", project=self.project)
        if live is None:
            raise QueryError(f"the live table {self.project}.{partition.live} does not exist")
        tagged = has_field(live.schema, ("metadata", "header", "x_source_tags"))
        partition.sql = DEDUPLICATE.format(
            live=f"{self.project}.{partition.live}", not_automation=NOT_AUTOMATION if tagged else ""
        )
        if self.slices > 1 and not self.options.dry_run:
            partition.parts = [f"{self.options.temp_dataset}.dedup_{uuid.uuid4().hex}" for _ in range(self.slices)]

    @_noting_errors
    def _deduplicate(self, partition: Partition, number: int) -> None:
        """Run the query of slice ``number`` (from 0): into the partition itself, or into the slice's table."""
        start, end = slice_of(partition.day, number, self.slices)
        parameters: dict[str, tuple[str, dt.date | int]] = {
            "start_time": ("TIMESTAMP", start),
            "end_time": ("TIMESTAMP", end),
            "preceding_days": ("INT64", self.options.preceding_days),
        }
        destination = partition.parts[number] if partition.parts else f"{self.project}.{partition}"
        job = self._run(
            partition.sql,
            what=f"{partition}" + (f" slice {number + 1} of {self.slices}" if self.slices > 1 else ""),
            destination=destination,
            temporary=bool(partition.parts),
            parameters=parameters,
        )
        partition.rows_out += 0 if partition.parts else rows_written(job) or 0
        if self.options.dry_run:
            say(f"{partition}: would process {job.total_bytes_processed or 0:,} bytes")

    @_noting_errors
    def _finish(self, partition: Partition) -> None:
        """Put slices together, copy a v2 partition to v1, say how many rows went in and out."""
        if self.options.dry_run:
            return
        if partition.parts:
            union = "\nUNION ALL\n".join(f"SELECT\n  *\nFROM\n  `{part}`" for part in partition.parts)
            job = self._run(union, what=f"{partition}", destination=f"{self.project}.{partition}")
            partition.rows_out = rows_written(job) or 0
        day: dict[str, tuple[str, dt.date | int]] = {"day": ("DATE", partition.day)}
        if partition.final:
            final = f"{self.project}.{partition.final}${partition.day:%Y%m%d}"
            self._run(
                ROWS.format(table=f"{self.project}.{partition.stable}"), what=final, destination=final, parameters=day
            )
        count = self._run(COUNT.format(table=f"{self.project}.{partition.live}"), what=partition.live, parameters=day)
        rows_in = self.warehouse.rows(count, what=partition.live)[0]["row_count"]
        say(f"{partition.live} -> {partition}: {rows_in:,} rows in, {partition.rows_out:,} rows out")

    def _run(
        self,
        sql: str,
        *,
        what: str,
        destination: str | None = None,
        temporary: bool = False,
        parameters: Mapping[str, tuple[str, dt.date | int]] | None = None,
    ) -> bigquery.QueryJob:
        """Run one job in the next billing project, again when BigQuery runs out of resources for it."""
        from google.cloud import bigquery

        for retries_left in range(self.options.num_retries, -1, -1):
            config = bigquery.QueryJobConfig(
                dry_run=self.options.dry_run,
                priority=self.options.priority,
                labels={"type": "copy_deduplicate", **(TEMPORARY if temporary else {})},
                query_parameters=[
                    bigquery.ScalarQueryParameter(name, kind, value)
                    for name, (kind, value) in (parameters or {}).items()
                ],
            )
            if destination:
                config.destination = bigquery.TableReference.from_string(destination)
                config.write_disposition = "WRITE_TRUNCATE"
            try:
                return self.warehouse.run(
                    sql, what=what, project=next(self._billing), config=config, prefix="copy_dedup_"
                )
            except QueryError as error:
                if error.reason not in RETRIABLE or not retries_left:
                    raise
                say(f"{error}; {retries_left} retries left")
        raise AssertionError("unreachable: the last round returns or raises")


def has_field(schema: Iterable[bigquery.SchemaField], path: tuple[str, ...]) -> bool:
    """Whether a schema has the nested field ``path``."""
    if not path:
        return True
    return any(column.name == path[0] and has_field(column.fields, path[1:]) for column in schema)


def slice_of(day: dt.date, number: int, slices: int) -> tuple[dt.datetime, dt.datetime]:
    """Start (inclusive) and end (exclusive), in UTC, of slice ``number`` (from 0) of a day cut into equal slices.

    >>> [str(moment.time()) for moment in slice_of(dt.date(2026, 6, 1), 1, 24)]
    ['01:00:00', '02:00:00']
    """
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    whole = dt.timedelta(days=1)
    return midnight + whole * number / slices, midnight + whole * (number + 1) / slices
