"""The command line: ``wtmo --help``. Thin: each command calls the library and prints what it returns."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from utils.names import did_you_mean
from wtmo.commands.check import check
from wtmo.commands.diff import diff
from wtmo.commands.graph import graph
from wtmo.commands.render import render, snapshots
from wtmo.errors import WtmoError
from wtmo.local.state import DEFAULT_STATE, PlatformRecord, State

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from rich.progress import TaskID

    from wtmo.imports.run import Outcome as ImportOutcome
    from wtmo.imports.verdicts import Report
    from wtmo.local.all_dags import DayOfAll
    from wtmo.local.day import TaskResult

app = typer.Typer(
    help="WTMO: run the telemetry platform on this machine and look at what it does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(check)
app.command()(diff)
app.command()(graph)
app.command()(render)
app.command()(snapshots)

StateOption = Annotated[Path, typer.Option("--state", help="Folder of the local platform.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
DateOption = Annotated[str, typer.Option("--date", metavar="YYYY-MM-DD", help="The logical day.")]
SeedsOption = Annotated[
    Path | None,
    typer.Option("--seeds", help="Folder of <dataset>.<table>.ndjson and .schema.json files instead of made-up pings."),
]
TiedOption = Annotated[bool, typer.Option("--tied", hidden=True, help="End when the parent process ends (make).")]
ClientsOption = Annotated[int, typer.Option("--clients", min=1, help="How many clients send the made-up pings.")]

SAMPLE_DATE = "2026-06-01"
CLIENTS = 40
DEFAULT_IMPORTS = DEFAULT_STATE / "imports"

# A file or a pipe has no width: a table is not folded there.
out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, soft_wrap=True)


@contextlib.contextmanager
def _errors() -> Generator[None, None, None]:
    """Print what the user can put right and end with exit status 2; SIGTERM ends like Ctrl-C, with all clean-up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except WtmoError as error:
        err.print(f"[bold red]error:[/] {_escape(error.what)}", highlight=False)
        if error.fix:
            err.print(f"  [green]{_escape(error.fix)}[/]", highlight=False)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        err.print("interrupted")
        raise typer.Exit(130) from None


def _end_with_parent() -> None:
    """End like Ctrl-C when the parent process is gone, also by kill -9: what make started ends with make."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def _escape(text: str) -> str:
    return text.replace("[", "\\[")


@contextlib.contextmanager
def _progress(title: str) -> Generator[Callable[[str], None], None, None]:
    """Report steps on standard error: a spinner above the steps on a terminal, plain lines otherwise."""
    if not err.is_terminal:
        yield lambda line: err.print(f"{title}: {line}", markup=False, highlight=False)
        return
    with err.status(title) as status:

        def report(line: str) -> None:
            err.print(f"  {line}", markup=False, highlight=False)
            status.update(_escape(f"{title}: {line.splitlines()[0]}"))

        yield report


def _table(rows: Sequence[dict[str, Any]], *, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in rows[0] if rows else ():
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else _escape(str(value)) for value in row.values()))
    return table


@app.command()
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

    with _errors():
        if tied:
            _end_with_parent()
        place = State(state.resolve())
        logical = _day_date(date)
        if faults:
            Chance.parse(faults)
        if (import_ or bqetl) and platform.running(place):
            raise WtmoError(
                f"a platform runs already on {place.root}, with DAGs of its own", fix="end it first: make down"
            )
        results = None
        with contextlib.ExitStack() as stack:
            report = stack.enter_context(_progress("start"))
            imports, checkout = supplied(place, import_, import_ref, bqetl, report)
            supplies = Supplies(checkout=checkout or Supplies.checkout, faults=faults, imports=imports)
            record = stack.enter_context(platform.platform(place, report, port=port, supplies=supplies, keep=True))
            if day:
                after: list[str] | None = [] if imports else None
                results = _run_day(place, record, logical, seeds, clients, report, after=after)
        if results is not None:
            _show_day(results)
        out.print(f"Airflow is on {record.ui} (no login on this machine). `make down` ends it.", highlight=False)
        raise typer.Exit(0 if results is None or logical_day.succeeded(results) else 1)


@app.command()
def down(state: StateOption = DEFAULT_STATE) -> None:
    """End the platform. What it stored stays."""
    from wtmo.local import platform

    with _errors():
        lines = platform.stop(State(state.resolve()))
        out.print("\n".join(lines) or "nothing was running", highlight=False)


@app.command()
def status(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Show each process of the platform: state, process id, address, restarts. Exit status 1 when not all run."""
    from wtmo.local import platform

    with _errors():
        place = State(state.resolve())
        record = PlatformRecord.load(place)
        alive = platform.running(place) is not None
        overall = record.state if record and alive else "not running"
        services = list(record.services.values()) if record and alive else []
        if as_json:
            ui = record.ui if record and alive else None
            print_json({"state": overall, "ui": ui, "services": [asdict(s) for s in services]})
        else:
            out.print(f"platform on {place.root}: {overall}", highlight=False)
            if services:
                out.print(
                    _table(
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
                out.print(record.note, markup=False, highlight=False)
        raise typer.Exit(0 if overall == "running" and all(s.state == "running" for s in services) else 1)


@app.command()
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

    with _errors():
        if tied:
            _end_with_parent()
        place = State(state.resolve())
        logical = _day_date(date)
        if every:
            with _progress(date) as report, platform.platform(place, report) as record:
                whole = _run_all(place, record, logical, seeds, clients, only or (), minutes, report)
            if as_json:
                print_json({**asdict(whole), "succeeded": whole.succeeded})
            else:
                _show_all(whole)
            raise typer.Exit(0 if whole.succeeded else 1)
        with _progress(date) as report, platform.platform(place, report) as record:
            after = only or (None if generated.serves_sample(place, record) else [])
            results = _run_day(place, record, logical, seeds, clients, report, after=after)
        if as_json:
            print_json([asdict(result) for result in results])
        else:
            _show_day(results)
        raise typer.Exit(0 if logical_day.succeeded(results) else 1)


def _day_date(text: str) -> dt.date:
    from wtmo.local.dates import parse_date

    return parse_date(text)


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
    out.print(_table(rows, right=("tasks", "seconds")))
    green = sum(dag.state == "success" for dag in whole.dags)
    said = f"{green} of {len(whole.dags)} runs are green; {len(whole.left_out)} DAGs are left out, {whole.not_due} are not due"
    if whole.stand_ins or whole.taken_as_done:
        names = sorted({run.dag for run in whole.stand_ins})
        done = [f"{run.dag} of {run.date[:10]}" for run in whole.taken_as_done]
        said += f". Not run but waited for: stand-ins for {', '.join(names) or 'none'}; taken as done: {', '.join(done) or 'none'}"
    out.print(said, highlight=False)


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
    out.print(_table(rows, right=("seconds", "rows written")))


@app.command()
def outbox(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """List the mails and Slack messages that would have been sent."""
    from wtmo.local.services.outbox import read_outbox

    with _errors():
        messages = read_outbox(state.resolve() / "services" / "outbox")
        if as_json:
            print_json([asdict(message) for message in messages])
        elif not messages:
            out.print("nothing was sent")
        else:
            out.print(
                _table([
                    {
                        "sent": f"{message.date:%Y-%m-%d %H:%M:%S}",
                        "kind": message.kind,
                        "to": ", ".join(message.recipients),
                        "what": message.subject or message.text.partition("\n")[0],
                        "file": message.path.name,
                    }
                    for message in messages
                ])
            )


@app.command()
def bq(
    query: Annotated[str, typer.Argument(help="GoogleSQL, or - to read it from standard input.")],
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show at the most.")] = 100,
) -> None:
    """Run a query against the local warehouse and show its rows."""
    from wtmo.local import platform, warehouse

    with _errors():
        from google.api_core.exceptions import GoogleAPICallError

        record = platform.require_running(State(state.resolve()))
        text = sys.stdin.read() if query == "-" else query
        try:
            result = warehouse.client(record).query_and_wait(text, max_results=limit)
            rows = [dict(row.items()) for row in result]
        except GoogleAPICallError as error:
            said = error.errors[0].get("message") if error.errors else None
            raise WtmoError(f"BigQuery: {said or error.message}") from error
        if as_json:
            print_json(rows)
        else:
            columns = [field.name for field in result.schema]
            table = _table(rows or [dict.fromkeys(columns)])
            out.print(table)
            total = result.total_rows or len(rows)
            if total > len(rows):
                err.print(f"{len(rows)} of {total} rows; --limit shows more")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def airflow(context: typer.Context, state: StateOption = DEFAULT_STATE) -> None:
    """Run one of Airflow's own commands on the running platform: wtmo airflow dags list."""
    from wtmo.local import platform

    with _errors():
        place = State(state.resolve())
        environment = platform.airflow_environment(place, platform.require_running(place))
    command = [sys.executable, "-m", "airflow", *context.args]
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)


def _run_where_dags_load() -> None:
    """Run this command again in a process that can load DAGs, unless this is one already."""
    from wtmo.graph.loading import has_settings, settings

    if has_settings():
        return
    with tempfile.TemporaryDirectory(prefix="wtmo-airflow-") as home:
        command = [sys.executable, "-m", "wtmo", *sys.argv[1:]]
        raise typer.Exit(subprocess.run(command, env=settings(Path(home)), check=False).returncode)


@app.command()
def docs() -> None:
    """Write docs/DAGS.md, the catalogue of this repository's DAGs, and docs/checks.md, the rules. Needs no database and no network."""
    from wtmo.checks import pages
    from wtmo.docs.catalogue import write
    from wtmo.graph.loading import own_dags

    with _errors():
        for page, changed in (write(own_dags()), pages.write()):
            out.print(f"{page}: {'written' if changed else 'as it was'}", markup=False, highlight=False)


@app.command()
def images(
    floating: Annotated[bool, typer.Option("--floating", help="Only those that can change by themselves.")] = False,
    tier: Annotated[int | None, typer.Option(min=1, max=3, help="Only those of DAGs of this impact tier.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the images of pods: where their code is, what is pinned, which DAGs run them. Those of tier 1 that float first."""
    from wtmo.docs.images import uses
    from wtmo.graph.loading import own_dags

    with _errors():
        found = [
            use
            for use in uses(own_dags().values(), tier=tier)
            if (use.floats or not floating) and (use.dags or not tier)
        ]
        if as_json:
            print_json([asdict(use) for use in found])
            return
        out.print(
            _table([
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
@app.command("new-dag", context_settings={"token_normalize_func": lambda token: token.lower().replace("_", "-")})
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

    with _errors():
        _run_where_dags_load()
        ask = _ask if sys.stdin.isatty() and sys.stdout.isatty() else None
        wanted = library.order(given, today=dt.datetime.now(dt.UTC).date(), ask=ask)
        for path in library.create(wanted, load_dags()):
            out.print(f"{path}: written", markup=False, highlight=False)
        write(own_dags())
        out.print("docs/DAGS.md: written", highlight=False)
        out.print(
            "Now say in its docstring what it reads and writes, and put in its command. Then: make lint test",
            highlight=False,
        )


def _ask(question: str, default: str, choices: Sequence[str]) -> str:
    if choices:
        question = f"{question}: {', '.join(choices)}"
    while True:
        answer = str(typer.prompt(question, default=default or None))
        if not choices or answer in choices:
            return answer
        err.print(did_you_mean(answer, choices), markup=False, highlight=False)


@app.command("import")
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

    with _errors():
        if source == "status":
            store = Store(into.resolve()) if into else default_store(State(state.resolve()), DEFAULT_IMPORTS)
            _show_imports(store.root, read_status(store, time.time()), as_json)
            return
        store = Store((into or DEFAULT_IMPORTS).resolve())
        options = run.Options(only=only, max_held=max_held)
        with _file_progress("import") as report:
            if check:
                outcome = run.run_check(
                    lambda mirror: open_source(source, ref=ref, mirror=mirror), options, report=report
                )
            else:
                outcome = run.run_import(
                    open_source(source, ref=ref, mirror=store.mirror), store, options, report=report
                )
        if as_json:
            print_json({**asdict(outcome), "exit_status": outcome.exit_status})
        else:
            _show_import(outcome)
        raise typer.Exit(outcome.exit_status)


@contextlib.contextmanager
def _file_progress(title: str) -> Generator[Report, None, None]:
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
                bars[key] = progress.add_task(_escape(line), total=total)
            progress.update(bars[key], completed=done)

        yield show_bar


def _show_import(outcome: ImportOutcome) -> None:
    told = outcome.status
    rules = told.get("rules") or {}
    if rules:
        rows = [{"rule": rule, "files": of["files"], "changes": of["changes"]} for rule, of in rules.items()]
        out.print(_table(rows, right=("files", "changes")))
    _show_held(told)
    if outcome.differences:
        out.print(_table([asdict(difference) for difference in outcome.differences]))
    if "files" in told:
        held = told["held_back"]
        rows = [
            {"files": told["files"] - len(held), "outcome": "passed"},
            {"files": len(held), "outcome": "held back"},
            {"files": len(told["retired"]), "outcome": "vanished upstream"},
        ]
        out.print(_table(rows, right=("files",)))
    if outcome.outcome == "checked" and "files" in told:
        changed = len(outcome.differences)
        passed = told["files"] - len(told["held_back"])
        out.print(
            f"compared {passed} files before and after translation: {changed or 'no'} differences", highlight=False
        )
    last = f"{outcome.outcome}: {outcome.why}" if outcome.why else outcome.outcome
    out.print(f"{last}. Served: {outcome.version or 'nothing'}", markup=False, highlight=False)


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
        out.print(_table(rows))
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
        out.print(_table(rows))


def _show_imports(folder: Path, told: dict[str, Any], as_json: bool) -> None:
    from wtmo.imports.status import age

    if as_json:
        print_json(told)
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
    out.print("\n".join(lines), markup=False, highlight=False)


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, dates and decimals as text."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")
