"""One logical day of every DAG that is due: ``wtmo day --all``.

What is due, :mod:`wtmo.local.due` says. Runs are made by Airflow's own backfill and go at once; their order is that of their
sensors. Sensors on DAGs that the platform doesn't have find runs of stand-in DAGs (``stand-in-dags/`` of the state folder), and
those on another day of our own DAGs find a run that is marked as success: both are told, and count for nothing. Nothing of
this depends on the date of today but that intervals must be over.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wtmo.errors import WtmoError
from wtmo.graph import loading
from wtmo.local import airflow as settings
from wtmo.local import api, day, warehouse
from wtmo.local.due import LeftOut, Plan, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import airflow_client.client as airflow

    from wtmo.local.day import Report
    from wtmo.local.state import PlatformRecord, State

PLAN_SECONDS = 240
PARSE_SECONDS = 300
RUN_SECONDS = 3600
POLL_SECONDS = 3.0
PROGRESS_SECONDS = 20.0
PAGE = 100
SHOWN_LOGS = 10
SAMPLE_BUCKETS = ("moz-fx-data-bq-people-workday-tripactions-export",)
SAMPLE_TABLES = settings.RESOURCES / "sample" / "tables.sql"

_FILE = '''"""Made by `wtmo day --all`: DAGs that take the place of imported ones that others wait for (Airflow reads this)."""

from wtmo.local.imported import stand_in_dags

globals().update(stand_in_dags({tasks!r}))
'''


@dataclass(frozen=True)
class DagResult:
    """What a DAG's run did.

    :param date: its logical date, ISO 8601.
    :param tasks: how many ended well. :param of: how many there are.
    :param state: ``success``: the run and every task of it ended well. Otherwise that of the run, or ``failed``.
    :param seconds: from the run's start to its end. None: it never started.
    :param failed: the tasks that did not end well, with their states.
    """

    dag: str
    date: str
    tasks: int
    of: int
    state: str
    seconds: float | None
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DayOfAll:
    """A day of all DAGs.

    :param several: runs of the day that were not made, by DAG: all but those in ``dags``.
    :param left_out: due, but not run. :param stand_ins: runs of stand-in DAGs. :param taken_as_done: runs of other days.
    """

    dags: list[DagResult]
    several: dict[str, int]
    left_out: list[LeftOut]
    stand_ins: list[Run]
    taken_as_done: list[Run]
    not_due: int

    @property
    def succeeded(self) -> bool:
        """Whether every DAG that was run is green, and none was left out that production could run."""
        green = bool(self.dags) and all(dag.state == "success" for dag in self.dags)
        return green and all(left.known for left in self.left_out)


def run_all(
    state: State,
    record: PlatformRecord,
    date: dt.date,
    *,
    report: Report,
    only: Iterable[str] = (),
    seconds: float = RUN_SECONDS,
) -> DayOfAll:
    """Run what is due on ``date`` to its end.

    :param only: DAGs to run alone; what they wait for in others is taken as done. Default: all that are due.
    :param seconds: how long the runs may take together.
    :raises WtmoError: when a DAG doesn't load, another day is being run, or the runs are not done in time.
    """
    plan = plan_of(state, date)
    if only := tuple(only):
        plan = narrowed(plan, only)
    with day.one_at_a_time(state), api.client(record) as client:
        plan = served_as_done(plan, {dag.dag_id: dag.bundle_name for dag in day.all_dags(client)})
        tell(plan, date, report)
        _write_stand_ins(state, plan)
        names = {run.dag for run in (*plan.runs, *plan.stand_ins, *plan.before)}
        day.await_dags(client, tuple(sorted(names)), since=record.created, seconds=PARSE_SECONDS)
        day.make_pools(client)
        make_tables(state, record)
        for run in plan.before:
            _take_as_done(client, run, plan.tasks.get(run.dag, ()), report)
        for run in plan.stand_ins:
            _switch(client, run.dag, paused=False)
            _trigger(client, run)
        windows = _windows(plan.runs)
        try:
            for dag, (first, last) in windows.items():
                day.start(client, dag, first, last, report)
            results = follow(client, windows, seconds, report)
        except BaseException:
            # Also Ctrl-C: on a platform that goes on they would work beside the next day's.
            report("ending the runs that are not done")
            for dag in windows:
                day.close_backfills(client, dag, lambda _: None)
            raise
    several = {dag: plan.several[dag] - sum(r.dag == dag for r in results) for dag in plan.several}
    return DayOfAll(results, several, plan.left_out, plan.stand_ins, plan.before, plan.not_due)


def plan_of(state: State, date: dt.date) -> Plan:
    """What is due, from the files in ``dags/``.

    :raises WtmoError: a file does not load.
    """
    out = state.folder("days") / f"{date}.json"
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "wtmo.local.due", "--date", str(date), "--out", str(out)]
    with tempfile.TemporaryDirectory(prefix="wtmo-airflow-") as home:
        try:
            done = subprocess.run(
                command,
                env=loading.settings(Path(home)),
                capture_output=True,
                text=True,
                check=False,
                timeout=PLAN_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise WtmoError(f"the DAGs were not loaded within {PLAN_SECONDS} s") from error
    if done.returncode or not out.exists():
        raise WtmoError(f"what is due could not be found out:\n{done.stderr.strip()[-4000:]}")
    return Plan.from_json(out.read_text())


def narrowed(plan: Plan, only: Sequence[str]) -> Plan:
    """The plan of some DAGs alone. Runs of others that they wait for are taken as done.

    :raises WtmoError: one of them is not due.
    """
    due = {run.dag for run in plan.runs}
    if missing := sorted(set(only) - due):
        raise WtmoError(f"not due, or left out: {', '.join(missing)}", fix="choose another date, or other DAGs")
    runs = [run for run in plan.runs if run.dag in only]
    needed = {run for dag in only for run in plan.waits.get(dag, ())} - set(runs)
    stand_ins = [run for run in plan.stand_ins if run in needed]
    return Plan(
        runs=runs,
        several={dag: n for dag, n in plan.several.items() if dag in only},
        stand_ins=stand_ins,
        tasks={dag: names for dag, names in plan.tasks.items() if dag in {run.dag for run in needed}},
        before=sorted(needed - set(stand_ins)),
        waits={dag: runs for dag, runs in plan.waits.items() if dag in only},
        not_due=plan.not_due,
    )


def served_as_done(plan: Plan, bundles: Mapping[str, str | None]) -> Plan:
    """The plan on a platform that serves some of the imported DAGs itself: their runs are taken as done, with no stand-in.

    :param bundles: the bundle of each DAG that the platform serves.
    """
    served = {run.dag for run in plan.stand_ins if bundles.get(run.dag) not in {None, settings.STAND_INS}}
    return replace(
        plan,
        stand_ins=[run for run in plan.stand_ins if run.dag not in served],
        before=[*plan.before, *(run for run in plan.stand_ins if run.dag in served)],
    )


def tell(plan: Plan, date: dt.date, report: Report) -> None:
    """Say what will be run, and what not and why."""
    report(f"{len({run.dag for run in plan.runs})} DAGs are due on {date}, {plan.not_due} are not")
    if plan.several:
        told = ", ".join(f"{dag} ({n})" for dag, n in plan.several.items())
        report(f"of DAGs with several runs that day the first is run: {told}")
    for left in plan.left_out:
        report(f"{left.dag} is left out: {left.reason}")
    if imported := sorted({run.dag for run in plan.stand_ins}):
        empty = sum(len(plan.tasks[dag]) for dag in imported)
        report(f"{len(imported)} imported DAGs have stand-ins ({empty} empty tasks): {', '.join(imported)}")
    for run in plan.before:
        report(f"{run.dag} of {run.date[:10]} is taken as done: a sensor waits for it")


def make_tables(state: State, record: PlatformRecord) -> None:
    """The tables of other systems that DAGs read, as ``resources/sample/tables.sql`` has them, and the buckets that they
    write into.
    """
    from google.api_core.exceptions import GoogleAPIError

    for bucket in SAMPLE_BUCKETS:
        state.folder(f"gcs/{bucket}")
    try:
        warehouse.client(record).query_and_wait(SAMPLE_TABLES.read_text())
    except GoogleAPIError as error:
        raise WtmoError(f"{SAMPLE_TABLES} could not be run: {error}") from error


def _write_stand_ins(state: State, plan: Plan) -> None:
    """The file of the stand-in DAGs; left alone where it is right, so that it isn't parsed again."""
    file = state.folder(settings.STAND_IN_DAGS) / "imported.py"
    kept = _kept_tasks(file)
    for dag in {run.dag for run in plan.stand_ins}:
        kept[dag] = sorted({*kept.get(dag, []), *plan.tasks[dag]})
    text = _FILE.format(tasks=dict(sorted(kept.items())))
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
        file.with_suffix(".json").write_text(json.dumps(kept))


def _kept_tasks(file: Any) -> dict[str, list[str]]:
    """The tasks of days before: their runs are kept too."""
    kept = file.with_suffix(".json")
    found: dict[str, list[str]] = json.loads(kept.read_text()) if kept.exists() else {}
    return found


def _switch(client: airflow.ApiClient, dag: str, *, paused: bool) -> None:
    import airflow_client.client as airflow

    body = airflow.DAGPatchBody(is_paused=paused)
    api.call(airflow.DAGApi(client).patch_dag, dag, body, update_mask=["is_paused"])


def _trigger(client: airflow.ApiClient, run: Run) -> str | None:
    """Make a run with the interval of its schedule. Returns its id; None where there is one of that date already."""
    import airflow_client.client as airflow
    from airflow_client.client.exceptions import ApiException

    body = airflow.TriggerDAGRunPostBody(
        dag_run_id=f"day__{run.date}",
        logical_date=dt.datetime.fromisoformat(run.date),
        data_interval_start=dt.datetime.fromisoformat(run.start),
        data_interval_end=dt.datetime.fromisoformat(run.end),
        note="Made by `wtmo day --all` for those who wait for it.",
    )
    try:
        made = api.call(airflow.DagRunApi(client).trigger_dag_run, run.dag, body)
    except ApiException as error:
        if error.status == HTTPStatus.CONFLICT:
            return None
        raise
    name: str = made.dag_run_id
    return name


def _take_as_done(client: airflow.ApiClient, run: Run, tasks: Iterable[str], report: Report) -> None:
    """A run that is marked as success and never started; one that is there stays as it is.

    :param tasks: those that are waited for are marked too. Airflow marks the others as skipped.
    """
    import airflow_client.client as airflow

    # While the DAG is paused the scheduler leaves the run alone.
    _switch(client, run.dag, paused=True)
    name = _trigger(client, run)
    if name is None:
        report(f"{run.dag} of {run.date[:10]} has a run already: that counts")
        return
    success = airflow.PatchTaskInstanceBody(new_state=airflow.TaskInstanceState.SUCCESS)
    for task in tasks:
        patch = airflow.TaskInstanceApi(client).patch_task_instance
        api.call(patch, run.dag, name, task, success, update_mask=["new_state"])
    body = airflow.DAGRunPatchBody(state=airflow.DagRunMutableStates.SUCCESS)
    api.call(airflow.DagRunApi(client).patch_dag_run, run.dag, name, body, update_mask=["state"])


def _windows(runs: Iterable[Run]) -> dict[str, tuple[dt.datetime, dt.datetime]]:
    """First and last logical date of each DAG's runs."""
    dates: dict[str, list[dt.datetime]] = defaultdict(list)
    for run in runs:
        dates[run.dag].append(dt.datetime.fromisoformat(run.date))
    return {dag: (min(each), max(each)) for dag, each in dates.items()}


def _pages(fetch: Callable[[int], Any], name: str) -> Iterator[Any]:
    """Every entry of a list that comes in pages."""
    offset = 0
    while True:
        answer = fetch(offset)
        entries = getattr(answer, name)
        yield from entries
        offset += len(entries)
        if not entries or offset >= answer.total_entries:
            return


def follow(
    client: airflow.ApiClient, windows: dict[str, tuple[dt.datetime, dt.datetime]], seconds: float, report: Report
) -> list[DagResult]:
    """Wait for the runs' end, telling of each DAG that is done, and how far the tasks are while none is."""
    end = time.monotonic() + seconds
    quiet = time.monotonic()
    told: set[tuple[str, str]] = set()
    while True:
        runs = [run for run in _runs(client, windows) if _within(windows, run)]
        for run in runs:
            key = (run.dag_id, run.dag_run_id)
            if run.state.value in day.RUN_FINISHED and key not in told:
                told.add(key)
                quiet = time.monotonic()
                report(f"{run.dag_id}: {run.state.value} ({len(told)} of {max(len(runs), len(windows))} runs are done)")
        if {run.dag_id for run in runs} == set(windows) and len(told) == len(runs):
            break
        if time.monotonic() > end:
            waiting = sorted(f"{i.dag_id}.{i.task_id} ({day.state_of(i)})" for i in _unfinished(client, windows))
            shown = ", ".join(waiting[:40]) + (f" and {len(waiting) - 40} more" if len(waiting) > 40 else "")
            raise WtmoError(f"the day was not done after {seconds:.0f} s; unfinished: {shown}")
        if time.monotonic() - quiet >= PROGRESS_SECONDS:
            quiet = time.monotonic()
            report(_progress(client, windows))
        time.sleep(POLL_SECONDS)
    instances: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for instance in _instances(client, windows):
        instances[instance.dag_id, instance.dag_run_id].append(instance)
    logs = 0
    for each in instances.values():
        for instance in each:
            if day.state_of(instance) == "failed" and _within(windows, instance) and logs < SHOWN_LOGS:
                logs += 1
                told_log = day.end_of_log(client, instance)
                report(f"{instance.dag_id}.{instance.task_id} failed; the end of its log:\n{told_log}")
    return [_result(run, instances[run.dag_id, run.dag_run_id]) for run in runs]


def _progress(client: airflow.ApiClient, windows: dict[str, tuple[dt.datetime, dt.datetime]]) -> str:
    """How many tasks are where. Four small answers, as there are hundreds of tasks."""
    import airflow_client.client as airflow

    def count(*states: str) -> int:
        wanted: list[airflow.TaskInstanceState | None] = [airflow.TaskInstanceState(state) for state in states]
        body = airflow.TaskInstancesBatchBody(**_bounds(windows) | {"page_limit": 1}, state=wanted or None)
        found = api.call(airflow.TaskInstanceApi(client).get_task_instances_batch, "~", "~", body)
        return int(found.total_entries)

    done, bad = count(*day.GOOD), count("failed", "upstream_failed", "up_for_retry")
    told = f"{done} of {count()} tasks are done, {count('running', 'deferred')} at work"
    return f"{told}, {bad} failed or to be tried again" if bad else told


def _within(windows: dict[str, tuple[dt.datetime, dt.datetime]], entry: Any) -> bool:
    first, last = windows[entry.dag_id]
    return entry.logical_date is not None and first <= entry.logical_date <= last


def _result(run: Any, instances: Sequence[Any]) -> DagResult:
    failed = {i.task_id: day.state_of(i) for i in instances if day.state_of(i) not in {*day.GOOD, "removed"}}
    state = run.state.value
    return DagResult(
        dag=run.dag_id,
        date=run.logical_date.isoformat(),
        tasks=len(instances) - len(failed),
        of=len(instances),
        state="failed" if failed and state == "success" else state,
        seconds=(run.end_date - run.start_date).total_seconds() if run.start_date and run.end_date else None,
        failed=failed,
    )


def _bounds(windows: dict[str, tuple[dt.datetime, dt.datetime]]) -> dict[str, Any]:
    return {
        "dag_ids": sorted(windows),
        "logical_date_gte": min(first for first, _ in windows.values()),
        "logical_date_lte": max(last for _, last in windows.values()),
        "page_limit": PAGE,
    }


def _runs(client: airflow.ApiClient, windows: dict[str, tuple[dt.datetime, dt.datetime]]) -> list[Any]:
    import airflow_client.client as airflow

    def page(offset: int) -> Any:
        body = airflow.DAGRunsBatchBody(**_bounds(windows), page_offset=offset, order_by="dag_id")
        return api.call(airflow.DagRunApi(client).get_list_dag_runs_batch, "~", body)

    return list(_pages(page, "dag_runs"))


def _instances(client: airflow.ApiClient, windows: dict[str, tuple[dt.datetime, dt.datetime]]) -> list[Any]:
    import airflow_client.client as airflow

    def page(offset: int) -> Any:
        body = airflow.TaskInstancesBatchBody(**_bounds(windows), page_offset=offset)
        return api.call(airflow.TaskInstanceApi(client).get_task_instances_batch, "~", "~", body)

    return list(_pages(page, "task_instances"))


def _unfinished(client: airflow.ApiClient, windows: dict[str, tuple[dt.datetime, dt.datetime]]) -> list[Any]:
    found = _instances(client, windows)
    return [i for i in found if _within(windows, i) and day.state_of(i) not in day.FINISHED]
