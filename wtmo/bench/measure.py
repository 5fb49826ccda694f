"""Figures, the machine they are of, and what can be read from a running platform without disturbing it."""

from __future__ import annotations

import contextlib
import platform as python_platform
import re
import resource
import ssl
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from utils.config import ROOT, environment
from wtmo.local import calls, platform
from wtmo.local.state import PlatformRecord, State, marked_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

RESOURCES = ROOT / "resources" / "bench"

_EXECUTION_API = re.compile(r"request finished .* path=/execution/")
_BLOCKED = re.compile(r"async thread was blocked")


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    :param values: one value a run, in ``unit``.
    :param limit: what the median must not exceed. Default: none.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    limit: float | None = None

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)

    @property
    def passed(self) -> bool:
        """Whether it is within its limit."""
        return self.limit is None or self.median <= self.limit


def machine() -> str:
    """Processor, cores, memory, system and Python of this machine."""
    model = python_platform.processor() or python_platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = psutil.virtual_memory().total / 2**30
    system = f"{python_platform.system()} {python_platform.release()}"
    return f"{model}, {psutil.cpu_count()} cores, {memory:.0f} GiB, {system}, Python {python_platform.python_version()}"


@contextlib.contextmanager
def state() -> Generator[State, None, None]:
    """A state folder for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="wtmo-bench-") as folder:
        yield State(Path(folder))


def start(state: State, dags: Path | None = None) -> platform.Launch:
    """A platform that runs on ``state``, with a folder of DAGs beside the repository's."""
    launch = platform.Launch(state, port=0, dags=dags)
    launch.wait(lambda _: None)
    return launch


@contextlib.contextmanager
def running(state: State, dags: Path | None = None) -> Generator[PlatformRecord, None, None]:
    """A platform for the length of the block."""
    launch = start(state, dags)
    try:
        yield platform.require_running(state)
    finally:
        launch.stop()


def processes(record: PlatformRecord) -> list[psutil.Process]:
    """Every process of a running platform."""
    supervisor = psutil.Process(record.pid)
    # PostgreSQL's own processes hide their environment: they are found as children.
    found = {p.pid: p for p in marked_processes(record.marker)}
    found |= {p.pid: p for p in [supervisor, *supervisor.children(recursive=True)]}
    return list(found.values())


def service(record: PlatformRecord, name: str) -> list[psutil.Process]:
    """The processes of one service, its children included."""
    pid = record.services[name].pid
    if pid is None:
        return []
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu(found: Iterable[psutil.Process]) -> float:
    """CPU seconds of processes, and of their children that have ended."""
    total = 0.0
    for process in found:
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total


def memory(found: Iterable[psutil.Process]) -> int:
    """Bytes that processes hold, shared pages counted once (where the system tells)."""
    total = 0
    for process in found:
        with contextlib.suppress(psutil.Error):
            info = process.memory_full_info()
            total += getattr(info, "pss", info.rss)
    return total


def child_cpu(command: list[str], settings: dict[str, str]) -> float:
    """CPU seconds of a process from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment() | settings, cwd=ROOT, check=True, capture_output=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def wall(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


def pods_api(state: State, record: PlatformRecord) -> Any:
    """A client of the platform's pod server."""
    from kubernetes import client as kubernetes

    configuration = kubernetes.Configuration(
        host=f"https://127.0.0.1:{record.ports['pods']}",
        api_key={"authorization": f"Bearer {state.secret('service_token').read_text()}"},
    )
    configuration.ssl_ca_cert = record.settings["WTMO_GKE_CA_FILE"]
    return kubernetes.CoreV1Api(kubernetes.ApiClient(configuration))


_LISTING = re.compile(r"GET \S+/pods")


class Counters:
    """Counts from now on: what the stand-ins and Airflow's execution API are asked, what the triggerer complains of."""

    def __init__(self, state: State, record: PlatformRecord) -> None:
        self._state = state
        self._record = record
        self._before = self._read()

    def difference(self) -> Counter[str]:
        """``pods``, ``bigquery``, ``execution``: calls; ``blocked``: log lines of the triggerer about its event loop.

        ``single_pods``: those of ``pods`` that are about one pod. The search for orphans lists pods, whatever runs.
        """
        return self._read() - self._before

    def _read(self) -> Counter[str]:
        ports = self._record.ports
        pods = self._calls(f"https://127.0.0.1:{ports['pods']}")
        return Counter({
            "pods": pods.total(),
            "single_pods": sum(count for call, count in pods.items() if not _LISTING.fullmatch(call)),
            "bigquery": self._calls(f"http://127.0.0.1:{ports['bigquery']}").total(),
            "execution": self._lines("api-server", _EXECUTION_API),
            "blocked": self._lines("triggerer", _BLOCKED),
        })

    def _calls(self, url: str) -> Counter[str]:
        token = self._state.secret("service_token").read_text()
        trust = ssl.create_default_context(cafile=self._record.settings["WTMO_GKE_CA_FILE"])
        answer = httpx.get(f"{url}{calls.PATH}", headers={"Authorization": f"Bearer {token}"}, verify=trust)
        return Counter(answer.raise_for_status().json())

    def _lines(self, service: str, pattern: re.Pattern[str]) -> int:
        log = platform.log_folder(self._state) / f"{service}.log"
        return sum(1 for line in log.read_text(errors="replace").splitlines() if pattern.search(line))
