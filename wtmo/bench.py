"""``make bench``: what the platform costs, in medians of several runs, with the machine they were measured on.

Seconds are wall-clock seconds; CPU seconds are user and system time of all processes concerned, which other load on the machine
changes least. Memory is the proportional set size (Linux; resident size elsewhere), which counts shared pages once.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import platform as python_platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console
from rich.table import Table

from utils.config import ROOT, environment
from wtmo.local import airflow, day, platform, warehouse
from wtmo.local.state import PlatformRecord, State, marked_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

NOOP_DAGS = ROOT / "resources" / "bench"
NOOP_TASKS = 60
PODS = 30
POD_CONCURRENCY = 4
IDLE_SECONDS = 20

err = Console(stderr=True)


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    :param values: one value a run, in ``unit``.
    """

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)


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


def imports(runs: int) -> list[Figure]:
    """CPU seconds of a process that imports a module and ends."""
    with tempfile.TemporaryDirectory() as home:
        settings = {
            "AIRFLOW_HOME": home,
            "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
            "WTMO_ROOT": str(ROOT),
        }
        figures = []
        for module in ("airflow.sdk", "utils.gcp"):
            values = [_child_cpu([sys.executable, "-c", f"import {module}"], settings) for _ in range(runs + 1)]
            figures.append(Figure(f"import {module}", "CPU-s", tuple(values[1:])))
    return figures


def set_up(runs: int) -> list[Figure]:
    """Wall seconds of `make setup` in a fresh clone of HEAD, the package cache of this machine as it is."""
    values = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder) / "clone"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            begin = time.monotonic()
            subprocess.run(["make", "-C", str(clone), "setup"], check=True, stdout=2)
            values.append(time.monotonic() - begin)
    return [Figure("cold set-up (make setup in a fresh clone)", "s", tuple(values))]


def warm_start(runs: int) -> list[Figure]:
    """Start of a platform that has run before, and its memory when idle."""
    with _state() as state:
        _start(state).stop()
        seconds, megabytes, processor = [], [], []
        for _ in range(runs):
            begin = time.monotonic()
            launch = _start(state)
            seconds.append(time.monotonic() - begin)
            record = platform.require_running(state)
            time.sleep(IDLE_SECONDS / 2)
            megabytes.append(memory(record) / 1e6)
            before = _cpu(record)
            time.sleep(IDLE_SECONDS)
            processor.append((_cpu(record) - before) / IDLE_SECONDS)
            launch.stop()
    return [
        Figure("warm start, all healthy", "s", tuple(seconds)),
        Figure("idle platform, memory", "MB", tuple(megabytes)),
        Figure("idle platform, processor", "CPU-s/s", tuple(processor)),
    ]


def tasks(runs: int) -> list[Figure]:
    """What a task that does nothing costs, the idle platform's use taken off, and one pass of the DAG processor."""
    seconds, processor, passes = [], [], []
    with _state() as state:
        launch = _start(state, dags=NOOP_DAGS)
        try:
            record = platform.require_running(state)
            time.sleep(10)
            before, begin = _cpu(record), time.monotonic()
            time.sleep(IDLE_SECONDS)
            idle = (_cpu(record) - before) / (time.monotonic() - begin)
            for number in range(runs):
                before, begin = _cpu(record), time.monotonic()
                results = day.run_day(
                    state, record, dt.date(2026, 5, 1 + number), report=lambda _: None, dags=("bench_noop",)
                )
                took = time.monotonic() - begin
                if not day.succeeded(results) or len(results) != NOOP_TASKS:
                    raise RuntimeError(f"the bench DAG did not succeed: {results}")
                seconds.append(took / NOOP_TASKS)
                processor.append((_cpu(record) - before - idle * took) / NOOP_TASKS)
            settings = platform.airflow_environment(state, record)
            for _ in range(runs):
                passes.append(_child_cpu([*airflow.component("dag-processor"), "--num-runs", "1"], settings))
        finally:
            launch.stop()
    return [
        Figure(f"no-op task ({NOOP_TASKS} at once, {airflow.PARALLELISM} slots)", "s", tuple(seconds)),
        Figure("no-op task", "CPU-s", tuple(processor)),
        Figure("one DAG-processor pass, start of the process included", "CPU-s", tuple(passes)),
    ]


def pods_and_queries(runs: int) -> list[Figure]:
    """Pods a minute on the pod server, and the time of a trivial query beyond the jobs' set running time."""
    from kubernetes import client as kubernetes

    with _state() as state:
        launch = _start(state)
        try:
            record = platform.require_running(state)
            configuration = kubernetes.Configuration(
                host=f"https://127.0.0.1:{record.ports['pods']}",
                api_key={"authorization": f"Bearer {state.secret('service_token').read_text()}"},
            )
            configuration.ssl_ca_cert = record.settings["WTMO_GKE_CA_FILE"]
            api = kubernetes.CoreV1Api(kubernetes.ApiClient(configuration))
            rates = []
            for run in range(runs):
                begin = time.monotonic()
                with ThreadPoolExecutor(POD_CONCURRENCY) as pool:
                    list(pool.map(lambda n, r=run: _run_pod(api, f"bench-{r}-{n}"), range(PODS)))
                rates.append(PODS / (time.monotonic() - begin) * 60)
            bigquery = warehouse.client(record)
            bigquery.query_and_wait("SELECT 1")
            queries = [_wall(lambda: list(bigquery.query_and_wait("SELECT 1"))) for _ in range(10 * runs)]
        finally:
            launch.stop()
    return [
        Figure(f"pods a minute ({POD_CONCURRENCY} at once)", "1/min", tuple(rates)),
        Figure("SELECT 1, a job's 0.5 s of running time included", "s", tuple(queries)),
    ]


SUITES: dict[str, Callable[[int], list[Figure]]] = {
    "imports": imports,
    "tasks": tasks,
    "start": warm_start,
    "pods": pods_and_queries,
    "set-up": set_up,
}


def _run_pod(api: Any, name: str) -> None:
    from utils.images import image

    body = {
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "base", "image": image("kpi-forecasting"), "args": ["--help"]}],
        },
    }
    api.create_namespaced_pod("default", body)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        phase = api.read_namespaced_pod(name, "default").status.phase
        if phase == "Succeeded":
            return
        if phase == "Failed":
            raise RuntimeError(f"pod {name} failed")
        time.sleep(0.05)
    raise TimeoutError(f"pod {name} was not done after 60 s")


@contextlib.contextmanager
def _state() -> Generator[State, None, None]:
    with tempfile.TemporaryDirectory(prefix="wtmo-bench-") as folder:
        yield State(Path(folder))


def _start(state: State, dags: Path | None = None) -> platform.Launch:
    launch = platform.Launch(state, port=0, dags=dags)
    launch.wait(lambda _: None)
    return launch


def processes(record: PlatformRecord) -> list[psutil.Process]:
    """Every process of a running platform."""
    supervisor = psutil.Process(record.pid)
    # PostgreSQL's own processes hide their environment: they are found as children.
    found = {p.pid: p for p in marked_processes(record.marker)}
    found |= {p.pid: p for p in [supervisor, *supervisor.children(recursive=True)]}
    return list(found.values())


def _cpu(record: PlatformRecord) -> float:
    total = 0.0
    for process in processes(record):
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total


def memory(record: PlatformRecord) -> int:
    """Bytes that the platform's processes hold, shared pages counted once (where the system tells)."""
    total = 0
    for process in processes(record):
        with contextlib.suppress(psutil.Error):
            info = process.memory_full_info()
            total += getattr(info, "pss", info.rss)
    return total


def _child_cpu(command: list[str], settings: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment() | settings, cwd=ROOT, check=True, capture_output=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def _wall(call: Callable[[], object]) -> float:
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites and print a table, or JSON."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all when none is named")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"unknown suite {', '.join(sorted(unknown))}; known: {', '.join(SUITES)}")
    figures: list[Figure] = []
    for name in options.suites or SUITES:
        err.print(f"bench: {name} ...", highlight=False)
        figures += SUITES[name](options.runs)
    if options.json:
        rows = [asdict(figure) | {"median": figure.median} for figure in figures]
        sys.stdout.write(json.dumps({"machine": machine(), "figures": rows}, indent=1) + "\n")
        return 0
    table = Table(title=machine(), box=None, title_justify="left")
    for column in ("figure", "median", "least", "most", "unit", "runs"):
        table.add_column(column, justify="left" if column in {"figure", "unit"} else "right")
    for figure in figures:
        numbers = (figure.median, min(figure.values), max(figure.values))
        table.add_row(figure.name, *(f"{n:.2f}" for n in numbers), figure.unit, str(len(figure.values)))
    Console(soft_wrap=True).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
