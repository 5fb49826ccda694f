"""``python -m wtmo.local.pings``: make a seeds folder, or load one into the local BigQuery."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config import WAREHOUSE_PROJECT, LocalCloud
from wtmo.errors import WtmoError
from wtmo.local.pings import generate, load_seeds

if TYPE_CHECKING:
    from google.cloud import bigquery


def main(argv: list[str]) -> int:
    """Run ``generate`` or ``load``; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m wtmo.local.pings", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, dest="command")
    make = commands.add_parser("generate", help="write the pings of one day to a seeds folder")
    make.add_argument("folder", type=Path)
    make.add_argument("--date", type=dt.date.fromisoformat, required=True, help="day of arrival, such as 2026-06-01")
    make.add_argument(
        "--clients", type=int, default=100, help="clients a day, each sends about ten pings (default: 100)"
    )
    make.add_argument("--seed", type=int, default=1, help="fixes everything (default: 1)")
    load = commands.add_parser("load", help="load a seeds folder into the live tables")
    load.add_argument("folder", type=Path)
    load.add_argument("--project", default=WAREHOUSE_PROJECT)
    options = parser.parse_args(argv)
    try:
        if options.command == "generate":
            rows = generate(options.folder, date=options.date, clients=options.clients, seed=options.seed)
        else:
            rows = load_seeds(_client(options.project), options.folder, options.project)
    except WtmoError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    width = max(map(len, rows))
    sys.stdout.write("".join(f"{table:<{width}}  {count:>9,}\n" for table, count in rows.items()))
    return 0


def _client(project: str) -> bigquery.Client:
    if not LocalCloud().bigquery_url:
        raise WtmoError(
            "BIGQUERY_EMULATOR_HOST is not set: seeds are loaded into a local BigQuery only",
            fix="Set it to http://127.0.0.1:<port>; `wtmo status` shows the port.",
        )
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    return bigquery.Client(project, AnonymousCredentials())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
