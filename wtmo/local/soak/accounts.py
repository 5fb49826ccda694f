"""The account: what became of each task, and of every pod, job and sync that was made for it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wtmo.local.soak.plan import Plan, Work

GRACE = 60.0
PUT_OFF = 4.0
"""Seconds between what failed and what follows it in the same try, at the least: a task that waits something out
(:func:`utils.retries.waiting_out`) begins again after five seconds here. Two that a fault made of one come sooner."""
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_FATAL = frozenset({"unschedulable", "image-pull", "oom", "evicted"})
_LOST = frozenset({"NodeLost", "NodeShutdown", "Evicted"})


@dataclass(frozen=True)
class TaskEnd:
    """A task as Airflow tells of it.

    :param ended: seconds since the epoch; None while it goes on.
    """

    state: str
    tries: int
    ended: float | None


@dataclass(frozen=True)
class PodRun:
    """A pod.

    :param phase: its last one.
    :param reason: why it failed, where the cluster says so.
    :param fault: the name of the fault that it met; empty: none.
    :param created: seconds since the epoch.
    :param active_until: when it was seen active last, or ended. Seconds since the epoch.
    :param program_ended: when its program did, in whole seconds since the epoch: a sidecar may go on for a moment. None: it
        did not.
    """

    uid: str
    task: str
    try_number: int
    phase: str
    reason: str | None
    fault: str
    created: float
    active_until: float
    program_ended: float | None

    @property
    def failed(self) -> bool:
        """Whether it did not succeed."""
        return self.phase != "Succeeded"


@dataclass(frozen=True)
class JobRun:
    """A BigQuery job.

    :param created: seconds since the epoch.
    :param ended: likewise; None while it runs.
    """

    id: str
    task: str
    try_number: int
    failed: bool
    created: float
    ended: float | None

    @property
    def active_until(self) -> float:
        """When it ended; for ever while it runs."""
        return math.inf if self.ended is None else self.ended


@dataclass(frozen=True)
class Evidence:
    """All that was found.

    :param syncs: how often each sync's connector was started, by task.
    :param synced: when a sync of the connector first succeeded, by the task that starts it. Seconds since the epoch.
    :param syncing: the tasks whose connector still syncs.
    :param marked: the tasks that a person marked as failed while they ran or waited.
    """

    tasks: Mapping[str, TaskEnd]
    pods: Iterable[PodRun] = ()
    jobs: Iterable[JobRun] = ()
    syncs: Mapping[str, int] = field(default_factory=dict)
    synced: Mapping[str, float] = field(default_factory=dict)
    syncing: frozenset[str] = frozenset()
    marked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Finding:
    """Something that must not be."""

    task: str
    what: str


@dataclass(frozen=True)
class Account:
    """The result.

    :param unfinished: tasks that had not come to their end; of these only two pods or jobs of one try are findings.
    :param excused: tasks that failed because their last pod met a fault or was lost, whatever their program does.
    """

    findings: tuple[Finding, ...]
    unfinished: tuple[str, ...]
    states: Mapping[str, Counter[str]]
    pods: int
    jobs: int
    syncs: int
    tries: int
    excused: tuple[str, ...]

    @property
    def settled(self) -> bool:
        """Whether every task has finished and there is nothing to find fault with."""
        return not self.findings and not self.unfinished


def settle(plan: Plan, evidence: Evidence) -> Account:
    """Hold what was found against the plan."""
    pods: dict[str, list[PodRun]] = defaultdict(list)
    jobs: dict[str, list[JobRun]] = defaultdict(list)
    for pod in sorted(evidence.pods, key=lambda each: each.created):
        pods[pod.task].append(pod)
    for job in sorted(evidence.jobs, key=lambda each: each.created):
        jobs[job.task].append(job)
    known = {work.task_id for work in plan.work}
    findings = [
        Finding(task, f"a {what} that no task accounts for")
        for what, found in (("pod", pods), ("job", jobs), ("sync", evidence.syncs))
        for task in found
        if task not in known
    ]
    states: dict[str, Counter[str]] = defaultdict(Counter)
    excused, unfinished = [], []
    for work in plan.work:
        name = work.task_id
        end = evidence.tasks.get(name, TaskEnd("", 0, None))
        states[work.kind][end.state or "none"] += 1
        findings += [Finding(name, what) for what in _twice(pods[name], jobs[name])]
        if end.state not in FINISHED:
            unfinished.append(name)
            continue
        complaints = [*_left(pods[name], jobs[name], end), *_syncs(work, end, evidence)]
        if complaint := _state(work, end, pods[name], jobs[name], evidence):
            if not complaint.excused:
                complaints.append(complaint.what)
            else:
                excused.append(name)
        findings += [Finding(name, what) for what in complaints]
    return Account(
        findings=tuple(findings),
        unfinished=tuple(unfinished),
        states=states,
        pods=sum(map(len, pods.values())),
        jobs=sum(map(len, jobs.values())),
        syncs=sum(evidence.syncs.values()),
        tries=sum(end.tries for end in evidence.tasks.values()),
        excused=tuple(excused),
    )


@dataclass(frozen=True)
class _Complaint:
    what: str
    excused: bool = False


def _twice(pods: list[PodRun], jobs: list[JobRun]) -> Iterator[str]:
    """More than one of a try, but for what follows a failure that was waited out."""
    for what, runs in (("pods", pods), ("jobs", jobs)):
        of_try: dict[int, list[PodRun | JobRun]] = defaultdict(list)
        for run in runs:
            of_try[run.try_number].append(run)
        for number, those in sorted(of_try.items()):
            if any(not a.failed or b.created - a.active_until < PUT_OFF for a, b in pairwise(those)):
                yield f"try {number} has {len(those)} {what}"


def _left(pods: list[PodRun], jobs: list[JobRun], end: TaskEnd) -> Iterator[str]:
    if end.ended is None:
        yield f"it is {end.state} and has no end"
        return
    for pod, later in zip_longest(pods, pods[1:]):
        over = pod.active_until - end.ended
        if over > GRACE:
            yield f"its pod {pod.uid} (try {pod.try_number}) was active {over:.0f} s after its end"
        if later is not None and (both := pod.active_until - later.created) > GRACE:
            yield f"pods of tries {pod.try_number} and {later.try_number} were active together for {both:.0f} s"
    for job in jobs:
        if job.ended is None:
            yield f"its job {job.id} still runs"
        elif job.ended - end.ended > GRACE:
            yield f"its job {job.id} ended {job.ended - end.ended:.0f} s after it"


def _syncs(work: Work, end: TaskEnd, evidence: Evidence) -> Iterator[str]:
    if work.kind != "sync":
        return
    count = evidence.syncs.get(work.task_id, 0)
    outcomes = (work.connector or {}).get("outcome", [])
    # A try that goes on with the sync of a lost one starts none, and one that was cleared starts its own.
    most = outcomes.index("success") + 1 + (work.act == "clear") if "success" in outcomes else end.tries
    if count > most:
        yield f"{count} syncs were started in {end.tries} tries, where {most} were to do"
    if work.task_id in evidence.syncing:
        yield "its sync still runs"


def _state(work: Work, end: TaskEnd, pods: list[PodRun], jobs: list[JobRun], evidence: Evidence) -> _Complaint | None:
    """What is wrong about its state, if anything."""
    if work.task_id in evidence.marked:
        return None if end.state == "failed" else _Complaint(f"it was marked as failed and is {end.state}")
    if end.state == "success":
        if work.outcome != "success":
            return _Complaint(f"false success: its program's outcome is {work.outcome}")
        pod_ends = [pod.program_ended for pod in pods if not pod.failed]
        job_ends = [job.ended for job in jobs if not job.failed]
        sync_ends = [evidence.synced.get(work.watches or work.task_id)]
        needed = {"pod": [pod_ends], "pod-query": [pod_ends, job_ends], "query": [job_ends]}.get(work.kind, [sync_ends])
        if all(any(at and at <= (end.ended or at) for at in ends) for ends in needed):
            return None
        return _Complaint("false success: nothing of it had succeeded")
    if end.state == work.outcome:
        return None
    last = pods[-1] if pods else None
    if last and last.failed and (last.fault in _FATAL or last.reason in _LOST):
        return _Complaint(f"its last pod met {last.fault or last.reason}", excused=True)
    return _Complaint(f"it is {end.state}; its program's outcome is {work.outcome}")
