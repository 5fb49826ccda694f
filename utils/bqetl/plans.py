"""What a command of bigquery-etl runs: the queries, rendered, with the jobs they are to be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2

from utils.bqetl import flags
from utils.bqetl.checkout import CHECKS_FILE, QUERY_FILES, statements_marked
from utils.bqetl.jobs import TEMPORARY, job_config, overwrites_table, parse_parameter, qualified, split_dataset
from utils.config import QueryTasks
from utils.errors import WtmoError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from google.cloud import bigquery

    from utils.bqetl.checkout import Checkout, TableFolder


@dataclass(frozen=True)
class Query:
    """One query job to run.

    :param name: tells it from the other jobs of its command.
    :param title: the file or step, for messages.
    :param project: the project that the job runs in and bills.
    """

    name: str
    title: str
    sql: str
    project: str
    config: bigquery.QueryJobConfig


@dataclass(frozen=True)
class Plan:
    """The jobs of one command.

    :param stages: queries that may run at the same time, stage after stage.
    :param folder: of the table that is written or checked.
    :param destination: ``project.dataset.table[$partition]`` that the last stage writes; None: none is.
    :param describes: whether the destination's field descriptions are to be put back at the end.
    :param repeatable: whether running it twice leaves what running it once does.
    :param checks: what is checked and how, for a person; empty: these are no checks, each of which fails for itself.
    :param temporary: tables to delete at the end, however it ends.
    """

    stages: tuple[tuple[Query, ...], ...]
    folder: TableFolder
    destination: str | None = None
    describes: bool = False
    repeatable: bool = True
    checks: str = ""
    temporary: tuple[str, ...] = ()


def plan(argv: Sequence[str], checkout: Checkout, *, key: str) -> Plan:
    """Read and render what the command names.

    :param key: names what the command makes for itself: ``a-z 0-9 _``, not used before.
    :raises WtmoError: a file is missing or does not render, or an option makes no sense.
    """
    command = flags.parsed(argv)
    if command is None:
        raise WtmoError(f"`{' '.join(argv[:3])}` is no query and no check", fix=f"Known: {'; '.join(flags.COMMANDS)}.")
    kind, options = command
    if kind == "query":
        return plan_query(options, checkout)
    return plan_checks(options, checkout) if kind == "check" else plan_multipart(options, checkout, key=key)


def plan_query(options: argparse.Namespace, checkout: Checkout) -> Plan:
    """``query run NAME``: one job. A script writes its tables itself. What ``metadata.yaml`` labels ``public_bigquery`` goes to
    the project of public data.
    """
    path = checkout.find(options.name, QUERY_FILES, project=options.project_id)
    if path.suffix != ".sql":
        raise WtmoError(f"{checkout.shown(path)} is no .sql file", fix="Only SQL can be run as a BigQuery job.")
    folder = checkout.folder(path)
    own_project = options.project_id or folder.project
    dataset_project, dataset = split_dataset(options.dataset_id, own_project, folder.dataset)
    project = options.billing_project or own_project
    destination = None
    if "public_bigquery" in folder.labels:
        public_project = QueryTasks().public_project or dataset_project
        destination = _public_table(options, folder, f"{public_project}.{dataset}", what=checkout.shown(path))
    elif options.destination_table and path.name != "script.sql":
        destination = qualified(options.destination_table, dataset_project, dataset)
    config = job_config(
        options,
        project=project,
        default_dataset=f"{dataset_project}.{dataset}",
        destination=destination,
        default_project=own_project,
    )
    query = Query("query", checkout.shown(path), checkout.render(path), project, config)
    return Plan(
        stages=((query,),),
        folder=folder,
        destination=destination,
        describes=bool(destination and overwrites_table(destination, options) and folder.has_descriptions),
        repeatable=destination is not None and config.write_disposition == "WRITE_TRUNCATE",
    )


def _public_table(options: argparse.Namespace, folder: TableFolder, dataset: str, *, what: str) -> str:
    """The table of public data that a query writes.

    :param dataset: ``project.dataset`` of the table.
    :raises WtmoError: nobody has reviewed that it may be public, or the command names another place.
    """
    if not folder.labels.get("review_bugs"):
        raise WtmoError(
            f"{what} is public data without a review",
            fix="Name the review's bug in metadata.yaml: labels, review_bugs.",
        )
    if not options.dataset_id or not re.fullmatch(r"[\w$]+", options.destination_table or ""):
        raise WtmoError(
            f"{what} is public data, and --destination_table={options.destination_table or ''} is no table of its dataset",
            fix="Give --destination_table=table[$partition], without a dataset, and --dataset_id=.",
        )
    return f"{dataset}.{options.destination_table}"


def plan_multipart(options: argparse.Namespace, checkout: Checkout, *, key: str) -> Plan:
    """``query run-multipart DIR``: each ``part*.sql`` into a temporary table, then the join of all of them.

    Parts are not rendered. They are joined as ``FULL JOIN ... USING (<--using>)``.
    """
    from google.cloud import bigquery

    folder = checkout.folder(checkout.find(options.query_dir, ("part1.sql",)))
    files = sorted(folder.path.glob("part*.sql"))
    dataset_project, dataset = split_dataset(options.dataset_id, options.project_id or folder.project, folder.dataset)
    project = options.project_id or folder.project
    destination = qualified(options.destination_table, dataset_project, dataset)
    tables = tuple(f"{options.temp_dataset}.bqetl_{key}_{number}" for number in range(1, len(files) + 1))
    parts = []
    for number, (file, table) in enumerate(zip(files, tables, strict=True), start=1):
        config = bigquery.QueryJobConfig(
            destination=table,
            default_dataset=f"{dataset_project}.{dataset}",
            dry_run=options.dry_run,
            priority=options.priority,
            query_parameters=[parse_parameter(text) for text in options.parameter],
            labels=TEMPORARY,
            use_legacy_sql=False,
        )
        parts.append(Query(f"part{number}", checkout.shown(file), file.read_text(), project, config))
    if options.dry_run:
        return Plan(stages=(tuple(parts),), folder=folder)
    joined = "".join(f"\nFULL JOIN\n  `{table}`\n  USING ({options.using})" for table in tables[1:])
    config = job_config(options, project=project, default_dataset=None, destination=destination)
    config.query_parameters = []
    config.priority = options.priority
    sql = f"SELECT\n  *\nFROM\n  `{tables[0]}`{joined}"
    join = Query("join", f"join of the {len(files)} parts", sql, project, config)
    return Plan(stages=(tuple(parts), (join,)), folder=folder, destination=destination, temporary=tables)


def is_python(options: argparse.Namespace, checkout: Checkout) -> bool:
    """Whether a Python query fills the table that ``check run`` means."""
    path = checkout.find(options.path, (CHECKS_FILE,), project=options.project_id)
    return (path.parent / "query.py").is_file()


def plan_checks(options: argparse.Namespace, checkout: Checkout) -> Plan:
    """``check run --marker fail|warn PATH``: a job for each statement of ``checks.sql`` that carries the marker.

    A table without ``checks.sql``, or without a statement of that marker, is an error here, unlike in bigquery-etl,
    which says so and succeeds: a check that checks nothing must not be green.
    """
    path = checkout.find(options.path, (CHECKS_FILE,), project=options.project_id)
    folder = checkout.folder(path)
    project = options.project_id or folder.project
    what = checkout.shown(path)
    variables: dict[str, Any] = {"project_id": project, "dataset_id": folder.dataset, "table_name": folder.table}
    for parameter in options.parameter:
        name, _, value = parameter.partition(":")
        variables[name] = _as_text(name, value.partition(":")[2])
    checks = statements_marked(checkout.render(path, variables), options.marker)
    if not checks:
        raise WtmoError(
            f"{what} has no statement marked #{options.marker}",
            fix=f"Write the comment #{options.marker} above a check, or remove the task.",
        )
    billed = options.billing_project or project

    def config() -> bigquery.QueryJobConfig:
        return job_config(
            options,
            project=billed,
            default_dataset=f"{project}.{folder.dataset}",
            destination=None,
            default_project=project,
        )

    return Plan(
        stages=(
            tuple(
                Query(
                    f"check{number}",
                    f"{what} #{options.marker} {number} of {len(checks)}",
                    check,
                    billed,
                    config(),
                )
                for number, check in enumerate(checks, start=1)
            ),
        ),
        folder=folder,
        checks=f"{len(checks)} checks marked #{options.marker} of {what}",
    )


def _as_text(name: str, value: str) -> object:
    """A parameter's value as a checks.sql may put it into its text; one with anything of SQL in it can't be used so."""
    if all(character.isalnum() or character in " _-+.:" for character in value):
        return value
    return jinja2.StrictUndefined(hint=f"the value of the parameter {name} is no plain text: write @{name}")
