"""The LocalExecutor of the local platform: it does not take the end of a deferral for the end of the task.

When a task defers or reschedules itself, its process ends and the executor reports success. If the task is queued again before the
scheduler has read that report, Airflow 3.3.2 takes it for the new process's, sees a task that is not finished, and fails
it ("finished with state success, but the task instance's state attribute is queued"): apache/airflow#67287, #71580 and
#72716. Pods that end within seconds and sensors that look every few seconds meet this in every other run. The CeleryExecutor
asks only for the newest process of a task and is not concerned.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow.executors.local_executor import LocalExecutor
from airflow.utils.state import TaskInstanceState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.executors.workloads import ExecutorWorkload
    from airflow.executors.workloads.types import WorkloadKey, WorkloadState
    from airflow.models.taskinstance import TaskInstance


class RequeueSafeLocalExecutor(LocalExecutor):
    """A LocalExecutor that counts the processes of each task and reports the end of the last one only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self._processes: Counter[WorkloadKey] = Counter()

    def _process_workloads(self, workload_list: Sequence[ExecutorWorkload]) -> None:
        for workload in workload_list:
            self._processes[workload.key] += 1
            self.running.add(workload.key)
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]  # Airflow leaves it untyped

    def change_state(
        self, key: WorkloadKey, state: WorkloadState, info: Any = None, remove_running: bool = True
    ) -> None:
        """Take in what a worker says of a process, unless it ended and the task has another by now."""
        if state == TaskInstanceState.RUNNING:
            super().change_state(key, state, info, remove_running=False)
            return
        self._processes[key] -= 1
        if self._processes[key] > 0:
            self.log.info("A process of %s ended after the task was queued again; its next one counts", key)
            return
        del self._processes[key]
        super().change_state(key, state, info, remove_running)

    def has_task(self, task_instance: TaskInstance) -> bool:
        """Whether a process of the task runs, is queued, or will be: a task that is scheduled is queued in a moment.

        Airflow makes that last exception for resumed deferrals only, not for ``mode="reschedule"``.
        """
        return task_instance.state == TaskInstanceState.SCHEDULED or super().has_task(task_instance)
