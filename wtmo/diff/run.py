"""Loads both sides of a difference and compares them."""

from __future__ import annotations

import datetime as dt
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config import ROOT
from wtmo.checks.run import query_files
from wtmo.diff.compare import compare
from wtmo.diff.impact import Impact, impact
from wtmo.diff.sides import open_side, save
from wtmo.errors import WtmoError
from wtmo.graph.inventory import DEFAULT_CACHE, IMPORTED, Source, default_sources, inventory
from wtmo.imports.store import Store

if TYPE_CHECKING:
    from wtmo.diff.compare import Difference
    from wtmo.diff.sides import Side
    from wtmo.graph.model import Inventory
    from wtmo.imports.verdicts import Report


@dataclass(frozen=True)
class Options:
    """How a difference is made.

    :param date: the day from which runs are told, ``YYYY-MM-DD``. Default: today, UTC.
    :param imports: folder of the import whose DAGs are compared with each side's operators. Default: the one served here, if any.
    :param own: only hand-written DAGs.
    :param checkout: bigquery-etl's query files, a folder with ``sql/``: then the SQL of query tasks is compared. Default: that of
        :class:`utils.config.QueryTasks`.
    :param cache: folder of what is known from before. None: all files are loaded.
    :param repository: of which BASE and HEAD may be refs.
    """

    date: str | None = None
    imports: Path | None = None
    own: bool = False
    checkout: Path | None = None
    cache: Path | None = DEFAULT_CACHE
    repository: Path = ROOT


def diff(base: str, head: str, options: Options, report: Report) -> tuple[Difference, Impact]:
    """What differs between two sides, and whom it touches.

    :raises WtmoError: a side can't be read, or has no file of a DAG at all.
    """
    date = day(options.date)
    with tempfile.TemporaryDirectory(prefix="wtmo-diff-") as place:
        imported = imported_sources(options)
        sides: list[Side] = []
        for name in (base, head):
            into = Path(place) / str(len(sides))
            into.mkdir()
            sides.append(open_side(name, into, imported, options.repository))
        before, after = (_inventory(side, date, options, report) for side in sides)
    difference = compare(before, after)
    return difference, impact(difference)


def keep(name: str, path: Path, options: Options, report: Report) -> None:
    """Write what a side is into a file."""
    with tempfile.TemporaryDirectory(prefix="wtmo-diff-") as place:
        side = open_side(name, Path(place), imported_sources(options), options.repository)
        save(_inventory(side, day(options.date), options, report), path)


def day(date: str | None) -> str:
    """A day as typed, or today's, UTC.

    :raises WtmoError: it is no day.
    """
    if date is None:
        return dt.datetime.now(dt.UTC).date().isoformat()
    try:
        return dt.date.fromisoformat(date).isoformat()
    except ValueError as error:
        raise WtmoError(f"{date!r} is no date", fix="type it as 2026-06-01") from error


def imported_sources(options: Options) -> tuple[Source, ...]:
    """The imported DAGs that are looked at beside this repository's own.

    :raises WtmoError: the import that was named serves nothing.
    """
    if options.own:
        return ()
    if options.imports is None:
        return tuple(source for source in default_sources() if source.bundle == IMPORTED)
    tree = Store(options.imports.resolve()).current
    if tree is None:
        raise WtmoError(
            f"the import in {options.imports} serves nothing", fix="import something: wtmo import SOURCE --into FOLDER"
        )
    return (Source(IMPORTED, tree.dags),)


def _inventory(side: Side, date: str, options: Options, report: Report) -> Inventory:
    if side.kept is not None:
        return side.kept
    report(side.told)
    files = query_files(options.checkout)
    return inventory(side.sources, date=date, cache=options.cache, checkout=files, report=report)
