from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from wtmo.errors import WtmoError
from wtmo.local import state
from wtmo.local.guard import sweep
from wtmo.local.state import PlatformRecord, ServiceRecord, State, check_port, free_port, marked_processes

if TYPE_CHECKING:
    from pathlib import Path


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    state = State(tmp_path)
    first = state.secret("jwt").read_text()
    assert len(first) >= 32
    assert state.secret("jwt").read_text() == first
    assert stat.S_IMODE((tmp_path / "secrets" / "jwt").stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made_is_named_with_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(WtmoError, match=r"taken/logs") as refused:
        State(tmp_path / "taken").folder("logs")
    assert "--state" in (refused.value.fix or "")


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    state = State(tmp_path)
    record = PlatformRecord(1, 2.0, "m", services={"a": ServiceRecord("a", "a.log", pid=3)}, settings={"X": "y"})
    record.save(state)
    assert PlatformRecord.load(state) == record


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.record.write_text("{")
    with pytest.raises(WtmoError, match=r"platform\.json"):
        PlatformRecord.load(state)


def test_a_process_that_took_over_the_pid_is_not_the_supervisor() -> None:
    me = psutil.Process()
    assert PlatformRecord(me.pid, me.create_time(), "m").alive()
    assert not PlatformRecord(me.pid, me.create_time() - 3600, "m").alive()
    assert not PlatformRecord(me.pid, me.create_time(), "m", state="stopped").alive()


@pytest.mark.loopback
def test_a_port_in_use_is_refused_with_its_holder() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(WtmoError, match=rf"port {port} .* by process {os.getpid()}") as refused:
            check_port(port)
    assert "PORT=" in (refused.value.fix or "")
    check_port(free_port())


@pytest.mark.loopback
def test_free_ports_differ_and_are_not_those_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_PORTS", range(10_000, 10_200))
    found = [free_port() for _ in range(20)]
    assert len(set(found)) == 20
    assert set(found) <= set(state._PORTS)
    monkeypatch.setattr(state, "_PORTS", found)
    with pytest.raises(WtmoError, match="no free port"):
        free_port()


@pytest.mark.loopback
def test_a_port_that_was_chosen_is_not_chosen_by_another_process() -> None:
    """Although nobody listens on it yet."""
    asked = f"from wtmo.local import state; state._PORTS = [{free_port()}]; state.free_port()"
    refused = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert "no free port" in refused.stderr


def test_sweep_kills_what_carries_the_marker_with_its_orphans_and_nothing_else() -> None:
    marker = f"test-{os.getpid()}"
    # The parent starts a child in a session of its own and is killed: the child is an orphan that only the marker finds.
    script = (
        "import subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); "
        "print('up', flush=True); time.sleep(60)"
    )
    marked = {**os.environ, "WTMO_PLATFORM": marker}
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    parent = subprocess.Popen([sys.executable, "-c", script], env=marked, stdout=subprocess.PIPE)
    try:
        assert parent.stdout
        parent.stdout.readline()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert len(list(marked_processes(marker))) == 1
        assert len(sweep(marker)) == 1
        assert not list(marked_processes(marker))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
