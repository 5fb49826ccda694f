"""What ``make bench`` makes of its figures, and what it reads from logs and titles; the suites themselves run for minutes."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from wtmo.bench import __main__ as command
from wtmo.bench import queries, waiting
from wtmo.bench.measure import Figure
from wtmo.bench.queries import TABLES, Outcome
from wtmo.errors import WtmoError
from wtmo.local.calls import Calls
from wtmo.local.pods import faults
from wtmo.local.state import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("values", "limit", "passed"),
    [((1, 9, 2), 2, True), ((1, 9, 3), 2, False), ((1, 9, 3), None, True), ((0,), 0, True)],
)
def test_a_figure_passes_when_its_median_is_within_its_limit(
    values: tuple[float, ...], limit: float | None, passed: bool
) -> None:
    assert Figure("any", "s", values, limit).passed is passed


def broken(_: int) -> list[Figure]:
    raise WtmoError("it broke", fix="mend it")


@pytest.mark.parametrize(
    ("suites", "status", "verdicts"),
    [
        ({"good": lambda _: [Figure("a", "s", (1.0,), 2.0)]}, 0, ["pass"]),
        ({"slow": lambda _: [Figure("a", "s", (3.0,), 2.0), Figure("b", "s", (1.0,))]}, 1, ["FAIL"]),
        ({"broken": broken, "good": lambda _: [Figure("a", "s", (1.0,), 2.0)]}, 2, ["pass"]),
    ],
)
def test_the_command_says_what_is_beyond_its_limit(
    suites: dict[str, Callable[[int], list[Figure]]],
    status: int,
    verdicts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "SUITES", suites)
    assert command.main([]) == status
    assert [word for word in capsys.readouterr().out.split() if word in {"pass", "FAIL"}] == verdicts
    assert command.main(["--json"]) == status
    shown = json.loads(capsys.readouterr().out)["figures"]
    assert [figure["passed"] for figure in shown if figure["limit"]] == [verdict == "pass" for verdict in verdicts]


def test_the_end_of_a_pod_is_read_from_the_log_of_its_server(tmp_path: Path) -> None:
    folder = State(tmp_path).folder("logs")
    (folder / "pods.log").write_text(
        "2026-06-01 10:00:00,250 INFO pod default/good-1 ended: Succeeded, exit codes base=0\n"
        "2026-06-01 10:00:01,000 INFO pod default/bad-1 ended: Failed, exit codes base=1\n"
        "2026-06-01 10:00:02,000 INFO pod default/new-1 created: ['image']\n"
    )
    expected = dt.datetime(2026, 6, 1, 10, 0, 0, 250_000).astimezone().timestamp()
    assert waiting.pods_ended(State(tmp_path)) == {"good-1": expected}


@pytest.mark.parametrize(
    ("title", "busy"),
    [
        ("airflow worker -- LocalExecutor: 01a20437-3d5a-776d-9bff-a7960a858db7", True),
        ("airflow worker -- LocalExecutor: <idle>", False),
        ("airflow worker -- 01a20437-3d5a-776d-9bff-a7960a858db7", False),
        ("python -m airflow scheduler", False),
    ],
)
def test_a_worker_with_a_task_is_known_by_its_title(title: str, busy: bool) -> None:
    assert bool(waiting._BUSY_WORKER.match(title)) is busy


OUTCOME = Outcome(
    wall=1.0,
    processor=1.0,
    slots=1.0,
    calls=Counter(),
    job_starts=(1.0,),
    tables={table: {"n": 1, "digest": 2} for table in TABLES},
    labels={"task": {"airflow-task": "task", "airflow-try": "1"}},
)


def test_the_same_is_the_same() -> None:
    queries.check_same(OUTCOME, replace(OUTCOME, wall=9.0))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (replace(OUTCOME, tables=OUTCOME.tables | {TABLES[0]: {"n": 1, "digest": 3}}), TABLES[0]),
        (replace(OUTCOME, tables=OUTCOME.tables | {TABLES[1]: {}}), TABLES[1]),
        (replace(OUTCOME, labels={key: {"airflow-try": "2"} for key in OUTCOME.labels}), "airflow-try"),
        (replace(OUTCOME, labels={}), "task: labels in pods"),
    ],
)
def test_a_difference_between_the_engines_is_an_error(other: Outcome, says: str) -> None:
    with pytest.raises(WtmoError, match=says):
        queries.check_same(OUTCOME, other)


def test_the_delayed_pods_have_the_start_up_time_that_the_table_names() -> None:
    text = (queries.DAGS / "bench_queries.py").read_text()
    assert f'{{"{faults.ANNOTATION}": "slow-start={queries.POD_START}"}}' in text


def test_the_waiting_pods_name_a_fault_of_the_pod_server() -> None:
    assert faults.parse("slow-end=30") == {"slow-end": 30.0}
    assert f'{{"{faults.ANNOTATION}": "slow-end=30"}}' in (waiting.DAGS / "bench_waiting.py").read_text()


@pytest.mark.parametrize("name", ["airflow-dag", "airflow-run"])
def test_a_label_that_names_another_run_is_an_error(name: str) -> None:
    this: Any = type("Run", (), {"dag": "some_dag", "run_id": "some_run"})
    right = {"airflow-dag": "some_dag", "airflow-run": "some_run", "airflow-try": "1"}
    job: Any = type("Job", (), {"labels": right})
    assert queries._labels(job, this) == {"airflow-try": "1"}
    job.labels = right | {name: "other"}
    with pytest.raises(WtmoError, match="other"):
        queries._labels(job, this)


@pytest.mark.loopback
async def test_a_stand_in_counts_what_it_is_asked() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    calls = Calls()
    application = web.Application(middlewares=[calls.middleware])
    application.add_routes([web.get("/things/{name}", answer), web.get("/healthz", answer), calls.route()])
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:
            for path in ("/things/a", "/things/b", "/nothing", "/healthz", "/calls"):
                await (await session.get(f"{url}{path}")).read()
            assert await (await session.get(f"{url}/calls")).json() == {"GET /things/{name}": 2, "GET (no route)": 1}
    finally:
        await runner.cleanup()
