"""``python -m wtmo.bench [SUITE ...]``: run the suites and print a table, or JSON."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from wtmo.bench import basics
from wtmo.bench.generated import generated
from wtmo.bench.measure import Figure, machine
from wtmo.bench.queries import queries
from wtmo.bench.waiting import waiting
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SUITES: dict[str, Callable[[int], list[Figure]]] = {
    "imports": basics.imports,
    "generated": generated,
    "tasks": basics.tasks,
    "start": basics.warm_start,
    "pods": basics.pods_and_queries,
    "queries": queries,
    "waiting": waiting,
    "set-up": basics.set_up,
}

err = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites. Returns 0, 1 when a figure is beyond its limit, 2 when a suite could not be run."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all when none is named")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"unknown suite {', '.join(sorted(unknown))}; known: {', '.join(SUITES)}")
    figures: list[Figure] = []
    broken = False
    for name in options.suites or SUITES:
        err.print(f"bench: {name} ...", highlight=False)
        try:
            figures += SUITES[name](options.runs)
        except WtmoError as error:
            err.print(f"bench: {name}: {error}", highlight=False, markup=False)
            broken = True
    if options.json:
        rows = [asdict(figure) | {"median": figure.median, "passed": figure.passed} for figure in figures]
        sys.stdout.write(json.dumps({"machine": machine(), "figures": rows}, indent=1) + "\n")
    elif figures:
        Console(soft_wrap=True).print(_table(figures))
    return 2 if broken else int(not all(figure.passed for figure in figures))


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(title=machine(), box=None, title_justify="left")
    for column in ("figure", "median", "least", "most", "unit", "runs", "limit", ""):
        table.add_column(column, justify="left" if column in {"figure", "unit", ""} else "right")
    for figure in figures:
        numbers = (figure.median, min(figure.values), max(figure.values))
        table.add_row(
            figure.name,
            *(f"{n:.2f}" for n in numbers),
            figure.unit,
            str(len(figure.values)),
            *("", "") if figure.limit is None else (f"{figure.limit:.2f}", "pass" if figure.passed else "FAIL"),
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
