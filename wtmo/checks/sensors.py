"""Rules of what waits for another DAG or starts it: that it exists, and that the runs meet."""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

from utils.names import did_you_mean
from wtmo.checks.rule import IMPORTED_BUNDLE, OWN, Finding, Look, Severity, of_task, rule
from wtmo.checks.schedules import BY_HAND, DAY, ONCE, WEEK, Schedules, begin_of, dates_of, seconds, shown, span, typed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from wtmo.checks.schedules import Schedule
    from wtmo.graph.model import Dag, Task, Wait

PRIVATE_BUNDLE = "private-bigquery-etl"
HOMES = {"bqetl_": IMPORTED_BUNDLE, "private_bqetl_": PRIVATE_BUNDLE}
"""How ids of DAGs that other repositories generate start, and the bundle that serves them."""

SHORTEST_WAIT = 6 * 3600
"""Seconds that a sensor may always wait, however often its DAG runs (:func:`operators.external_task.wait_limit`)."""

_MOST_KNOWN = 12
_LIKE = 0.75
_MOST_SHOWN = 5
_BY_THE_RUN = {"same", "delta"}
"""How a sensor finds the run to wait for where its own run's logical date is all that it takes."""
_ENOUGH = 0.5
"""Share of the runs of a year of which it has to be known whether they wait in vain."""


# --- what is waited for


def home(dag_id: str) -> str:
    """The bundle that a DAG of this id would be in, as its name says.

    >>> home("private_bqetl_ads")
    'private-bigquery-etl'
    """
    return next((bundle for start, bundle in HOMES.items() if dag_id.startswith(start)), OWN)


def is_there(look: Look, dag_id: str) -> bool:
    """Whether a DAG is known to exist."""
    return dag_id in look.dags or dag_id in look.foreign


def can_tell(look: Look, dag_id: str) -> bool:
    """Whether a DAG that is not known does not exist: it may be of a bundle that is not at hand, or in a file that did not load."""
    return home(dag_id) in look.bundles and look.hidden(dag_id) is None


def near_to(name: str, known: Collection[str]) -> str:
    """The names that are nearly the same as a sentence with a blank behind it; all of them where they are few; else nothing."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=_LIKE)
    return f"{did_you_mean(name, near or known)} " if near or 0 < len(known) <= _MOST_KNOWN else ""


def listed(names: Iterable[str]) -> str:
    """Names in quotes, as a message tells them."""
    return ", ".join(repr(name) for name in names)


def _sensors(look: Look) -> Iterator[tuple[Dag, Task, Wait]]:
    for dag, task in look.tasks():
        if task.waits is not None and not task.marker:
            yield dag, task, task.waits


def lacking(look: Look, wait: Wait) -> tuple[list[str], Collection[str]]:
    """Tasks or the group that the other DAG does not have, and what it has; of a DAG that is known."""
    dag = look.dags.get(wait.of_dag)
    if dag is None:
        return [], ()
    if wait.of_group is not None:
        return [wait.of_group] if wait.of_group not in dag.groups else [], dag.groups
    return [name for name in wait.of_tasks if name not in dag.by_id], dag.by_id


_MAKES_A_DAG_EXIST = "Name a DAG that exists, or remove the task."


@rule(
    "SEN001",
    "A sensor on a DAG that does not exist fails at its first look or waits until its timeout.",
    fix=_MAKES_A_DAG_EXIST,
)
def sensor_dag(look: Look) -> Iterator[Finding]:
    """The DAG that a sensor waits for exists.

    Ids that start with ``bqetl_`` or ``private_bqetl_`` are of DAGs that other repositories generate. Where their bundle is not at
    hand, ``SEN012`` says so instead.
    """
    for dag, task, wait in _sensors(look):
        if not is_there(look, wait.of_dag) and can_tell(look, wait.of_dag):
            near = near_to(wait.of_dag, [*look.dags, *look.foreign])
            yield of_task(
                dag, task, f"waits for DAG {wait.of_dag!r}, which does not exist", fix=f"{near}{_MAKES_A_DAG_EXIST}"
            )


@rule(
    "SEN002",
    "A sensor on a task that does not exist fails at its first look or waits until its timeout.",
    fix="Name a task that the DAG has; one in a task group as <group>.<task>.",
)
def sensor_task(look: Look) -> Iterator[Finding]:
    """The tasks, or the task group, that a sensor waits for are in the DAG that it names."""
    for dag, task, wait in _sensors(look):
        missing, known = lacking(look, wait)
        if missing:
            what = "group" if wait.of_group is not None else "task"
            near = near_to(missing[0], [name for name in known if name != task.task_id])
            yield of_task(
                dag,
                task,
                f"waits for {what} {listed(missing)} of DAG {wait.of_dag!r}, which that DAG does not have",
                fix=f"{near}Name a {what} that {wait.of_dag} has.",
            )


@rule(
    "SEN003",
    "A sensor that looks for a run which is never made waits until its timeout.",
    fix="Give execution_delta (wait_for: delta), this run's logical date less that of the run waited for.",
)
def sensor_run(look: Look) -> Iterator[Finding]:
    """The run that a sensor waits for is one that the other DAG's timetable makes.

    Proved for every run of a year, by both DAGs' timetables: time zones with daylight saving, start dates and end dates are in
    it. The first run that would wait in vain is named, and the shift that would meet a run, where there is one for all of them.
    Where it can't be proved, ``SEN014`` says so.
    """
    schedules = Schedules(look)
    for dag, task, wait in _sensors(look):
        if not is_there(look, wait.of_dag) or _is_by_hand(look, dag, wait):
            continue
        own, other = schedules[dag.dag_id], schedules[wait.of_dag]
        told = _told(_pairs(own, wait), other)
        if not (lost := _lost(told, other)):
            continue
        share = "no run of a year finds one"
        if len(lost) < len(told):
            share = f"{len(lost)} of {len(told)} runs of a year wait in vain"
        why = f"which its schedule ({other.text}) never makes"
        fix = _how_to_meet(own, other, [date for date, _ in told])
        if other.last is not None and all(other.is_after(target) for _, target in lost):
            why = f"which is after its end_date, {shown(other.last)}"
            fix = f"Remove the sensor, or let {wait.of_dag} end later."
        date, target = lost[0]
        yield of_task(
            dag,
            task,
            f"waits for the run of {wait.of_dag} of {shown(target)}, {why}: {share}, the first is that of {shown(date)}",
            fix=fix,
        )


def _is_by_hand(look: Look, dag: Dag, wait: Wait) -> bool:
    """Whether ``SEN005`` or ``SEN006`` says that no dates can meet."""
    if dag.schedule.get("kind") == BY_HAND:
        return wait.how in _BY_THE_RUN
    return wait.of_dag in look.dags and look.dags[wait.of_dag].schedule.get("kind") == BY_HAND


def _pairs(own: Schedule, wait: Wait) -> list[tuple[int, int]]:
    """Each own logical date with each that it waits for."""
    return [(date, target) for date, targets in dates_of(own, wait) for target in targets]


def _told(pairs: Iterable[tuple[int, int]], other: Schedule) -> list[tuple[int, int]]:
    """Those of which it can be told whether the other DAG makes a run of the date."""
    return [(date, target) for date, target in pairs if other.tells(target)]


def _lost(told: Iterable[tuple[int, int]], other: Schedule) -> list[tuple[int, int]]:
    """Those whose run is never made. What is from before the DAG's start is left to ``SEN007``."""
    return [(date, target) for date, target in told if not other.makes(target) and not other.is_before(target)]


def _how_to_meet(own: Schedule, other: Schedule, dates: Sequence[int]) -> str:
    """What to type so that each run finds the newest run that has ended with it."""
    deltas = {date - newest for date in dates if (newest := _newest(own, other, date)) is not None}
    if len(deltas) == 1 and (delta := deltas.pop()):
        return f"Type execution_delta={typed(delta)} (wait_for: delta)."
    if deltas == {0}:
        return "Remove execution_delta (wait_for: delta)."
    return (
        "No single shift meets a run each time. Give both DAGs the same time zone and days, or an execution_date_fn "
        "that answers the logical date to wait for."
    )


def _newest(own: Schedule, other: Schedule, date: int) -> int | None:
    """The logical date of the other's newest run that has ended when the own one of that date has. None: it is not known."""
    return other.newest(own.ends.get(date, date))


@rule(
    "SEN004",
    "A DAG that runs less often than the one it waits for, with the same logical date, waits for a run that is long over.",
    fix="Give an execution_delta (wait_for: delta) that reaches the newest run.",
    severity=Severity.warning,
)
def stale_run(look: Look) -> Iterator[Finding]:
    """The run waited for is the newest one, or ended less than a day before the own interval ends.

    Logical dates are those of an interval's start: a weekly run and the daily run of the same date end six days apart, and what
    the other DAG has made since is not waited for. DAGs that run equally often may wait for yesterday's run.
    """
    schedules = Schedules(look)
    for dag, task, wait in _sensors(look):
        if not is_there(look, wait.of_dag):
            continue
        own, other = schedules[dag.dag_id], schedules[wait.of_dag]
        met = {
            date: max(found)
            for date, targets in dates_of(own, wait)
            if date in own.ends and (found := [target for target in targets if target in other.ends])
        }
        used = {target for _, targets in dates_of(own, wait) for target in targets}
        gaps, newer = [], 0
        ends = [other.ends[each] for each in other.dates]
        for date, target in met.items():
            later = other.dates[bisect_right(ends, other.ends[target]) : bisect_right(ends, own.ends[date])]
            unused = sum(each not in used for each in later)
            gaps.append(own.ends[date] - other.ends[target] if unused else 0)
            newer = max(newer, unused)
        if gaps and (gap := median(gaps)) >= DAY:
            date, target = next(iter(met.items()))
            yield of_task(
                dag,
                task,
                f"waits for a run of {wait.of_dag} that ended {span(gap)} before its own interval does "
                f"(that of {shown(date)} for that of {shown(target)}), although up to {newer} newer ones have ended by then",
                fix=_how_to_be_fresh(own, other, list(met)),
            )


def _how_to_be_fresh(own: Schedule, other: Schedule, dates: Sequence[int]) -> str:
    deltas = [date - newest for date in dates if (newest := _newest(own, other, date)) is not None]
    if len(set(deltas)) == 1 and deltas[0]:
        return f"Type execution_delta={typed(deltas[0])} (wait_for: delta) to wait for the newest run."
    return "Give an execution_date_fn that answers the logical date of the newest run: the number of days differs."


@rule(
    "SEN005",
    "A run that somebody starts has the logical date of that moment, and no run of another DAG has the same.",
    fix="Give the DAG a schedule, or start it from the other DAG with TriggerDagRunOperator and remove the sensor.",
)
def sensor_by_hand(look: Look) -> Iterator[Finding]:
    """A DAG with a sensor on another DAG has a schedule.

    Unless a function or a template works out which run to wait for: then the date of the start may do.
    """
    for dag, task, wait in _sensors(look):
        if dag.schedule.get("kind") == BY_HAND and wait.how in _BY_THE_RUN:
            yield of_task(
                dag,
                task,
                f"waits for a run of {wait.of_dag} with a logical date of its own DAG's, which has no schedule",
            )


@rule(
    "SEN006",
    "A DAG that is started by hand makes no run of a date that could be waited for.",
    fix="Give the DAG that is waited for a schedule, or start this one from there with TriggerDagRunOperator.",
)
def sensor_on_by_hand(look: Look) -> Iterator[Finding]:
    """The DAG that a sensor waits for has a schedule."""
    for dag, task, wait in _sensors(look):
        other = look.dags.get(wait.of_dag)
        if other is not None and other.schedule.get("kind") == BY_HAND != dag.schedule.get("kind"):
            yield of_task(dag, task, f"waits for a run of {wait.of_dag}, which has no schedule: somebody starts it")


@rule(
    "SEN007",
    "A DAG that catches up from before the other DAG's first run waits for what was never made.",
    fix="Start this DAG later, or the other one earlier.",
    severity=Severity.warning,
)
def sensor_start(look: Look) -> Iterator[Finding]:
    """The DAG that a sensor waits for starts early enough for one that catches up.

    Such a DAG makes a run of every date since its start. One that does not catch up begins with its newest run, and which one that
    is depends on the day: it is not looked at. A DAG that waits for its own run of the day before has nobody to wait for on its
    first day: that is not told either.
    """
    schedules = Schedules(look)
    for dag, task, wait in _sensors(look):
        if (begin := _too_early(look, dag, schedules[dag.dag_id], wait)) is not None:
            start = seconds(str(look.dags[wait.of_dag].start_date))
            yield of_task(
                dag,
                task,
                f"its first run, of {shown(begin)}, waits for one of {wait.of_dag} from before that DAG's start_date, "
                f"{shown(start)}",
            )


def _too_early(look: Look, dag: Dag, own: Schedule, wait: Wait) -> int | None:
    """The logical date of a first run that waits for what is from before the other DAG's start; None: there is none."""
    other = look.dags.get(wait.of_dag)
    if other is None or other is dag or other.start_date is None or other.schedule.get("kind") == ONCE:
        return None
    begin = _first_run(own) if dag.attributes.get("catchup") and wait.delta is not None else None
    return begin if begin is not None and begin - (wait.delta or 0) < seconds(other.start_date) else None


def _first_run(own: Schedule) -> int | None:
    """The logical date of the first run since the DAG's start, counted back from those that are known.

    By days that differ in number, as those of months do, it is only told to a few days: then the latest possible one.
    """
    if own.first is None or not own.dates or (interval := own.interval) is None:
        return None
    begin = own.dates[0] - (own.dates[0] - own.first) // interval * interval
    return begin if interval <= WEEK else begin + 4 * DAY


@rule(
    "SEN008",
    "A shift that can't be worked out can't be checked, and fails when the task runs.",
    fix="Mend the function or the template: it gets a logical date and answers one, or a list of them.",
)
def sensor_shift(look: Look) -> Iterator[Finding]:
    """What a function or a template says of the run to wait for, or of the one that a marker points to, can be worked out."""
    for dag, task in look.tasks():
        if task.waits is None or any(template.error for template in task.templates):
            continue
        if task.waits.error is not None:
            what = "the date that it points to" if task.marker else "the run that it waits for"
            yield of_task(dag, task, f"{what} can't be told: {task.waits.error}")


@rule(
    "SEN009",
    "A sensor that waits longer than its DAG's interval tells nobody for days, and its runs pile up.",
    fix="Use wait_for(...), which waits for one interval, or give a timeout that is no longer than that.",
    severity=Severity.warning,
)
def sensor_timeout(look: Look) -> Iterator[Finding]:
    """A sensor gives up before its DAG's next run begins, or after six hours where that is sooner.

    Airflow's own default is 7 days. Of imported DAGs, whose generator gives no timeout, those of tier 1 are told in one finding a
    bundle.
    """
    schedules = Schedules(look)
    long: dict[str, list[tuple[Dag, Task]]] = defaultdict(list)
    for dag, task, wait in _sensors(look):
        timeout = task.attributes.get("timeout")
        interval = schedules[dag.dag_id].interval
        if task.attributes.get("fits_interval") or timeout is None or interval is None:
            continue
        if timeout > max(interval, SHORTEST_WAIT):
            if look.is_own(dag):
                yield of_task(
                    dag,
                    task,
                    f"waits up to {span(timeout)} for {wait.of_dag}, and its DAG runs every {span(interval)}",
                )
            elif look.tier(dag) == "tier_1":
                long[dag.bundle].append((dag, task))
    for bundle, found in sorted(long.items()):
        dags = {dag.dag_id for dag, _ in found}
        yield Finding(
            f"{len(found)} sensors of {len(dags)} DAGs of tier 1 wait longer than their DAG's interval: {_some(sorted(dags))}",
            "Give the generator of these files a timeout for its sensors.",
            bundle,
        )


@rule(
    "SEN014",
    "What was not proved is not sound.",
    fix="Give both DAGs a schedule by the clock; or start this DAG from the other with TriggerDagRunOperator, and remove the sensor.",
    severity=Severity.warning,
)
def run_not_proved(look: Look) -> Iterator[Finding]:
    """It can be told whether the run that a sensor waits for is made (``SEN003``), for at least half of the runs of a year.

    It can't be told of DAGs whose runs nobody knows before they begin: assets start them, they begin again when they have ended,
    or a function says what a run by hand waits for. Nor of a DAG with no run in the year that is looked at. Of a DAG that runs more
    often than 9,000 times a year so many runs are looked at; a cron schedule in UTC tells of the others.

    What ``SEN005`` to ``SEN008`` and ``SEN012`` say is not told twice. A DAG that has ended waits for nothing.
    """
    schedules = Schedules(look)
    for dag, task, wait in _sensors(look):
        if wait.error is not None or not is_there(look, wait.of_dag) or _is_by_hand(look, dag, wait):
            continue
        own, other = schedules[dag.dag_id], schedules[wait.of_dag]
        if not own.is_after(begin_of(look)) and (why := _unproved(look, dag, wait, own, other)):
            yield of_task(dag, task, f"not proved that the run which it waits for is made: {why[0]}", fix=why[1])


def _unproved(look: Look, dag: Dag, wait: Wait, own: Schedule, other: Schedule) -> tuple[str, str] | None:
    """Why it can't be told, and what to type where that is not the rule's. None: it can, or another rule says it."""
    its_own, its = f"its own DAG ({own.text})", f"{wait.of_dag} ({other.text})"
    if own.known is None and wait.how not in _BY_THE_RUN:
        return f"which one its {wait.how} names for a run of {its_own} is not known before", ""
    for name, schedule in ((its_own, own), (its, other)):
        if schedule.known is None:
            return f"when {name} runs is not known before", ""
    pairs = _pairs(own, wait)
    if not pairs:
        return f"{its_own} has no run in the year from {look.inventory.date} on", _BY_EYE
    if all(other.is_before(target) for _, target in pairs):
        if _too_early(look, dag, own, wait) is not None:
            return None
        return f"all runs of a year wait for dates from before the start of {its}", f"Let {wait.of_dag} start earlier."
    told = _told(pairs, other)
    if _lost(told, other) or min(len(told) / len(pairs), own.share) >= _ENOUGH:
        return None
    if own.share < _ENOUGH:
        return f"{its_own} runs so often that its runs are looked at until {shown(own.dates[-1])} only", _BY_EYE
    first, last = min(target for _, target in pairs), max(target for _, target in pairs)
    return f"of {its} too few runs are known between {shown(first)} and {shown(last)}", _BY_EYE


_BY_EYE = "Compare both schedules by eye; if they meet, say so in config/silences.toml."


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more


@rule(
    "SEN012",
    "What was not checked is not sound.",
    fix="Import the other repository's DAGs (`wtmo import`), and check again; a task of it that a sensor here waits for is a line in "
    "wtmo/local/imported.py.",
    severity=Severity.warning,
)
def not_checked(look: Look) -> Iterator[Finding]:
    """What sensors, markers and tasks that start runs name of other repositories is at hand.

    One finding for each repository that is not: its DAGs can't be told from DAGs that do not exist. What is known of them all
    the same (:data:`wtmo.local.imported.IMPORTED`) is checked against that.
    """
    missing: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for _, task in look.tasks():
        wait = task.waits
        for name in (wait.of_dag if wait else None, task.starts):
            if name is None or name in look.dags or home(name) in look.bundles:
                continue
            known = look.foreign.get(name)
            if task.marker or known is None or wait is None or not set(wait.of_tasks) <= known[1]:
                missing[home(name)][name] += 1
    for bundle, found in sorted(missing.items()):
        yield Finding(
            f"not checked, as {bundle} is not at hand: what waits for its DAGs, points to them or starts them, in "
            f"{_number(sum(found.values()), 'task')} ({_some(sorted(found))})"
        )


@rule(
    "SEN013",
    "A task that starts a DAG which does not exist fails.",
    fix="Name a DAG that exists.",
)
def started_dag(look: Look) -> Iterator[Finding]:
    """The DAG that a task starts exists."""
    for dag, task in look.tasks():
        if task.starts is None or is_there(look, task.starts) or not can_tell(look, task.starts):
            continue
        near = near_to(task.starts, list(look.dags))
        yield of_task(
            dag, task, f"starts DAG {task.starts!r}, which does not exist", fix=f"{near}Name a DAG that exists."
        )
