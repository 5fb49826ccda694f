"""Kills processes of a running platform, by a seed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from wtmo.local.state import PlatformRecord, State, marked_processes

if TYPE_CHECKING:
    from collections.abc import Collection

RUNNER, SUPERVISOR = "task process", "supervisor of a task"
TARGETS = (
    *("triggerer", "scheduler", "pods", "bigquery", "services", "api-server"),
    *[RUNNER] * 2,
    *[SUPERVISOR] * 2,
)
"""What is killed; each once, tasks' processes and the executor's that look after them twice, before any comes again: so many
deaths the platform's supervisor bears."""


@dataclass
class Chaos:
    """Kill -9 of one process after the other.

    :param mean: seconds between two kills, from half to one and a half of it.
    :param done: how often each target was killed.
    """

    state: State
    seed: int
    mean: float
    done: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Draw the first kill."""
        self._draw = random.Random(f"chaos:{self.seed}")
        self._bag: list[str] = []
        self._due = time.monotonic() + self._pause()

    def _pause(self) -> float:
        return self.mean * self._draw.uniform(0.5, 1.5)

    def strike(self, running: Collection[int]) -> str | None:
        """Kill what is due. Returns its name; None where nothing was.

        :param running: process ids of tasks, as Airflow has them.
        """
        if time.monotonic() < self._due or self._recovering():
            return None
        self._due = time.monotonic() + self._pause()
        if not self._bag:
            self._bag = draw_order(self._draw)
        target = self._bag.pop()
        pid = self._of_task(target, running) if target in {RUNNER, SUPERVISOR} else self._service(target)
        if pid is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.done[target] = self.done.get(target, 0) + 1
        return target

    def _recovering(self) -> bool:
        """Whether two services are still starting: a machine that is slow to start them would do nothing else."""
        record = PlatformRecord.load(self.state)
        return record is None or sum(each.state == "starting" for each in record.services.values()) > 1

    def _service(self, name: str) -> int | None:
        record = PlatformRecord.load(self.state)
        service = record.services.get(name) if record else None
        # What is still starting is left to it: its next death would prove nothing new.
        return service.pid if service and service.state == "running" else None

    def _of_task(self, target: str, running: Collection[int]) -> int | None:
        record = PlatformRecord.load(self.state)
        if record is None:
            return None
        # A process that has ended may have left its id to a stranger's.
        own = {process.pid: process for process in marked_processes(record.marker)}
        wanted = sorted(pid for pid in running if pid in own)
        if not wanted:
            return None
        runner = self._draw.choice(wanted)
        if target == RUNNER:
            return runner
        with contextlib.suppress(psutil.Error):
            parent = own[runner].ppid()
            return parent if parent in own else None
        return None


def draw_order(draw: random.Random) -> list[str]:
    """All targets in an order of chance."""
    order = list(TARGETS)
    draw.shuffle(order)
    return order
