"""Starts the processes of the local platform, keeps them running, and ends them all.

Run as ``python -m wtmo.local.supervisor --state DIR --port N [--leash]``; people use ``wtmo up``. Every process is a child of this
one and carries ``WTMO_PLATFORM`` in its environment. A process that dies is started again, up to five times in five
minutes; what it stored is on disk. The supervisor ends on SIGTERM or SIGINT, and with ``--leash`` also when its standard
input closes before the word ``keep`` came: so the platform doesn't outlive the command that was starting it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

from utils.config import ROOT
from utils.config import environment as own_environment
from wtmo.errors import WtmoError
from wtmo.local import airflow, components, generated, tls
from wtmo.local.components import RESTARTS, Service, Supplies
from wtmo.local.state import PlatformRecord, ServiceRecord, State, check_port, free_port, marked_processes

if TYPE_CHECKING:
    from wtmo.local.generated import Origin

STARTUP_SECONDS = 240
RESTART_WINDOW = 300
STOP_SECONDS = 10


class Stop(Exception):
    """The platform was asked to end."""


class Supervisor:
    """The platform's one parent process.

    :param port: the port of Airflow's UI; 0 takes a free one.
    :param supplies: what the stand-ins are given.
    :param dags: a folder of DAGs to serve beside the repository's and the sample's. Default: none.
    """

    def __init__(self, state: State, port: int, supplies: Supplies, dags: Path | None = None) -> None:
        self.state = state
        self.supplies = supplies
        self.dags = dags
        self.stopping = threading.Event()
        self.services: list[Service] = []
        self.guard: subprocess.Popen[bytes] | None = None
        self.record = PlatformRecord(os.getpid(), psutil.Process().create_time(), marker=uuid.uuid4().hex)
        self.ports = airflow.Ports(ui=port or free_port(), **{
            name: free_port() for name in airflow.Ports.__dataclass_fields__ if name != "ui"
        })  # fmt: skip

    # -- life ----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Start everything, watch it until asked to stop, end everything. Returns the exit status."""
        failure: str | None = None
        try:
            self.record.save(self.state)
            for log in self.state.folder("logs").glob("*.log"):
                if log.name != "supervisor.log":
                    log.replace(log.with_suffix(".log.1"))
            self._start_guard()
            self._start_all()
            self._note("running", ui=f"http://localhost:{self.ports.ui}")
            while not self.stopping.wait(0.5):
                self._watch()
        except Stop:
            pass
        except (WtmoError, OSError) as error:
            failure = str(error)
        finally:
            self._note("stopping")
            self._stop_all()
            self._note("failed" if failure else "stopped", note=failure)
        return 1 if failure else 0

    def _note(self, state: str, *, ui: str | None = None, note: str | None = None) -> None:
        self.record.state, self.record.ui = state, ui or self.record.ui
        self.record.note = note or self.record.note
        with contextlib.suppress(OSError):
            self.record.save(self.state)

    def _start_guard(self) -> None:
        self.guard = subprocess.Popen(
            [sys.executable, "-m", "wtmo.local.guard", self.record.marker],
            stdin=subprocess.PIPE,
            env=self._base_environment(),
            start_new_session=True,
        )

    def _base_environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in own_environment().items() if not k.startswith(("AIRFLOW_", "AIRFLOW__"))}
        paths = f"{ROOT}:{ROOT / 'config'}"
        return inherited | {"WTMO_PLATFORM": self.record.marker, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}

    # -- starting ------------------------------------------------------------------------------------------------

    def _start_all(self) -> None:
        check_port(self.ports.ui)
        tls.ensure_certificate(self.state.folder("secrets"))
        secrets = airflow.secrets(self.state, self.ports)
        base = self._base_environment()
        self.record.ports = asdict(self.ports)
        imports = self.supplies.imports or generated.sample(self.state)
        self.record.settings = airflow.stand_in_settings(self.state, self.ports) | imports.settings
        checkout = self.supplies.checkout if self.supplies.checkout != Supplies.checkout else None
        airflow_environment = base | airflow.environment(
            self.state, self.ports, secrets, imports=imports, checkout=checkout, dags=self.dags
        )
        importing = self._begin_import(imports, base)
        database = components.database(self.state, self.ports, base, secrets["postgres"])
        first = [database, *components.stand_ins(self.state, self.ports, base, self.supplies)]
        for service in first:
            self._start(service)
        self._await([database])
        self._migrate(airflow_environment)
        self.record.settings["AIRFLOW_API_URL"] = f"http://127.0.0.1:{self.ports.ui}"
        second = components.airflow_processes(self.ports, airflow_environment)
        # The dag-processor parses nothing while it imports: it gets a folder that is filled.
        for service in sorted(second, key=lambda service: service.name == "dag-processor"):
            if service.name == "dag-processor":
                self._end_import(importing, imports)
            self._start(service)
        self._await([*first, *second])

    def _begin_import(self, imports: Origin, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start the import that the bundle of imported DAGs begins with; it needs nothing else that runs."""
        log = self.state.folder("logs") / "import.log"
        self.record.services["import"] = ServiceRecord("import", str(log))
        self._note("starting")
        with log.open("ab") as out:
            return subprocess.Popen(
                generated.command(self.state, imports),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def _end_import(self, process: subprocess.Popen[bytes], imports: Origin) -> None:
        """Wait for the import. One that brings nothing is an error, unless an older one of the same source is there."""
        record = self.record.services["import"]
        log = Path(record.log)
        end = time.monotonic() + generated.SECONDS
        while process.poll() is None:
            if self.stopping.is_set() or time.monotonic() > end:
                _kill_tree(process.pid)
                raise Stop if self.stopping.is_set() else WtmoError(f"the import took too long: see {log}")
            if (line := _tail(log, 1).strip()) != record.note and line.startswith("import: "):
                record.note = line
                self._note("starting")
            time.sleep(0.1)
        if process.returncode not in {0, 1} and not generated.serves(self.state, imports):
            raise WtmoError(f"no DAG could be imported from {imports.url}:\n{_tail(log)}\n  whole log: {log}")
        del self.record.services["import"]

    def _migrate(self, environment: dict[str, str]) -> None:
        """Bring the database to this version's tables; only when the versions have changed since the last time."""
        done = self.state.root / "postgres-migrated"
        lock = hashlib.sha256((ROOT / "requirements.txt").read_bytes()).hexdigest()
        identity = f"{lock} {(self.state.root / 'postgres' / 'PG_VERSION').stat().st_mtime_ns}"
        if done.exists() and done.read_text() == identity:
            return
        log = self.state.folder("logs") / "migrate.log"
        self.record.services["migrate"] = ServiceRecord("migrate", str(log))
        self._note("starting")
        with log.open("ab") as out:
            process = subprocess.Popen(
                airflow.component("db", "migrate"), env=environment, stdout=out, stderr=out, start_new_session=True
            )
            end = time.monotonic() + STARTUP_SECONDS
            while process.poll() is None:
                if self.stopping.is_set() or time.monotonic() > end:
                    _kill_tree(process.pid)
                    raise Stop if self.stopping.is_set() else WtmoError(f"the migration took too long: see {log}")
                time.sleep(0.1)
        if process.returncode:
            raise WtmoError(f"the metadata database could not be made:\n{_tail(log)}\n  whole log: {log}")
        done.write_text(identity)
        del self.record.services["migrate"]

    def _start(self, service: Service) -> None:
        log = self.state.folder("logs") / f"{service.name}.log"
        with log.open("ab") as out:
            service.process = subprocess.Popen(
                service.argv,
                env=service.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                user=service.user,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        if service not in self.services:
            self.services.append(service)
            self.record.services[service.name] = ServiceRecord(service.name, str(log), url=service.url)
        self.record.services[service.name].pid = service.child.pid
        self.record.services[service.name].state = "starting"
        self._note(self.record.state)

    def _await(self, services: list[Service]) -> None:
        """Wait until all of them are ready; one that ends or takes too long is the error."""
        waiting = list(services)
        started = time.monotonic()
        while waiting:
            if self.stopping.is_set():
                raise Stop
            for service in list(waiting):
                if service.child.poll() is not None:
                    raise WtmoError(self._death(service))
                if service.ready():
                    waiting.remove(service)
                    self.record.services[service.name].state = "running"
                    self._note("starting")
                elif time.monotonic() - started > service.seconds:
                    raise WtmoError(
                        f"{service.name} was not ready after {service.seconds:.0f} s:\n{_tail(self._log(service))}\n"
                        f"  whole log: {self._log(service)}"
                    )
            time.sleep(0.1)

    # -- watching ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self.guard and self.guard.poll() is not None:
            self._start_guard()
        for service in self.services:
            record = self.record.services[service.name]
            if service.child.poll() is None:
                if record.state == "starting" and service.ready():
                    record.state = "running"
                    self._note("running")
                continue
            if record.state == "failed":
                continue
            record.note = self._death(service).splitlines()[0]
            # What a killed process leaves behind (a scheduler's workers) would work beside its successor.
            _kill_session(service.child.pid, self.record.marker)
            service.deaths.append(time.monotonic())
            if len(service.deaths) == RESTARTS and service.deaths[-1] - service.deaths[0] < RESTART_WINDOW:
                record.state = "failed"
                record.note = f"ended {RESTARTS} times within {RESTART_WINDOW} s; {record.note}"
                self._note("running")
                continue
            record.restarts += 1
            self._start(service)

    def _death(self, service: Service) -> str:
        code = service.child.returncode
        how = f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        log = self._log(service)
        return f"{service.name} {how}: see {log}\n{_tail(log)}"

    def _log(self, service: Service) -> Path:
        return Path(self.record.services[service.name].log)

    # -- ending --------------------------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """End the processes, the last started first; what does not end in time is killed, and so is what they left."""
        from wtmo.local.guard import sweep

        layers = [
            [s for s in self.services if s.name != "postgres"],
            [s for s in self.services if s.name == "postgres"],
        ]
        for layer in layers:
            running = [s for s in reversed(layer) if s.child.poll() is None]
            for service in running:
                service.child.send_signal(service.stop_signal)
            end = time.monotonic() + STOP_SECONDS
            for service in running:
                try:
                    service.child.wait(max(0.1, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    service.child.kill()
                    service.child.wait()
                self.record.services[service.name].state = "stopped"
        if self.guard and self.guard.stdin:
            with contextlib.suppress(OSError):
                self.guard.stdin.write(b"done")
                self.guard.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.guard.wait(5)
        sweep(self.record.marker)


def _die_with_parent() -> None:
    """Linux: end when the supervisor ends (PR_SET_PDEATHSIG). The guard does the same for what these start."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _kill_session(leader: int, marker: str) -> None:
    """Kill what a dead service left in its session."""
    for process in marked_processes(marker):
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == leader:
                process.kill()


def _kill_tree(pid: int) -> None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.Error):
                each.kill()


def _tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented, without reading all of it."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        return "\n".join(f"    {line}" for line in file.read().decode(errors="replace").splitlines()[-lines:])
    return "    (no log)"


def _hold_lock(state: State) -> IO[str]:
    """One platform a folder: the lock is held as long as the supervisor lives."""
    lock = (state.folder("") / "platform.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise WtmoError(
            f"a platform already runs on {state.root}", fix="`wtmo status` shows it, `wtmo down` ends it"
        ) from error
    return lock


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="wtmo.local.supervisor")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--dags", type=Path)
    parser.add_argument("--checkout", type=Path, default=Supplies.checkout)
    parser.add_argument("--connectors", type=Path, default=Supplies.connectors)
    parser.add_argument("--faults", metavar="SEED:RATE")
    parser.add_argument("--import-url", metavar="URL")
    parser.add_argument("--import-ref", metavar="REF", default="HEAD")
    parser.add_argument("--leash", action="store_true")
    options = parser.parse_args()
    state = State(options.state)
    try:
        lock = _hold_lock(state)
    except WtmoError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    imports = generated.Origin(options.import_url, options.import_ref) if options.import_url else None
    supplies = Supplies(options.checkout.resolve(), options.connectors.resolve(), options.faults, imports)
    supervisor = Supervisor(state, options.port, supplies, options.dags)

    def stop(*_: Any) -> None:
        supervisor.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if options.leash:

        def leash() -> None:
            # Not by sys.stdin: a thread that still reads from it makes the exit of a stopped platform a fatal error.
            if b"keep" not in io.FileIO(0, closefd=False).read():
                supervisor.stopping.set()

        threading.Thread(target=leash, daemon=True).start()
    with lock:
        return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
