"""Which DAGs are due on a day, and what their sensors need."""

from __future__ import annotations

import datetime as dt
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.sdk import DAG

from operators.external_task import mark, wait_for
from tests.described import described
from wtmo.errors import WtmoError
from wtmo.local import all_dags, api, due
from wtmo.local.all_dags import DagResult, DayOfAll, narrowed, served_as_done
from wtmo.local.due import LeftOut, Plan, Run, plan

if TYPE_CHECKING:
    from wtmo.graph.model import Dag

MONDAY = dt.date(2026, 6, 1)
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
AT = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def dag(dag_id: str, schedule: Any, *sensors: tuple[str, str, timedelta], start: str = "2024-01-01") -> DAG:
    """A DAG with a task ``t`` and sensors on a DAG, a task, a shift."""
    with DAG(dag_id, schedule=schedule, start_date=dt.datetime.fromisoformat(start).replace(tzinfo=dt.UTC)) as made:
        EmptyOperator(task_id="t")
        for number, (other, task, delta) in enumerate(sensors):
            wait_for(other, task, delta=delta, task_id=f"s{number}")
    return made


def planned(*dags: DAG, day: dt.date = MONDAY, now: dt.datetime = NOW) -> Plan:
    return plan({each.dag_id: each for each in dags}, described(dags, Path(__file__).parent), day, now=now)


def dates(found: list[Run]) -> list[tuple[str, str]]:
    return [(run.dag, run.date[:16]) for run in found]


@pytest.mark.parametrize(
    ("schedule", "day", "date"),
    [
        ("0 4 * * *", MONDAY, "2026-06-01T04:00"),
        ("@daily", MONDAY, "2026-06-01T00:00"),
        ("0 1 * * MON", MONDAY, "2026-06-01T01:00"),
        ("0 1 * * MON", dt.date(2026, 6, 2), None),
        ("@weekly", MONDAY, None),
        ("@weekly", dt.date(2026, 5, 31), "2026-05-31T00:00"),
        ("30 5 7 * *", MONDAY, None),
        ("30 5 7 * *", dt.date(2026, 6, 7), "2026-06-07T05:30"),
        (None, MONDAY, None),
        ("@once", MONDAY, None),
    ],
)
def test_a_dag_is_due_when_a_run_of_its_schedule_has_that_date(
    schedule: str | None, day: dt.date, date: str | None
) -> None:
    found = planned(dag("d", schedule), day=day)
    assert dates(found.runs) == ([("d", date)] if date else [])
    assert found.not_due == (0 if date else 1)


def test_a_timetable_of_weeks_is_due_by_its_own_count() -> None:
    from utils.timetables import MultiWeekTimetable

    shredder = dag("shredder", MultiWeekTimetable(weeks=4, first=dt.datetime(2023, 5, 16)), start="2023-05-16")
    due = [
        day
        for number in range(56)
        if planned(shredder, day=(day := dt.date(2026, 5, 1) + timedelta(number)), now=NOW).runs
    ]
    assert len(due) == 2
    assert due[1] - due[0] == timedelta(weeks=4)
    assert (due[0] - dt.date(2023, 5, 16)).days % 28 == 0


def test_before_its_start_and_before_its_interval_is_over_a_dag_is_not_due() -> None:
    assert not planned(dag("d", "@daily", start="2026-06-02")).runs
    weekly = dag("w", "0 1 * * MON")
    assert not planned(weekly, now=dt.datetime(2026, 6, 8, 0, 59, tzinfo=dt.UTC)).runs
    assert planned(weekly, now=dt.datetime(2026, 6, 8, 1, tzinfo=dt.UTC)).runs


def test_of_several_runs_the_first_is_made_and_the_number_is_told() -> None:
    found = planned(dag("d", "30 */2 * * *"))
    assert dates(found.runs) == [("d", "2026-06-01T00:30")]
    assert found.several == {"d": 12}


def test_a_run_that_another_dag_waits_for_is_made_too() -> None:
    found = planned(dag("hourly", "@hourly"), dag("d", "0 9 * * *", ("hourly", "t", timedelta(hours=1))))
    assert dates(found.runs) == [
        ("d", "2026-06-01T09:00"),
        ("hourly", "2026-06-01T00:00"),
        ("hourly", "2026-06-01T08:00"),
    ]
    assert [(run.dag, run.date[:13]) for run in found.waits["d"]] == [("hourly", "2026-06-01T08")]


def test_what_an_imported_dag_has_gets_a_stand_in() -> None:
    task = "search_derived__search_aggregates__v8"
    found = planned(dag("search_alert", "0 4 * * *", ("bqetl_search", task, timedelta(hours=1))))
    assert dates(found.stand_ins) == [("bqetl_search", "2026-06-01T03:00")]
    assert found.tasks == {"bqetl_search": [task]}
    assert not found.left_out


def test_a_run_of_another_day_is_taken_as_done_with_its_own_interval() -> None:
    found = planned(dag("d", "0 2 * * *", ("d", "t", timedelta(days=1))))
    assert found.before == [
        Run("d", *(f"2026-{day}T02:00:00+00:00" for day in ("05-31", "05-31", "06-01"))),
    ]


@pytest.mark.parametrize(
    ("other", "task", "hours", "says"),
    [
        (
            "bqetl_search",
            "search_derived__search_aggregates__v8",
            2,
            "no run of bqetl_search has the date 2026-06-01 02:00",
        ),
        ("bqetl_search", "nothing", 1, "bqetl_search has no task nothing"),
        ("nobody", "t", 1, "there is no DAG nobody"),
        ("root", "t", 3, "no run of root has the date 2026-06-01 01:00"),
        ("root", "u", 4, "root has no task u"),
    ],
)
def test_a_sensor_that_waits_in_vain_leaves_its_dag_out_and_that_is_wrong(
    other: str, task: str, hours: int, says: str
) -> None:
    found = planned(dag("root", "@daily"), dag("d", "0 4 * * *", (other, task, timedelta(hours=hours))))
    (left,) = found.left_out
    assert (left.dag, left.known) == ("d", False)
    assert says in left.reason
    assert dates(found.runs) == [("root", "2026-06-01T00:00")]
    assert found.stand_ins == []


def test_what_is_wrong_in_production_is_known_and_its_followers_are_left_out() -> None:
    with DAG("adm_export", schedule="0 10 * * *", start_date=dt.datetime(2024, 1, 1, tzinfo=dt.UTC)) as export:
        EmptyOperator(task_id="t")
        wait_for(
            "bqetl_search_terms_daily",
            "search_terms_derived__adm_daily_aggregates__v1",
            task_id="wait_for_adm_daily_aggregates",
        )
    found = planned(
        export,
        dag("second", "0 10 * * *", ("adm_export", "t", timedelta())),
        dag("third", "0 10 * * *", ("second", "t", timedelta())),
    )
    assert [(left.dag, left.known) for left in found.left_out] == [
        ("adm_export", True),
        ("second", True),
        ("third", True),
    ]
    assert "08:00" in found.left_out[0].reason
    assert "adm_export" in found.left_out[1].reason
    assert found.runs == []


def test_a_run_that_is_not_over_yet_is_waited_for_in_vain() -> None:
    week = dag("week", "0 1 * * MON", ("daily", "t", timedelta(days=-6)))
    daily = dag("daily", "0 1 * * *")
    found = planned(week, daily, now=dt.datetime(2026, 6, 8, 1, tzinfo=dt.UTC))
    assert dates(found.before) == [("daily", "2026-06-07T01:00")]
    assert planned(week, daily, now=dt.datetime(2026, 6, 7, 23, tzinfo=dt.UTC)).before == []


def test_a_sensor_may_wait_for_runs_that_a_function_names() -> None:
    months = dag("d", "0 4 * * *")
    with months:
        ExternalTaskSensor(
            task_id="s",
            external_dag_id="root",
            execution_date_fn=lambda date: [date.replace(hour=0), date.replace(hour=1)],
        )
    found = planned(months, dag("root", "@hourly"))
    assert dates(found.waits["d"]) == [("root", "2026-06-01T00:00"), ("root", "2026-06-01T01:00")]
    assert dates(found.runs) == [
        ("d", "2026-06-01T04:00"),
        ("root", "2026-06-01T00:00"),
        ("root", "2026-06-01T01:00"),
    ]


def test_a_sensor_of_which_the_run_cannot_be_told_leaves_its_dag_out() -> None:
    some = dag("d", "0 4 * * *")
    with some:
        ExternalTaskSensor(task_id="s", external_dag_id="root", execution_date_fn=lambda date: 1 / 0)
    (left,) = planned(some, dag("root", "@hourly")).left_out
    assert (left.dag, left.known) == ("d", False)
    assert "s waits in vain: which run it waits for can't be told: ZeroDivisionError" in left.reason


def test_a_marker_waits_for_nothing() -> None:
    some = dag("d", "0 4 * * *")
    with some:
        mark(some.get_task("t"), {"bqetl_theirs": "wait_for_t"})
    found = planned(some)
    assert (dates(found.runs), found.left_out, found.waits) == ([("d", "2026-06-01T04:00")], [], {})


def test_what_is_known_of_the_dags_is_of_the_day(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    some = dag("d", "@daily")
    asked: list[str] = []

    def own_dags(*, date: str) -> dict[str, Dag]:
        asked.append(date)
        return described([some], Path(__file__).parent)

    monkeypatch.setattr(due, "load_dags", lambda: {"d": some})
    monkeypatch.setattr(due, "own_dags", own_dags)
    out = tmp_path / "plan.json"
    monkeypatch.setattr(sys, "argv", ["due", "--date", "2025-06-02", "--out", str(out)])
    assert due.main() == 0
    assert dates(Plan.from_json(out.read_text()).runs) == [("d", "2025-06-02T00:00")]
    assert asked == ["2025-06-02"]


def test_some_dags_alone_take_what_they_wait_for_as_done() -> None:
    whole = planned(
        dag("root", "@daily"),
        dag("d", "0 4 * * *", ("root", "t", timedelta(hours=4))),
        dag("e", "0 4 * * *", ("bqetl_search", "search_derived__search_aggregates__v8", timedelta(hours=1))),
    )
    some = narrowed(whole, ["d"])
    assert dates(some.runs) == [("d", "2026-06-01T04:00")]
    assert dates(some.before) == [("root", "2026-06-01T00:00")]
    assert (some.stand_ins, some.tasks) == ([], {"root": ["t"]})
    assert narrowed(whole, ["d", "root"]).before == []
    assert list(narrowed(whole, ["e"]).tasks) == ["bqetl_search"]
    with pytest.raises(WtmoError, match="nobody"):
        narrowed(whole, ["nobody"])


def test_an_imported_dag_that_the_platform_serves_has_no_stand_in() -> None:
    whole = planned(
        dag("e", "0 4 * * *", ("bqetl_search", "search_derived__search_aggregates__v8", timedelta(hours=1)))
    )
    same = served_as_done(whole, {"e": "telemetry-airflow", "bqetl_search": "stand-ins"})
    assert same == whole
    served = served_as_done(whole, {"bqetl_search": "bigquery-etl"})
    assert served.stand_ins == []
    assert dates(served.before) == [("bqetl_search", "2026-06-01T03:00")]


def test_a_plan_survives_json() -> None:
    import json
    from dataclasses import asdict

    whole = planned(dag("root", "@daily"), dag("d", "0 4 * * *", ("root", "t", timedelta(hours=4))))
    assert Plan.from_json(json.dumps(asdict(whole))) == whole


@pytest.mark.parametrize(
    ("states", "left", "green"),
    [
        (["success"], [], True),
        (["success"], [LeftOut("d", "why", known=True)], True),
        (["success"], [LeftOut("d", "why", known=False)], False),
        (["success", "failed"], [], False),
        ([], [], False),
    ],
)
def test_a_day_is_green_when_all_that_can_be_is(states: list[str], left: list[LeftOut], green: bool) -> None:
    results = [DagResult("d", "2026-06-01", 1, 1, state, 1.0) for state in states]
    assert DayOfAll(results, {}, left, [], [], 0).succeeded is green


class _Api:
    """What a day asks of Airflow: one DAG's run, done at the third look; its tasks by state."""

    def __init__(self) -> None:
        self.looks = 0
        self.tasks = {"success": 3, "skipped": 1, "running": 2, "deferred": 1, "failed": 0, "up_for_retry": 1}

    def call(self, function: Any, *arguments: Any) -> Any:
        body = arguments[-1]
        if function.__name__ == "get_list_dag_runs_batch":
            self.looks += 1
            state = "success" if self.looks == 3 else "running"
            run = SimpleNamespace(
                dag_id="d",
                dag_run_id="r",
                logical_date=AT,
                state=SimpleNamespace(value=state),
                start_date=AT,
                end_date=AT,
            )
            return SimpleNamespace(dag_runs=[run], total_entries=1)
        states = [state.value for state in body.state] if body.state else list(self.tasks)
        return SimpleNamespace(task_instances=[], total_entries=sum(self.tasks.get(state, 0) for state in states))


def test_while_no_dag_is_done_the_tasks_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "call", _Api().call)
    monkeypatch.setattr(all_dags, "POLL_SECONDS", 0)
    monkeypatch.setattr(all_dags, "PROGRESS_SECONDS", 0)
    lines: list[str] = []
    client: Any = SimpleNamespace()
    (result,) = all_dags.follow(client, {"d": (AT, AT)}, 60, lines.append)
    assert (result.dag, result.state) == ("d", "success")
    progress = "4 of 8 tasks are done, 3 at work, 1 failed or to be tried again"
    assert lines == [progress, progress, "d: success (1 of 1 runs are done)"]
