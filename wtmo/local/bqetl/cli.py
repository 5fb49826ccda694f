"""The command lines of the bigquery-etl image: what is known is parsed, what is not is refused by name.

Options of bigquery-etl are written with ``-`` or ``_``. The commands that hand on to ``bq`` take its flags too, booleans
in its way: ``--replace``, ``--noreplace``, ``--replace=false``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from utils.config import WAREHOUSE_PROJECT, environment
from wtmo.errors import WtmoError
from wtmo.local.bqetl.warehouse import QueryError, Warehouse, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wtmo.local.bqetl.checkout import Checkout

BQ_BOOLEANS = ("append_table", "batch", "dry_run", "replace", "use_cache", "use_legacy_sql", "headless", "quiet")
PRIORITIES = ("INTERACTIVE", "BATCH")
TEMPORARY_DATASET = f"{WAREHOUSE_PROJECT}.tmp"
COMMANDS = (
    "query",
    "script/bqetl query run",
    "script/bqetl query run-multipart",
    "script/bqetl check run",
    "script/bqetl copy_deduplicate",
    "script/bqetl monitoring run",
    "bq query",
)


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
    words = [Path(argv[0]).name if argv and argv[0].endswith("bqetl") else "", *argv[1:]] if argv else []
    match words:
        case ["bqetl", "query", "run", *rest]:
            from wtmo.local.bqetl import query

            return query.run(query_run_parser().parse_args(normal(rest)), _checkout(variables), warehouse)
        case ["bqetl", "query", "run-multipart" | "run_multipart", *rest]:
            from wtmo.local.bqetl import query

            return query.run_multipart(multipart_parser().parse_args(normal(rest)), _checkout(variables), warehouse)
        case ["bqetl", "check", "run", *rest]:
            from wtmo.local.bqetl import check

            return check.run(check_parser().parse_args(normal(rest)), _checkout(variables), warehouse)
        case ["bqetl", "copy_deduplicate", *rest]:
            from wtmo.local.bqetl.copy_deduplicate import CopyDeduplicate

            return CopyDeduplicate(copy_deduplicate_parser().parse_args(normal(rest)), warehouse).run()
        case ["bqetl", "monitoring", "run", *rest]:
            from wtmo.local.bqetl import monitoring

            options = monitoring_parser().parse_args(normal(rest))
            return monitoring.run(options, warehouse, default_project=_project(variables))
    if argv[:1] == ["query"]:
        return dispatch(["script/bqetl", "query", "run", *argv[1:]], warehouse, variables)
    if argv[:1] == ["bq"]:
        return _bq(argv[1:], warehouse, variables)
    raise WtmoError(
        f"The local bigquery-etl image has no command `{' '.join(argv[:3])}`",
        fix=f"It has: {'; '.join(COMMANDS)}.",
    )


def _bq(argv: list[str], warehouse: Warehouse, variables: Mapping[str, str]) -> int:
    from wtmo.local.bqetl import query

    flags, command, rest = argv[: (index := _index(argv))], argv[index : index + 1], argv[index + 1 :]
    if command != ["query"]:
        raise WtmoError(f"The local bq has no command `{' '.join(command) or '(none)'}`", fix="It has: bq query.")
    options = bq_parser().parse_args(normal([*flags, *rest]))
    sql = options.sql or sys.stdin.read()
    return query.bq(options, warehouse, default_project=_project(variables), sql=sql)


def _index(argv: list[str]) -> int:
    """Where bq's command is: the first word that is no flag."""
    return next((number for number, word in enumerate(argv) if not word.startswith("-")), len(argv))


def _project(variables: Mapping[str, str]) -> str:
    return variables.get("GOOGLE_CLOUD_PROJECT") or WAREHOUSE_PROJECT


def _checkout(variables: Mapping[str, str]) -> Checkout:
    from wtmo.local.bqetl.checkout import Checkout

    root = variables.get("BQETL_CHECKOUT")
    if not root:
        raise WtmoError("BQETL_CHECKOUT is not set", fix="Set it to a folder in bigquery-etl's layout (holds sql/).")
    return Checkout(Path(root).resolve())


def normal(argv: Sequence[str]) -> list[str]:
    """Option names with ``_`` for ``-``, and bq's booleans with their value: ``--noreplace`` is ``--replace=false``.

    >>> normal(["--dry-run", "--noreplace", "--append_table=true", "--project-id=my-project", "a-b.sql"])
    ['--dry_run=true', '--replace=false', '--append_table=true', '--project_id=my-project', 'a-b.sql']
    """
    words = []
    for word in argv:
        if not (found := re.fullmatch(r"--([\w-]+)(=.*)?", word, re.DOTALL)):
            words.append(word)
            continue
        name, value = found[1].replace("-", "_"), found[2] or ""
        if name in BQ_BOOLEANS:
            value = value or "=true"
        elif name.removeprefix("no") in BQ_BOOLEANS and not value:
            name, value = name.removeprefix("no"), "=false"
        words.append(f"--{name}{value}")
    return words


def _boolean(text: str) -> bool:
    if text.lower() in {"true", "t", "1", "yes"}:
        return True
    if text.lower() in {"false", "f", "0", "no"}:
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _day(text: str) -> dt.date:
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2026-06-01") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def _dataset(text: str) -> str:
    if not re.fullmatch(r"[\w-]+\.\w+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not PROJECT.DATASET")
    return text


class Parser(argparse.ArgumentParser):
    """Takes no shortened options, and answers wrong usage in one message."""

    def __init__(self, command: str) -> None:
        """Name the command as the image does."""
        super().__init__(prog=command, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print below all of its usage."""
        options = sorted(word for action in self._actions for word in action.option_strings if word.startswith("--"))
        raise WtmoError(f"{self.prog}: {message}", fix=f"It knows {' '.join(options)}.")


def _add_bq_flags(parser: Parser) -> None:
    """The flags of ``bq query`` that query tasks use."""
    flag = parser.add_argument
    flag("--parameter", "--parameters", action="append", default=[], metavar="NAME:TYPE:VALUE")
    flag("--schema_update_option", action="append", default=[], metavar="OPTION",
         choices=["ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION", ""])  # fmt: skip
    flag("--time_partitioning_type", choices=["HOUR", "DAY", "MONTH", "YEAR"], type=str.upper)
    flag("--time_partitioning_field")
    flag("--clustering_fields", help="comma-separated")
    flag("--append_table", type=_boolean, default=False)
    flag("--replace", type=_boolean, default=None)
    flag("--use_legacy_sql", type=_boolean, default=False)
    flag("--dry_run", type=_boolean, default=False)
    flag("--batch", type=_boolean, default=False)
    flag("--label", action="append", default=[], metavar="KEY:VALUE")
    flag("--max_rows", "-n", type=_natural, default=100)
    flag("--maximum_bytes_billed", type=_natural)
    flag("--format", choices=["pretty", "json", "prettyjson", "csv"], default="pretty")
    for ignored in ("--use_cache", "--headless", "--quiet"):  # without meaning here, and harmless
        flag(ignored, type=_boolean, help=argparse.SUPPRESS)


def query_run_parser() -> Parser:
    """Options of ``query run``: its own and bq's."""
    parser = Parser("script/bqetl query run")
    parser.add_argument("name", help="path of the query file, or dataset.table")
    parser.add_argument("--project_id")
    parser.add_argument("--billing_project")
    parser.add_argument("--dataset_id", help="[project:]dataset")
    parser.add_argument("--destination_table", help="[[project:]dataset.]table[$partition]")
    _add_bq_flags(parser)
    return parser


def bq_parser() -> Parser:
    """Options of ``bq query``."""
    parser = Parser("bq query")
    parser.add_argument("sql", nargs="?", help="default: standard input")
    parser.add_argument("--project_id")
    parser.add_argument("--dataset_id")
    parser.add_argument("--destination_table")
    _add_bq_flags(parser)
    parser.set_defaults(replace=False)  # bq itself does not overwrite
    return parser


def multipart_parser() -> Parser:
    """Options of ``query run-multipart``."""
    parser = Parser("script/bqetl query run-multipart")
    flag = parser.add_argument
    flag("query_dir", help="folder of part1.sql, part2.sql, ..")
    flag("--using", default="document_id", help="comma-separated columns that the parts are joined on")
    flag("--parallelism", type=_positive, default=4)
    flag("--dataset_id")
    flag("--project_id")
    flag("--temp_dataset", "--temporary_dataset", type=_dataset, default=TEMPORARY_DATASET)
    flag("--destination_table", required=True)
    flag("--time_partitioning_field")
    flag("--clustering_fields")
    flag("--dry_run", type=_boolean, default=False)
    flag("--parameter", "--parameters", action="append", default=[], metavar="NAME:TYPE:VALUE")
    flag("--priority", choices=PRIORITIES, default=PRIORITIES[0])
    flag("--schema_update_option", "--schema_update_options", action="append", default=[], metavar="OPTION",
         choices=["ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION", ""])  # fmt: skip
    parser.set_defaults(
        append_table=False, batch=False, replace=None, label=[], maximum_bytes_billed=None, time_partitioning_type=None
    )
    return parser


def check_parser() -> Parser:
    """Options of ``check run``: its own and bq's."""
    parser = Parser("script/bqetl check run")
    parser.add_argument("path", help="folder of the table, or dataset.table")
    parser.add_argument("--marker", default="fail", help="fail or warn")
    parser.add_argument("--project_id")
    parser.add_argument("--billing_project")
    _add_bq_flags(parser)
    return parser


def copy_deduplicate_parser() -> Parser:
    """Options of ``copy_deduplicate``. Options of several values take them one or more at a time."""
    parser = Parser("script/bqetl copy_deduplicate")
    flag = parser.add_argument
    flag("--project_id", default=WAREHOUSE_PROJECT)
    flag("--date", "--dates", dest="dates", type=_day, nargs="+", action="extend", required=True, metavar="YYYY-MM-DD")
    flag("--parallelism", type=_positive, default=8)
    flag("--dry_run", type=_boolean, default=False)
    flag("--priority", type=str.upper, choices=PRIORITIES, default=PRIORITIES[0])
    flag("--temp_dataset", "--temporary_dataset", type=_dataset, default=TEMPORARY_DATASET)
    flag("--slices", type=_positive, default=1)
    flag("--hourly", action="store_true", help="the same as --slices=24")
    flag("--preceding_days", type=_natural, default=0, help="days before the date that make a document a duplicate too")
    flag("--num_retries", type=_natural, default=2)
    flag("--billing_projects", "--billing_project", "-p", nargs="+", action="extend", default=[])
    flag("--only", "-o", nargs="+", action="extend", default=[], help="dataset.table, may be a glob")
    flag("--except", "-x", dest="exclude", nargs="+", action="extend", default=[], help="dataset.table, may be a glob")
    flag("--write_to_v2", nargs="+", action="extend", default=[])
    return parser


def monitoring_parser() -> Parser:
    """Options of ``monitoring run``."""
    parser = Parser("script/bqetl monitoring run")
    parser.add_argument("table", help="[project.]dataset.table")
    parser.add_argument("--warehouse_id", default="none")
    parser.add_argument("--project_id")
    parser.add_argument("--marker", default="")
    return parser
