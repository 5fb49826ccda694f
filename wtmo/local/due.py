"""Which DAGs are due on a logical day, and what the day must bring along so that their sensors find what they wait for.

``python -m wtmo.local.due --date 2026-06-01 --out FILE`` loads the hand-written DAGs and writes the :class:`Plan` as JSON. Its own
process, because Airflow reads its settings when it is imported.

What waits for what is the inventory's. DAG objects are needed for their timetables: a day of any year is asked for, with the moment at
which each run may begin, also of the imported DAGs of :mod:`wtmo.local.imported`, which no inventory has.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from wtmo.errors import WtmoError
from wtmo.graph.graph import CrossEdge
from wtmo.graph.loading import load_dags, own_dags
from wtmo.local.imported import IMPORTED, WRONG_IN_PRODUCTION, schedule_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.sdk import DAG
    from airflow.timetables.base import DagRunInfo

    from wtmo.graph.model import Dag


@dataclass(frozen=True, order=True)
class Run:
    """A run of a DAG.

    :param date: its logical date, ISO 8601.
    :param start: where its data interval starts. :param end: where it ends.
    """

    dag: str
    date: str
    start: str
    end: str


@dataclass(frozen=True)
class LeftOut:
    """A DAG that is due and is not run.

    :param known: it is one that production can't run either. Otherwise something is wrong.
    """

    dag: str
    reason: str
    known: bool


@dataclass(frozen=True)
class Plan:
    """A day of all DAGs.

    :param runs: the runs to make, one a DAG unless another DAG waits for more.
    :param several: how many runs of the day there are, of DAGs with more than one.
    :param left_out: DAGs that are due but wait for what never comes.
    :param stand_ins: runs of imported DAGs that are waited for.
    :param tasks: those that are waited for, by DAG.
    :param before: runs of other days, of DAGs of this repository, that are waited for: they are taken as done.
    :param waits: the runs of other DAGs that are waited for, by DAG.
    :param not_due: how many DAGs have no run on this day.
    """

    runs: list[Run]
    several: dict[str, int] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    stand_ins: list[Run] = field(default_factory=list)
    tasks: dict[str, list[str]] = field(default_factory=dict)
    before: list[Run] = field(default_factory=list)
    waits: dict[str, list[Run]] = field(default_factory=dict)
    not_due: int = 0

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What :func:`main` printed."""
        raw = json.loads(text)
        for name in ("runs", "stand_ins", "before"):
            raw[name] = [Run(**run) for run in raw[name]]
        raw["waits"] = {dag: [Run(**run) for run in runs] for dag, runs in raw["waits"].items()}
        raw["left_out"] = [LeftOut(**left) for left in raw["left_out"]]
        return cls(**raw)


@dataclass(frozen=True)
class _Wait:
    """What a sensor of a run waits for.

    :param date: logical date of the run. None: it can't be told.
    :param error: why not.
    """

    sensor: str
    dag: str
    tasks: tuple[str, ...]
    date: dt.datetime | None
    error: str | None = None


def plan(dags: Mapping[str, DAG], facts: Mapping[str, Dag], day: dt.date, *, now: dt.datetime) -> Plan:
    """What is due on ``day``: runs whose logical date is of that day (UTC) and whose data interval is over.

    A DAG with several runs that day runs its first one, and those that another DAG waits for. A DAG without a schedule of dates
    (by hand, once) is never due.

    :param dags: the hand-written ones, by their id.
    :param facts: what is known of them, for ``day``.
    :param now: until when an interval must have ended.
    """
    calendar = _Calendar(dags, now)
    first = dt.datetime.combine(day, dt.time(), dt.UTC)
    found = {dag_id: calendar.runs(dag_id, first, first + dt.timedelta(days=1)) for dag_id in dags}
    due = {dag_id: runs for dag_id, runs in found.items() if runs}
    chosen = {dag_id: {_utc(runs[0].logical_date): runs[0]} for dag_id, runs in due.items()}
    left: dict[str, LeftOut] = {}
    stand_ins: dict[tuple[str, dt.datetime], DagRunInfo] = {}
    tasks: dict[str, set[str]] = {}
    before: dict[tuple[str, dt.datetime], DagRunInfo] = {}
    waited: dict[str, set[Run]] = {}

    queue = [(dag_id, date) for dag_id, runs in chosen.items() for date in runs]
    waits: dict[str, list[_Wait]] = {}
    while queue:
        dag_id, date = queue.pop()
        for wait in _waits(facts[dag_id], date):
            waits.setdefault(dag_id, []).append(wait)
            run, trouble = calendar.waited_for(wait)
            if run is None:
                known = WRONG_IN_PRODUCTION.get((dag_id, wait.sensor))
                left.setdefault(
                    dag_id, LeftOut(dag_id, f"{wait.sensor} waits in vain: {known or trouble}", known is not None)
                )
                continue
            at = _utc(run.logical_date)
            waited.setdefault(dag_id, set()).add(_run(wait.dag, run))
            tasks.setdefault(wait.dag, set()).update(wait.tasks)
            if wait.dag not in dags:
                stand_ins[wait.dag, at] = run
            elif first <= at < first + dt.timedelta(days=1):
                if at not in chosen[wait.dag]:
                    chosen[wait.dag][at] = run
                    queue.append((wait.dag, at))
            else:
                before[wait.dag, at] = run
    _leave_followers_out(waits, chosen, left)

    needed = {(wait.dag, wait.date) for dag_id, each in waits.items() if dag_id not in left for wait in each}
    return Plan(
        runs=[_run(d, info) for d in sorted(chosen) if d not in left for _, info in sorted(chosen[d].items())],
        several={d: len(runs) for d, runs in sorted(due.items()) if len(runs) > 1 and d not in left},
        left_out=[left[d] for d in sorted(left)],
        stand_ins=[_run(key[0], info) for key, info in sorted(stand_ins.items()) if key in needed],
        tasks={d: sorted(names) for d, names in sorted(tasks.items()) if any(d == dag for dag, _ in needed)},
        before=[_run(key[0], info) for key, info in sorted(before.items()) if key in needed],
        waits={d: sorted(runs) for d, runs in sorted(waited.items()) if d not in left},
        not_due=len(dags) - len(due),
    )


def _leave_followers_out(
    waits: Mapping[str, list[_Wait]], chosen: Mapping[str, Mapping[dt.datetime, Any]], left: dict[str, LeftOut]
) -> None:
    """Who waits for a run of the day that is left out would wait in vain too."""
    changed = True
    while changed:
        changed = False
        for dag_id, each in waits.items():
            for wait in each:
                if dag_id not in left and wait.dag in left and wait.date in chosen.get(wait.dag, {}):
                    reason = f"{wait.sensor} waits for {wait.dag}, which is left out"
                    left[dag_id] = LeftOut(dag_id, reason, left[wait.dag].known)
                    changed = True


class _Calendar:
    """When the runs of DAGs are: the hand-written ones, and the imported ones of :mod:`wtmo.local.imported`."""

    def __init__(self, dags: Mapping[str, DAG], now: dt.datetime) -> None:
        self._dags = dags
        self._now = now
        self._timetables: dict[str, Any] = {}

    def runs(self, dag_id: str, first: dt.datetime, end: dt.datetime, *, over: bool = True) -> list[DagRunInfo]:
        """Those with a logical date from ``first`` until before ``end``.

        :param over: those only whose data interval is over.
        """
        found = [
            info
            for info in self._between(dag_id, first, end)
            if info.logical_date and first <= _utc(info.logical_date) < end
        ]
        return [info for info in found if not over or info.run_after <= self._now]

    def waited_for(self, wait: _Wait) -> tuple[DagRunInfo | None, str]:
        """The run that a sensor waits for, or None and why there is none."""
        if wait.date is None:
            return None, f"which run it waits for can't be told: {wait.error}"
        if wait.dag not in self._dags and wait.dag not in IMPORTED:
            return None, f"there is no DAG {wait.dag}"
        known = set(self._dags[wait.dag].task_ids) if wait.dag in self._dags else IMPORTED[wait.dag][1]
        if missing := sorted(set(wait.tasks) - known):
            return None, f"{wait.dag} has no task {', '.join(missing)}"
        moment = dt.timedelta(microseconds=1)
        exact = self.runs(wait.dag, wait.date, wait.date + moment, over=False)
        if not exact:
            return None, f"no run of {wait.dag} has the date {wait.date:%Y-%m-%d %H:%M}"
        if exact[0].run_after > self._now:
            return None, f"the run of {wait.dag} of {wait.date:%Y-%m-%d %H:%M} is not over yet"
        return exact[0], ""

    def _between(self, dag_id: str, first: dt.datetime, end: dt.datetime) -> Iterator[DagRunInfo]:
        import pendulum
        from airflow.timetables.base import TimeRestriction

        dag = self._dags.get(dag_id) or schedule_of(dag_id)
        timetable = self._timetable(dag_id, dag)
        if not timetable.periodic or not timetable.can_be_scheduled:
            return
        start = max(first, _utc(dag.start_date)) if dag.start_date else first
        window = TimeRestriction(pendulum.instance(start), pendulum.instance(end), catchup=True)
        info = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=window)
        while info is not None:
            yield info
            info = timetable.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=window)

    def _timetable(self, dag_id: str, dag: DAG) -> Any:
        """As the scheduler has it: that of the stored DAG."""
        from airflow.serialization.serialized_objects import DagSerialization

        if dag_id not in self._timetables:
            self._timetables[dag_id] = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
        return self._timetables[dag_id]


def _waits(dag: Dag, date: dt.datetime) -> Iterator[_Wait]:
    for task in dag.tasks:
        wait = task.waits
        if wait is None or task.marker:
            continue
        dates = CrossEdge((wait.of_dag, ""), (dag.dag_id, task.task_id), "sensor", wait).to_upstream(date.isoformat())
        for each in dates:
            yield _Wait(task.task_id, wait.of_dag, wait.of_tasks, dt.datetime.fromisoformat(each))
        if not dates:
            yield _Wait(task.task_id, wait.of_dag, wait.of_tasks, None, wait.error or "the run has no such date")


def _utc(moment: dt.datetime | None) -> dt.datetime:
    if moment is None:
        raise ValueError("a run without a logical date")
    # Airflow's moments are pendulum's, which print otherwise.
    return dt.datetime.fromtimestamp((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp(), dt.UTC)


def _run(dag_id: str, info: DagRunInfo) -> Run:
    interval = info.data_interval
    start, end = (interval.start, interval.end) if interval else (info.logical_date, info.logical_date)
    return Run(dag_id, *(_utc(moment).isoformat() for moment in (info.logical_date, start, end)))


def main() -> int:
    """Write the plan of a day."""
    parser = argparse.ArgumentParser(prog="python -m wtmo.local.due")
    parser.add_argument("--date", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        facts = own_dags(date=options.date.isoformat())
        found = plan(load_dags(), facts, options.date, now=dt.datetime.now(dt.UTC))
    except WtmoError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    options.out.write_text(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
