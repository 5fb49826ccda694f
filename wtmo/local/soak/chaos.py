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

WORKER = "task process"
TARGETS = ("triggerer", "scheduler", "pods", "bigquery", "services", "api-server", *[WORKER] * 4)
"""What is killed; each once, tasks' processes four times, before any comes again:
so many deaths the supervisor bears."""


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

    def strike(self, running: Collection[str]) -> str | None:
        """Kill what is due. Returns its name; None where nothing was.

        :param running: ids of the task instances that have a process.
        """
        if time.monotonic() < self._due or self._recovering():
            return None
        self._due = time.monotonic() + self._pause()
        if not self._bag:
            self._bag = draw_order(self._draw)
        target = self._bag.pop()
        pid = self._worker(running) if target == WORKER else self._service(target)
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

    def _worker(self, running: Collection[str]) -> int | None:
        record = PlatformRecord.load(self.state)
        wanted = sorted(running)
        self._draw.shuffle(wanted)
        if record is None:
            return None
        processes = {}
        for process in marked_processes(record.marker):
            with contextlib.suppress(psutil.Error):
                processes[process.pid] = (" ".join(process.cmdline()), process.ppid())
        for id_ in wanted:
            named = {pid: parent for pid, (title, parent) in processes.items() if id_ in title}
            for pid, parent in named.items():
                if parent not in named:
                    return pid
        return None


def draw_order(draw: random.Random) -> list[str]:
    """All targets in an order of chance."""
    order = list(TARGETS)
    draw.shuffle(order)
    return order
