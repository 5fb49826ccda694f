"""The command line: ``wtmo --help``. Thin: each command calls the library and prints what it returns."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from wtmo.errors import WtmoError
from wtmo.local.state import DEFAULT_STATE, PlatformRecord, State

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Generator, Sequence

    from wtmo.local.day import TaskResult

app = typer.Typer(
    help="WTMO: run the telemetry platform on this machine and look at what it does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
    tied: TiedOption = False,
) -> None:
    """Start the platform, run one logical day, and leave it running. Ctrl-C before that ends it all."""
    from wtmo.local import day as logical_day
    from wtmo.local import platform

    with _errors():
        if tied:
            _end_with_parent()
        place = State(state.resolve())
        logical = _day_date(date)
        results = None
        with _progress("start") as report, platform.platform(place, report, port=port, keep=True) as record:
            if day:
                results = _run_day(place, record, logical, seeds, clients, report)
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
    as_json: JsonOption = False,
    tied: TiedOption = False,
) -> None:
    """Run one logical day to its end and show what each task did. Uses the running platform, or one of its own.

    Exit status: 0 when every task succeeded, 1 when one failed, 2 when the day could not be run.
    """
    from wtmo.local import day as logical_day
    from wtmo.local import platform

    with _errors():
        if tied:
            _end_with_parent()
        place = State(state.resolve())
        logical = _day_date(date)
        with _progress(date) as report, platform.platform(place, report) as record:
            results = _run_day(place, record, logical, seeds, clients, report)
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
) -> list[TaskResult]:
    from wtmo.local import day as logical_day

    logical_day.seed(place, record, date, seeds=seeds, clients=clients, report=report)
    return logical_day.run_day(place, record, date, report=report)


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


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, dates and decimals as text."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")
