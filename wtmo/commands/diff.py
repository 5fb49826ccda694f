"""``wtmo diff``: what changes between two states of the DAGs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wtmo import console


def diff(
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE",
            help="A git ref of this repository, a checkout, a folder of DAGs or of an import, or a file of --save.",
        ),
    ],
    head: Annotated[
        str | None, typer.Argument(metavar="HEAD", help="Likewise. Default: this checkout as it is.")
    ] = None,
    date: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="The day from which runs are told. Default: today.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="For a comment on a pull request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    imports: Annotated[
        Path | None,
        typer.Option(
            help="Folder of an import: its DAGs are compared with each side's operators. Default: the one served here."
        ),
    ] = None,
    own: Annotated[bool, typer.Option("--own", help="Only hand-written DAGs, whatever is imported.")] = False,
    checkout: Annotated[
        Path | None, typer.Option(help="bigquery-etl's query files: a folder with sql/. Default: BQETL_CHECKOUT.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare nothing: keep what BASE is in this file, to compare it with another environment's.",
        ),
    ] = None,
) -> None:
    """Tell what changes in the DAGs between two states, and whom it touches.

    Exit status: 0 no difference, 1 differences, 2 it could not be made.
    """
    from wtmo.diff import report, run

    with console.errors():
        options = run.Options(date=date, imports=imports, own=own, checkout=checkout)
        with console.file_progress("diff") as progress:
            if save:
                run.keep(base, save, options, progress)
                return
            difference, impact = run.diff(base, head or ".", options, progress)
        if as_json:
            console.print_json(report.data(difference, impact))
        elif markdown:
            sys.stdout.write(report.markdown(difference, impact, how=f"wtmo diff {base} {head or ''}".strip()))
        else:
            sys.stdout.write(report.text(difference, impact))
        raise typer.Exit(0 if difference.empty else 1)
