"""The command line: ``wtmo --help``. What each command does is in :mod:`wtmo.commands`."""

from __future__ import annotations

import typer

from wtmo.commands import authoring, imports, platform, services
from wtmo.commands.check import check
from wtmo.commands.diff import diff
from wtmo.commands.graph import graph
from wtmo.commands.render import render, snapshots

PLATFORM = "The platform on this machine"
DAGS = "DAGs, before they are merged"
PAGES = "What is made of them"

app = typer.Typer(
    help="WTMO: run the telemetry platform on this machine and look at what it does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for panel, commands in {
    PLATFORM: (platform.up, platform.down, platform.status, platform.day, services.bq, services.outbox),
    DAGS: (check, diff, render, graph),
    PAGES: (snapshots, authoring.docs, authoring.images),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command("import", rich_help_panel=DAGS)(imports.import_)
# `make new-dag WAITS_FOR=...` gives --WAITS_FOR.
app.command(
    "new-dag",
    rich_help_panel=DAGS,
    context_settings={"token_normalize_func": lambda token: token.lower().replace("_", "-")},
)(authoring.new_dag)
# All options are Airflow's, --help too.
app.command(
    rich_help_panel=PLATFORM,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)(services.airflow)
