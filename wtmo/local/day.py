"""One logical day of the platform: pings go in, the DAGs of that day run, and a table tells what each task did.

The runs are made by Airflow's own backfill, so that their data intervals are those of the schedule.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.labels import label_value
from wtmo.errors import WtmoError
from wtmo.local import api, warehouse
from wtmo.local.pings import generate, load_seeds

if TYPE_CHECKING:
    import airflow_client.client as airflow

    from wtmo.local.state import PlatformRecord, State

DAY_DAGS = ("copy_deduplicate", "bqetl_sample")
DAY_SECONDS = 900
# One for all days: clients come back the next day, and some of the next day's duplicates are of this day's pings.
SEED = 1
POLL_SECONDS = 1.0
# The DAG processor reads nothing while it imports a repository: a minute for 150 files on two free cores.
QUIET_SECONDS = 180
FINISHED = {"success", "failed", "upstream_failed", "skipped", "removed"}
RUN_FINISHED = {"success", "failed"}
GOOD = {"success", "skipped"}

Report = Callable[[str], None]


@dataclass(frozen=True)
class TaskResult:
    """What one task did.

    :param seconds: from its start to its end, over its last try. None: it never started.
    :param rows: rows that its BigQuery jobs wrote. None: it ran no job that writes.
    """

    dag: str
    task: str
    state: str
    seconds: float | None
    rows: int | None


def seed(
    state: State, record: PlatformRecord, date: dt.date, *, seeds: Path | None, clients: int, report: Report
) -> dict[str, int]:
    """Put pings into the live tables: those of a folder, or generated ones. Returns rows by table."""
    if seeds is None:
        seeds = state.folder(f"seeds/{date}")
        generate(seeds, date=date, clients=clients, seed=SEED)
    rows: dict[str, int] = load_seeds(warehouse.client(record), seeds)
    report(f"{sum(rows.values())} pings are in {len(rows)} live tables")
    return rows


@contextlib.contextmanager
def one_at_a_time(state: State) -> Generator[None]:
    """Hold the folder's lock of days."""
    with (state.folder("") / "day.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise WtmoError(f"another day is being run on {state.root}", fix="wait until it is done") from error
        yield


def run_day(
    state: State, record: PlatformRecord, date: dt.date, *, report: Report, dags: Iterable[str] = DAY_DAGS
) -> list[TaskResult]:
    """Run the DAGs' runs of ``date`` to their end, again if they had run before.

    :raises WtmoError: when a DAG doesn't load, another day is being run, or the day isn't done after 15 minutes.
    """
    with one_at_a_time(state), api.client(record) as client:
        dags = tuple(dags)
        await_dags(client, dags, since=record.created)
        make_pools(client)
        started = dt.datetime.now(dt.UTC)
        first = dt.datetime.combine(date, dt.time(), dt.UTC)
        last = first + dt.timedelta(days=1, microseconds=-1)
        backfills = [start(client, dag, first, last, report) for dag in dags]
        instances = _follow(client, backfills, date, report)
        rows = _rows_written(record, started)
        results = [
            TaskResult(
                i.dag_id, i.task_id, state_of(i), i.duration, rows.get(_labels(i.dag_id, i.task_id, i.dag_run_id))
            )
            for i in instances
        ]
        for instance in instances:
            if state_of(instance) == "failed":
                report(
                    f"{instance.dag_id}.{instance.task_id} failed; the end of its log:\n{end_of_log(client, instance)}"
                )
    return results


def succeeded(results: Iterable[TaskResult]) -> bool:
    """Whether there are results and every one is good."""
    states = [result.state for result in results]
    return bool(states) and set(states) <= GOOD


def await_dags(
    client: airflow.ApiClient, dags: tuple[str, ...], *, since: float, seconds: float = QUIET_SECONDS
) -> None:
    """Wait until the DAG processor has read the DAGs, as their files are now.

    A real repository has hundreds of files, and the newest are read first: it is waited for as long as it reads more.

    :param since: the start of the platform, in seconds since the epoch: what it read before does not count.
    :param seconds: how long it may read nothing more.
    """
    import airflow_client.client as airflow

    def is_read(dag: Any) -> bool:
        file = Path(dag.fileloc)
        changed = file.stat().st_mtime if file.exists() else 0.0
        read = dag.last_parsed_time.timestamp() if dag.last_parsed_time else 0.0
        return read > max(since, changed) and not dag.has_import_errors

    end = time.monotonic() + seconds
    missing, before = set(dags), 0
    while missing and time.monotonic() < end:
        read = {dag.dag_id for dag in all_dags(client) if is_read(dag)}
        if len(read) > before:
            before, end = len(read), time.monotonic() + seconds
        missing = set(dags) - read
        errors = api.call(airflow.ImportErrorApi(client).get_import_errors).import_errors
        errors = [error for error in errors if error.timestamp.timestamp() > since]
        if missing and errors:
            raise WtmoError("\n".join(f"{e.bundle_name}: {e.filename} does not load:\n{e.stack_trace}" for e in errors))
        if missing:
            time.sleep(POLL_SECONDS / 2)
    if missing:
        raise WtmoError(
            f"the DAG processor did not find {', '.join(sorted(missing))}, and has read nothing more for {seconds:.0f} s",
            fix="see dag-processor.log among the platform's logs",
        )


def all_dags(client: airflow.ApiClient) -> Iterator[Any]:
    """Every DAG; Airflow gives a hundred at a time."""
    import airflow_client.client as airflow

    offset = 0
    while True:
        page = api.call(airflow.DAGApi(client).get_dags, exclude_stale=True, limit=100, offset=offset)
        yield from page.dags
        offset += len(page.dags)
        if not page.dags or offset >= page.total_entries:
            return


def make_pools(client: airflow.ApiClient) -> None:
    """Make the declared pools that are missing."""
    import airflow_client.client as airflow

    from utils.pools import POOLS

    existing = {pool.name for pool in api.call(airflow.PoolApi(client).get_pools, limit=1000).pools}
    for pool in POOLS:
        if pool.name not in existing:
            airflow.PoolApi(client).post_pool(
                airflow.PoolBody(name=pool.name, slots=pool.slots, description=pool.description, include_deferred=False)
            )


def start(client: airflow.ApiClient, dag: str, first: dt.datetime, last: dt.datetime, report: Report) -> Any:
    """Have Airflow make the runs of a DAG from one logical date to another, or clear them where they are."""
    import airflow_client.client as airflow

    body = airflow.BackfillPostBody(
        dag_id=dag,
        from_date=first,
        to_date=last,
        reprocess_behavior=airflow.ReprocessBehavior.COMPLETED,
        run_on_latest_version=True,
    )
    patch = airflow.DAGPatchBody(is_paused=False)
    api.call(airflow.DAGApi(client).patch_dag, dag, patch, update_mask=["is_paused"])
    close_backfills(client, dag, report)
    return api.call(airflow.BackfillApi(client).create_backfill, body)


def close_backfills(client: airflow.ApiClient, dag: str, report: Report) -> None:
    """Close the DAG's open backfills; there can be one at a time only.

    Airflow closes one some time after its runs have ended. Runs that have not were left by a day that was interrupted:
    they are ended, as their tasks' processes are gone.
    """
    import airflow_client.client as airflow

    backfills, dag_runs = airflow.BackfillApi(client), airflow.DagRunApi(client)
    for backfill in api.call(backfills.list_backfills, dag_id=dag, limit=100).backfills:
        if backfill.completed_at:
            continue
        window = {"logical_date_gte": backfill.from_date, "logical_date_lte": backfill.to_date}
        for run in api.call(dag_runs.get_dag_runs, dag, **window).dag_runs:
            if run.state.value not in RUN_FINISHED:
                report(f"{dag}: an interrupted run is ended: {run.dag_run_id}")
                failed = airflow.DAGRunPatchBody(state=airflow.DagRunMutableStates.FAILED)
                api.call(dag_runs.patch_dag_run, dag, run.dag_run_id, failed, update_mask=["state"])
        api.call(backfills.cancel_backfill, backfill.id)


def _follow(client: airflow.ApiClient, backfills: list[Any], date: dt.date, report: Report) -> list[Any]:
    """Wait for the runs' end. Returns their task instances, in the order in which they started."""
    import airflow_client.client as airflow

    told: dict[tuple[str, str], str] = {}
    end = time.monotonic() + DAY_SECONDS
    first = dt.datetime.combine(date, dt.time(), dt.UTC)
    while True:
        instances: list[Any] = []
        runs: list[Any] = []
        for backfill in backfills:
            found = api.call(
                airflow.DagRunApi(client).get_dag_runs,
                backfill.dag_id,
                logical_date_gte=first,
                logical_date_lt=first + dt.timedelta(days=1),
            )
            runs += found.dag_runs
            for run in found.dag_runs:
                listed = api.call(
                    airflow.TaskInstanceApi(client).get_task_instances, backfill.dag_id, run.dag_run_id, limit=1000
                )
                instances += listed.task_instances
        for instance in instances:
            key, state = (instance.dag_id, instance.task_id), state_of(instance)
            if told.get(key) != state:
                told[key] = state
                if state in FINISHED | {"running", "up_for_retry"}:
                    report(f"{instance.dag_id}.{instance.task_id}: {state}")
        if len(runs) >= len(backfills) and all(run.state.value in RUN_FINISHED for run in runs):
            return sorted(instances, key=lambda i: (i.dag_id != DAY_DAGS[0], i.dag_id, i.start_date or first))
        if time.monotonic() > end:
            waiting = sorted(f"{d}.{t} ({s})" for (d, t), s in told.items() if s not in FINISHED)
            raise WtmoError(f"the day was not done after {DAY_SECONDS} s; unfinished: {', '.join(waiting)}")
        time.sleep(POLL_SECONDS)


def state_of(instance: Any) -> str:
    """The state of a task instance; ``scheduled`` where it has none yet."""
    return instance.state.value if instance.state else "scheduled"


def _labels(dag: str, task: str, run: str) -> tuple[str, str, str]:
    return label_value(dag), label_value(task), label_value(run)


def _rows_written(record: PlatformRecord, since: dt.datetime) -> dict[tuple[str, str, str], int]:
    """Rows written by BigQuery jobs since a moment, by the labels of dag, task and run."""
    rows: dict[tuple[str, str, str], int] = defaultdict(int)
    for job in warehouse.client(record).list_jobs(all_users=True, min_creation_time=since, max_results=10_000):
        labels = job.labels
        key = tuple(labels.get(name, "") for name in ("airflow-dag", "airflow-task", "airflow-run"))
        written = _written(job)
        if all(key) and written is not None:
            rows[key[0], key[1], key[2]] += written
    return dict(rows)


def _written(job: Any) -> int | None:
    """Rows that a job put into a table that stays. None where it wrote none."""
    destination = getattr(job, "destination", None)
    if destination is None or destination.dataset_id.startswith("_") or job.labels.get("wtmo-temporary"):
        return None
    plan = getattr(job, "query_plan", None)
    rows = job.output_rows if job.job_type == "load" else plan[-1].records_written if plan else None
    return None if rows is None else int(rows)


def end_of_log(client: airflow.ApiClient, instance: Any, lines: int = 15) -> str:
    """The end of the log of a task's last try, and the beginning of what its error says."""
    import airflow_client.client as airflow

    # Read as it is: the client's own type of a line has no place for the error, which Airflow keeps beside the text.
    answer = api.call(
        airflow.TaskInstanceApi(client).get_log_without_preload_content,
        instance.dag_id,
        instance.dag_run_id,
        instance.task_id,
        instance.try_number,
        full_content=True,
    )
    if answer.status != HTTPStatus.OK:
        return f"    (Airflow does not show it: HTTP {answer.status})"
    entries: list[dict[str, Any]] = [
        entry if isinstance(entry, dict) else {"event": entry} for entry in json.loads(answer.data)["content"]
    ]
    told = "\n".join(str(entry.get("event")) for entry in entries).splitlines()[-lines:]
    errors = [entry["error_detail"][0] for entry in entries if entry.get("error_detail")]
    if errors:
        told += f"{errors[-1].get('exc_type')}: {errors[-1].get('exc_value')}".splitlines()[:lines]
    return "\n".join(f"    {line}" for line in told)
