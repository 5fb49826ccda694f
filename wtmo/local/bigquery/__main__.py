"""``python -m wtmo.local.bigquery``: serve the local BigQuery; ``... warm``: only compile the evaluator."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
import threading
from pathlib import Path

from aiohttp import web

from wtmo.local.calls import Calls

from .definitions import Definitions
from .googlesql import THREAD_STACK, EvaluatorPool, compiled_module
from .jobs import Jobs
from .rest import MAX_UPLOAD, Api, errors_as_json
from .storage import Storage
from .writes import make_dataset

log = logging.getLogger("wtmo.local.bigquery")


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and serve until SIGTERM or SIGINT."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    if options.command == "warm":
        compiled_module()
        log.info("the GoogleSQL evaluator is compiled")
        return 0
    if options.port is None or options.state is None:
        _parser().error("--port and --state are required")
    threading.stack_size(THREAD_STACK)
    try:
        asyncio.run(_serve(options))
    except (OSError, sqlite3.Error) as error:
        log.error("can't serve on %s:%d with state in %s: %s", options.host, options.port, options.state, error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wtmo.local.bigquery", description=__doc__)
    parser.add_argument(
        "command", nargs="?", choices=["serve", "warm"], default="serve", help="warm: compile the evaluator and exit"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument("--state", type=Path, metavar="DIR", help="folder that keeps tables and jobs")
    parser.add_argument(
        "--min-running", type=float, default=0.0, metavar="SECONDS", help="how long a job reports RUNNING at the least"
    )
    parser.add_argument("--instances", type=int, default=2, help="queries evaluated at once (default: %(default)s)")
    parser.add_argument(
        "--storage-url", metavar="URL", help="base URL of a Cloud Storage stand-in, for gs:// (default: none)"
    )
    parser.add_argument(
        "--checkout",
        type=Path,
        metavar="DIR",
        help="folder in bigquery-etl's layout, whose views, functions and tables queries find (default: none)",
    )
    parser.add_argument(
        "--scratch",
        metavar="PROJECT.DATASET",
        help="dataset for intermediate results, to make at the start where it is missing (default: none)",
    )
    return parser


async def _serve(options: argparse.Namespace) -> None:
    storage = Storage(options.state / "bigquery.sqlite", Definitions(options.checkout) if options.checkout else None)
    if options.scratch:
        with storage.transaction():
            make_dataset(storage, *options.scratch.split("."))
    pool = EvaluatorPool(options.instances)
    jobs = Jobs(
        storage, pool, min_running=options.min_running, workers=options.instances + 2, storage_url=options.storage_url
    )
    calls = Calls()
    application = web.Application(middlewares=[calls.middleware, errors_as_json], client_max_size=MAX_UPLOAD)
    application.add_routes([*Api(storage, pool, jobs).routes(), calls.route()])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        # The port first: a second server by mistake must not take up the first one's jobs.
        await web.TCPSite(runner, options.host, options.port).start()
        await jobs.start()
        log.info("the local BigQuery listens on http://%s:%d, state in %s", options.host, options.port, options.state)
        await stop.wait()
    finally:
        await runner.cleanup()
        await jobs.close()
        storage.close()


if __name__ == "__main__":
    sys.exit(main())
