"""The travel agency's list: what is exported, and that the export's files are those that are sent."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from paramiko import SSHException

from tests.dags.rendering import Run, rendered
from utils.config import CONNECTIONS, ROOT
from wtmo.local import gcs
from wtmo.local.state import free_port

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from airflow.sdk import DAG

DAG_ID = "peopleintegration-workday-get-report"
RUN = Run("2026-06-01T13:50:00Z", end="2026-06-02T13:50:00Z")
FILES = "workday-masterdata/tripactions"
BUCKET = "moz-fx-data-bq-people-workday-tripactions-export"
USER, PASSWORD = "agency", "correct horse"
SECONDS = 20


def export(dags: dict[str, DAG]) -> str:
    configuration = rendered(dags[DAG_ID], "upload-to-bucket", "configuration", RUN)
    assert configuration["query"]["useLegacySql"] is False
    return " ".join(configuration["query"]["query"].split())


def test_the_active_workers_are_exported_under_the_agencys_names(dags: dict[str, DAG]) -> None:
    columns, _, source = export(dags).partition(" AS SELECT ")[2].partition(" FROM ")
    named = [re.fullmatch(r"(\w+)(?: AS (\w+))?", column) for column in columns.split(", ")]
    assert [(match[2] or match[1], match[1]) for match in named if match] == [
        ("email", "email"),
        ("firstName", "first_name"),
        ("lastName", "last_name"),
        ("enabled", "currently_active"),
        ("policyLevel", "moco_or_mofo"),
        ("employeeId", "employee_id"),
        ("title", "position_worker_type"),
        ("department", "cost_center_hierarchy"),
        ("costCenter", "cost_center"),
        ("region", "location_country"),
        ("subsidiary", "company"),
        ("managerEmail", "manager_email"),
        ("companyOffice", "moco_or_mofo"),
    ]
    assert source == "`moz-fx-data-bq-people.composer_workday.worker` WHERE currently_active"


def test_what_is_exported_is_what_is_sent(dags: dict[str, DAG]) -> None:
    dag = dags[DAG_ID]
    assert export(dags).startswith(
        f"EXPORT DATA OPTIONS ( uri = 'gs://{BUCKET}/{FILES}/mozilla_06012026*.csv', format = 'CSV', "
        "overwrite = TRUE, header = TRUE, field_delimiter = ',' ) AS SELECT "
    )
    sent = [rendered(dag, "workday-to-tripaction", field, RUN) for field in ("source_bucket", "source_object")]
    assert sent == [BUCKET, f"{FILES}/mozilla_06012026*"]
    assert dag.get_task("workday-to-tripaction").upstream_task_ids == {"upload-to-bucket"}
    assert dag.get_task("upload-to-bucket").upstream_task_ids == {"peopleintegration-workday-to-bigquery"}


class Password(asyncssh.SSHServer):
    """Lets one user in."""

    def __init__(self, connections: list[asyncssh.SSHServerConnection]) -> None:
        self.connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


def host_key(key: asyncssh.SSHKey) -> str:
    """The public half as the connection's extra has it."""
    return " ".join(key.export_public_key().decode().split()[:2])


@contextmanager
def sftp(home: Path, key: asyncssh.SSHKey) -> Generator[int, None, None]:
    """An SFTP server whose root is ``home``; its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    connections: list[asyncssh.SSHServerConnection] = []

    async def listen() -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: Password(connections),
            server_host_keys=[key],
            sftp_factory=lambda connection: asyncssh.SFTPServer(connection, chroot=str(home).encode()),
        )

    async def close() -> None:
        server.close()
        # A client that was not let in leaves its connection open, and from Python 3.12 on its end is waited for.
        for connection in connections:
            connection.abort()
        await server.wait_closed()

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(SECONDS)
    try:
        yield server.get_port()
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


@contextmanager
def buckets(state: Path) -> Generator[str, None, None]:
    """The Cloud Storage stand-in over a folder; its URL."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    argv = [sys.executable, "-m", "wtmo.local.gcs", "--port", str(port), "--state", str(state)]
    with subprocess.Popen(argv, cwd=ROOT) as process:
        try:
            end = time.monotonic() + SECONDS
            while not answers(f"{url}{gcs.HEALTH}"):
                assert process.poll() is None, "fake-gcs-server ended"
                assert time.monotonic() < end, f"fake-gcs-server did not answer within {SECONDS} s"
                time.sleep(0.05)
            yield url
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.URLError:
        return False


KEY, ANOTHER_KEY = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("password", "known", "refused"),
    [
        (PASSWORD, {"host_key": host_key(KEY)}, None),
        ("wrong", {"host_key": host_key(KEY)}, "Authentication"),
        (PASSWORD, {"host_key": host_key(ANOTHER_KEY)}, "does not match"),
        (PASSWORD, {}, "not found in known_hosts"),
    ],
    ids=["sent", "wrong password", "another server", "unknown server"],
)
def test_the_files_of_the_day_are_sent(
    dags: dict[str, DAG],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    password: str,
    known: dict[str, str],
    refused: str | None,
) -> None:
    agency = tmp_path / "agency"
    list_of_the_day = agency / "data" / "prod" / "mozilla_06012026000000000000.csv"
    list_of_the_day.parent.mkdir(parents=True)
    list_of_the_day.write_text("of the try before\n")
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda _: None))  # between tries to log in

    with sftp(agency, KEY) as port, buckets(tmp_path / "buckets") as url:
        server = {"conn_type": "sftp", "host": "127.0.0.1", "port": port, "login": USER, "password": password}
        google = {"conn_type": "google_cloud_platform", "extra": {"project": "p", "is_anonymous": True}}
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{CONNECTIONS.tripactions_sftp.upper()}", json.dumps(server | {"extra": known})
        )
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTIONS.shared_prod.upper()}", json.dumps(google))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        bucket = storage.Client(project="p", credentials=AnonymousCredentials()).create_bucket(BUCKET)
        for day in ("05312026", "06012026"):
            written = bucket.blob(f"{FILES}/mozilla_{day}000000000000.csv")
            written.upload_from_string(f"email,firstName\n{day}@example.com,A\n")
        task: Any = dags[DAG_ID].get_task("workday-to-tripaction").prepare_for_execution()
        task.render_template_fields(RUN.context(), task.get_template_env())
        if refused:
            with pytest.raises(SSHException, match=refused):
                task.execute({})
        else:
            task.execute({})

    assert [path for path in agency.rglob("*") if path.is_file()] == [list_of_the_day]
    expected = "of the try before\n" if refused else "email,firstName\n06012026@example.com,A\n"
    assert list_of_the_day.read_text() == expected
