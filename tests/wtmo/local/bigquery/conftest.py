"""An engine without a server, and a server in a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from wtmo.local.bigquery.googlesql import EvaluatorPool
from wtmo.local.bigquery.protos import service
from wtmo.local.bigquery.query import Outcome, QueryRun, TableLocks
from wtmo.local.bigquery.storage import Storage, TableRef
from wtmo.local.bigquery.values import row_to_json
from wtmo.local.bigquery.writes import dataset_resource
from wtmo.local.state import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT = "local-proj"
ROOT = Path(__file__).resolve().parents[4]


def plain(value: Any) -> Any:
    """A REST cell without its wrapping: scalars as text, lists, tuples for records."""
    if isinstance(value, list):
        return [plain(item["v"]) for item in value]
    if isinstance(value, dict):
        return tuple(plain(item["v"]) for item in value["f"])
    return value


@dataclass
class Engine:
    """Runs SQL against a storage, as a job does."""

    storage: Storage
    pool: EvaluatorPool
    locks: TableLocks = field(default_factory=TableLocks)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def execute(self, sql: str, **configuration: Any) -> Outcome:
        outcomes: list[Outcome] = []
        settings = {"query": sql, "defaultDataset": {"datasetId": "ds"}, **configuration}
        run = QueryRun(self.storage, self.pool, self.locks, settings, PROJECT, job=f"job{next(self._numbers)}")
        run.run(outcomes.append, lambda: None)
        return outcomes[0]

    def analyze(self, sql: str, **configuration: Any) -> Outcome:
        settings = {"query": sql, "defaultDataset": {"datasetId": "ds"}, **configuration}
        return QueryRun(self.storage, self.pool, self.locks, settings, PROJECT, dry_run=True).analyze()

    def rows(self, sql: str, **configuration: Any) -> list[tuple[Any, ...]]:
        outcome = self.execute(sql, **configuration)
        assert outcome.destination
        return self.stored(outcome.destination)

    def stored(self, ref: TableRef) -> list[tuple[Any, ...]]:
        table = self.storage.table(ref)
        rows = [row for part in self.storage.parts(table.id) for row in service.TableData.FromString(part.data).row]
        return [plain(row_to_json(row, table.fields)) for row in rows]

    def partitions(self, name: str) -> dict[str, int]:
        table = self.storage.table(TableRef(PROJECT, "ds", name))
        return {summary.partition: summary.rows for summary in self.storage.partitions(table.id)}


@pytest.fixture(scope="session")
def pool() -> EvaluatorPool:
    return EvaluatorPool(2)


@pytest.fixture
def engine(tmp_path: Path, pool: EvaluatorPool) -> Iterator[Engine]:
    storage = Storage(tmp_path / "bigquery.sqlite")
    storage.create_dataset(PROJECT, "ds", dataset_resource(PROJECT, "ds", {}))
    yield Engine(storage, pool)
    storage.close()


@dataclass
class Server:
    """A server process."""

    state: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Server:
        command = [sys.executable, "-m", "wtmo.local.bigquery", "--port", str(self.port), "--state", str(self.state)]
        log = (self.state.parent / f"{self.state.name}.log").open("ab")
        with log:
            self.process = subprocess.Popen([*command, *self.options], cwd=ROOT, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{self.url}/healthz", timeout=2).close()
                return self
            assert self.process.poll() is None, "the server ended at its start"
            time.sleep(0.05)
        raise AssertionError("the server did not answer /healthz within 20 s")

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Send a signal and wait for the end; gives the seconds that it took."""
        assert self.process
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(10)
        return time.monotonic() - started

    def client(self) -> bigquery.Client:
        options = ClientOptions(api_endpoint=self.url)
        return bigquery.Client(PROJECT, credentials=AnonymousCredentials(), client_options=options)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("bigquery") / "state").start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(server: Server) -> bigquery.Client:
    client = server.client()
    client.create_dataset("ds")
    return client


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers on the test's own state folder, and stops them."""
    started: list[Server] = []

    def make(*options: str) -> Server:
        started.append(Server(tmp_path / "state", options).start())
        return started[-1]

    yield make
    for server in started:
        if server.process and server.process.poll() is None:
            server.stop(signal.SIGKILL)
