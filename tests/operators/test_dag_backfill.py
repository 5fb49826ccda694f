"""Clearing and making runs through Airflow's API: what is refused before anything is asked, listed, done, and recorded."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from operators.dag_backfill import BackfillRequest, DagBackfillOperator, DagBackfillSensor
from tests.operators.airflow_api import DATES, Airflow, run_id

PARAMS: dict[str, Any] = {
    "dag_name": "orchard",
    "start_date": "2026-06-01",
    "end_date": "2026-06-02",
    "clear": True,
    "dry_run": False,
    "task_regex": None,
}
FIRST, SECOND, THIRD = (run_id(date) for date in DATES)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow()
    monkeypatch.setattr("operators.dag_backfill.airflow_api", airflow.client)
    return airflow


class TaskInstance:
    """Keeps what is pushed."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def run(ti: TaskInstance | None = None, **differing: Any) -> dict[str, Any]:
    operator = DagBackfillOperator(task_id="t")
    context: Any = {"params": PARAMS | differing, "ti": ti or TaskInstance()}
    return operator.execute(context)


HOSTILE = "a; curl evil | sh #"


@pytest.mark.parametrize(
    ("differing", "message"),
    [
        ({"task_regex": HOSTILE}, "task_regex='a; curl evil | sh #' is not allowed"),
        ({"task_regex": "pick`id`"}, "task_regex=.* is not allowed"),
        ({"task_regex": "pick\n"}, "task_regex=.* is not allowed"),
        ({"task_regex": "x" * 201}, "task_regex=.* is not allowed"),
        ({"task_regex": "press("}, r"task_regex='press\(' is no regular expression: missing \)"),
        ({"task_regex": "pick", "clear": False}, "needs clear: Airflow makes whole runs"),
        ({"dag_name": "../../connections"}, "dag_name=.* is not allowed"),
        ({"dag_name": "~"}, "dag_name='~' is not allowed"),
        ({"dag_name": "orchard; rm -rf /"}, "dag_name=.* is not allowed"),
        ({"dag_name": ""}, "dag_name='' is not allowed"),
        ({"start_date": "2026-06-03"}, "start_date=2026-06-03 is after end_date=2026-06-02. Swap them."),
        ({"start_date": "2026-06-31"}, "start_date='2026-06-31' is no date: day is out of range"),
        ({"end_date": "yesterday"}, "end_date='yesterday' is not allowed"),
        ({"end_date": "2026-06-02; id"}, "end_date=.* is not allowed"),
        ({"end_date": None}, "end_date='None' is not allowed"),
    ],
)
def test_what_is_no_request_is_refused_before_anything_is_asked(
    server: Airflow, differing: dict[str, Any], message: str
) -> None:
    with pytest.raises(AirflowFailException, match=message):
        run(**differing)
    assert server.asked == []


def test_an_unknown_dag_is_refused_with_the_near_ones(server: Airflow) -> None:
    with pytest.raises(AirflowFailException, match=r"dag_name='orchad': there is no such DAG.*orchard"):
        run(dag_name="orchad")
    assert server.changed == []


def test_a_regex_that_matches_nothing_is_refused(server: Airflow) -> None:
    with pytest.raises(
        AirflowFailException, match="'squeeze' matches no task of orchard, which has pick, press, press_again"
    ):
        run(task_regex="squeeze")
    assert server.changed == []


def test_it_does_not_clear_itself(server: Airflow) -> None:
    with DAG("orchard", schedule=None):
        operator = DagBackfillOperator(task_id="t")
    context: Any = {"params": PARAMS}
    with pytest.raises(AirflowFailException, match="orchard cannot clear or start itself"):
        operator.execute(context)
    assert server.asked == []


def test_a_dry_run_lists_every_task_and_changes_none(server: Airflow, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(dry_run=True, task_regex="^press")
    assert record["planned"] == {FIRST: ["press", "press_again"], SECOND: ["press", "press_again"]}
    assert (record["done"], record["runs"], record["dry_run"]) == ({}, [], True)
    assert server.changed == []
    log = capsys.readouterr().out
    assert "4 task instances of 2 runs would be cleared" in log
    assert f"2026-06-02T04:00:00+00:00  {SECOND}  press_again  success" in log
    assert "Dry run: nothing was changed" in log


def test_what_is_listed_is_cleared_run_by_run(server: Airflow, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(task_regex="again$")
    assert [body["dag_run_id"] for _, body in server.changed] == [FIRST, SECOND]
    assert all(body["task_ids"] == ["press_again"] and body["reset_dag_runs"] for _, body in server.changed)
    assert record["done"] == record["planned"] == {FIRST: ["press_again"], SECOND: ["press_again"]}
    assert record["runs"] == [FIRST, SECOND]
    log = capsys.readouterr().out
    assert f"Cleared 1 task instances of {SECOND} (run 2 of 2)" in log


def test_without_a_regex_every_task_is_cleared(server: Airflow) -> None:
    server.mapped = "press"
    record = run(end_date="2026-06-01")
    assert record["done"] == {FIRST: ["pick", "press[0]", "press[1]", "press[2]", "press_again"]}
    (_, body), *_ = server.changed
    assert body["task_ids"] == ["pick", ["press", 0], ["press", 1], ["press", 2], "press_again"]


@pytest.mark.parametrize(
    ("start", "end", "runs"),
    [
        ("2026-06-02", "2026-06-02", [SECOND]),
        ("2026-06-01T04:00:01", "2026-06-02T04:00:00", [SECOND]),
        ("2026-06-02T00:00:00Z", "2026-06-03T05:59:59+02:00", [SECOND]),
        ("2026-06-02T00:00:00Z", "2026-06-03T06:00:00+02:00", [SECOND, THIRD]),
    ],
)
def test_a_day_at_the_end_is_meant_as_a_whole(server: Airflow, start: str, end: str, runs: list[str]) -> None:
    assert run(start_date=start, end_date=end)["runs"] == runs


def test_what_is_gone_since_the_list_is_told(
    server: Airflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = server.chosen
    monkeypatch.setattr(server, "chosen", lambda body: chosen(body)[:-1] if "dag_run_id" in body else chosen(body))
    record = run(end_date="2026-06-01")
    assert record["done"] == {FIRST: ["pick", "press"]}
    log = capsys.readouterr().out
    assert "Not there any more: press_again" in log


def test_nothing_in_those_dates_is_no_failure(server: Airflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(start_date="2020-01-01", end_date="2020-01-02")["planned"] == {}
    assert server.changed == []
    log = capsys.readouterr().out
    assert "There is nothing to do" in log


def test_a_failure_midway_keeps_the_record_and_is_not_retried(server: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = server.answer

    def fail_at_the_second(method: str, url: str, body: Any) -> tuple[int, Any]:
        return (503, {"detail": "away"}) if (body or {}).get("dag_run_id") == SECOND else answer(method, url, body)

    monkeypatch.setattr(server, "answer", fail_at_the_second)
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match=r"1 of 2 runs were done, then: \(503\)"):
        run(ti)
    assert list(ti.pushed["return_value"]["done"]) == [FIRST]


def test_a_refusal_of_the_api_is_told_in_its_words(server: Airflow) -> None:
    server.refuses["clearTaskInstances"] = (409, "Task is running")
    with pytest.raises(
        AirflowFailException, match="0 of 2 runs were done, then: Airflow's API refuses it: 409 Task is run"
    ):
        run()


def test_missing_runs_are_listed_and_made(server: Airflow, capsys: pytest.CaptureFixture[str]) -> None:
    server.missing = DATES[1:]
    planned = {"2026-06-02T04:00:00+00:00": []}
    record = run(clear=False, dry_run=True)
    assert (record["planned"], server.changed) == (planned, [])
    log = capsys.readouterr().out
    assert "1 runs would be made\ndate\n2026-06-02T04:00:00+00:00" in log

    record = run(clear=False)
    ((path, body),) = server.changed
    assert path == "/backfills"
    assert (body["reprocess_behavior"], body["max_active_runs"], body["dag_id"]) == ("none", 10, "orchard")
    assert record["planned"] == planned
    assert record["done"] == {"2026-06-02T04:00:00+00:00": f"backfill__{DATES[1]}"}
    assert (record["runs"], record["backfill_id"]) == ([f"backfill__{DATES[1]}"], 7)


def test_no_more_runs_at_once_than_the_dag_has(server: Airflow) -> None:
    server.missing, server.max_active_runs = DATES[:1], 1
    run(clear=False)
    assert server.changed[0][1]["max_active_runs"] == 1


def test_a_dag_that_has_no_schedule_is_refused(server: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = server.answer
    refusal = {"detail": [{"msg": "orchard has a non-periodic schedule that does not support backfills"}]}
    monkeypatch.setattr(
        server, "answer", lambda method, url, body: (422, refusal) if "dry_run" in url else answer(method, url, body)
    )
    with pytest.raises(AirflowFailException, match="refuses it: 422 orchard has a non-periodic schedule"):
        run(clear=False)


def test_a_paused_dag_is_told(server: Airflow, capsys: pytest.CaptureFixture[str]) -> None:
    server.paused = True
    assert run()["paused"] is True
    log = capsys.readouterr().out
    assert "orchard is paused: nothing runs before it is switched on" in log


def poke(record: dict[str, Any]) -> bool:
    context: Any = {}
    return bool(DagBackfillSensor(task_id="s", record=record).poke(context))


def test_runs_are_followed_until_all_have_ended(server: Airflow, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(end_date="2026-06-03")
    server.states = {FIRST: "success", SECOND: "running", THIRD: "queued"}
    assert poke(record) is False
    log = capsys.readouterr().out
    assert "1 of 3 runs have ended, 0 of them failed" in log
    server.states = dict.fromkeys((FIRST, SECOND, THIRD), "success")
    assert poke(record) is True


def test_a_run_that_failed_is_named_when_all_have_ended(server: Airflow) -> None:
    record = run()
    server.states = {FIRST: "failed", SECOND: "running"}
    assert poke(record) is False
    server.states = {FIRST: "failed", SECOND: "success", THIRD: "failed"}
    with pytest.raises(AirflowFailException, match=f"1 of 2 runs of orchard failed: {FIRST}"):
        poke(record)


def test_where_nothing_was_done_nothing_is_followed(server: Airflow) -> None:
    with pytest.raises(AirflowSkipException, match="Nothing was changed"):
        poke(run(dry_run=True))
    server.paused = True
    with pytest.raises(AirflowSkipException, match="orchard is paused"):
        poke(run())


def test_the_sensor_holds_no_slot() -> None:
    sensor = DagBackfillSensor(task_id="s", record={})
    assert (sensor.mode, sensor.poke_interval) == ("reschedule", 60)


def test_a_request_reads_as_a_sentence() -> None:
    request = BackfillRequest.of(PARAMS | {"task_regex": "^press"})
    assert str(request) == (
        "clear the tasks whose id matches ^press of orchard from 2026-06-01T00:00:00+00:00 "
        "to 2026-06-02T23:59:59.999999+00:00"
    )
