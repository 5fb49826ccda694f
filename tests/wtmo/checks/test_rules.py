"""What rules of sensors, pods and commands say beyond the corpus: of DAGs that are not at hand, of files that did not load, and how."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.wtmo.checks.made import dag, inventory, task
from wtmo.checks import commands, pods, run, schedules, words
from wtmo.checks.rule import IMPORTED_BUNDLE, Finding, Look
from wtmo.graph.model import MOST_FIRES, Dag, File, PodSecret, Task, Template, Wait

DAY = datetime(2026, 6, 1, tzinfo=UTC)


def found(code: str, *dags: Dag, refused: tuple[File, ...] = ()) -> list[Finding]:
    return run.run(run.rules()[code], Look(inventory(*dags, refused=refused)))


def runs(hour: int, *, every: int = 1, days: int = 365) -> dict[str, Any]:
    """The schedule of a DAG that runs once in so many days."""
    begins = [DAY + timedelta(days=day, hours=hour) for day in range(0, days, every)]
    return {
        "schedule": {"kind": "CronDataIntervalTimetable", "expression": f"0 {hour} * * *", "timezone": "UTC"},
        "fires": tuple(
            (each.isoformat(), each.isoformat(), (each + timedelta(days=every)).isoformat()) for each in begins
        ),
        "start_date": "2024-01-01T00:00:00+00:00",
    }


def sensor(of_dag: str, *of_tasks: str, hours: float | None = 0.0, task_id: str = "wait", **differing: Any) -> Task:
    wait = Wait(of_dag, of_tasks, how="delta", delta=None if hours is None else hours * 3600, **differing)
    return replace(task(task_id, kind="ExternalTaskSensor", timeout=3600.0), waits=wait)


def marker(of_dag: str, of_task: str, *upstream: str) -> Task:
    return replace(
        task("mark", kind="ExternalTaskMarker"), waits=Wait(of_dag, (of_task,)), marker=True, upstream=upstream
    )


# --- DAGs of other repositories


def test_what_is_known_of_an_imported_dag_is_checked_without_its_file() -> None:
    """The schedule of bqetl_search_terms_daily, 08:00, is one of wtmo/local/imported.py."""
    name = "search_terms_derived__adm_daily_aggregates__v1"
    (finding,) = found("SEN003", dag("d", sensor("bqetl_search_terms_daily", name), **runs(10)))
    assert "which its schedule (0 8 * * *) never makes: no run of a year finds one" in finding.message
    assert finding.fix == "Type execution_delta=timedelta(hours=2) (wait_for: delta)."
    assert not found("SEN003", dag("d", sensor("bqetl_search_terms_daily", name, hours=2), **runs(10)))


@pytest.mark.parametrize(
    ("waits", "told"),
    [
        (sensor("bqetl_search_terms_daily", "search_terms_derived__adm_daily_aggregates__v1"), 0),
        (sensor("bqetl_search_terms_daily", "another_task"), 1),
        (sensor("bqetl_of_no_name"), 1),
        (sensor("private_bqetl_ads"), 1),
        (replace(task(), starts="bqetl_of_no_name"), 1),
        (marker("bqetl_search_terms_daily", "wait_for_d"), 1),
    ],
)
def test_what_can_not_be_told_of_them_is_said_once_and_is_no_error(waits: Task, told: int) -> None:
    both = dag("d", waits, **runs(8)), dag("e", waits, **runs(8))
    assert len(found("SEN012", *both)) == told
    for code in ("SEN001", "SEN002", "SEN010", "SEN011", "SEN013"):
        assert not found(code, *both)


def test_with_their_bundle_at_hand_they_exist_or_not() -> None:
    other = dag("bqetl_other", task("t"), bundle=IMPORTED_BUNDLE, **runs(8))
    assert not found("SEN012", other, dag("d", sensor("bqetl_othre"), **runs(8)))
    (finding,) = found("SEN001", other, dag("d", sensor("bqetl_othre"), **runs(8)))
    assert finding.fix.startswith("Did you mean 'bqetl_other'? ")


def test_nothing_is_said_of_a_dag_whose_file_did_not_load() -> None:
    refused = File("telemetry-airflow", "etl/other.py", refused="SyntaxError: no", refused_kind="syntax")
    assert not found("SEN001", dag("d", sensor("other"), **runs(8)), refused=(refused,))
    assert len(found("SEN001", dag("d", sensor("others"), **runs(8)), refused=(refused,))) == 1


# --- runs that meet


def test_a_shift_that_no_number_can_be_says_what_else_to_type() -> None:
    summer = runs(8, days=150)["fires"]
    winter = [
        tuple((datetime.fromisoformat(each) + timedelta(days=150, hours=1)).isoformat() for each in fire)
        for fire in runs(8, days=215)["fires"]
    ]
    other = dag("other", task("t"), **{**runs(8), "fires": (*summer, *winter)})
    (finding,) = found("SEN003", other, dag("d", sensor("other", "t", hours=2), **runs(10)))
    assert "of 365 runs of a year wait in vain, the first is that of 2026-10-29 10:00 UTC" in finding.message
    assert finding.fix.startswith("No single shift meets a run each time.")


def test_a_dag_that_has_ended_makes_no_run() -> None:
    soon = dag("other", task("t"), **runs(8, days=60), end_date="2026-07-30T08:00:00+00:00")
    (finding,) = found("SEN003", soon, dag("d", sensor("other", "t"), **runs(8)))
    assert "of 2026-07-31 08:00 UTC, which is after its end_date, 2026-07-30 08:00 UTC: 305 of 365" in finding.message
    assert finding.fix == "Remove the sensor, or let other end later."
    ended = {**runs(8, days=0), "end_date": "2025-07-30T08:00:00+00:00"}
    other = dag("other", task("t"), **ended)
    (finding,) = found("SEN003", other, dag("d", sensor("other", "t"), **runs(8)))
    assert "no run of a year finds one" in finding.message
    for code in ("SEN003", "SEN014"):
        assert not found(code, other, dag("d", sensor("other", "t"), **ended)), "it waits for nothing"


def often(zone: str) -> dict[str, Any]:
    """The schedule of a DAG that runs every five minutes: of a year's runs those of a month are known."""
    begins = [DAY + timedelta(minutes=5 * number) for number in range(MOST_FIRES + 1)]
    return {
        "schedule": {"kind": "CronDataIntervalTimetable", "expression": "*/5 * * * *", "timezone": zone},
        "fires": tuple((a.isoformat(), a.isoformat(), b.isoformat()) for a, b in pairwise(begins)),
    }


def test_cron_tells_of_runs_that_are_not_listed() -> None:
    other = dag("other", task("t"), **often("UTC"))
    assert not found("SEN003", other, dag("d", sensor("other", "t"), **runs(8)))
    assert not found("SEN014", other, dag("d", sensor("other", "t"), **runs(8)))
    (finding,) = found("SEN003", other, dag("d", sensor("other", "t", hours=0.05), **runs(8)))
    assert "of 2026-06-01 07:57 UTC, which its schedule (*/5 * * * *) never makes: no run of a year" in finding.message
    assert len(found("SEN003", other, dag("d", sensor("other", "t", hours=1 / 3600), **runs(8)))) == 1


IN_TOKYO = runs(8) | {
    "schedule": {"kind": "CronDataIntervalTimetable", "expression": "0 17 * * *", "timezone": "Asia/Tokyo"}
}


@pytest.mark.parametrize(
    ("own", "other", "hours", "why"),
    [
        (runs(8), {"schedule": {"kind": "AssetTriggeredTimetable"}}, 0, "when other (AssetTriggeredTimetable) runs"),
        ({"schedule": {"kind": "ContinuousTimetable"}}, runs(8), 0, "when its own DAG (ContinuousTimetable) runs"),
        (runs(8, days=0), runs(8), 0, "its own DAG (0 8 * * *) has no run in the year from 2026-06-01 on"),
        (runs(8), {**runs(8, days=0), "start_date": "2028-01-01T00:00:00+00:00"}, 0, "before the start of other"),
        (runs(8), often("America/New_York"), 0, "too few runs are known between 2026-06-01 08:00 UTC and 2027-05-31"),
        (runs(8), IN_TOKYO, 24 * 400, "too few runs are known between 2025-04-27 08:00 UTC and 2026-04-26"),
        (
            often("UTC"),
            often("UTC"),
            0,
            "its own DAG (*/5 * * * *) runs so often that its runs are looked at until 2026",
        ),
    ],
)
def test_what_can_not_be_proved_is_said(own: dict[str, Any], other: dict[str, Any], hours: float, why: str) -> None:
    own_dag, other_dag = dag("d", sensor("other", "t", hours=hours), **own), dag("other", task("t"), **other)
    assert not found("SEN003", own_dag, other_dag)
    (finding,) = found("SEN014", own_dag, other_dag)
    assert why in finding.message
    assert finding.severity == "warning"


BY_HAND = {"schedule": {"kind": "NullTimetable"}}


@pytest.mark.parametrize(
    ("code", "own", "other", "waits"),
    [
        ("SEN005", BY_HAND, runs(8), sensor("other", "t")),
        ("SEN006", runs(8), BY_HAND, sensor("other", "t")),
        (
            "SEN007",
            runs(8) | {"attributes": {"catchup": True}},
            {**runs(8, days=0), "start_date": "2028-01-01T00:00:00+00:00"},
            sensor("other", "t"),
        ),
        ("SEN008", runs(8), runs(8), sensor("other", "t", hours=None, error="ValueError: no")),
        ("SEN012", runs(8), runs(8), sensor("private_bqetl_other", "t")),
        ("SEN014", BY_HAND, BY_HAND, replace(sensor("other", "t"), waits=Wait("other", ("t",), how="function"))),
    ],
)
def test_why_nothing_is_proved_is_said_once(code: str, own: dict[str, Any], other: dict[str, Any], waits: Task) -> None:
    dags = dag("d", waits, **own), dag("other", task("t"), **other)
    told = [each for each in sorted(run.rules()) if each.startswith("SEN") and found(each, *dags)]
    assert told == [code]


def test_the_newest_run_is_named_for_a_stale_one() -> None:
    other = dag("other", task("t"), **runs(1))
    (finding,) = found("SEN004", other, dag("d", sensor("other", "t", hours=2), **runs(3, every=7)))
    assert "that ended 6 days 2 h before its own interval does" in finding.message
    assert finding.fix.startswith("Type execution_delta=timedelta(days=-5, hours=-22) ")
    assert not found("SEN004", other, dag("d", sensor("other", "t", hours=2 - 6 * 24), **runs(3, every=7)))


def test_equal_dags_may_wait_for_the_day_before() -> None:
    other = dag("other", task("t"), **runs(1))
    assert not found("SEN004", other, dag("d", sensor("other", "t", hours=26), **runs(3)))


def test_a_function_that_names_several_runs_is_proved_for_each() -> None:
    days = [DAY + timedelta(days=day) for day in range(0, 70, 7)]
    dates = tuple(
        (day.isoformat(), tuple((day + timedelta(days=more, hours=1)).isoformat() for more in (0, 6))) for day in days
    )
    waits = replace(
        sensor("other", "t", hours=None), waits=Wait("other", ("t",), how="function", delta=None, dates=dates)
    )
    weekly = runs(0, every=7)
    assert not found("SEN003", dag("other", task("t"), **runs(1)), dag("d", waits, **weekly))
    assert not found("SEN004", dag("other", task("t"), **runs(1)), dag("d", waits, **weekly))
    assert len(found("SEN003", dag("other", task("t"), **runs(2)), dag("d", waits, **weekly))) == 1


def test_two_dags_that_run_once_meet() -> None:
    once = {"schedule": {"kind": "OnceTimetable"}, "start_date": "2024-01-01T00:00:00+00:00"}
    later = once | {"start_date": "2024-01-02T00:00:00+00:00"}
    assert not found("SEN003", dag("other", task("t"), **once), dag("d", sensor("other", "t"), **once))
    assert not found("SEN003", dag("other", task("t"), **once), dag("d", sensor("other", "t", hours=24), **later))
    (finding,) = found("SEN003", dag("other", task("t"), **once), dag("d", sensor("other", "t"), **later))
    assert finding.fix == "Type execution_delta=timedelta(days=1) (wait_for: delta)."


def test_timeouts_of_imported_dags_are_told_once() -> None:
    tiers = {"tags": ("impact/tier_1",), "bundle": IMPORTED_BUNDLE}
    long = replace(sensor("other", "t"), attributes={"timeout": 7 * 86400.0})
    dags = [dag(name, long, replace(long, task_id="more"), **tiers, **runs(3)) for name in ("a", "b")]
    (finding,) = found("SEN009", *dags)
    assert finding.message == "4 sensors of 2 DAGs of tier 1 wait longer than their DAG's interval: a, b"
    fits = replace(long, attributes={"timeout": 7 * 86400.0, "fits_interval": True})
    assert not found("SEN009", dag("d", fits, **runs(3)))


def test_a_dag_that_runs_often_may_wait_six_hours() -> None:
    hourly = runs(0) | {
        "fires": tuple(
            (at.isoformat(), at.isoformat(), (at + timedelta(hours=1)).isoformat())
            for at in (DAY + timedelta(hours=hour) for hour in range(48))
        )
    }
    for hours, told in ((6, 0), (7, 1)):
        waits = replace(sensor("other", "t"), attributes={"timeout": hours * 3600.0})
        assert len(found("SEN009", dag("d", waits, **hourly))) == told


@pytest.mark.parametrize(
    ("of_dag", "hours", "catchup", "told"),
    [("other", 24, True, 1), ("other", 24, False, 0), ("other", 2, True, 0), ("d", 24, True, 0)],
)
def test_the_first_run_of_a_dag_that_catches_up(of_dag: str, hours: int, catchup: bool, told: int) -> None:
    """Both start on 2024-01-01 at midnight: the run of 03:00 finds the one of 01:00, and none of the day before."""
    waits = sensor(of_dag, "t", hours=hours)
    own = dag("d", waits, **runs(3), attributes={"catchup": catchup})
    assert len(found("SEN007", own, dag("other", task("t"), **runs(1)))) == told


# --- markers


def test_a_missing_sensor_is_looked_for_among_those_that_wait_for_the_dag() -> None:
    other = dag("other", sensor("d", "t", task_id="wait_for_t"), sensor("e", "t", task_id="wait_for_te"))
    (finding,) = found("SEN010", other, dag("d", task("t"), marker("other", "wait_fort", "t")))
    assert finding.fix.startswith("Did you mean 'wait_for_t'? ")


def test_what_people_clear_to_reach_others_needs_no_sensor() -> None:
    relay = dag("relay", replace(task("all", kind="EmptyOperator")), marker("other", "wait_for_t", "all"))
    other = dag("other", sensor("d", "t", task_id="wait_for_t"))
    source = dag("d", task("t"), marker("relay", "all", "t"))
    assert not found("SEN011", relay, other, source)
    working = replace(relay, tasks=(*relay.tasks, task("work")))
    assert len(found("SEN011", working, other, source)) == 2


def marked(hours: float | None, **differing: Any) -> Task:
    """A marker of ``wait_for_t`` of ``other``, its DAG's date less the one marked so many hours."""
    mark = marker("other", "wait_for_t", "t")
    return replace(
        mark,
        waits=Wait(
            "other", ("wait_for_t",), how="template", delta=None if hours is None else hours * 3600, **differing
        ),
    )


def waits_for_d(hours: float | None, **differing: Any) -> Task:
    return sensor("d", "t", hours=hours, task_id="wait_for_t", **differing)


def test_a_marker_undoes_the_shift_of_its_sensor() -> None:
    """``other`` runs at 03:00 and waits for the run of 01:00 of ``d``."""
    other = dag("other", waits_for_d(2), **runs(3))
    assert not found("SEN015", dag("d", task("t"), marked(-2), **runs(1)), other)
    (finding,) = found("SEN015", dag("d", task("t"), marked(0), **runs(1)), other)
    assert finding.message == (
        "its run of 2026-06-01 01:00 UTC points to that of other of 2026-06-01 01:00 UTC, which does not exist: wait_for_t waits for "
        "it in that of 2026-06-01 03:00 UTC; no run of a year points to the right one"
    )
    template = "{{ (logical_date + macros.timedelta(seconds=7200)).isoformat() }}"
    assert finding.fix == f'Type logical_date="{template}" (mark: delta=timedelta(hours=2)).'
    assert finding.severity == "warning"


def test_a_marker_of_another_run_may_be_the_one_that_is_right() -> None:
    other = dag("other", waits_for_d(24), **runs(1))
    (finding,) = found("SEN015", dag("d", task("t"), marked(24), **runs(1)), other)
    assert "points to that of other of 2026-06-01 01:00 UTC, which waits for that of 2026-05-31 " in finding.message
    assert finding.fix.endswith("; or, where the marker is right, execution_delta=timedelta(days=-1) of wait_for_t.")
    same = dag("other", waits_for_d(0), **runs(1))
    (finding,) = found("SEN015", dag("d", task("t"), marked(24), **runs(1)), same)
    assert finding.fix.startswith("Remove the marker's logical_date (mark: delta); or,")


def test_runs_that_nobody_waits_for_are_marked_in_vain() -> None:
    weekly = dag("other", waits_for_d(-144), **runs(1, every=7))
    assert not found("SEN015", dag("d", task("t"), marked(144), **runs(1)), weekly)
    assert len(found("SEN015", dag("d", task("t"), marked(0), **runs(1)), weekly)) == 1
    vain = dag("other", waits_for_d(1), **runs(1))
    assert not found("SEN015", dag("d", task("t"), marked(0), **runs(1)), vain), "SEN003 says it"


def test_a_marker_names_one_of_several_runs_that_wait() -> None:
    """``other`` runs at 00:00 and at 12:00, and waits for the run of 00:00 of its day."""
    begins = [DAY + timedelta(hours=12 * number) for number in range(732)]
    twice = runs(0) | {"fires": tuple((a.isoformat(), a.isoformat(), b.isoformat()) for a, b in pairwise(begins))}
    dates = tuple((each.isoformat(), (each.replace(hour=0).isoformat(),)) for each in begins[:-1])
    waits = replace(waits_for_d(None), waits=Wait("d", ("t",), how="function", delta=None, dates=dates))
    for hours, wrong in ((0, 0), (-12, 0), (-24, 1), (-5, 1)):
        assert (
            len(found("SEN015", dag("d", task("t"), marked(hours), **runs(0)), dag("other", waits, **twice))) == wrong
        )
    (finding,) = found("SEN015", dag("d", task("t"), marked(-5), **runs(0)), dag("other", waits, **twice))
    assert finding.fix == (
        "Give the marker a logical_date that answers the run that waits: for 2026-06-01 00:00 UTC it is 2026-06-01 00:00 UTC."
    )
    far = marked(24 * 400)
    assert len(found("SEN015", dag("d", task("t"), far, **runs(0)), dag("other", waits, **twice))) == 1


# --- pods of which not all is known


def test_what_only_a_run_has_is_said_of_a_pod() -> None:
    pod = replace(task(kind="KubernetesPodOperator"), unknown=("env_vars", "labels"), pod={"spec": {}})
    (finding,) = found("POD011", dag("d", pod))
    assert finding.message == "its pod is checked without its env_vars, labels, which only a run has"
    (finding,) = found("POD011", dag("d", replace(pod, unknown=("image",), pod=None)))
    assert finding.message == "its pod is not checked: only a run has its image"
    assert not found("POD011", dag("d", replace(pod, pod=None, pod_error="no"))), "POD001 says it"


@pytest.mark.parametrize(("name", "told"), [("env_vars", 1), ("image", 0), ("cmds", 0), ("expand_kwargs", 0)])
def test_words_are_not_judged_where_nobody_knows_what_reads_them(name: str, told: int) -> None:
    pod = replace(task(kind="KubernetesPodOperator", arguments=["a && b"]), unknown=(name,))
    assert len(found("POD010", dag("d", pod))) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("<ti.xcom_pull('a', 'b')>", 0),
        ("of-<params.a>", 0),
        ("of <params.a>", 1),
        ("<var.value.a>", 0),
        ("<a>", 1),
        ("a b", 1),
        (" a", 1),
        (["<ti.try_number>"], 1),
    ],
)
def test_what_a_run_puts_into_a_name_is_not_judged(value: Any, told: int) -> None:
    container = {"name": "base", "image": "a:1"}
    pods_of = (
        {"metadata": {"labels": {"a": value}}, "spec": {"containers": [container]}},
        {"metadata": {"namespace": value}, "spec": {"containers": [container]}},
        {"spec": {"containers": [container], "serviceAccountName": value}},
        {"spec": {"containers": [container | {"image": "" if value == "<a>" else value}]}},
    )
    for pod in pods_of:
        assert len(found("POD002", dag("d", replace(task(), pod=pod)))) == told


def test_an_image_that_floats_counts_once_for_all_instances() -> None:
    pod = replace(task(), image=("a", "a:latest"), pod={"spec": {}})
    expanded = replace(pod, instances=(pod, replace(pod, image=("b", "b:latest"))))
    tier = {"tags": ("impact/tier_1",)}
    told = [each.message for each in found("POD007", dag("d", expanded, **tier))]
    assert told == [f"image '{name}' floats ({name}:latest), and tasks of tier 1 run it: 1 of d" for name in ("a", "b")]


def test_each_instance_asks_for_memory() -> None:
    small = {"spec": {"containers": [{"resources": {"requests": {"memory": "1Gi"}}}]}}
    pod = replace(task(), pod=small)
    tier = {"tags": ("impact/tier_1",)}
    assert not found("POD008", dag("d", replace(pod, instances=(pod,)), **tier))
    nothing = replace(pod, pod={"spec": {"containers": [{}]}})
    assert len(found("POD008", dag("d", replace(pod, instances=(nothing,)), **tier))) == 1


# --- words, scripts, parameters


@pytest.mark.parametrize(
    ("command", "at"),
    [
        (["bash", "-c", "a"], 2),
        (["/bin/sh", "-ec", "a"], 2),
        (["bash", "-o", "pipefail", "-c", "a", "b"], 4),
        (["env", "-i", "A=1", "bash", "-c", "--", "a"], 6),
        (["bash", "script.sh"], None),
        (["bash", "-c"], None),
        (["bash", "-c", "-e", "a"], 3),
        (["python", "-c", "a"], None),
        ([], None),
    ],
)
def test_which_word_a_shell_reads(command: list[str], at: int | None) -> None:
    assert words.script_at(command) == at


def test_words_that_are_put_together_when_the_task_runs() -> None:
    attributes = {
        "cmds": {"Late": {"words": ["bash", "-cx"]}},
        "arguments": {"ShellLine": {"script": "a {{ ds }}", "flags": {}}},
    }
    pod = replace(
        task(kind="KubernetesPodOperator"), attributes=attributes, rendered={"arguments": ["a 2026-06-01 --b=c"]}
    )
    *program, script = words.words(pod)
    assert [(word.field, word.text, word.first) for word in program] == [
        ("cmds.words[0]", "bash", True),
        ("cmds.words[1]", "-cx", False),
    ]
    assert (script.field, script.script, script.final) == ("arguments.script", True, "a 2026-06-01 --b=c")
    (finding,) = found("CMD002", dag("d", pod))
    assert finding.fix == "Write '-c'."


def test_what_a_bash_operator_runs_is_a_script() -> None:
    assert len(found("CMD001", dag("d", task(bash_command="echo {{ params.a }}")))) == 1


def command(*program: str) -> Task:
    """A pod with the words of a command."""
    return replace(
        task(kind="KubernetesPodOperator"), attributes={"cmds": [program[0]], "arguments": list(program[1:])}
    )


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (("press", '--rows={"a": "1 && 2"}'), 0),
        (("press", "--rows=1 && 2"), 1),
        (("press", r'{"size": "5\" wide"}'), 0),
        (("press", '--size=5" wide'), 1),
        (("sh", "-c", "press # it's done"), 0),
        (("sh", "-c", "press it's done"), 1),
        (("sh", "-c", "cat <<END\nit's done\nEND"), 0),
        (("sh", "-c", "press && press"), 0),
        (("press", "a", ";"), 1),
        (("press", "a--b", "--c=d--e"), 0),
        (("press", "sql/a/query.sql--dataset=b"), 1),
    ],
)
def test_what_a_word_says(program: tuple[str, ...], told: int) -> None:
    assert len(found("POD010", dag("d", command(*program)))) == told


def test_the_raw_conf_in_a_script_is_told_once() -> None:
    text = "press {{ dag_run.conf['a'] }}"
    pod = replace(
        command("sh", "-c", text), templates=(Template("arguments[1]", text, None, names=("dag_run.conf.a",)),)
    )
    assert not found("CMD001", dag("d", pod))
    assert len(found("CMD003", dag("d", pod))) == 1


def test_braces_in_what_people_read_are_no_template() -> None:
    assert not found("TPL006", dag("d", task(doc_md="Writes {{ ds }}.")))
    assert len(found("TPL006", dag("d", task(queue="of {{ ds }}")))) == 1


def test_a_whole_secret_has_no_key_to_declare() -> None:
    whole = PodSecret("airflow-gke-secrets", None, None, "env")
    assert not found("DEC001", dag("d", replace(task(), secrets=(whole,))))
    assert len(found("DEC001", dag("d", replace(task(), secrets=(replace(whole, key="some_key"),))))) == 1


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("{{ ds }} {{ dag_run.logical_date }} {{ ti.task_id }} {{ conn.a.host }}", ()),
        ("{{ params }}", ("params",)),
        ("{{ params['a'].b }}", ("params.a",)),
        ("{{ params.get('a', 'b') }}", ("params.a",)),
        ("{{ 'a' if params.b > 3 else 'c' }}", ()),
        ("{{ params.a == 'b' }} {{ not params.a }} {{ params.a is none }}", ()),
        ("{{ params.a if ds else params.b }}", ("params.a", "params.b")),
        ("{{ params.a | upper }} {{ params.b | int }}", ("params.a",)),
        ("{{ params.a or 'b' }}", ("params.a",)),
        ("{{ 'x' ~ params.a }}", ("params.a",)),
        ("{{ 'x {}'.format(params.a) }}", ("params.a",)),
        ("{{ params.a.split(',')[0] }}", ("params.a",)),
        ("{{ macros.ds_add(params.a, 1) }}", ("params.a",)),
        ("{% for each in params.a %}{{ each }}{% endfor %}", ("params.a",)),
        ("{% for each in params.a %}x{% endfor %}", ()),
        ("{% set a = run_id %}{{ a }}", ("run_id",)),
        ("{% if params.a %}b{% else %}{{ params.c }}{% endif %}", ("params.c",)),
        (
            "{{ var.value.a }} {{ var.json.b.c }} {{ var.value.get('d', 1) }}",
            ("var.value.a", "var.json.b", "var.value.d"),
        ),
        ("{{ dag_run.conf['a'] }} {{ dag_run.note }}", ("dag_run.conf", "dag_run.note")),
        ("{{ task_instance.xcom_pull('a')['b'] }}", ("task_instance.xcom_pull",)),
        ("{{ open", ()),
    ],
)
def test_what_of_a_template_comes_from_outside(text: str, sources: tuple[str, ...]) -> None:
    assert commands.from_outside(text) == sources


@pytest.mark.parametrize(
    ("schema", "harmless"),
    [
        ({"type": "boolean"}, True),
        ({"type": ["null", "integer"]}, True),
        ({"type": "string"}, False),
        ({"type": "string", "format": "date"}, True),
        ({"type": "string", "format": "email"}, False),
        ({"type": "string", "enum": ["a", "b-c"]}, True),
        ({"type": "string", "enum": ["a", "b; c"]}, False),
        ({"type": ["string", "integer"], "pattern": "^a$"}, False),
        ({"type": "array", "items": {"type": "integer"}}, False),
        ({"type": "string", "pattern": r"^(?:[a-z0-9_]+\.[a-z]{2,3}|x)$(?!\n)"}, True),
        ({"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}$"}, True),
        ({"type": "string", "pattern": "[a-z]+"}, False),
        ({"type": "string", "pattern": "^[a-z]+"}, False),
        ({"type": "string", "pattern": "^a.b$"}, False),
        ({"type": "string", "pattern": "^[^;]+$"}, False),
        ({"type": "string", "pattern": "^[!-z]+$"}, False),
        ({"type": "string", "pattern": r"^\s+$"}, False),
        ({"type": "string", "pattern": r"^a\$[0-9]+$"}, False),
        ({"type": "string", "pattern": "^a$|b$"}, False),
        ({}, False),
    ],
)
def test_what_a_parameter_can_do_to_a_shell(schema: dict[str, Any], harmless: bool) -> None:
    assert commands.harmless({"schema": schema}) is harmless


@pytest.mark.parametrize(
    ("schema", "lacks"),
    [
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, None),
        ({"type": "integer", "maximum": 1}, "a minimum"),
        ({"type": ["null", "string"], "pattern": "a"}, None),
        ({"type": ["boolean", "string"]}, "a pattern, a format or an enum"),
        ({"enum": [1, "a"]}, None),
        ({"type": "array", "items": {"type": "string"}}, "a pattern, a format or an enum of its items"),
        ({"type": "object"}, "additionalProperties=False with its properties"),
        ({"type": "object", "additionalProperties": False}, None),
        ({}, "a type"),
    ],
)
def test_what_bounds_a_parameter(schema: dict[str, Any], lacks: str | None) -> None:
    assert commands.unbounded(schema) == lacks


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1Ki", 1024.0), ("1k", 1000.0), ("0.5", 0.5), ("2e3", 2000.0), ("100u", 1e-4), (3, 3.0),
        ("-1", None), ("1 Gi", None), ("1GiB", None), ("", None), (None, None), (True, None), ("Gi", None),
    ],
)  # fmt: skip
def test_quantities(text: Any, number: float | None) -> None:
    assert pods.quantity(text) == (None if number is None else pytest.approx(number))


def test_durations_as_they_are_typed() -> None:
    assert schedules.typed(-(5 * 86400 + 22 * 3600)) == "timedelta(days=-5, hours=-22)"
    assert schedules.typed(90) == "timedelta(minutes=1, seconds=30)"
    assert schedules.span(86400 + 120) == "1 day 2 min"
