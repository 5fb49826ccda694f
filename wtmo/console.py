"""What commands say: errors, progress, tables, JSON. Results go to standard output, all else to standard error."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from rich.progress import TaskID

    from wtmo.imports.verdicts import Report

# A file or a pipe has no width: a table is not folded there.
out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, soft_wrap=True)


@contextlib.contextmanager
def errors() -> Generator[None, None, None]:
    """Print what the user can put right and end with exit status 2; SIGTERM ends like Ctrl-C, with all clean-up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except WtmoError as error:
        err.print(f"[bold red]error:[/] {escape(error.what)}", highlight=False)
        if error.fix:
            err.print(f"  [green]{escape(error.fix)}[/]", highlight=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        err.print("interrupted")
        raise typer.Exit(130) from None


@contextlib.contextmanager
def progress(title: str) -> Generator[Callable[[str], None], None, None]:
    """Report steps on standard error: a spinner above the steps on a terminal, plain lines otherwise."""
    if not err.is_terminal:
        yield lambda line: err.print(f"{title}: {line}", markup=False, highlight=False)
        return
    with err.status(title) as status:

        def report(line: str) -> None:
            err.print(f"  {line}", markup=False, highlight=False)
            status.update(escape(f"{title}: {line.splitlines()[0]}"))

        yield report


@contextlib.contextmanager
def file_progress(title: str) -> Generator[Report, None, None]:
    """Show how many files are done on standard error: a bar on a terminal, now and then a line otherwise."""
    if not err.is_terminal:

        def show(line: str, done: int = 0, total: int = 0) -> None:
            if done in {0, total} or done % 50 == 0:
                err.print(f"{title}: {line}" + (f" {done} of {total}" if total else ""), markup=False, highlight=False)

        yield show
        return
    with Progress(
        "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    ) as progress:
        bars: dict[str, TaskID] = {}

        def show_bar(line: str, done: int = 0, total: int = 0) -> None:
            if not total:
                progress.console.print(line, markup=False, highlight=False)
                return
            # A further round has another total: a bar of its own.
            key = f"{line}/{total}"
            if key not in bars:
                bars[key] = progress.add_task(escape(line), total=total)
            progress.update(bars[key], completed=done)

        yield show_bar


def table(rows: Sequence[dict[str, Any]], *, right: Sequence[str] = ()) -> Table:
    """A table of ``rows``, whose keys are the columns; those of ``right`` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in rows[0] if rows else ():
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else escape(str(value)) for value in row.values()))
    return table


def escape(text: str) -> str:
    """``text`` as rich shows it, not as its markup."""
    return text.replace("[", "\\[")


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, dates and decimals as text."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")
