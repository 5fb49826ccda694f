"""One logical day of the platform: pings go in, the DAGs of that day run, and a table tells what each task did.

The runs are made by Airflow's own backfill, so that their data intervals are those of the schedule.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from utils.labels import label_value
from wtmo.errors import WtmoError
from wtmo.local import warehouse
from wtmo.local.pings import generate, load_seeds

if TYPE_CHECKING:
    from pathlib import Path

    import airflow_client.client as api

    from wtmo.local.state import PlatformRecord, State

DAY_DAGS = ("copy_deduplicate", "bqetl_sample")
DAY_SECONDS = 900
POLL_SECONDS = 1.0
FINISHED = {"success", "failed", "upstream_failed", "skipped", "removed"}
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
        generate(seeds, date=date, clients=clients, seed=date.toordinal())
    rows: dict[str, int] = load_seeds(warehouse.client(record), seeds)
    report(f"{sum(rows.values())} pings are in {len(rows)} live tables")
    return rows


def run_day(
    record: PlatformRecord, date: dt.date, *, report: Report, dags: Iterable[str] = DAY_DAGS
) -> list[TaskResult]:
    """Run the DAGs' runs of ``date`` to their end, again if they had run before.

    :raises WtmoError: when a DAG doesn't load, or the day isn't done after 15 minutes.
    """
    with _client(record) as client:
        dags = tuple(dags)
        _await_dags(client, dags)
        _make_pools(client)
        started = dt.datetime.now(dt.UTC)
        backfills = [_start(client, dag, date) for dag in dags]
        instances = _follow(client, backfills, date, report)
        rows = _rows_written(record, started)
        results = [
            TaskResult(i.dag_id, i.task_id, _state(i), i.duration, rows.get(_labels(i.dag_id, i.task_id, i.dag_run_id)))
            for i in instances
        ]
        for instance in instances:
            if _state(instance) == "failed":
                report(f"{instance.dag_id}.{instance.task_id} failed; the end of its log:\n{_log(client, instance)}")
    return results


def succeeded(results: Iterable[TaskResult]) -> bool:
    """Whether there are results and every one is good."""
    states = [result.state for result in results]
    return bool(states) and set(states) <= GOOD


def as_json(results: Iterable[TaskResult]) -> str:
    """The results as a JSON list of objects with the fields of :class:`TaskResult`."""
    return json.dumps([asdict(result) for result in results], indent=1)


def _client(record: PlatformRecord) -> api.ApiClient:
    import airflow_client.client as api
    import httpx

    host = record.settings["AIRFLOW_API_URL"]
    # No login on this machine: Airflow's simple auth manager gives whoever asks an administrator's token.
    token = httpx.get(f"{host}/auth/token", timeout=30).raise_for_status().json()["access_token"]
    return api.ApiClient(api.Configuration(host=host, access_token=token))


def _await_dags(client: api.ApiClient, dags: tuple[str, ...], *, seconds: float = 90) -> None:
    """Wait until the DAG processor has read the DAGs."""
    import airflow_client.client as api

    end = time.monotonic() + seconds
    missing = set(dags)
    while missing and time.monotonic() < end:
        known = api.DAGApi(client).get_dags(exclude_stale=True, limit=1000)
        missing = set(dags) - {dag.dag_id for dag in known.dags if not dag.has_import_errors}
        errors = api.ImportErrorApi(client).get_import_errors().import_errors
        if missing and errors:
            raise WtmoError("\n".join(f"{e.bundle_name}: {e.filename} does not load:\n{e.stack_trace}" for e in errors))
        if missing:
            time.sleep(POLL_SECONDS / 2)
    if missing:
        raise WtmoError(
            f"the DAG processor did not find {', '.join(sorted(missing))} within {seconds:.0f} s",
            fix="see .local/logs/dag-processor.log",
        )


def _make_pools(client: api.ApiClient) -> None:
    import airflow_client.client as api

    from utils.pools import POOLS

    existing = {pool.name for pool in api.PoolApi(client).get_pools(limit=1000).pools}
    for pool in POOLS:
        if pool.name not in existing:
            api.PoolApi(client).post_pool(
                api.PoolBody(name=pool.name, slots=pool.slots, description=pool.description, include_deferred=False)
            )


def _start(client: api.ApiClient, dag: str, date: dt.date) -> Any:
    import airflow_client.client as api

    first = dt.datetime.combine(date, dt.time(), dt.UTC)
    api.DAGApi(client).patch_dag(dag, api.DAGPatchBody(is_paused=False), update_mask=["is_paused"])
    return api.BackfillApi(client).create_backfill(
        api.BackfillPostBody(
            dag_id=dag,
            from_date=first,
            to_date=first + dt.timedelta(days=1, microseconds=-1),
            reprocess_behavior=api.ReprocessBehavior.COMPLETED,
            run_on_latest_version=True,
        )
    )


def _follow(client: api.ApiClient, backfills: list[Any], date: dt.date, report: Report) -> list[Any]:
    """Wait for the runs' end. Returns their task instances, in the order in which they started."""
    import airflow_client.client as api

    told: dict[tuple[str, str], str] = {}
    end = time.monotonic() + DAY_SECONDS
    first = dt.datetime.combine(date, dt.time(), dt.UTC)
    while True:
        instances: list[Any] = []
        runs: list[Any] = []
        for backfill in backfills:
            found = api.DagRunApi(client).get_dag_runs(
                backfill.dag_id, logical_date_gte=first, logical_date_lt=first + dt.timedelta(days=1)
            )
            runs += found.dag_runs
            for run in found.dag_runs:
                instances += (
                    api
                    .TaskInstanceApi(client)
                    .get_task_instances(backfill.dag_id, run.dag_run_id, limit=1000)
                    .task_instances
                )
        for instance in instances:
            key, state = (instance.dag_id, instance.task_id), _state(instance)
            if told.get(key) != state:
                told[key] = state
                if state in FINISHED | {"running", "up_for_retry"}:
                    report(f"{instance.dag_id}.{instance.task_id}: {state}")
        if len(runs) >= len(backfills) and all(run.state.value in {"success", "failed"} for run in runs):
            return sorted(instances, key=lambda i: (i.dag_id != DAY_DAGS[0], i.dag_id, i.start_date or first))
        if time.monotonic() > end:
            waiting = sorted(f"{d}.{t} ({s})" for (d, t), s in told.items() if s not in FINISHED)
            raise WtmoError(f"the day was not done after {DAY_SECONDS} s; unfinished: {', '.join(waiting)}")
        time.sleep(POLL_SECONDS)


def _state(instance: Any) -> str:
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


def _log(client: api.ApiClient, instance: Any, lines: int = 15) -> str:
    """The end of the log of a task's last try."""
    import airflow_client.client as api

    content = api.TaskInstanceApi(client).get_log(
        instance.dag_id, instance.dag_run_id, instance.task_id, instance.try_number, full_content=True
    )
    entries = content.content.actual_instance if hasattr(content.content, "actual_instance") else content.content
    texts = [getattr(getattr(e, "actual_instance", e), "event", None) or str(e) for e in entries or []]
    return "\n".join(f"    {text}" for text in "\n".join(texts).splitlines()[-lines:])
