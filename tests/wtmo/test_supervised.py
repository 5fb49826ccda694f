"""Real processes: one whose parent is killed ends too, however it watches it."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import psutil
import pytest

from utils.config import ROOT

# The parent forks, as a supervisor does; the child says that it is ready and would live for ten minutes.
PARENT = """
import os, signal, sys, time
from wtmo import supervised
if os.fork() == 0:
    {tie}
    print(os.getpid(), flush=True)
    time.sleep(600)
signal.pause()
"""


@pytest.mark.parametrize(
    "tie", ["supervised.end_with_supervisor()", "supervised.watch_parent(os.getppid())"], ids=["kernel", "thread"]
)
def test_a_process_ends_with_its_parent(tie: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(tie=tie)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        try:
            parent.communicate(timeout=30)  # until nobody can write there any more
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
