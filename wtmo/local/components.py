"""The processes of the local platform: what each is started with, and how one sees that it serves."""

from __future__ import annotations

import collections
import contextlib
import http
import http.client
import json
import signal
import ssl
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from utils.bqetl.flags import TEMPORARY_DATASET
from utils.config import WAREHOUSE_PROJECT
from utils.secrets import development_values
from wtmo.local import airflow, gcs, postgres
from wtmo.local.state import write_private

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from wtmo.local.airflow import Ports
    from wtmo.local.generated import Origin
    from wtmo.local.state import State

RESTARTS = 5


SAMPLE = airflow.RESOURCES / "sample"


@dataclass(frozen=True)
class Supplies:
    """What the stand-ins are given to work with.

    :param checkout: the bigquery-etl checkout that the image's stand-in reads. Default: the sample's.
    :param connectors: the folder of Fivetran connectors. Default: the sample's.
    :param imports: what the bundle of imported DAGs polls. Default: the sample's.
    :param faults: ``SEED:RATE`` of the pod server: the share of the pods that meet a fault. Default: none.
    """

    checkout: Path = SAMPLE / "bigquery-etl"
    connectors: Path = SAMPLE / "fivetran"
    faults: str | None = None
    imports: Origin | None = None


@dataclass
class Service:
    """One process of the platform.

    :param ready: tells whether it serves; called until it says so.
    :param stop_signal: what ends it in good order. Default: SIGTERM.
    :param user: the user it runs as. Default: this process's.
    :param seconds: how long it may take to be ready. Default: 120.
    """

    name: str
    argv: list[str]
    environment: dict[str, str]
    ready: Callable[[], bool]
    url: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    user: str | None = None
    seconds: float = 120
    process: subprocess.Popen[bytes] | None = None
    deaths: collections.deque[float] = field(default_factory=lambda: collections.deque(maxlen=RESTARTS))

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """The process, once it was started."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self.process


def database(state: State, ports: Ports, environment: dict[str, str], password: str) -> Service:
    """PostgreSQL, its folder made when missing."""
    data = state.root / "postgres"
    postgres.initialise(data, state.secret("postgres"))
    return Service(
        "postgres",
        postgres.command(data, ports.postgres),
        environment,
        lambda: postgres.answers(ports.postgres, password),
        url=f"postgresql://{ports.address('postgres')}",
        # SIGTERM would wait for every client to hang up.
        stop_signal=signal.SIGINT,
        user=postgres.run_as()[1],
    )


def stand_ins(state: State, ports: Ports, environment: dict[str, str], supplies: Supplies) -> list[Service]:
    """What takes the place of the cloud."""
    secrets = state.root / "secrets"
    bigquery_url, gcs_url = f"http://{ports.address('bigquery')}", f"http://{ports.address('gcs')}"
    image_environment = state.root / "image-environment.json"
    image_environment.write_text(
        json.dumps({
            "BIGQUERY_EMULATOR_HOST": bigquery_url,
            "GOOGLE_CLOUD_PROJECT": WAREHOUSE_PROJECT,
            "BQETL_CHECKOUT": str(supplies.checkout),
        })
    )

    pod_secrets = secrets / "pods.json"
    write_private(pod_secrets, json.dumps(development_values()))

    def program(name: str, *arguments: str) -> list[str]:
        own = ("--host", "127.0.0.1", "--state", str(state.folder(name)))
        return [sys.executable, "-m", f"wtmo.local.{name}", *own, *arguments]

    bigquery = program(
        "bigquery",
        *("--port", str(ports.bigquery), "--storage-url", gcs_url, "--checkout", str(supplies.checkout)),
        *("--scratch", TEMPORARY_DATASET),
        # A job that takes no time is never waited for: half a second makes operators really defer.
        *("--min-running", "0.5"),
    )
    pods = program(
        "pods",
        *("--port", str(ports.pods), "--token-file", str(secrets / "service_token")),
        *("--cert", str(secrets / "pods.crt"), "--key", str(secrets / "pods.key")),
        *("--image-env", str(image_environment), "--secrets", str(pod_secrets)),
        *(("--faults", supplies.faults) if supplies.faults else ()),
    )
    services = program(
        "services",
        *("--fivetran-port", str(ports.fivetran), "--smtp-port", str(ports.smtp)),
        *("--slack-port", str(ports.slack), "--google-port", str(ports.google)),
        *("--dataproc-port", str(ports.dataproc), "--sftp-port", str(ports.sftp)),
        *("--sftp-host-key", str(secrets / "sftp_host_key")),
        *("--token-file", str(secrets / "service_token"), "--connectors", str(supplies.connectors)),
        *("--bigquery-url", bigquery_url),
    )
    storage = gcs.command("127.0.0.1", ports.gcs, state.folder("gcs"))
    pods_url, fivetran_url = f"https://{ports.address('pods')}", f"http://{ports.address('fivetran')}"
    return [
        Service("bigquery", bigquery, environment, lambda: _answers(f"{bigquery_url}/healthz"), bigquery_url),
        Service("pods", pods, environment, lambda: _answers(f"{pods_url}/healthz", secrets / "pods.crt"), pods_url),
        Service(
            "services",
            services,
            environment,
            lambda: all(_answers(f"http://{ports.address(name)}/healthz") for name in ("fivetran", "google", "slack")),
            f"{fivetran_url} (Fivetran)",
        ),
        Service("gcs", storage, environment, lambda: _answers(f"{gcs_url}{gcs.HEALTH}"), gcs_url),
    ]


def airflow_processes(ports: Ports, environment: dict[str, str]) -> list[Service]:
    """Airflow's own. Each is ready when the health page of the api-server says so."""
    health = f"http://{ports.address('ui')}/api/v2/monitor/health"

    def process(name: str, part: str, *arguments: str, url: str | None = None) -> Service:
        command = airflow.component(name, *arguments)
        return Service(name, command, environment, lambda: _healthy(health, part), url, seconds=240)

    return [
        process("api-server", "metadatabase", "--workers", "1", url=f"http://localhost:{ports.ui}"),
        process("scheduler", "scheduler", "--skip-serve-logs"),
        process("dag-processor", "dag_processor"),
        process("triggerer", "triggerer", "--skip-serve-logs"),
    ]


def _get(url: str, ca: Path | None = None) -> tuple[int, bytes]:
    """Status and body of a page of loopback; status 0 when nobody answers."""
    parts = urlsplit(url)
    port = parts.port or 80
    if ca:
        context = ssl.create_default_context(cafile=str(ca))
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=5, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""


def _answers(url: str, ca: Path | None = None) -> bool:
    return _get(url, ca)[0] == http.HTTPStatus.OK


def _healthy(url: str, part: str) -> bool:
    """Whether Airflow's health page says that ``part`` runs. A component without a first heartbeat has no status."""
    status, body = _get(url)
    if status != http.HTTPStatus.OK:
        return False
    return (json.loads(body).get(part) or {}).get("status") == "healthy"
