"""Finds the command that a command line of the bigquery-etl image means, and runs it."""

from __future__ import annotations

import argparse
import datetime as dt
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from utils.bqetl import flags
from utils.config import WAREHOUSE_PROJECT, environment
from wtmo.errors import WtmoError
from wtmo.local.bqetl import recorded
from wtmo.local.bqetl.warehouse import QueryError, Warehouse, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from utils.bqetl.checkout import Checkout

COMMANDS = (*flags.COMMANDS, "script/bqetl copy_deduplicate", "script/bqetl monitoring run", "bq query")


def main(argv: Sequence[str]) -> int:
    """Run a container command; the exit status."""
    variables = environment()
    warehouse = Warehouse(variables)

    def terminated(*_: object) -> None:
        warehouse.stop()
        raise SystemExit(128 + signal.SIGTERM)

    # A process that is the first of its pod ignores SIGTERM unless it handles it.
    signal.signal(signal.SIGTERM, terminated)
    try:
        return dispatch(list(argv), warehouse, variables)
    except QueryError as error:
        say(f"ERROR: {error}")
        return 1
    except WtmoError as error:
        say(f"ERROR: {error}")
        return 2


def dispatch(argv: list[str], warehouse: Warehouse, variables: Mapping[str, str]) -> int:
    """Find the command that ``argv`` means and run it.

    :raises WtmoError: naming the command or option that this program does not have.
    """

    def is_python(options: argparse.Namespace) -> bool:
        from utils.bqetl import plans

        return plans.is_python(options, _checkout(variables))

    if command := flags.parsed(argv, is_python=is_python):
        from wtmo.local.bqetl import check, query

        run = {"query": query.run, "multipart": query.run_multipart, "check": check.run}[command[0]]
        return run(command[1], _checkout(variables), warehouse)
    match flags.bqetl_command(argv):
        case ["copy_deduplicate", *rest]:
            from wtmo.local.bqetl.copy_deduplicate import CopyDeduplicate

            return CopyDeduplicate(copy_deduplicate_parser().parse_args(flags.normal(rest)), warehouse).run()
        case ["monitoring", "run", *rest]:
            from wtmo.local.bqetl import monitoring

            options = monitoring_parser().parse_args(flags.normal(rest))
            return monitoring.run(options, warehouse, default_project=_project(variables))
    if argv[:1] == ["bq"]:
        return _bq(argv[1:], warehouse, variables)
    if recorded.is_recorded(argv):
        return recorded.run(argv)
    raise WtmoError(
        f"The local bigquery-etl image has no command `{' '.join(argv[:3])}`",
        fix=f"It has: {'; '.join(COMMANDS)}.",
    )


def _bq(argv: list[str], warehouse: Warehouse, variables: Mapping[str, str]) -> int:
    from wtmo.local.bqetl import query

    before, command, rest = argv[: (index := _index(argv))], argv[index : index + 1], argv[index + 1 :]
    if command != ["query"]:
        raise WtmoError(f"The local bq has no command `{' '.join(command) or '(none)'}`", fix="It has: bq query.")
    options = bq_parser().parse_args(flags.normal([*before, *rest]))
    sql = options.sql or sys.stdin.read()
    return query.bq(options, warehouse, default_project=_project(variables), sql=sql)


def _index(argv: list[str]) -> int:
    """Where bq's command is: the first word that is no flag."""
    return next((number for number, word in enumerate(argv) if not word.startswith("-")), len(argv))


def _project(variables: Mapping[str, str]) -> str:
    return variables.get("GOOGLE_CLOUD_PROJECT") or WAREHOUSE_PROJECT


def _checkout(variables: Mapping[str, str]) -> Checkout:
    from utils.bqetl.checkout import Checkout

    root = variables.get("BQETL_CHECKOUT")
    if not root:
        raise WtmoError("BQETL_CHECKOUT is not set", fix="Set it to a folder in bigquery-etl's layout (holds sql/).")
    return Checkout(Path(root).resolve())


def _day(text: str) -> dt.date:
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2026-06-01") from None


def bq_parser() -> flags.Parser:
    """Options of ``bq query``."""
    parser = flags.Parser("bq query")
    parser.add_argument("sql", nargs="?", help="default: standard input")
    parser.add_argument("--project_id")
    parser.add_argument("--dataset_id")
    parser.add_argument("--destination_table")
    flags.add_bq_flags(parser)
    parser.set_defaults(replace=False)  # bq itself does not overwrite
    return parser


def copy_deduplicate_parser() -> flags.Parser:
    """Options of ``copy_deduplicate``. Options of several values take them one or more at a time."""
    parser = flags.Parser("script/bqetl copy_deduplicate")
    flag = parser.add_argument
    flag("--project_id", default=WAREHOUSE_PROJECT)
    flag("--date", "--dates", dest="dates", type=_day, nargs="+", action="extend", required=True, metavar="YYYY-MM-DD")
    flag("--parallelism", type=flags.positive, default=8)
    flag("--dry_run", type=flags.boolean, default=False)
    flag("--priority", type=flags.one_of(*flags.PRIORITIES), default=flags.PRIORITIES[0])
    flag("--temp_dataset", "--temporary_dataset", type=flags.dataset, default=flags.TEMPORARY_DATASET)
    flag("--slices", type=flags.positive, default=1)
    flag("--hourly", action="store_true", help="the same as --slices=24")
    flag(
        "--preceding_days",
        type=flags.natural,
        default=0,
        help="days before the date that make a document a duplicate too",
    )
    flag("--num_retries", type=flags.natural, default=2)
    flag("--billing_projects", "--billing_project", "-p", nargs="+", action="extend", default=[])
    flag("--only", "-o", nargs="+", action="extend", default=[], help="dataset.table, may be a glob")
    flag("--except", "-x", dest="exclude", nargs="+", action="extend", default=[], help="dataset.table, may be a glob")
    flag("--write_to_v2", nargs="+", action="extend", default=[])
    return parser


def monitoring_parser() -> flags.Parser:
    """Options of ``monitoring run``."""
    parser = flags.Parser("script/bqetl monitoring run")
    parser.add_argument("table", help="[project.]dataset.table")
    parser.add_argument("--warehouse_id", default="none")
    parser.add_argument("--project_id")
    parser.add_argument("--marker", default="")
    return parser
