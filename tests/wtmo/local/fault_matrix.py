"""The fault matrix: each fault of the pod server x (sync, deferrable) x (pod, XCom), and what its task must come to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest

TABLE = pytest.StashKey[list[str]]()
"""Where the lines of its table wait for the end of the test run."""

START_SECONDS = 12
"""How long a pod of the matrix may take to start."""

OUTCOMES = {
    "": "success",
    "slow-start=5": "success",
    "slow-end=5": "success",
    "unschedulable": "failed",
    "image-pull": "failed",
    "image-pull=4": "success",
    "oom=1": "failed",
    "evicted=2": "failed",
    "unauthorized=3": "success",
    "throttled=1": "success",
    "watch-expired": "success",
    "watch-forbidden": "success",
    "silent=1": "success",
    "silent-create": "success",
    "log-cut=2": "success",
    "vanish=1": "success",
    "slow-removal=10": "success",
}
"""Fault, and the final state of its task."""

REASONS = {
    "unschedulable": r"It is not scheduled: 0/1 nodes are available",
    # The log has a message in one line, as JSON. Which of the two states is met goes by how busy the machine is.
    "image-pull": r"Image cannot be pulled, unable to start: (?:ErrImagePull|ImagePullBackOff)\\n.*manifest unknown",
    "oom=1": r"Exit code 137 \(OOMKilled\)",
    "evicted=2": r"Evicted: the pod is Failed",
}
"""What the failure of a task must say, as a pattern."""


@dataclass(frozen=True)
class Cell:
    """One task of the matrix."""

    fault: str
    deferrable: bool
    xcom: bool

    @property
    def name(self) -> str:
        return self.fault.replace("=", "_") or "none"

    @property
    def task_id(self) -> str:
        return f"{self.name}.{self.way}"

    @property
    def way(self) -> str:
        return f"{'deferrable' if self.deferrable else 'sync'}-{'xcom' if self.xcom else 'pod'}"


CELLS = [Cell(*each) for each in product(OUTCOMES, (False, True), (False, True))]
WAYS = [cell.way for cell in CELLS[:4]]
