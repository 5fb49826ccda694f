"""``wtmo check``: the rules, over all DAGs."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wtmo import console
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wtmo.checks.run import Result
    from wtmo.graph.model import Inventory

_COLOURS = {"error": "red", "warning": "yellow"}


def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="DAG files or folders to tell about. All DAGs are looked at anyway.")
    ] = None,
    dags: Annotated[
        Path | None, typer.Option("--dags", help="Folder of hand-written DAGs. Default: this repository's.")
    ] = None,
    imported: Annotated[
        Path | None,
        typer.Option("--imported", help="Folder of imported DAGs as served. Default: what `wtmo import` serves."),
    ] = None,
    checkout: Annotated[
        Path | None,
        typer.Option("--checkout", help="bigquery-etl's query files: a folder with sql/. Default: BQETL_CHECKOUT."),
    ] = None,
    silences: Annotated[
        Path | None, typer.Option("--silences", help="Known findings. Default: config/silences.toml.")
    ] = None,
    alerts: Annotated[
        bool, typer.Option("--alerts", help="Show who hears of a failure of each DAG, instead of findings.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")] = False,
    github: Annotated[bool, typer.Option("--github", help="Print GitHub's annotations.")] = False,
    junit: Annotated[bool, typer.Option("--junit", help="Print JUnit's XML.")] = False,
) -> None:
    """Check that DAGs can work: each finding says what is wrong, where, and what to type. Offline; runs DAG files in a sandbox only.

    Exit status: 0 no errors (warnings may be), 1 errors, 2 could not check.
    """
    from wtmo.checks import report, run, silence
    from wtmo.checks.queries import CACHE
    from wtmo.graph.inventory import inventory

    with console.errors():
        if as_json + github + junit > 1:
            raise WtmoError("only one of --json, --github and --junit can be printed")
        sources = run.sources(dags, imported)
        query_files = run.query_files(checkout)
        roots = {source.bundle: source.root for source in sources}
        with console.file_progress("check") as progress:
            found = inventory(sources, checkout=query_files, report=progress)
            if not alerts:
                result = run.check(
                    found,
                    roots=roots,
                    paths=paths or (),
                    silences=silence.read(silences or silence.FILE),
                    silences_file=silences or silence.FILE,
                    checkout=query_files,
                    cache=CACHE,
                    report=progress,
                )
        if alerts:
            _show_alerts(found, paths or (), roots, as_json)
            return
        if as_json:
            console.print_json(report.as_json(result))
        elif github:
            sys.stdout.writelines(f"{line}\n" for line in report.github(result))
        elif junit:
            sys.stdout.write(report.junit(result))
        else:
            _show(result)
        if github or junit or as_json:
            console.err.print(report.summary(result), markup=False, highlight=False)
        raise typer.Exit(result.exit_status)


def _show(result: Result) -> None:
    from wtmo.checks import report

    for finding in result.findings:
        colour = _COLOURS[finding.severity]
        subject = report.subject(finding)
        said = f"{subject}: {finding.message}" if subject else finding.message
        console.out.print(
            f"{console.escape(report.place(result, finding) or '-')}: [bold {colour}]{finding.severity} {finding.code}[/] "
            f"{console.escape(said)}",
            highlight=False,
        )
        if finding.fix:
            console.out.print(f"    [green]{console.escape(finding.fix)}[/]", highlight=False)
    if rows := report.by_rule(result):
        console.out.print()
        console.out.print(console.table(rows, right=("found", "silenced")))
        console.out.print()
    console.out.print(report.summary(result), markup=False, highlight=False)


def _show_alerts(found: Inventory, paths: Sequence[Path], roots: dict[str, Path], as_json: bool) -> None:
    from wtmo.checks.routing import routing
    from wtmo.checks.run import chosen_files

    chosen = chosen_files(found, roots, paths) if paths else None
    if not found.dags:
        raise WtmoError("there is no DAG: nothing is known of alerts")
    told = [routing(dag) for dag in found.dags.values() if chosen is None or (dag.bundle, dag.file) in chosen]
    if as_json:
        console.print_json([asdict(each) for each in told])
        return
    console.out.print(
        console.table([
            {
                "dag": each.dag_id,
                "tier": (each.tier or "none").removeprefix("tier_"),
                "owner": ", ".join(each.owners),
                "failures are mailed to": ", ".join(each.mail_on_failure) or "nobody",
                "retries": "too"
                if each.mail_on_retry == each.mail_on_failure and each.mail_on_retry
                else ", ".join(each.mail_on_retry) or "nobody",
                "posted to": ", ".join(each.slack) or None,
                "first looked at by": each.triage,
            }
            for each in told
        ])
    )
    counted = Counter(each.triage for each in told)
    console.out.print(
        ", ".join(f"{number} DAGs: {who}" for who, number in counted.most_common()), markup=False, highlight=False
    )
