"""A real local BigQuery, started once for the tests of this folder, and the program run against it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from utils.bqetl.flags import TEMPORARY_DATASET
from wtmo.local.bqetl import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.cloud import bigquery

ROOT = Path(__file__).parents[4]
PROJECT = "moz-fx-data-shared-prod"
START_SECONDS = 60  # of which most is compiling the evaluator, if that was not done when the project was set up


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def served_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout whose definitions the BigQuery finds: a link to that of the test."""
    return tmp_path_factory.mktemp("served") / "checkout"


@pytest.fixture(scope="session")
def bigquery_url(tmp_path_factory: pytest.TempPathFactory, served_checkout: Path) -> Iterator[str]:
    """Address of a local BigQuery with an empty state folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("bigquery")
    command = [sys.executable, "-m", "wtmo.local.bigquery", "--port", str(port), "--state", str(folder / "state")]
    command += ["--checkout", str(served_checkout), "--scratch", TEMPORARY_DATASET]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=ROOT, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + START_SECONDS
        while not _healthy(url):
            if server.poll() is not None or time.monotonic() > end:
                pytest.fail(
                    f"the local BigQuery did not start in {START_SECONDS} s: {(folder / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(10)


@dataclass
class Platform:
    """What a test does with the program and its BigQuery."""

    client: bigquery.Client
    capsys: pytest.CaptureFixture[str]

    def run(self, *argv: str) -> tuple[int, str]:
        """Exit status and output of a container command."""
        self.capsys.readouterr()
        return cli.main(argv), self.capsys.readouterr().out

    def ok(self, *argv: str) -> str:
        """Output of a container command that must succeed."""
        status, output = self.run(*argv)
        assert status == 0, output
        return output

    def sql(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        return [tuple(row.values()) for row in self.client.query_and_wait(sql)]

    def contents(self, table: str, where: str = "TRUE") -> list[str]:
        """Every row of a table as JSON, sorted."""
        rows = self.sql(f"SELECT TO_JSON_STRING(t) FROM `{table}` AS t WHERE {where}")
        return sorted(row[0] for row in rows)

    def create(self, name: str, rows: list[dict[str, Any]], schema: list[dict[str, Any]], *, day: str = "") -> None:
        """Make a table, ``dataset.table``, with rows; partitioned by day on the field ``day`` if that is given."""
        from google.cloud import bigquery

        self.client.create_dataset(name.partition(".")[0], exists_ok=True)
        table = bigquery.Table(f"{PROJECT}.{name}", [bigquery.SchemaField.from_api_repr(field) for field in schema])
        if day:
            table.time_partitioning = bigquery.TimePartitioning(field=day)
        self.client.delete_table(table, not_found_ok=True)
        self.client.create_table(table)
        if rows:
            self.client.load_table_from_json(
                rows, table, job_config=bigquery.LoadJobConfig(schema=table.schema)
            ).result()


@pytest.fixture
def platform(
    bigquery_url: str,
    served_checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Platform:
    """The program and its BigQuery, with an empty checkout that a test may fill."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    (tmp_path / "checkout" / "sql").mkdir(parents=True)
    served_checkout.unlink(missing_ok=True)
    served_checkout.symlink_to(tmp_path / "checkout")
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    monkeypatch.setenv("BQETL_CHECKOUT", str(tmp_path / "checkout"))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for name in ("DAG_ID", "TASK_ID", "DAG_RUN_ID", "TRY_NUMBER", "DAG_OWNER", "DAG_TIER"):
        monkeypatch.setenv(f"AIRFLOW_CTX_{name}", f"test-{name.lower()}")
    return Platform(bigquery.Client(PROJECT, AnonymousCredentials()), capsys)


@pytest.fixture
def checkout(tmp_path: Path):
    """Write one table's folder: ``checkout("telemetry_derived.t_v1", **{"query.sql": "SELECT 1"})``."""

    def write(name: str, files: dict[str, object]) -> str:
        folder = Path("sql", PROJECT, *name.split("."))
        (tmp_path / "checkout" / folder).mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)  # JSON is YAML
            (tmp_path / "checkout" / folder / file).write_text(text)
        return str(folder)

    return write
