"""The program: start, refusals, SIGTERM, kill -9."""

from __future__ import annotations

import json
import signal
import smtplib
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from utils.config import ROOT
from wtmo.local import tls
from wtmo.local.services.outbox import read_outbox
from wtmo.local.state import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.loopback

NAMES = ("fivetran", "smtp", "slack", "google", "dataproc", "sftp")


class Program:
    """The services as their own process, started and ended by a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in NAMES}
        self.processes: list[subprocess.Popen[str]] = []
        (folder / "token").write_text("local-token")
        (folder / "host_key").write_text(tls.ssh_host_key())
        (folder / "host_key").chmod(0o600)
        (folder / "connectors").mkdir()
        (folder / "connectors" / "slow.json").write_text('{"service": "sheets", "schema": "s", "sync_seconds": 2}')

    def launch(self, *options: str) -> subprocess.Popen[str]:
        ports = [word for name, port in self.ports.items() for word in (f"--{name}-port", str(port))]
        command = [sys.executable, "-m", "wtmo.local.services", *ports, "--token-file", str(self.folder / "token")]
        command += ["--sftp-host-key", str(self.folder / "host_key")]
        command += ["--state", str(self.folder / "state"), "--connectors", str(self.folder / "connectors"), *options]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def start(self) -> subprocess.Popen[str]:
        process = self.launch()
        deadline = time.monotonic() + 30
        while not self.healthy():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline, "waited 30 s for the services to be healthy"
            time.sleep(0.05)
        return process

    def healthy(self) -> bool:
        try:
            for name in ("fivetran", "slack", "google"):
                httpx.get(f"http://127.0.0.1:{self.ports[name]}/healthz").raise_for_status()
            for name in ("smtp", "sftp", "dataproc"):
                socket.create_connection(("127.0.0.1", self.ports[name])).close()
        except (httpx.HTTPError, OSError):
            return False
        return True

    def connection(self) -> dict[str, object]:
        url = f"http://127.0.0.1:{self.ports['fivetran']}/v1/connections/slow"
        data: dict[str, object] = httpx.get(url, auth=("k", "s")).raise_for_status().json()["data"]
        return data


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    for process in program.processes:
        process.kill()
        process.wait(10)
        assert process.stderr
        process.stderr.close()


def test_kill_and_restart_lose_nothing_and_sigterm_ends_it(program: Program) -> None:
    process = program.start()
    url = f"http://127.0.0.1:{program.ports['fivetran']}/v1/connections/slow"
    httpx.patch(url, json={"schedule_type": "manual"}, auth=("k", "s")).raise_for_status()
    httpx.post(f"{url}/sync", json={"force": False}, auth=("k", "s")).raise_for_status()
    with smtplib.SMTP("127.0.0.1", program.ports["smtp"]) as client:
        client.sendmail("a@x", ["b@x"], "Subject: hello\r\n\r\nbody")
    process.kill()
    process.wait(10)

    process = program.start()
    connection = program.connection()
    assert connection["schedule_type"] == "manual"
    assert [message.subject for message in read_outbox(program.folder / "state" / "outbox")] == ["hello"]
    deadline = time.monotonic() + 10
    while str((connection := program.connection())["succeeded_at"]) < "2026-01-02":
        assert time.monotonic() < deadline, f"waited 10 s for the sync to end: {connection}"
        time.sleep(0.05)
    assert json.loads((program.folder / "state" / "fivetran.json").read_text())["slow"]["syncs"] == 1

    held = socket.create_connection(("127.0.0.1", program.ports["fivetran"]))  # an idle client must not hold it up
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    held.close()
    assert process.stderr
    log = process.stderr.read()
    assert "sync 1 succeeded" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("name", NAMES)
def test_port_in_use_is_named(program: Program, name: str) -> None:
    with socket.create_server(("127.0.0.1", program.ports[name])):
        process = program.launch()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"{name} cannot listen on 127.0.0.1:{program.ports[name]}" in errors
    assert f"--{name}-port" in errors
    assert "Traceback" not in errors


def test_bad_connector_is_named(program: Program) -> None:
    (program.folder / "connectors" / "bad.json").write_text('{"service": "x", "schema": "s", "colour": "red"}')
    process = program.launch()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "bad.json: colour" in errors
    assert "Traceback" not in errors


def test_state_folder_that_cannot_be_made_is_named(program: Program) -> None:
    (program.folder / "state").write_text("a file")
    process = program.launch()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"cannot write to the state folder {program.folder / 'state'}" in errors
