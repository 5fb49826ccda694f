"""The command lines of the bigquery-etl image: what is known is parsed, what is not is refused by name.

Options of bigquery-etl are written with ``-`` or ``_``. The commands that hand on to ``bq`` take its flags too, booleans
in its way: ``--replace``, ``--noreplace``, ``--replace=false``.

When a DAG is parsed, a value may still be a Jinja template: then it is taken as it is, and checked when it is known.
"""

from __future__ import annotations

import argparse
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from utils.config import WAREHOUSE_PROJECT
from utils.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

BQ_BOOLEANS = ("append_table", "batch", "dry_run", "replace", "use_cache", "use_legacy_sql", "headless", "quiet")
PRIORITIES = ("INTERACTIVE", "BATCH")
TEMPORARY_DATASET = f"{WAREHOUSE_PROJECT}.tmp"
COMMANDS = ("query", "script/bqetl query run", "script/bqetl query run-multipart", "script/bqetl check run")


class Parser(argparse.ArgumentParser):
    """Takes no shortened options, and answers wrong usage in one message."""

    def __init__(self, command: str) -> None:
        """Name the command as the image does."""
        super().__init__(prog=command, allow_abbrev=False, add_help=False)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print below all of its usage."""
        options = sorted(word for action in self._actions for word in action.option_strings if word.startswith("--"))
        raise WtmoError(f"{self.prog}: {message}", fix=f"It knows {' '.join(options)}.")


def bqetl_command(argv: Sequence[str]) -> list[str]:
    """The words of a bqetl command after the program's name; empty where it is another program.

    >>> bqetl_command(["script/bqetl", "query", "run", "a.sql"])
    ['query', 'run', 'a.sql']
    >>> bqetl_command(["query", "a.sql"])
    ['query', 'run', 'a.sql']
    """
    words = list(argv)
    if words[:1] == ["query"]:
        return ["query", "run", *words[1:]]
    return words[1:] if words and Path(words[0]).name == "bqetl" else []


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


def is_template(text: str) -> bool:
    """Whether ``text`` has Jinja in it, so that its value is known at run time only."""
    return "{{" in text or "{%" in text


def _or_template(convert: Callable[[str], T]) -> Callable[[str], T | str]:
    @functools.wraps(convert)
    def lenient(text: str) -> T | str:
        return text if is_template(text) else convert(text)

    return lenient


@_or_template
def boolean(text: str) -> bool:
    """``true`` or ``false``, in bq's spellings."""
    if text.lower() in {"true", "t", "1", "yes"}:
        return True
    if text.lower() in {"false", "f", "0", "no"}:
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


@_or_template
def positive(text: str) -> int:
    """A number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


@_or_template
def natural(text: str) -> int:
    """A number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


@_or_template
def dataset(text: str) -> str:
    """``PROJECT.DATASET``."""
    if not re.fullmatch(r"[\w-]+\.\w+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not PROJECT.DATASET")
    return text


def one_of(*values: str) -> Callable[[str], str]:
    """One of ``values``, in any letter case."""

    @_or_template
    def choice(text: str) -> str:
        if text.upper() not in values:
            raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {', '.join(values)})")
        return text.upper()

    return choice


# Airflow passes an empty update option on days on which the schema does not change.
_SCHEMA_UPDATE: dict[str, Any] = {
    "action": "append",
    "default": [],
    "metavar": "OPTION",
    "type": one_of("ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION", ""),
}


def add_bq_flags(parser: Parser) -> None:
    """The flags of ``bq query`` that query tasks use."""
    flag = parser.add_argument
    flag("--parameter", "--parameters", action="append", default=[], metavar="NAME:TYPE:VALUE")
    flag("--schema_update_option", **_SCHEMA_UPDATE)
    flag("--time_partitioning_type", type=one_of("HOUR", "DAY", "MONTH", "YEAR"))
    flag("--time_partitioning_field")
    flag("--time_partitioning_expiration", type=positive, help="seconds after which a partition is deleted")
    flag("--clustering_fields", help="comma-separated")
    flag("--append_table", type=boolean, default=False)
    flag("--replace", type=boolean, default=None)
    flag("--use_legacy_sql", type=boolean, default=False)
    flag("--dry_run", type=boolean, default=False)
    flag("--batch", type=boolean, default=False)
    flag("--label", action="append", default=[], metavar="KEY:VALUE")
    flag("--max_rows", "-n", type=natural, default=100)
    flag("--maximum_bytes_billed", type=natural)
    flag("--format", choices=["pretty", "json", "prettyjson", "csv"], default="pretty")
    for ignored in ("--use_cache", "--headless", "--quiet"):  # without meaning here, and harmless
        flag(ignored, type=boolean, help=argparse.SUPPRESS)


@functools.cache
def query_run_parser() -> Parser:
    """Options of ``query run``: its own and bq's."""
    parser = Parser("script/bqetl query run")
    parser.add_argument("name", help="path of the query file, or dataset.table")
    parser.add_argument("--project_id")
    parser.add_argument("--billing_project")
    parser.add_argument("--dataset_id", help="[project:]dataset")
    parser.add_argument("--destination_table", help="[[project:]dataset.]table[$partition]")
    add_bq_flags(parser)
    return parser


@functools.cache
def multipart_parser() -> Parser:
    """Options of ``query run-multipart``."""
    parser = Parser("script/bqetl query run-multipart")
    flag = parser.add_argument
    flag("query_dir", help="folder of part1.sql, part2.sql, ..")
    flag("--using", default="document_id", help="comma-separated columns that the parts are joined on")
    flag("--parallelism", type=positive, default=4)
    flag("--dataset_id")
    flag("--project_id")
    flag("--temp_dataset", "--temporary_dataset", type=dataset, default=TEMPORARY_DATASET)
    flag("--destination_table", required=True)
    flag("--time_partitioning_field")
    flag("--clustering_fields")
    flag("--dry_run", type=boolean, default=False)
    flag("--parameter", "--parameters", action="append", default=[], metavar="NAME:TYPE:VALUE")
    flag("--priority", type=one_of(*PRIORITIES), default=PRIORITIES[0])
    flag("--schema_update_option", "--schema_update_options", **_SCHEMA_UPDATE)
    parser.set_defaults(
        append_table=False,
        batch=False,
        billing_project=None,
        label=[],
        maximum_bytes_billed=None,
        replace=None,
        time_partitioning_expiration=None,
        time_partitioning_type=None,
        use_legacy_sql=False,
    )
    return parser


@functools.cache
def check_parser() -> Parser:
    """Options of ``check run``: its own and bq's."""
    parser = Parser("script/bqetl check run")
    parser.add_argument("path", help="folder of the table, or dataset.table")
    parser.add_argument("--marker", default="fail", help="fail or warn")
    parser.add_argument("--project_id")
    parser.add_argument("--billing_project")
    add_bq_flags(parser)
    return parser


def parsed(
    argv: Sequence[str], *, is_python: Callable[[argparse.Namespace], bool] = lambda _: False
) -> tuple[str, argparse.Namespace] | None:
    """Which command ``argv`` is (``query``, ``multipart`` or ``check``), and its options; None: it is another.

    :param is_python: whether the check that has these options is of a table that a Python query fills. The generator gives it the
        query's flags, and the check runner leaves them out. Default: it is not known, and they are refused.
    :raises WtmoError: naming the option that is not known.
    """
    match bqetl_command(argv):
        case ["query", "run", *rest]:
            return "query", query_run_parser().parse_args(normal(rest))
        case ["query", "run-multipart" | "run_multipart", *rest]:
            return "multipart", multipart_parser().parse_args(normal(rest))
        case ["check", "run", *rest]:
            options, others = check_parser().parse_known_args(normal(rest))
            if others and not is_python(options):
                check_parser().error(f"unrecognized arguments: {' '.join(others)}")
            return "check", options
    return None
