"""Imported DAGs on real processes: the platform polls a repository, and runs keep the version that they began with."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import airflow_client.client as airflow
import pytest

from tests.wtmo.imports.conftest import Repository
from utils.config import ROOT
from wtmo.local import api, generated, platform, warehouse
from wtmo.local.components import Supplies
from wtmo.local.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wtmo.local.state import PlatformRecord

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]

# The generator's form. The pod runs a program that any image has.
FILE = """
from airflow import DAG
import datetime
from operators.gcp_container_operator import GKEPodOperator

default_args = {{
    "owner": "data-engineering",
    "start_date": datetime.datetime(2026, 1, 1, 0, 0),
    "email": ["telemetry-alerts@mozilla.com"],
    "retries": 0,
}}

with DAG(
    "bqetl_orchard",
    default_args=default_args,
    schedule_interval="0 3 * * *",
    doc_md="{doc}",
    tags=["impact/tier_3", "repo/bigquery-etl"],
    catchup=False,
) as dag:
    pick = GKEPodOperator(
        task_id="pick",
        arguments=["script/pick", "{word}"],
        image="us-docker.pkg.dev/moz-fx-data-artifacts-prod/probe-scraper/probe-scraper:latest",
        owner="data-engineering",
        email=["telemetry-alerts@mozilla.com"],
    )
"""

DEFINITIONS = {
    "moz-fx-data-shared-prod/orchard/ripe/view.sql": "CREATE VIEW orchard.ripe AS SELECT mozfun.fruit.name() AS fruit",
    "mozfun/fruit/name/udf.sql": "CREATE OR REPLACE FUNCTION fruit.name() AS ('apple')",
}


def quiet(_: str) -> None:
    """Take a report and say nothing."""


def wait(condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.5)
    return found


class Orchard:
    """A platform that imports from a repository, and what the test asks of it."""

    def __init__(self, state: State, record: PlatformRecord, repository: Repository, client: airflow.ApiClient) -> None:
        self.state = state
        self.record = record
        self.repository = repository
        self.client = client

    def commit(self, word: str, doc: str = "Picks.") -> str:
        return self.repository.commit({"bqetl_orchard.py": FILE.format(word=word, doc=doc)})

    def version(self) -> str:
        """The version that new runs are pinned to."""
        return str(api.call(airflow.DAGApi(self.client).get_dag, "bqetl_orchard").bundle_version)

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "wtmo", "import", "status", "--json", "--state", str(self.state.root)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def start(self, run_id: str) -> Any:
        dags = airflow.DAGApi(self.client)
        api.call(dags.patch_dag, "bqetl_orchard", airflow.DAGPatchBody(is_paused=False), update_mask=["is_paused"])
        body = airflow.TriggerDAGRunPostBody(dag_run_id=run_id, logical_date=dt.datetime.now(dt.UTC))
        return api.call(airflow.DagRunApi(self.client).trigger_dag_run, "bqetl_orchard", body)

    def run(self, run_id: str) -> Any:
        return api.call(airflow.DagRunApi(self.client).get_dag_run, "bqetl_orchard", run_id)

    def end(self, run_id: str) -> Any:
        run = wait(
            lambda: found if (found := self.run(run_id)).state.value in {"success", "failed"} else None,
            f"the run {run_id} to end",
        )
        assert run.state.value == "success"
        return run

    def arguments(self, run_id: str) -> str:
        """What the run's task was rendered to."""
        task = api.call(airflow.TaskInstanceApi(self.client).get_task_instance, "bqetl_orchard", run_id, "pick")
        return str(task.rendered_fields)


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orchard]:
    folder: Path = tmp_path_factory.mktemp("imports")
    repository = Repository(folder / "repository")
    repository.commit({
        "bqetl_orchard.py": FILE.format(word="first", doc="Picks."),
        "bqetl_broken.py": "import socket\n",
    })
    state = State(folder / "state")
    told: list[str] = []
    for name, sql in DEFINITIONS.items():
        file = folder / "checkout" / "sql" / name
        file.parent.mkdir(parents=True)
        file.write_text(sql)
    supplies = Supplies(folder / "checkout", imports=generated.origin(state, str(repository.path), None))
    launch = platform.Launch(state, port=0, supplies=supplies)
    try:
        record = launch.wait(told.append)
        assert "1 held back" in told[-1]
        assert "bqetl_broken.py:1: " in told[-1], "held-back files are told, and the platform starts"
        with api.client(record) as client:
            wait(lambda: "bqetl_orchard" in {d.dag_id for d in _dags(client)}, "the imported DAG to be read")
            yield Orchard(state, record, repository, client)
    finally:
        launch.stop()


def _dags(client: airflow.ApiClient) -> list[Any]:
    return list(api.call(airflow.DAGApi(client).get_dags, exclude_stale=True, dag_id_pattern="bqetl_%").dags)


def test_a_commit_is_served_a_broken_one_is_not_and_runs_keep_their_version(orchard: Orchard) -> None:
    first = orchard.version()
    orchard.start("one")
    assert orchard.end("one").bundle_version == first
    assert "first" in orchard.arguments("one")

    good = orchard.commit("second")
    second = wait(
        lambda: found if (found := orchard.version()) != first else None, "the new commit to be served after a refresh"
    )
    assert second.startswith(f"{good}-")
    run = orchard.start("two")
    assert run.bundle_version == second

    broken = orchard.repository.commit({"bqetl_orchard.py": FILE.format(word="third", doc="x") + "import socket\n"})
    status = wait(
        lambda: found if len((found := orchard.status())["held_back"]) == 2 else None,
        "the broken commit to be held back",
    )
    held = {entry["file"]: entry for entry in status["held_back"]}["bqetl_orchard.py"]
    assert held["commit"] == broken
    assert held["serves"]["commit"] == good
    assert "socket" in held["problems"][0]["reason"]
    assert status["source"]["url"] == str(orchard.repository.path)
    assert not (generated.store(orchard.state).current.dags / "bqetl_broken.py").exists()

    orchard.end("two")
    assert "second" in orchard.arguments("two")
    orchard.start("three")
    orchard.end("three")
    assert "second" in orchard.arguments("three"), "the last good file is in service"

    pinned = generated.store(orchard.state).versions / second / "dags" / "bqetl_orchard.py"
    assert '"second"' in pinned.read_text()
    assert "schedule=" in pinned.read_text()


def test_queries_find_the_views_and_functions_of_the_checkout(orchard: Orchard) -> None:
    rows = warehouse.client(orchard.record).query_and_wait("SELECT fruit FROM orchard.ripe")
    assert [row["fruit"] for row in rows] == ["apple"]


def test_no_process_looks_for_a_git_connection(orchard: Orchard) -> None:
    logs = [path for path in orchard.state.root.rglob("*.log") if path.is_file()]
    assert len(logs) > 5
    assert not [path for path in logs if "git_default" in path.read_text(errors="replace")]
