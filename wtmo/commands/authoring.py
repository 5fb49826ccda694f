"""``wtmo new-dag``, ``docs`` and ``images``: write a DAG, and what is written of DAGs."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from utils.names import did_you_mean
from wtmo import console
from wtmo.commands.options import JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence


def docs() -> None:
    """Write docs/DAGS.md, the catalogue of this repository's DAGs, and docs/checks.md, the rules. Needs no database and no network."""
    from wtmo.checks import pages
    from wtmo.docs.catalogue import write
    from wtmo.graph.loading import own_dags

    with console.errors():
        for page, changed in (write(own_dags()), pages.write()):
            console.out.print(f"{page}: {'written' if changed else 'as it was'}", markup=False, highlight=False)


def images(
    floating: Annotated[bool, typer.Option("--floating", help="Only those that can change by themselves.")] = False,
    tier: Annotated[int | None, typer.Option(min=1, max=3, help="Only those of DAGs of this impact tier.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the images of pods: where their code is, what is pinned, which DAGs run them. Those of tier 1 that float first."""
    from wtmo.docs.images import uses
    from wtmo.graph.loading import own_dags

    with console.errors():
        found = [
            use
            for use in uses(own_dags().values(), tier=tier)
            if (use.floats or not floating) and (use.dags or not tier)
        ]
        if as_json:
            console.print_json([asdict(use) for use in found])
            return
        console.out.print(
            console.table([
                {
                    "image": use.image,
                    "runs": use.pin,
                    "floats": "yes" if use.floats else "no",
                    "tier": use.tier,
                    "source": use.source or "not published",
                    "DAGs": ", ".join(use.dags),
                }
                for use in found
            ])
        )


# `make new-dag WAITS_FOR=...` gives --WAITS_FOR.
def new_dag(
    name: Annotated[str | None, typer.Option(help="Its id, and the name of its file.")] = None,
    layer: Annotated[str | None, typer.Option(help="Folder of dags/.")] = None,
    team: Annotated[str | None, typer.Option(help="A team of utils/teams.py.")] = None,
    tier: Annotated[str | None, typer.Option(help="Impact tier, 1 to 3. Default: 3.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Cron in UTC, a preset, or none. Default: @daily.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="pod, sensors, query, family, manual or dataproc. Default: pod.")
    ] = None,
    about: Annotated[str | None, typer.Option(help="What it does, one sentence.")] = None,
    image: Annotated[str | None, typer.Option(help="Image of its pods, of utils/images.py.")] = None,
    table: Annotated[str | None, typer.Option(help="query: dataset.table that it writes.")] = None,
    waits_for: Annotated[str | None, typer.Option(help="sensors: dag.task that it waits for.")] = None,
    members: Annotated[str | None, typer.Option(help="family: what it has a DAG for each, with commas.")] = None,
    start: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Its first day. Default: today.")] = None,
) -> None:
    """Write a new DAG that passes every check as it stands. On a terminal, asks for what is not given.

    Exit status: 0 when it was written, 2 when it was not.
    """
    given = dict(locals())
    from wtmo import new_dag as library
    from wtmo.docs.catalogue import write
    from wtmo.graph.loading import load_dags, own_dags

    with console.errors():
        _run_where_dags_load()
        ask = _ask if sys.stdin.isatty() and sys.stdout.isatty() else None
        wanted = library.order(given, today=dt.datetime.now(dt.UTC).date(), ask=ask)
        for path in library.create(wanted, load_dags()):
            console.out.print(f"{path}: written", markup=False, highlight=False)
        write(own_dags())
        console.out.print("docs/DAGS.md: written", highlight=False)
        console.out.print(
            "Now say in its docstring what it reads and writes, and put in its command. Then: make lint test",
            highlight=False,
        )


def _run_where_dags_load() -> None:
    """Run this command again in a process that can load DAGs, unless this is one already."""
    from wtmo.graph.loading import has_settings, settings

    if has_settings():
        return
    with tempfile.TemporaryDirectory(prefix="wtmo-airflow-") as home:
        command = [sys.executable, "-m", "wtmo", *sys.argv[1:]]
        raise typer.Exit(subprocess.run(command, env=settings(Path(home)), check=False).returncode)


def _ask(question: str, default: str, choices: Sequence[str]) -> str:
    if choices:
        question = f"{question}: {', '.join(choices)}"
    while True:
        answer = str(typer.prompt(question, default=default or None))
        if not choices or answer in choices:
            return answer
        console.err.print(did_you_mean(answer, choices), markup=False, highlight=False)
