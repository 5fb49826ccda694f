"""Many pods that are waited for at once, and the engines compared, on one platform. `make bench` does both at full size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wtmo.bench import measure, queries
from wtmo.bench.waiting import ACTIVE, Run, active_pods, await_
from wtmo.local import api

if TYPE_CHECKING:
    from collections.abc import Iterator

    import airflow_client.client as airflow

    from wtmo.local.state import PlatformRecord, State

    Running = tuple[State, PlatformRecord, airflow.ApiClient]

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]

PODS = 40


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with measure.state() as state, measure.running(state, measure.RESOURCES) as record, api.client(record) as client:
        yield state, record, client


def test_both_engines_leave_the_same_rows_and_labels(running: Running) -> None:
    state, record, client = running
    queries.fill(state, record, days=1)
    outcomes = queries.compare(state, record, client, queries.FIRST_DAY, ("pod", "native"))
    pod, native = outcomes["pod"], outcomes["native"]
    assert all(content["n"] for content in native.tables.values())
    tasks = sorted(table.partition(".")[2] for table in queries.TABLES)
    assert [labels for _, labels in sorted(native.labels.items())] == [
        {"airflow-task": task, "airflow-try": "1", "airflow-owner": "data-engineering", "airflow-tier": "tier_3"}
        for task in tasks
    ]
    assert pod.calls["single_pods"] > 0
    assert native.calls["single_pods"] == 0
    assert native.calls["bigquery"] > 0
    assert native.calls["execution"] > 0


def test_forty_waiting_pods_hold_no_slot_and_end_with_their_run(running: Running) -> None:
    state, record, client = running
    run = Run(state, record, client, f"bench_waiting_{PODS}")
    run.await_waiting(PODS, 300)
    slots = run.slots()
    assert slots.states == {"deferred": PODS}
    assert slots.triggers == PODS
    assert slots.pool == 0
    assert slots.executor == 0
    phases = [pod.status.phase for pod in measure.pods_api(state, record).list_namespaced_pod("default").items]
    assert [phase for phase in phases if phase in ACTIVE] == ["Running"] * PODS

    ending = Run(state, record, client, "bench_ending_8")
    await_(lambda: ending.states() == {"success": 8}, "other pods to be seen to end meanwhile", 120)
    assert len(ending.event_delays()) == 8
    assert run.slots().triggers == PODS

    run.fail()
    await_(lambda: not active_pods(state, record), "every pod of the failed run to end", 120)
    assert run.states() == {"failed": PODS}
