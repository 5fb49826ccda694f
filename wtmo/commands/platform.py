"""``wtmo up``, ``down``, ``status`` and ``day``: the local platform's life, and a logical day on it."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wtmo import console
from wtmo.commands.options import JsonOption, StateOption
from wtmo.errors import WtmoError
from wtmo.local.dates import parse_date
from wtmo.local.state import DEFAULT_STATE, PlatformRecord, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wtmo.local.all_dags import DayOfAll
    from wtmo.local.day import TaskResult

DateOption = Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="The logical day.")]
SeedsOption = Annotated[
    Path | None,
    typer.Option("--seeds", help="Folder of <dataset>.<table>.ndjson and .schema.json files instead of made-up pings."),
]
TiedOption = Annotated[bool, typer.Option("--tied", hidden=True, help="End when the parent process ends (make).")]
ClientsOption = Annotated[int, typer.Option("--clients", min=1, help="How many clients send the made-up pings.")]

SAMPLE_DATE = "2026-06-01"
CLIENTS = 40


def up(
    state: StateOption = DEFAULT_STATE,
    port: Annotated[int, typer.Option(help="Port of Airflow's UI on 127.0.0.1.")] = 8080,
    day: Annotated[bool, typer.Option(help="Run one logical day when all is up.")] = True,
    date: DateOption = SAMPLE_DATE,
    seeds: SeedsOption = None,
    clients: ClientsOption = CLIENTS,
    faults: Annotated[
        str | None,
        typer.Option("--faults", metavar="SEED:RATE", help="Give this share of the pods a fault by this seed."),
    ] = None,
    import_: Annotated[
        str | None,
        typer.Option(
            "--import",
            metavar="WHERE",
            help="Serve the generated DAGs of this folder, git repository or URL in place of the sample's.",
        ),
    ] = None,
    import_ref: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of it. Default: generated-dags if it has that, else HEAD.")
    ] = None,
    bqetl: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Their query files: a folder with sql/, or a repository or URL with the branch generated-sql. "
            "Default: WHERE of --import if it has that branch, else the sample's.",
        ),
    ] = None,
    tied: TiedOption = False,
) -> None:
    """Start the platform, run one logical day, and leave it running. Ctrl-C before that ends it all."""
    from wtmo.local import day as logical_day
    from wtmo.local import platform
    from wtmo.local.components import Supplies
    from wtmo.local.generated import supplied
    from wtmo.local.pods.faults import Chance

    with console.errors():
        if tied:
            _end_with_parent()
        place = State(state.resolve())
        logical = parse_date(date)
        if faults:
            Chance.parse(faults)
        if (import_ or bqetl) and platform.running(place):
            raise WtmoError(
                f"a platform runs already on {place.root}, with DAGs of its own", fix="end it first: make down"
            )
        results = None
        with contextlib.ExitStack() as stack:
            report = stack.enter_context(console.progress("start"))
            imports, checkout = supplied(place, import_, import_ref, bqetl, report)
            supplies = Supplies(checkout=checkout or Supplies.checkout, faults=faults, imports=imports)
            record = stack.enter_context(platform.platform(place, report, port=port, supplies=supplies, keep=True))
            if day:
                after: list[str] | None = [] if imports else None
                results = _run_day(place, record, logical, seeds, clients, report, after=after)
        if results is not None:
            _show_day(results)
        console.out.print(
            f"Airflow is on {record.ui} (no login on this machine). `make down` ends it.", highlight=False
        )
        raise typer.Exit(0 if results is None or logical_day.succeeded(results) else 1)


def down(state: StateOption = DEFAULT_STATE) -> None:
    """End the platform. What it stored stays."""
    from wtmo.local import platform

    with console.errors():
        lines = platform.stop(State(state.resolve()))
        console.out.print("\n".join(lines) or "nothing was running", highlight=False)


def status(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Show each process of the platform: state, process id, address, restarts. Exit status 1 when not all run."""
    from wtmo.local import platform

    with console.errors():
        place = State(state.resolve())
        record = PlatformRecord.load(place)
        alive = platform.running(place) is not None
        overall = record.state if record and alive else "not running"
        services = list(record.services.values()) if record and alive else []
        if as_json:
            ui = record.ui if record and alive else None
            console.print_json({"state": overall, "ui": ui, "services": [asdict(s) for s in services]})
        else:
            console.out.print(f"platform on {place.root}: {overall}", highlight=False)
            if services:
                console.out.print(
                    console.table(
                        [
                            {
                                "service": s.name,
                                "state": s.state,
                                "pid": s.pid,
                                "address": s.url,
                                "restarts": s.restarts,
                                "last trouble": s.note,
                            }
                            for s in services
                        ],
                        right=("pid", "restarts"),
                    )
                )
            elif record and record.note:
                console.out.print(record.note, markup=False, highlight=False)
        raise typer.Exit(0 if overall == "running" and all(s.state == "running" for s in services) else 1)


def day(
    date: DateOption = SAMPLE_DATE,
    state: StateOption = DEFAULT_STATE,
    seeds: SeedsOption = None,
    clients: ClientsOption = CLIENTS,
    every: Annotated[
        bool, typer.Option("--all", help="Run every hand-written DAG that is due that day, not the sample alone.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--dag",
            metavar="DAG",
            help="With --all: this DAG alone. Without: in place of the sample's, such as an imported one. May be repeated.",
        ),
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, help="With --all: how long the runs may take together.")] = 60,
    as_json: JsonOption = False,
    tied: TiedOption = False,
) -> None:
    """Run one logical day to its end and show what each task did. Uses the running platform, or one of its own.

    With --all, the table has a line for each DAG that is due, also for one that is left out since it waits for what never comes.

    Exit status: 0 when all are green, 1 when one isn't or is left out that production could run, 2 when the day could not be run.
    """
    from wtmo.local import day as logical_day
    from wtmo.local import generated, platform

    with console.errors():
        if tied:
            _end_with_parent()
        place = State(state.resolve())
        logical = parse_date(date)
        if every:
            with console.progress(date) as report, platform.platform(place, report) as record:
                whole = _run_all(place, record, logical, seeds, clients, only or (), minutes, report)
            if as_json:
                console.print_json({**asdict(whole), "succeeded": whole.succeeded})
            else:
                _show_all(whole)
            raise typer.Exit(0 if whole.succeeded else 1)
        with console.progress(date) as report, platform.platform(place, report) as record:
            after = only or (None if generated.serves_sample(place, record) else [])
            results = _run_day(place, record, logical, seeds, clients, report, after=after)
        if as_json:
            console.print_json([asdict(result) for result in results])
        else:
            _show_day(results)
        raise typer.Exit(0 if logical_day.succeeded(results) else 1)


def _end_with_parent() -> None:
    """End like Ctrl-C when the parent process is gone, also by kill -9: what make started ends with make."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def _run_day(
    place: State,
    record: PlatformRecord,
    date: dt.date,
    seeds: Path | None,
    clients: int,
    report: Callable[[str], None],
    *,
    after: Sequence[str] | None = None,
) -> list[TaskResult]:
    """Run the sample's day, or the pings' copying and after it other DAGs."""
    from wtmo.local import day as logical_day

    logical_day.seed(place, record, date, seeds=seeds, clients=clients, report=report)
    if after is None:
        return logical_day.run_day(place, record, date, report=report)
    # One after the other: a generated sensor that does not find its run looks again after 5 minutes.
    results = logical_day.run_day(place, record, date, report=report, dags=logical_day.DAY_DAGS[:1])
    return results + (logical_day.run_day(place, record, date, report=report, dags=after) if after else [])


def _run_all(
    place: State,
    record: PlatformRecord,
    date: dt.date,
    seeds: Path | None,
    clients: int,
    only: Sequence[str],
    minutes: int,
    report: Callable[[str], None],
) -> DayOfAll:
    from wtmo.local import all_dags
    from wtmo.local import day as logical_day

    logical_day.seed(place, record, date, seeds=seeds, clients=clients, report=report)
    return all_dags.run_all(place, record, date, report=report, only=only, seconds=minutes * 60)


def _show_all(whole: DayOfAll) -> None:
    rows = [
        {
            "dag": dag.dag,
            "tasks": f"{dag.tasks}/{dag.of}",
            "state": dag.state,
            "seconds": f"{dag.seconds:.1f}" if dag.seconds is not None else None,
            "what": ", ".join(f"{task}: {state}" for task, state in dag.failed.items())
            or (f"{whole.several[dag.dag]} more runs that day were not made" if whole.several.get(dag.dag) else None),
        }
        for dag in whole.dags
    ]
    for left in whole.left_out:
        state = "left out" if left.known else "waits in vain"
        rows.append({"dag": left.dag, "tasks": None, "state": state, "seconds": None, "what": left.reason})
    console.out.print(console.table(rows, right=("tasks", "seconds")))
    green = sum(dag.state == "success" for dag in whole.dags)
    said = f"{green} of {len(whole.dags)} runs are green; {len(whole.left_out)} DAGs are left out, {whole.not_due} are not due"
    if whole.stand_ins or whole.taken_as_done:
        names = sorted({run.dag for run in whole.stand_ins})
        done = [f"{run.dag} of {run.date[:10]}" for run in whole.taken_as_done]
        said += f". Not run but waited for: stand-ins for {', '.join(names) or 'none'}; taken as done: {', '.join(done) or 'none'}"
    console.out.print(said, highlight=False)


def _show_day(results: Sequence[TaskResult]) -> None:
    rows = [
        {
            "dag": result.dag,
            "task": result.task,
            "state": result.state,
            "seconds": f"{result.seconds:.1f}" if result.seconds is not None else None,
            "rows written": result.rows,
        }
        for result in results
    ]
    console.out.print(console.table(rows, right=("seconds", "rows written")))
