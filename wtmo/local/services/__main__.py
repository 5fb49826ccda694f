"""Start the small stand-ins in one process.

::

    python -m wtmo.local.services --host 127.0.0.1 --fivetran-port N --smtp-port N --slack-port N --google-port N \\
        --dataproc-port N --sftp-port N --token-file FILE --sftp-host-key FILE --state DIR [--connectors DIR] \\
        [--bigquery-url URL] [--sync-seconds S]

One line an event goes to stderr. SIGTERM and SIGINT end it within 3 seconds with exit code 0; what it cannot start with
(a port in use, a bad connector file) ends it with exit code 2. State: ``DIR/fivetran.json``, ``DIR/dataproc.json``, ``DIR/sftp/``
and ``DIR/outbox/``. Jira, Netlify, dbt Cloud and Bugzilla are paths of the Slack port.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wtmo.errors import WtmoError
from wtmo.local.services.connectors import read_connectors
from wtmo.local.services.dataproc import Dataproc, serve_dataproc
from wtmo.local.services.dbt_cloud import DbtCloud
from wtmo.local.services.fivetran import Fivetran
from wtmo.local.services.google_auth import GoogleAuth
from wtmo.local.services.hooks import Hooks
from wtmo.local.services.sftp import Sftp, serve_sftp
from wtmo.local.services.slack import SlackSink
from wtmo.local.services.smtp import serve_smtp
from wtmo.local.services.web import SHUTDOWN_SECONDS, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger("wtmo.local.services")


async def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT.

    :param arguments: what :func:`parse` gives.
    :raises WtmoError: where a service cannot start.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    state, host = arguments.state, arguments.host
    outbox = state / "outbox"
    try:
        outbox.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WtmoError(
            f"cannot write to the state folder {state}: {error.strerror}", fix="give --state DIR"
        ) from error
    fivetran = Fivetran(
        read_connectors(arguments.connectors) if arguments.connectors else {},
        state_file=state / "fivetran.json",
        sync_seconds=arguments.sync_seconds,
        bigquery_url=arguments.bigquery_url,
    )
    slack = SlackSink(outbox).app()
    slack.add_routes([*Hooks(outbox).routes(), *DbtCloud(outbox).routes()])
    apps = {
        "fivetran": (fivetran.app(), arguments.fivetran_port),
        "slack": (slack, arguments.slack_port),
        "google": (GoogleAuth(arguments.token_file).app(), arguments.google_port),
    }
    sftp = Sftp(state / "sftp", outbox, arguments.token_file, arguments.sftp_host_key)
    clusters = Dataproc(outbox, state / "dataproc.json")
    runners = []
    try:
        for name, (app, port) in apps.items():
            runners.append(await serve(app, name=name, host=host, port=port))
            log.info("%s listens on http://%s:%d", name, host, port)
        mail = await serve_smtp(outbox, host=host, port=arguments.smtp_port)
        log.info("smtp listens on %s:%d", host, arguments.smtp_port)
        files = await serve_sftp(sftp, host=host, port=arguments.sftp_port)
        log.info("sftp listens on %s:%d", host, arguments.sftp_port)
        dataproc = await serve_dataproc(clusters, host=host, port=arguments.dataproc_port)
        log.info("dataproc listens on %s:%d", host, arguments.dataproc_port)
        await stop.wait()
        mail.close()
        files.close()
        await dataproc.stop(SHUTDOWN_SECONDS)
    finally:
        await asyncio.gather(*(runner.cleanup() for runner in runners))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="python -m wtmo.local.services", description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    for name in ("fivetran", "smtp", "slack", "google", "dataproc", "sftp"):
        parser.add_argument(f"--{name}-port", type=int, required=True, metavar="PORT")
    parser.add_argument(
        "--token-file", type=Path, required=True, help="its content: Google access token, SFTP password"
    )
    parser.add_argument("--sftp-host-key", type=Path, required=True, help="private key in the form of OpenSSH")
    parser.add_argument("--state", type=Path, required=True, help="the folder of state and outbox")
    parser.add_argument("--connectors", type=Path, help="the folder of Fivetran connectors, one JSON file each")
    parser.add_argument("--bigquery-url", help="where synced rows go: http://127.0.0.1:PORT")
    parser.add_argument("--sync-seconds", type=float, default=3, help="how long a Fivetran sync takes (default: 3)")
    return parser.parse_args(arguments)


def main() -> int:
    """Run, and give the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(run(parse()))
    except WtmoError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
