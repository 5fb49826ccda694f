"""``wtmo import``: generated DAGs, translated and served."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wtmo import console
from wtmo.commands.options import JsonOption, StateOption
from wtmo.local.state import DEFAULT_STATE, State

if TYPE_CHECKING:
    from wtmo.imports.run import Outcome

DEFAULT_IMPORTS = DEFAULT_STATE / "imports"


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE|status",
            help="A folder, the top of a git repository, or a git URL; `status`: show what is held back (a folder of "
            "that name is ./status).",
        ),
    ],
    ref: Annotated[
        str | None, typer.Option(help="Branch, tag or full commit id. Default: the repository's HEAD.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the served files are kept in. Default: .local/imports; of `status`, that of the local platform."
        ),
    ] = None,
    state: StateOption = DEFAULT_STATE,
    only: Annotated[str | None, typer.Option(metavar="GLOB", help="Only files whose path below dags/ matches.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; compare each DAG before and after its translation too.")
    ] = False,
    max_held: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the files above which an import stops and changes nothing.")
    ] = 0.1,
    as_json: JsonOption = False,
) -> None:
    """Bring generated DAGs in: translate each file, load it in a sandbox, serve what passes.

    Exit status: 0 when all files are served, 1 when one is held back (or, with --check, differs), 2 when nothing was done.
    """
    from wtmo.imports import run
    from wtmo.imports.source import open_source
    from wtmo.imports.status import read_status
    from wtmo.imports.store import Store
    from wtmo.local.generated import default_store

    with console.errors():
        if source == "status":
            store = Store(into.resolve()) if into else default_store(State(state.resolve()), DEFAULT_IMPORTS)
            _show_imports(store.root, read_status(store, time.time()), as_json)
            return
        store = Store((into or DEFAULT_IMPORTS).resolve())
        options = run.Options(only=only, max_held=max_held)
        with console.file_progress("import") as report:
            if check:
                outcome = run.run_check(
                    lambda mirror: open_source(source, ref=ref, mirror=mirror), options, report=report
                )
            else:
                outcome = run.run_import(
                    open_source(source, ref=ref, mirror=store.mirror), store, options, report=report
                )
        if as_json:
            console.print_json({**asdict(outcome), "exit_status": outcome.exit_status})
        else:
            _show_import(outcome)
        raise typer.Exit(outcome.exit_status)


def _show_import(outcome: Outcome) -> None:
    told = outcome.status
    rules = told.get("rules") or {}
    if rules:
        rows = [{"rule": rule, "files": of["files"], "changes": of["changes"]} for rule, of in rules.items()]
        console.out.print(console.table(rows, right=("files", "changes")))
    _show_held(told)
    if outcome.differences:
        console.out.print(console.table([asdict(difference) for difference in outcome.differences]))
    if "files" in told:
        held = told["held_back"]
        rows = [
            {"files": told["files"] - len(held), "outcome": "passed"},
            {"files": len(held), "outcome": "held back"},
            {"files": len(told["retired"]), "outcome": "vanished upstream"},
        ]
        console.out.print(console.table(rows, right=("files",)))
    if outcome.outcome == "checked" and "files" in told:
        changed = len(outcome.differences)
        passed = told["files"] - len(told["held_back"])
        console.out.print(
            f"compared {passed} files before and after translation: {changed or 'no'} differences", highlight=False
        )
    last = f"{outcome.outcome}: {outcome.why}" if outcome.why else outcome.outcome
    console.out.print(f"{last}. Served: {outcome.version or 'nothing'}", markup=False, highlight=False)


def _show_held(told: dict[str, Any]) -> None:
    from wtmo.imports.status import age, held_of, seconds_of

    def ago(date: str | None) -> str:
        return age(time.time() - seconds_of(date)) if date else ""

    held = held_of(told)
    if held:
        rows = []
        for entry in held:
            problem, serves = entry["problems"][0], entry["serves"]
            more = len(entry["problems"]) - 1
            rows.append({
                "held back": entry["file"] + (f":{problem['line']}" if problem["line"] else ""),
                "reason": problem["reason"] + (f" (and {more} more)" if more else ""),
                "since commit": (entry["commit"] or "")[:12],
                "subject": entry["subject"],
                "age": ago(entry["date"]),
                "serves": ((serves["commit"] or "")[:12] or serves["blob"][:12]) if serves else "nothing",
            })
        console.out.print(console.table(rows))
    if retired := told.get("retired"):
        rows = [
            {
                "vanished": entry["file"],
                "by commit": (entry["commit"] or "")[:12],
                "age": ago(entry["date"]),
                "until": entry["until"][:10],
                "outcome": entry["outcome"],
            }
            for entry in retired
        ]
        console.out.print(console.table(rows))


def _show_imports(folder: Path, told: dict[str, Any], as_json: bool) -> None:
    from wtmo.imports.status import age

    if as_json:
        console.print_json(told)
        return
    _show_held(told)
    where, last = told.get("source") or {}, told["last"]
    lines = []
    if told["version"]:
        commit = f", commit {where['commit'][:12]} of {age(told['age'])} ago" if where.get("commit") else ""
        ref = f" {where['ref']}" if where.get("ref") else ""
        lines.append(f"serves {told['served']} files of {where['url']}{ref}{commit}")
    else:
        lines.append("serves nothing yet")
    if told["source_age"] is not None:
        lines.append(f"read the source {age(told['source_age'])} ago")
    if last:
        why = f": {last['why']}" if last.get("why") else ""
        since = f" (since {last['failing_since']})" if last.get("failing_since") else ""
        lines.append(f"last import {last['outcome']}{since}{why}")
    lines.append(f"kept in {folder}")
    console.out.print("\n".join(lines), markup=False, highlight=False)
