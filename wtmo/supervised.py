"""The process that runs a task ends with the one that supervises it.

Airflow 3.3.2 starts each task in a process of its own. Its parent, a LocalExecutor's or Celery's worker process, tells Airflow how
the task does. When that one is killed (kill -9, out of memory), Airflow lets the task's process live on. It has nobody to
report to and fails at its next word, like any task that fails: its operator deletes the pod or marks it as done with, or
cancels its BigQuery jobs. The next try, which comes when the heartbeat has timed out, cannot go on with them and starts them
again. Until then two processes may wait for one pod, and the first to read its result ends it. (No upstream issue found.)

Killed with its parent it can do none of that: what it waited for is left as it is, and the next try goes on with it.

A task with ``run_as_user`` is not reached: Linux drops the setting when sudo gets other rights.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

LOOK_EVERY = 1.0
"""Seconds between two looks at the parent, where the kernel does not watch it."""
_PR_SET_PDEATHSIG = 1


def end_with_supervisor() -> None:
    """Have this process killed when its parent ends, by Linux at once, elsewhere by a thread within a second."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        watch_parent(os.getppid())


def watch_parent(parent: int) -> None:
    """Kill this process when its parent is another one."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="supervisor", daemon=True).start()
