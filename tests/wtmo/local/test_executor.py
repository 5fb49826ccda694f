from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.executors.local_executor import LocalExecutor
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

from wtmo.local.executor import RequeueSafeLocalExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = TaskInstanceKey("dag", "task", "run", try_number=1)


class Inbox:
    """What the workers take from: here nobody does."""

    def put(self, _: object) -> None:
        """Take it."""


@pytest.fixture(params=[RequeueSafeLocalExecutor])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExecutor]:
    yield make(request.param, monkeypatch)


def make(kind: type[LocalExecutor], monkeypatch: pytest.MonkeyPatch) -> LocalExecutor:
    import multiprocessing

    made = kind(parallelism=2)
    monkeypatch.setattr(made, "_check_workers", lambda: None)
    made.activity_queue = Inbox()  # type: ignore[assignment]
    made._unread_messages = multiprocessing.Value("I")
    made.workers = {}
    return made


def send(executor: LocalExecutor) -> None:
    workload: Any = SimpleNamespace(key=KEY)
    executor.queued_tasks[KEY] = workload
    executor._process_workloads([workload])


def test_the_end_of_a_deferral_is_not_reported_once_the_task_is_queued_again(executor: LocalExecutor) -> None:
    send(executor)
    executor.change_state(KEY, TaskInstanceState.RUNNING)
    send(executor)
    executor.change_state(KEY, TaskInstanceState.SUCCESS)
    assert executor.event_buffer[KEY][0] == TaskInstanceState.RUNNING
    assert KEY in executor.running
    executor.change_state(KEY, TaskInstanceState.SUCCESS)
    assert executor.event_buffer[KEY][0] == TaskInstanceState.SUCCESS
    assert KEY not in executor.running


def test_an_ordinary_end_is_reported_at_once(executor: LocalExecutor) -> None:
    send(executor)
    executor.change_state(KEY, TaskInstanceState.FAILED)
    assert executor.event_buffer[KEY][0] == TaskInstanceState.FAILED
    assert not executor.running


@pytest.mark.parametrize(
    ("state", "known"), [(TaskInstanceState.SCHEDULED, True), (TaskInstanceState.QUEUED, False), (None, False)]
)
def test_a_rescheduled_sensor_is_not_lost(
    executor: LocalExecutor, state: TaskInstanceState | None, known: bool
) -> None:
    instance: Any = SimpleNamespace(id="1", key=KEY, state=state)
    assert executor.has_task(instance) is known
    send(executor)
    assert executor.has_task(instance)


def test_airflows_own_executor_still_needs_this(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, apache/airflow#67287 and #72716 are mended here: remove the subclass."""
    upstream = make(LocalExecutor, monkeypatch)
    send(upstream)
    send(upstream)
    upstream.change_state(KEY, TaskInstanceState.SUCCESS)
    assert upstream.event_buffer[KEY][0] == TaskInstanceState.SUCCESS
    assert KEY not in upstream.running
