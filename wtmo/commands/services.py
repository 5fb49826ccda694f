"""``wtmo outbox``, ``bq`` and ``airflow``: look into the running platform."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from wtmo import console
from wtmo.commands.options import JsonOption, StateOption
from wtmo.errors import WtmoError
from wtmo.local.state import DEFAULT_STATE, State


def outbox(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """List the mails and Slack messages that would have been sent."""
    from wtmo.local.services.outbox import read_outbox

    with console.errors():
        messages = read_outbox(state.resolve() / "services" / "outbox")
        if as_json:
            console.print_json([asdict(message) for message in messages])
        elif not messages:
            console.out.print("nothing was sent")
        else:
            console.out.print(
                console.table([
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


def bq(
    query: Annotated[str, typer.Argument(help="GoogleSQL, or - to read it from standard input.")],
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show at the most.")] = 100,
) -> None:
    """Run a query against the local warehouse and show its rows."""
    from wtmo.local import platform, warehouse

    with console.errors():
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
            console.print_json(rows)
        else:
            columns = [field.name for field in result.schema]
            table = console.table(rows or [dict.fromkeys(columns)])
            console.out.print(table)
            total = result.total_rows or len(rows)
            if total > len(rows):
                console.err.print(f"{len(rows)} of {total} rows; --limit shows more")


def airflow(context: typer.Context, state: StateOption = DEFAULT_STATE) -> None:
    """Run one of Airflow's own commands on the running platform: wtmo airflow dags list."""
    from wtmo.local import platform

    with console.errors():
        place = State(state.resolve())
        environment = platform.airflow_environment(place, platform.require_running(place))
    command = [sys.executable, "-m", "airflow", *context.args]
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)
