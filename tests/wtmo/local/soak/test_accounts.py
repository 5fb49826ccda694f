"""The account finds what must not be, and nothing else: each finding has a case that shows it and one that doesn't."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from wtmo.local.soak.accounts import PUT_OFF, Evidence, JobRun, PodRun, TaskEnd, settle
from wtmo.local.soak.plan import Plan, Work

POD = Work("a", "pod", True, "success", 1)
RUN = PodRun("u1", "a", 1, "Succeeded", None, "", 10, 20, 20)
JOB = JobRun("j1", "a", 1, failed=False, created=10, ended=20)
END = TaskEnd("success", 1, 21)


def findings(work: Work, end: TaskEnd | None = END, **evidence: Any) -> list[str]:
    tasks = {work.task_id: end} if end else {}
    account = settle(Plan(1, "", (work,)), Evidence(tasks=tasks, **evidence))
    return [finding.what for finding in account.findings]


def query(outcome: str = "success") -> Work:
    return replace(POD, kind="query", outcome=outcome)


def sync(*outcomes: str) -> Work:
    return replace(POD, kind="sync", connector={"outcome": list(outcomes)})


@pytest.mark.parametrize(
    ("work", "evidence"),
    [
        (POD, {"pods": [RUN]}),
        (query(), {"jobs": [JOB]}),
        (replace(POD, kind="pod-query"), {"pods": [RUN], "jobs": [JOB]}),
        (sync("success"), {"syncs": {"a": 1}, "synced": {"a": 20}}),
        (sync("rescheduled", "success"), {"syncs": {"a": 2}, "synced": {"a": 20}}),
        (replace(POD, kind="sensor", watches="b"), {"synced": {"b": 20}}),
    ],
)
def test_nothing_to_find_fault_with(work: Work, evidence: dict[str, Any]) -> None:
    assert findings(work, **evidence) == []
    assert settle(Plan(1, "", (work,)), Evidence(tasks={"a": END}, **evidence)).settled


@pytest.mark.parametrize("end", [None, TaskEnd("running", 1, None), TaskEnd("", 0, None)])
def test_a_task_that_did_not_finish(end: TaskEnd | None) -> None:
    account = settle(Plan(1, "", (POD,)), Evidence(tasks={"a": end} if end else {}, pods=[RUN]))
    assert (account.findings, account.unfinished, account.settled) == ((), ("a",), False)
    assert findings(POD, end, pods=[RUN, replace(RUN, uid="u2")]) == ["try 1 has 2 pods"]


def test_two_of_one_try() -> None:
    later = replace(RUN, uid="u2")
    assert findings(POD, pods=[RUN, later]) == ["try 1 has 2 pods"]
    assert findings(POD, pods=[RUN, replace(later, try_number=2)]) == []
    assert findings(query(), jobs=[JOB, replace(JOB, id="j2")]) == ["try 1 has 2 jobs"]
    assert findings(query(), jobs=[JOB, replace(JOB, id="j2", try_number=2)]) == []


@pytest.mark.parametrize("second", [25, 23])
def test_what_follows_a_failure_that_was_waited_out(second: int) -> None:
    end, found = TaskEnd("success", 1, 31), second < 20 + PUT_OFF
    pod = replace(RUN, phase="Failed")
    later = replace(RUN, uid="u2", created=second, active_until=30)
    assert findings(POD, end, pods=[pod, later]) == ["try 1 has 2 pods"] * found
    job = replace(JOB, failed=True)
    anew = replace(JOB, id="j2", created=second, ended=30)
    assert findings(query(), end, jobs=[anew, job]) == ["try 1 has 2 jobs"] * found
    assert "try 1 has 2 jobs" in findings(query(), end, jobs=[anew, replace(job, ended=None)])


def test_what_runs_on_after_the_end() -> None:
    assert findings(POD, pods=[replace(RUN, active_until=81)]) == []
    assert findings(POD, pods=[replace(RUN, active_until=82)]) == ["its pod u1 (try 1) was active 61 s after its end"]
    second = replace(JOB, id="j2", try_number=2)
    assert findings(query(), jobs=[JOB, replace(second, ended=81)]) == []
    assert findings(query(), jobs=[JOB, replace(second, ended=90)]) == ["its job j2 ended 69 s after it"]
    assert findings(query(), jobs=[JOB, replace(second, ended=None)]) == ["its job j2 still runs"]
    again = {"syncs": {"a": 1}, "synced": {"a": 20}, "syncing": frozenset({"a"})}
    assert findings(sync("success"), **again) == ["its sync still runs"]
    assert findings(POD, replace(END, ended=None), pods=[RUN]) == ["it is success and has no end"]


def test_pods_of_two_tries_at_once() -> None:
    end = TaskEnd("success", 2, 200)
    second = replace(RUN, uid="u2", try_number=2, created=50, active_until=190)
    assert findings(POD, end, pods=[replace(RUN, active_until=110), second]) == []
    (found,) = findings(POD, end, pods=[replace(RUN, active_until=111), second])
    assert "tries 1 and 2 were active together for 61 s" in found


@pytest.mark.parametrize(
    ("work", "tries", "most"),
    [
        (sync("success"), 3, 1),
        (sync("rescheduled", "success"), 3, 2),
        (sync("failure", "success"), 3, 2),
        (replace(sync("success"), act="clear"), 3, 2),
        (sync("failure"), 3, 3),
    ],
)
def test_more_syncs_than_there_were_to_do(work: Work, tries: int, most: int) -> None:
    """Three tries, two of them lost, go on with one sync."""
    outcome = "success" if "success" in (work.connector or {})["outcome"] else "failed"
    work, end = replace(work, outcome=outcome), TaskEnd(outcome, tries, 21)
    assert findings(work, end, syncs={"a": most}, synced={"a": 20}) == []
    assert findings(work, end, syncs={"a": most + 1}, synced={"a": 20}) == [
        f"{most + 1} syncs were started in 3 tries, where {most} were to do"
    ]


@pytest.mark.parametrize("outcome", ["failed", "skipped"])
def test_false_success_by_the_plan(outcome: str) -> None:
    (found,) = findings(replace(POD, outcome=outcome), pods=[RUN])
    assert found == f"false success: its program's outcome is {outcome}"


@pytest.mark.parametrize(
    ("work", "evidence"),
    [
        (POD, {}),
        (POD, {"pods": [replace(RUN, phase="Failed")]}),
        (POD, {"pods": [replace(RUN, program_ended=22)]}),
        (query(), {"jobs": [replace(JOB, failed=True)]}),
        (query(), {"jobs": [replace(JOB, ended=22)]}),
        (replace(POD, kind="pod-query"), {"pods": [RUN]}),
        (replace(POD, kind="pod-query"), {"pods": [RUN], "jobs": [replace(JOB, ended=22)]}),
        (sync("success"), {"syncs": {"a": 1}}),
        (sync("success"), {"syncs": {"a": 1}, "synced": {"a": 22}}),
        (replace(POD, kind="sensor", watches="b"), {"synced": {"b": 22}}),
    ],
)
def test_false_success_by_what_ran(work: Work, evidence: dict[str, Any]) -> None:
    assert findings(work, **evidence) == ["false success: nothing of it had succeeded"]


def test_a_task_that_was_marked_has_failed() -> None:
    marked = {"marked": frozenset({"a"}), "pods": [RUN]}
    assert findings(POD, replace(END, state="failed"), **marked) == []
    assert findings(POD, **marked) == ["it was marked as failed and is success"]


def test_a_failure_needs_a_reason() -> None:
    failed = replace(END, state="failed")
    assert findings(POD, failed, pods=[RUN]) == ["it is failed; its program's outcome is success"]
    assert findings(POD, failed, pods=[replace(RUN, phase="Failed")]) != []
    assert findings(POD, failed, pods=[replace(RUN, fault="oom")]) != [], "its pod has succeeded all the same"
    for cause in ({"fault": "oom"}, {"reason": "NodeLost"}):
        lost = replace(RUN, phase="Failed", **cause)
        account = settle(Plan(1, "", (POD,)), Evidence(tasks={"a": failed}, pods=[lost]))
        assert (account.findings, account.excused) == ((), ("a",))
        earlier = replace(lost, created=5)
        assert findings(POD, failed, pods=[earlier, RUN]) != [], "the last pod counts"
    assert findings(query("failed"), failed, jobs=[replace(JOB, failed=True)]) == []


def test_what_no_task_accounts_for() -> None:
    other = {"pods": [RUN, replace(RUN, task="b")], "jobs": [replace(JOB, task="c")], "syncs": {"d": 1}}
    assert findings(POD, **other) == [f"a {what} that no task accounts for" for what in ("pod", "job", "sync")]


def test_the_figures() -> None:
    account = settle(Plan(1, "", (POD,)), Evidence(tasks={"a": END}, pods=[RUN], syncs={"x": 2}))
    assert (account.pods, account.jobs, account.syncs, account.tries) == (1, 0, 2, 1)
    assert account.states["pod"] == {"success": 1}
