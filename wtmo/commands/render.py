"""``wtmo render`` and ``wtmo snapshots``: what tasks will do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wtmo import console


def render(
    dag: Annotated[str | None, typer.Argument(metavar="DAG", help="A DAG's id.")] = None,
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="A task's id. Default: all of the DAG.")] = None,
    date: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="The run of this day. Default: today's, or the next one.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All DAGs.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a file a DAG into this folder instead of printing.")
    ] = None,
    imports: Annotated[Path | None, typer.Option(help="Folder of an import. Default: the one served here.")] = None,
    checkout: Annotated[
        Path | None, typer.Option(help="bigquery-etl's query files: a folder with sql/. Default: BQETL_CHECKOUT.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of YAML.")] = False,
) -> None:
    """Show what a task will do: its pod's manifest, its SQL, the run that it waits for. Needs no cluster, database or network.

    Exit status: 0 all is shown, 1 something of it can't be rendered (`errors` says what), 2 nothing could be shown.
    """
    from wtmo.render import run
    from wtmo.render.task import documents, rendered

    with console.errors():
        with console.file_progress("render") as progress:
            found = run.tasks(dag, task, all_=all_, date=date, imports=imports, checkout=checkout, report=progress)
        if out:
            count = run.write(found, out, as_json=as_json)
            sys.stdout.write(f"{out}: {len(found)} tasks in {count} files\n")
        elif as_json:
            console.print_json([rendered(*each) for each in found])
        else:
            sys.stdout.write(documents(found))
        if any("errors" in rendered(*each) for each in found):
            raise typer.Exit(1)


def snapshots() -> None:
    """Write tests/snapshots anew: what each hand-written DAG does on a fixed day, a file a DAG."""
    from wtmo.render import run, snapshot

    with console.errors():
        with console.file_progress("snapshots") as progress:
            files = snapshot.snapshots(run.own(snapshot.DATE, progress))
        changed = snapshot.write(files)
        sys.stdout.write(
            "".join(f"{snapshot.FOLDER / name}: changed\n" for name in changed) or f"{snapshot.FOLDER}: as it was\n"
        )
