"""Starts, finds and ends the local platform, from the side of a command."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import psutil

from utils.config import ROOT, environment
from wtmo.errors import WtmoError
from wtmo.local import airflow, generated
from wtmo.local.components import Supplies
from wtmo.local.guard import sweep
from wtmo.local.state import PlatformRecord, State, check_port

if TYPE_CHECKING:
    from pathlib import Path

START_SECONDS = 300
STOP_SECONDS = 30

Report = Callable[[str], None]


def running(state: State) -> PlatformRecord | None:
    """The platform that runs on ``state``, or None."""
    record = PlatformRecord.load(state)
    return record if record and record.alive() else None


def require_running(state: State) -> PlatformRecord:
    """The platform that runs on ``state``.

    :raises WtmoError: when none runs, or it isn't ready.
    """
    record = running(state)
    if record is None:
        raise WtmoError(f"no platform runs on {state.root}", fix="start it: make up")
    if record.state != "running":
        raise WtmoError(f"the platform on {state.root} is {record.state}", fix="`wtmo status` shows what it waits for")
    return record


class Launch:
    """A platform that is starting. Until :meth:`release` it ends with this process, however this process ends.

    :param port: of the UI; 0 takes a free one.
    :param dags: a folder of DAGs to serve beside the repository's. Default: none.
    :param supplies: what the stand-ins are given. Default: the sample's, and no faults.
    :raises WtmoError: when the port is taken or the folder can't be written.
    """

    def __init__(self, state: State, *, port: int, dags: Path | None = None, supplies: Supplies | None = None) -> None:
        supplies = supplies or Supplies()
        self.state = state
        logs = state.folder("logs")
        sweep_leftovers(state)
        if port:
            check_port(port)
        self.seconds = START_SECONDS + (generated.SECONDS if supplies.imports else 0)
        self.log = logs / "supervisor.log"
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "wtmo.local.supervisor"),
                    *("--state", str(state.root), "--port", str(port), "--leash"),
                    *(("--dags", str(dags)) if dags else ()),
                    *("--checkout", str(supplies.checkout), "--connectors", str(supplies.connectors)),
                    *(("--faults", supplies.faults) if supplies.faults else ()),
                    *(("--import-url", where.url, "--import-ref", where.ref) if (where := supplies.imports) else ()),
                ],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env=environment() | {"PYTHONPATH": f"{ROOT}:{ROOT / 'config'}"},
                start_new_session=True,
            )

    def wait(self, report: Report) -> PlatformRecord:
        """Wait until everything runs, telling ``report`` what has come up.

        :raises WtmoError: with the end of the log of what didn't.
        """
        told: dict[str, str] = {}
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            record = PlatformRecord.load(self.state)
            mine = record is not None and record.pid == self._process.pid
            if record and mine:
                for service in record.services.values():
                    if told.get(service.name) != service.state:
                        told[service.name] = service.state
                        if service.state == "running":
                            report(f"{service.name} is up")
                        elif service.name == "migrate":
                            report("making the metadata database (first start)")
                    if service.name == "import" and service.note and told.get("import note") != service.note:
                        told["import note"] = service.note
                        report(service.note)
                if record.state == "running":
                    report(generated.summary(self.state))
                    return record
            if self._process.poll() is not None:
                note = record.note if record and mine else None
                raise WtmoError(f"the platform did not start: {note or self.log.read_text().strip()}")
            time.sleep(0.1)
        self.stop()
        raise WtmoError(f"the platform was not ready after {self.seconds} s", fix=f"see the logs in {self.log.parent}")

    def release(self) -> None:
        """Let the platform outlive this process."""
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(b"keep")
                self._process.stdin.close()
        # Nobody waits for it any more: it isn't a child that was forgotten.
        self._process.returncode = 0

    def stop(self) -> None:
        """End the platform and wait until it has ended."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        sweep_leftovers(self.state)


def airflow_environment(state: State, record: PlatformRecord) -> dict[str, str]:
    """The environment in which ``airflow`` commands work on the running platform."""
    ports = airflow.Ports(**record.ports)
    imports = generated.Origin(record.settings["WTMO_IMPORT_URL"], record.settings["WTMO_IMPORT_REF"])
    return (
        environment()
        | airflow.environment(state, ports, airflow.secrets(state, ports), imports=imports)
        | record.settings
    )


@contextlib.contextmanager
def platform(
    state: State, report: Report, *, port: int = 0, keep: bool = False, supplies: Supplies | None = None
) -> Generator[PlatformRecord, None, None]:
    """The running platform, or one that is started for the length of the block. What runs already is left running.

    :param port: of the UI, when it is started here; 0 takes a free one. Default: 0.
    :param keep: leave it running after the block, unless the block fails. Default: end it.
    :param supplies: what its stand-ins are given, when it is started here. Default: as for :class:`Launch`.
    """
    if running(state) is not None:
        yield require_running(state)
        return
    launch = Launch(state, port=port, supplies=supplies)
    try:
        yield launch.wait(report)
    except BaseException:
        launch.stop()
        raise
    if keep:
        launch.release()
    else:
        report("ending the platform")
        launch.stop()


def stop(state: State) -> list[str]:
    """End the platform on ``state`` and all it left behind. Returns a line for each thing that was done."""
    record = PlatformRecord.load(state)
    if record is None:
        return []
    done = []
    if record.alive():
        os.kill(record.pid, signal.SIGTERM)
        try:
            psutil.Process(record.pid).wait(STOP_SECONDS)
            done.append("the platform has ended")
        except psutil.NoSuchProcess:
            done.append("the platform has ended")
        except psutil.TimeoutExpired:
            os.kill(record.pid, signal.SIGKILL)
            done.append(f"the supervisor (process {record.pid}) did not end within {STOP_SECONDS} s and was killed")
    left = sweep(record.marker)
    if left:
        done.append(f"{len(left)} left-over processes were killed")
    return done


def sweep_leftovers(state: State) -> None:
    """Kill what a platform that is gone left running, so that a new one starts clean."""
    record = PlatformRecord.load(state)
    if record and not record.alive():
        sweep(record.marker)


def log_folder(state: State) -> Path:
    """Where every process of the platform writes its log."""
    return state.root / "logs"
