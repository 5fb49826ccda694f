"""The same queries of the sample in pods and as BigQuery jobs that Airflow submits itself: what they cost, what they leave.

The queries are those of ``resources/bench/queries``. The engines run on one platform, day by day in turns, so that all meet
the same load, each into partitions that are empty. Rows, schemas and labels must be the same: a difference ends the bench
with an error.

Pods of the local platform start within milliseconds, which no cluster's do. ``delayed_pod`` is the pod engine with pods that
start after :data:`POD_START`, as Kubernetes measured it: to compare with. The requirement on the start of a job is judged by the
pods as they are here.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import Counter
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
    from collections.abc import Sequence

    import airflow_client.client as airflow

    from wtmo.local.state import PlatformRecord, State

DAGS = measure.RESOURCES / "queries"
NATIVE = "native"
ENGINES = ("pod", "delayed_pod", NATIVE)
DAYS = 10
CLIENTS = 20
FIRST_DAY = dt.date(2026, 6, 1)
RUN_SECONDS = 600
IDLE_SECONDS = 15
SLOT_SAMPLE_SECONDS = 0.2

POD_START = 0.9
"""Seconds from a pod's creation to its start: the least median that Kubernetes' own test published (one container, its image
on the node already, a cluster a tenth full): https://kubernetes.io/blog/2015/09/kubernetes-performance-measurements-and/.
Pulling an image, waiting for a node and the imports of the real bigquery-etl come on top."""

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
    """What a day of one engine came to.

    :param wall: seconds from the run's start to its end.
    :param processor: CPU seconds of the whole platform, without what it uses when idle.
    :param slots: seconds that workers of the executor were busy, over all workers.
    :param calls: of APIs; see :class:`wtmo.bench.measure.Counters`.
    :param job_starts: seconds from each task's start to its job's.
    :param tables: schema of every table, and the day's content, to compare.
    :param labels: of each task's job, by task, without those that name the DAG and its run.
    """

    wall: float
    processor: float
    slots: float
    calls: Counter[str]
    job_starts: tuple[float, ...]
    tables: dict[str, Any]
    labels: dict[str, dict[str, str]]


def queries(_: int) -> list[Figure]:
    """The same 50 queries by each engine: wall and worker seconds, API calls, seconds to the start of the job.

    It runs once, whatever the number of runs: the spread is that of the 50 tasks. A day before them is not counted: it makes
    the tables, and the first call to a new api-server takes seconds.
    """
    outcomes: dict[str, list[Outcome]] = {engine: [] for engine in ENGINES}
    with measure.state() as state, measure.running(state, DAGS) as record, api.client(record) as client:
        fill(state, record, days=1 + DAYS)
        compare(state, record, client, FIRST_DAY, ENGINES)
        measured = measure.cpu(measure.processes(record))
        time.sleep(IDLE_SECONDS)
        idle = (measure.cpu(measure.processes(record)) - measured) / IDLE_SECONDS
        for number in range(1, 1 + DAYS):
            first = number % len(ENGINES)
            order = ENGINES[first:] + ENGINES[:first]
            of_this_day = compare(
                state, record, client, FIRST_DAY + dt.timedelta(days=number), order, new=False, idle=idle
            )
            for engine, outcome in of_this_day.items():
                outcomes[engine].append(outcome)
    figures, starts = [], {}
    for engine, days in outcomes.items():
        calls = sum((each.calls for each in days), Counter())
        figures += [
            Figure(f"{len(TABLES)} queries, {engine}: wall time", "s", tuple(each.wall for each in days)),
            *(
                Figure(f"a query, {engine}: {what}", unit, (value / QUERIES,))
                for what, unit, value in (
                    ("processor of the platform", "CPU-s", sum(each.processor for each in days)),
                    ("a worker is busy", "s", sum(each.slots for each in days)),
                    ("calls to BigQuery", "", calls["bigquery"]),
                    ("calls to Kubernetes", "", calls["pods"]),
                    ("calls to Airflow", "", calls["execution"]),
                )
            ),
        ]
        starts[engine] = tuple(seconds for each in days for seconds in each.job_starts)
    name = "from a task's start to its job's"
    at_once = Figure(f"{name}, pods that start at once", "s", starts["pod"])
    return [
        *figures,
        at_once,
        Figure(f"{name}, pods that start {POD_START} s after their creation", "s", starts["delayed_pod"]),
        Figure(f"{name}, native", "s", starts[NATIVE], at_once.median * MOST_OF_POD),
    ]


def compare(
    state: State,
    record: PlatformRecord,
    client: airflow.ApiClient,
    date: dt.date,
    engines: Sequence[str],
    *,
    new: bool = True,
    idle: float = 0.0,
) -> dict[str, Outcome]:
    """Run the queries of a day by one engine after the other.

    :param engines: in this order; one of them native.
    :param new: delete the tables before each; else only the day's partitions. Default: True.
    :param idle: CPU seconds a second that the platform uses when idle. Default: 0.
    :raises WtmoError: a task failed, or has not one job, or the engines left different things.
    """
    outcomes = {engine: run(state, record, client, engine, date, new=new, idle=idle) for engine in engines}
    for engine in outcomes.keys() - {NATIVE}:
        check_same(outcomes[engine], outcomes[NATIVE])
    return outcomes


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
    state: State,
    record: PlatformRecord,
    client: airflow.ApiClient,
    engine: str,
    date: dt.date,
    *,
    new: bool,
    idle: float,
) -> Outcome:
    """Run the queries of a day by one engine; for parameters and errors see :func:`compare`."""
    await_(lambda: not busy_workers(record), "the workers to be free", RUN_SECONDS)
    bigquery = warehouse.client(record)
    for table in TABLES:
        partition = "" if new else f"${date:%Y%m%d}"
        bigquery.delete_table(f"{WAREHOUSE_PROJECT}.{table}{partition}", not_found_ok=True)
    counters, processor = Counters(state, record), measure.cpu(measure.processes(record))
    begin = time.monotonic()
    this = Run(state, record, client, f"bench_queries_{engine}", dt.datetime.combine(date, dt.time(), dt.UTC))
    with _Slots(record) as slots:
        await_(lambda: this.states().keys() <= day.FINISHED, f"{engine} of {date} to end", RUN_SECONDS)
    wall = time.monotonic() - begin
    processor = measure.cpu(measure.processes(record)) - processor - idle * wall
    calls = counters.difference()
    instances = {label_value(task.task_id): task for task in this.instances()}
    if bad := sorted(task for task, instance in instances.items() if instance.state.value != "success"):
        raise WtmoError(f"{engine} of {date}: {len(bad)} of {len(instances)} tasks did not succeed: {', '.join(bad)}")
    jobs = _jobs(bigquery, this)
    if jobs.keys() != instances.keys():
        raise WtmoError(f"{engine} of {date}: {len(instances)} tasks have {len(jobs)} jobs")
    return Outcome(
        wall=wall,
        processor=processor,
        slots=slots.seconds,
        calls=calls,
        job_starts=tuple((job.started - instances[task].start_date).total_seconds() for task, job in jobs.items()),
        tables={table: _content(bigquery, table, date) for table in TABLES},
        labels={task: _labels(job, this) for task, job in jobs.items()},
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
                f"{task}: labels in pods {pod.labels.get(task)}, native {native.labels.get(task)}"
                for task in sorted(pod.labels.keys() | native.labels.keys())
                if pod.labels.get(task) != native.labels.get(task)
            )
        )


def _jobs(client: Any, this: Run) -> dict[str, Any]:
    """The jobs of a run by the label of their task.

    :raises WtmoError: a task has two.
    """
    found: dict[str, Any] = {}
    for job in client.list_jobs(all_users=True, max_results=10_000):
        if job.labels.get("airflow-run") != label_value(this.run_id):
            continue
        task = job.labels["airflow-task"]
        if task in found:
            raise WtmoError(f"{this.dag}: {task} has two jobs: {found[task].job_id}, {job.job_id}")
        found[task] = job
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


def _content(client: Any, name: str, date: dt.date) -> dict[str, Any]:
    """A day's rows, their digest, the schema and the partitioning of a table; empty where there is none."""
    from google.api_core.exceptions import NotFound

    try:
        table = client.get_table(f"{WAREHOUSE_PROJECT}.{name}")
    except NotFound:
        return {}
    digest = "SELECT COUNT(*) AS n, BIT_XOR(FARM_FINGERPRINT(TO_JSON_STRING(t))) AS digest"
    (row,) = client.query_and_wait(f"{digest} FROM {name} AS t WHERE submission_date = '{date}'")
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
