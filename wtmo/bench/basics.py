"""The suites that measure one thing each: imports, set-up, start, tasks, pods, queries."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from utils.config import ROOT
from wtmo.bench import measure
from wtmo.bench.measure import Figure
from wtmo.graph import loading
from wtmo.local import airflow, day, platform, warehouse

NOOP_DAGS = measure.RESOURCES / "noop"
NOOP_TASKS = 60
PODS = 30
POD_CONCURRENCY = 4
IDLE_SECONDS = 20
PARSE_LIMIT = 2.4
"""CPU seconds: what production needs for its 64 files on Airflow 2.10."""

_PARSE_TWICE = """
import time
from wtmo.graph.loading import load_dags
load_dags()
begin = time.process_time()
load_dags()
print(time.process_time() - begin)
"""


def imports(runs: int) -> list[Figure]:
    """CPU seconds of a process that imports a module and ends; of all DAG files, when what they import is loaded."""
    with tempfile.TemporaryDirectory() as home:
        settings = {
            "AIRFLOW_HOME": home,
            "AIRFLOW_CONFIG": str(ROOT / "config" / "airflow.cfg"),
            "WTMO_ROOT": str(ROOT),
        }
        figures = []
        for module in ("airflow.sdk", "utils.gcp"):
            values = [measure.child_cpu([sys.executable, "-c", f"import {module}"], settings) for _ in range(runs + 1)]
            figures.append(Figure(f"import {module}", "CPU-s", tuple(values[1:])))
    values = [_parse() for _ in range(runs)]
    return [*figures, Figure("parse all of dags/ in a warm process", "CPU-s", tuple(values), PARSE_LIMIT)]


def _parse() -> float:
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-c", _PARSE_TWICE]
        done = subprocess.run(
            command, env=loading.settings(Path(home)), cwd=ROOT, check=True, capture_output=True, text=True, timeout=300
        )
    return float(done.stdout)


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
    with measure.state() as state:
        measure.start(state).stop()
        seconds, megabytes, processor = [], [], []
        for _ in range(runs):
            begin = time.monotonic()
            launch = measure.start(state)
            seconds.append(time.monotonic() - begin)
            record = platform.require_running(state)
            time.sleep(IDLE_SECONDS / 2)
            megabytes.append(measure.memory(measure.processes(record)) / 1e6)
            before = measure.cpu(measure.processes(record))
            time.sleep(IDLE_SECONDS)
            processor.append((measure.cpu(measure.processes(record)) - before) / IDLE_SECONDS)
            launch.stop()
    return [
        Figure("warm start, all healthy", "s", tuple(seconds)),
        Figure("idle platform, memory", "MB", tuple(megabytes)),
        Figure("idle platform, processor", "CPU-s/s", tuple(processor)),
    ]


def tasks(runs: int) -> list[Figure]:
    """What a task that does nothing costs, the idle platform's use taken off, and one pass of the DAG processor."""
    seconds, processor, passes = [], [], []
    with measure.state() as state:
        launch = measure.start(state, dags=NOOP_DAGS)
        try:
            record = platform.require_running(state)
            time.sleep(10)
            before, begin = measure.cpu(measure.processes(record)), time.monotonic()
            time.sleep(IDLE_SECONDS)
            idle = (measure.cpu(measure.processes(record)) - before) / (time.monotonic() - begin)
            for number in range(runs):
                before, begin = measure.cpu(measure.processes(record)), time.monotonic()
                results = day.run_day(
                    state, record, dt.date(2026, 5, 1 + number), report=lambda _: None, dags=("bench_noop",)
                )
                took = time.monotonic() - begin
                if not day.succeeded(results) or len(results) != NOOP_TASKS:
                    raise RuntimeError(f"the bench DAG did not succeed: {results}")
                seconds.append(took / NOOP_TASKS)
                processor.append((measure.cpu(measure.processes(record)) - before - idle * took) / NOOP_TASKS)
            settings = platform.airflow_environment(state, record)
            for _ in range(runs):
                passes.append(measure.child_cpu([*airflow.component("dag-processor"), "--num-runs", "1"], settings))
        finally:
            launch.stop()
    return [
        Figure(f"no-op task ({NOOP_TASKS} at once, {airflow.PARALLELISM} slots)", "s", tuple(seconds)),
        Figure("no-op task", "CPU-s", tuple(processor)),
        Figure("one DAG-processor pass, start of the process included", "CPU-s", tuple(passes)),
    ]


def pods_and_queries(runs: int) -> list[Figure]:
    """Pods a minute on the pod server, and the time of a trivial query beyond the jobs' set running time."""
    with measure.state() as state:
        launch = measure.start(state)
        try:
            record = platform.require_running(state)
            api = measure.pods_api(state, record)
            rates = []
            for run in range(runs):
                begin = time.monotonic()
                with ThreadPoolExecutor(POD_CONCURRENCY) as pool:
                    list(pool.map(lambda n, r=run: _run_pod(api, f"bench-{r}-{n}"), range(PODS)))
                rates.append(PODS / (time.monotonic() - begin) * 60)
            bigquery = warehouse.client(record)
            bigquery.query_and_wait("SELECT 1")
            queries = [measure.wall(lambda: list(bigquery.query_and_wait("SELECT 1"))) for _ in range(10 * runs)]
        finally:
            launch.stop()
    return [
        Figure(f"pods a minute ({POD_CONCURRENCY} at once)", "1/min", tuple(rates)),
        Figure("SELECT 1, a job's 0.5 s of running time included", "s", tuple(queries)),
    ]


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
