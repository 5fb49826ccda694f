"""The same queries of the sample in pods and as BigQuery jobs that Airflow submits itself: what they cost, what they leave.

The queries are those of ``resources/bench/queries``. Both engines run on one platform, one after the other, each into tables
that are not there yet. Rows, schemas and labels must be the same: a difference ends the bench with an error.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from utils.config import WAREHOUSE_PROJECT
from utils.labels import label_value
from wtmo.bench import measure
from wtmo.bench.measure import Counters, Figure
from wtmo.bench.waiting import Run, await_, busy_workers
from wtmo.errors import WtmoError
from wtmo.local import api, day, warehouse

if TYPE_CHECKING:
    from collections import Counter

    import airflow_client.client as airflow

    from wtmo.local.state import PlatformRecord, State

DAGS = measure.RESOURCES / "queries"
DAYS = 10
CLIENTS = 20
FIRST_DAY = dt.date(2026, 6, 1)
RUN_SECONDS = 1800
IDLE_SECONDS = 15
SLOT_SAMPLE_SECONDS = 0.2

MOST_OF_POD = 0.1
"""Share of the pod's time that a native task may take from its start to the start of its job."""

TABLES = (
    "telemetry_derived.event_events_v1",
    "telemetry_derived.main_events_v1",
    "telemetry_derived.clients_daily_v6",
    "firefox_desktop_derived.baseline_clients_daily_v1",
    "firefox_desktop_derived.metrics_clients_daily_v1",
)
QUERIES = DAYS * len(TABLES)

_SOURCES = (
    ("telemetry", "event_v4"),
    ("telemetry", "main_v5"),
    ("firefox_desktop", "baseline_v1"),
    ("firefox_desktop", "metrics_v1"),
)


@dataclass(frozen=True)
class Outcome:
    """What the run of one engine came to.

    :param wall: seconds from the run's start to its end.
    :param processor: CPU seconds of the whole platform, without what it uses when idle.
    :param slots: seconds that workers of the executor were busy, over all workers.
    :param calls: of APIs; see :class:`wtmo.bench.measure.Counters`.
    :param job_starts: seconds from each task's start to its job's.
    :param tables: content and schema of every table, to compare.
    :param labels: of each task's job, by day and task, without those that name the DAG and its run.
    """

    wall: float
    processor: float
    slots: float
    calls: Counter[str]
    job_starts: tuple[float, ...]
    tables: dict[str, Any]
    labels: dict[tuple[dt.date, str], dict[str, str]]


def queries(_: int) -> list[Figure]:
    """50 queries by each engine: wall and worker seconds, API calls, seconds to the start of the job.

    It runs once, whatever the number of runs: the spread is that of the 50 tasks.
    """
    with measure.state() as state, measure.running(state, DAGS) as record, api.client(record) as client:
        fill(state, record, days=DAYS)
        measured = measure.cpu(measure.processes(record))
        time.sleep(IDLE_SECONDS)
        idle = (measure.cpu(measure.processes(record)) - measured) / IDLE_SECONDS
        pod, native = (run(state, record, client, engine, days=DAYS, idle=idle) for engine in ("pod", "native"))
    check_same(pod, native)
    figures = []
    for name, outcome in (("pod", pod), ("native", native)):
        figures += [
            Figure(f"{QUERIES} queries, {name}: wall time", "s", (outcome.wall,)),
            Figure(f"a query, {name}: processor of the platform", "CPU-s", (outcome.processor / QUERIES,)),
            Figure(f"a query, {name}: a worker is busy", "s", (outcome.slots / QUERIES,)),
            Figure(f"a query, {name}: calls to BigQuery", "", (outcome.calls["bigquery"] / QUERIES,)),
            Figure(f"a query, {name}: calls to Kubernetes", "", (outcome.calls["pods"] / QUERIES,)),
            Figure(f"a query, {name}: calls to Airflow", "", (outcome.calls["execution"] / QUERIES,)),
        ]
    slow = Figure("from a task's start to its job's, pod", "s", pod.job_starts)
    fast = Figure("from a task's start to its job's, native", "s", native.job_starts, slow.median * MOST_OF_POD)
    return [*figures, slow, fast]


def fill(state: State, record: PlatformRecord, *, days: int) -> None:
    """Make pings of some days, and stable tables of them. Duplicates stay: both engines read them."""
    client = warehouse.client(record)
    for number in range(days):
        date = FIRST_DAY + dt.timedelta(days=number)
        day.seed(state, record, date, seeds=None, clients=CLIENTS, report=lambda _: None)
    for namespace, table in _SOURCES:
        client.create_dataset(f"{WAREHOUSE_PROJECT}.{namespace}_stable", exists_ok=True)
        name = f"{WAREHOUSE_PROJECT}.{namespace}_{{}}.{table}"
        client.copy_table(name.format("live"), name.format("stable")).result()


def run(
    state: State, record: PlatformRecord, client: airflow.ApiClient, engine: str, *, days: int, idle: float = 0.0
) -> Outcome:
    """Run the queries of some days by one engine, into tables that are not there yet.

    :param days: how many days, of five queries each.
    :param idle: CPU seconds a second that the platform uses when idle. Default: 0.
    :raises WtmoError: a task failed, or has not one job.
    """
    bigquery = warehouse.client(record)
    for table in TABLES:
        bigquery.delete_table(f"{WAREHOUSE_PROJECT}.{table}", not_found_ok=True)
    counters, processor = Counters(state, record), measure.cpu(measure.processes(record))
    begin = time.monotonic()
    runs = {}
    for date in (FIRST_DAY + dt.timedelta(days=number) for number in range(days)):
        midnight = dt.datetime.combine(date, dt.time(), dt.UTC)
        runs[date] = Run(state, record, client, f"bench_queries_{engine}", midnight)
    with _Slots(record) as slots:
        await_(lambda: all(r.states().keys() <= day.FINISHED for r in runs.values()), f"{engine} to end", RUN_SECONDS)
    wall = time.monotonic() - begin
    processor = measure.cpu(measure.processes(record)) - processor - idle * wall
    calls = counters.difference()
    instances = {(date, label_value(task.task_id)): task for date, each in runs.items() for task in each.instances()}
    if bad := sorted(f"{task} of {date}" for (date, task), i in instances.items() if i.state.value != "success"):
        raise WtmoError(f"{len(bad)} of {len(instances)} tasks in {engine} did not succeed: {', '.join(bad)}")
    jobs = _jobs(bigquery, runs)
    if jobs.keys() != instances.keys():
        raise WtmoError(f"{len(instances)} tasks in {engine} have {len(jobs)} jobs")
    return Outcome(
        wall=wall,
        processor=processor,
        slots=slots.seconds,
        calls=calls,
        job_starts=tuple((job.started - instances[key].start_date).total_seconds() for key, job in jobs.items()),
        tables={table: _content(bigquery, table) for table in TABLES},
        labels={(date, task): _labels(job, runs[date]) for (date, task), job in jobs.items()},
    )


def check_same(pod: Outcome, native: Outcome) -> None:
    """Compare what the engines left.

    :raises WtmoError: tables or labels differ; the message says which.
    """
    if different := [table for table in TABLES if pod.tables[table] != native.tables[table]]:
        raise WtmoError(
            "\n".join(
                f"{table} is not the same: in pods {pod.tables[table]}, native {native.tables[table]}"
                for table in different
            )
        )
    if pod.labels != native.labels:
        raise WtmoError(
            "\n".join(
                f"{task} of {date}: labels in pods {pod.labels.get((date, task))}, native {native.labels.get((date, task))}"
                for date, task in sorted(pod.labels.keys() | native.labels.keys())
                if pod.labels.get((date, task)) != native.labels.get((date, task))
            )
        )


def _jobs(client: Any, runs: dict[dt.date, Run]) -> dict[tuple[dt.date, str], Any]:
    """The jobs of runs by day and the label of their task.

    :raises WtmoError: a task has two.
    """
    dates = {label_value(run.run_id): date for date, run in runs.items()}
    found: dict[tuple[dt.date, str], Any] = {}
    for job in client.list_jobs(all_users=True, max_results=10_000):
        if (date := dates.get(job.labels.get("airflow-run"))) is None:
            continue
        key = date, job.labels["airflow-task"]
        if key in found:
            raise WtmoError(f"{key[1]} of {date} has two jobs: {found[key].job_id}, {job.job_id}")
        found[key] = job
    return found


def _labels(job: Any, this: Run) -> dict[str, str]:
    """A job's labels; those of the DAG and the run, which the engines cannot share, must be right and are left out."""
    labels = dict(job.labels)
    if (labels.pop("airflow-dag", ""), labels.pop("airflow-run", "")) != (
        label_value(this.dag),
        label_value(this.run_id),
    ):
        raise WtmoError(f"{this.dag}: a job's labels name another run: {dict(job.labels)}")
    return labels


def _content(client: Any, name: str) -> dict[str, Any]:
    """Rows, their digest, the schema and the partitioning of a table; only that it is missing, where it is."""
    from google.api_core.exceptions import NotFound

    try:
        table = client.get_table(f"{WAREHOUSE_PROJECT}.{name}")
    except NotFound:
        return {}
    digest = "SELECT COUNT(*) AS n, BIT_XOR(FARM_FINGERPRINT(TO_JSON_STRING(t))) AS digest"
    (row,) = client.query_and_wait(f"{digest} FROM {name} AS t WHERE submission_date > '2000-01-01'")
    return {
        **dict(row.items()),
        "schema": [field.to_api_repr() for field in table.schema],
        "partitioning": table.time_partitioning.to_api_repr() if table.time_partitioning else None,
        "clustering": table.clustering_fields,
    }


class _Slots:
    """Adds up how long workers of the executor are busy, within a block."""

    def __init__(self, record: PlatformRecord) -> None:
        self.seconds = 0.0
        self._record = record
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="slots")

    def __enter__(self) -> _Slots:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._over.wait(SLOT_SAMPLE_SECONDS):
            busy, now = busy_workers(self._record), time.monotonic()
            self.seconds += busy * (now - last)
            last = now
