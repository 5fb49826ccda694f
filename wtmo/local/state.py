"""Where the local platform keeps what it keeps, and the record of the one that runs.

Everything lies in one folder, ``.local/`` of the repository unless told otherwise::

    airflow/     AIRFLOW_HOME: task logs
    bigquery/    gcs/  pods/  services/  postgres/   what each stand-in stores
    generated/   repositories of generated DAGs and query files; what was imported of them is in airflow/bundles/
    logs/        one log a process
    secrets/     made once, readable by their owner only
    stand-in-dags/   what a day of all DAGs made in place of imported ones
    platform.json   the running platform: its processes, ports and their states
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psutil

from utils.config import ROOT
from wtmo.errors import WtmoError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEFAULT_STATE = ROOT / ".local"


@dataclass(frozen=True)
class State:
    """The folder of one local platform."""

    root: Path = DEFAULT_STATE

    def folder(self, name: str) -> Path:
        """A sub-folder, made when missing."""
        path = self.root / name
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WtmoError(
                f"cannot write to the state folder {path}: {error.strerror}",
                fix="make it writable, or name another with --state DIR",
            ) from error
        return path

    @property
    def record(self) -> Path:
        """The file that tells what runs."""
        return self.root / "platform.json"

    def secret(self, name: str, make: Any = None) -> Path:
        """The file of a secret, made at first use: 64 random bytes as text unless ``make()`` gives the text."""
        path = self.folder("secrets") / name
        if not path.exists():
            text = make() if make else secrets.token_urlsafe(64)
            write_private(path, text)
        return path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


@dataclass
class ServiceRecord:
    """One process of the platform as ``wtmo status`` shows it.

    :param state: ``starting``, ``running``, ``failed`` or ``stopped``.
    :param restarts: how often it was started again after it had died.
    :param note: what went wrong last. Default: nothing.
    """

    name: str
    log: str
    pid: int | None = None
    url: str | None = None
    state: str = "starting"
    restarts: int = 0
    note: str | None = None


@dataclass
class PlatformRecord:
    """The running platform, as written to ``platform.json``.

    :param created: the supervisor's start, in seconds since the epoch: tells it from another process with its pid.
    :param marker: the value of ``WTMO_PLATFORM`` in every process of this platform.
    :param ports: the port of each service.
    :param settings: environment that makes another process talk to this platform's stand-ins.
    """

    pid: int
    created: float
    marker: str
    state: str = "starting"
    ui: str | None = None
    note: str | None = None
    services: dict[str, ServiceRecord] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def save(self, state: State) -> None:
        """Replace the record on disk."""
        write_private(state.record, json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, state: State) -> Self | None:
        """The record on disk, or None where there is none."""
        try:
            raw = json.loads(state.record.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise WtmoError(
                f"{state.record} cannot be read: {error}", fix="`make down` ends what runs; then remove the file"
            ) from error
        raw["services"] = {name: ServiceRecord(**service) for name, service in raw["services"].items()}
        return cls(**raw)

    def alive(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.created) < 2 and self.state != "stopped"
        except psutil.Error:
            return False


def marked_processes(marker: str) -> Iterator[psutil.Process]:
    """Every process of the platform ``marker``, this one left out.

    Found by ``WTMO_PLATFORM`` in its environment, which children inherit: that finds them on Linux and macOS, also
    after their parents have died.
    """
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error):
            if process.environ().get("WTMO_PLATFORM") == marker and process.status() != psutil.STATUS_ZOMBIE:
                yield process


_PORTS = range(10_000, 32_768)
"""Below those that Linux and macOS give to connections: one of these could take a port between its choice and its use."""


_claims: list[socket.socket] = []


def free_port() -> int:
    """A port of loopback that nobody listens on now, of :data:`_PORTS`, by chance.

    Platforms start beside one another, and a service may listen long after its port was chosen. So a process claims each port that
    it gets, by UDP, which no service uses: while it lasts nobody else gets the port, nor itself a second time.

    :raises WtmoError: none was found in a thousand tries.
    """
    for _ in range(1000):
        address = "127.0.0.1", _PORTS[secrets.randbelow(len(_PORTS))]
        claim = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(address)
            claim.bind(address)
            _claims.append(claim)
            return address[1]
        claim.close()
    raise WtmoError(
        f"no free port was found on 127.0.0.1 between {_PORTS[0]} and {_PORTS[-1]}", fix="end what holds them: ss -ltnp"
    )


def check_port(port: int) -> None:
    """Refuse a port that is taken, naming who holds it where that can be seen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            holder = ""
            with contextlib.suppress(psutil.Error):
                for connection in psutil.net_connections("tcp"):
                    if (
                        connection.status == psutil.CONN_LISTEN
                        and getattr(connection.laddr, "port", None) == port
                        and connection.pid
                    ):
                        holder = f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
                        break
            raise WtmoError(
                f"port {port} on 127.0.0.1 is in use{holder}", fix="stop it, or choose another: make up PORT=8081"
            ) from error
