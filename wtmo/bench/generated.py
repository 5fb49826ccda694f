"""The suite of imported DAGs: 150 files in the generator's shape, 2,850 tasks, from a git repository made on the spot."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config import ROOT, environment
from wtmo.bench.measure import Figure
from wtmo.errors import WtmoError
from wtmo.imports.translating import translate_all

if TYPE_CHECKING:
    from collections.abc import Iterable

FILES = 150
TASKS = 18
CHANGED = 3

_HEAD = '''from airflow import DAG
from airflow.sensors.external_task import ExternalTaskSensor
import datetime
from utils.constants import ALLOWED_STATES, FAILED_STATES
from utils.gcp import bigquery_etl_query

docs = """
### {name}
"""

default_args = {{
    "owner": "bench@example.com",
    "start_date": datetime.datetime(2024, 1, 1, 0, 0),
    "email": ["telemetry-alerts@mozilla.com"],
    "depends_on_past": False,
    "retry_delay": datetime.timedelta(seconds=300),
    "retries": {retries},
}}

with DAG(
    "{name}",
    default_args=default_args,
    schedule_interval="0 3 * * *",
    doc_md=docs,
    tags=["impact/tier_3", "repo/bigquery-etl"],
    catchup=False,
) as dag:

    wait_for_copy_deduplicate_all = ExternalTaskSensor(
        task_id="wait_for_copy_deduplicate_all",
        external_dag_id="copy_deduplicate",
        external_task_id="copy_deduplicate_all",
        execution_delta=datetime.timedelta(seconds=7200),
        check_existence=True,
        mode="reschedule",
        poke_interval=datetime.timedelta(minutes=5),
        allowed_states=ALLOWED_STATES,
        failed_states=FAILED_STATES,
        pool="DATA_ENG_EXTERNALTASKSENSOR",
    )
'''
_TASK = """
    bench__table_{number}__v1 = bigquery_etl_query(
        task_id="bench__table_{number}__v1",
        destination_table="table_{number}_v1",
        dataset_id="bench_derived",
        project_id="moz-fx-data-shared-prod",
        owner="bench@example.com",
        email=["telemetry-alerts@mozilla.com"],
        date_partition_parameter="submission_date",
        depends_on_past=False,
        task_concurrency=1,
        parameters=["previous:DATE:{{{{macros.ds_add(ds, -1)}}}}"],
    )

    bench__table_{number}__v1.set_upstream(wait_for_copy_deduplicate_all)
"""


def generated(runs: int) -> list[Figure]:
    """Seconds of ``wtmo import``: all files the first time, of that the translation; three changed files; nothing new.

    Limits: those that imports must hold on two cores.
    """
    first, translation, changed, unchanged = [], [], [], []
    for run in range(runs):
        with tempfile.TemporaryDirectory(prefix="wtmo-bench-") as folder:
            repository, into = Path(folder) / "repository", Path(folder) / "into"
            (repository / "dags").mkdir(parents=True)
            _git(repository, "init", "--quiet")
            _commit(repository, range(FILES), retries=1 + run)
            # The shared modules' bytecode and the disk's cache are there before the first figure.
            begin = time.monotonic()
            made = list(
                translate_all([(path.name, path.read_bytes()) for path in sorted(repository.glob("dags/*.py"))])
            )
            translation.append(time.monotonic() - begin)
            if problems := [problem for file in made for problem in file.problems]:
                raise WtmoError(f"the files of the benchmark do not translate: {problems[0].reason}")
            first.append(_import(repository, into))
            unchanged.append(_import(repository, into))
            _commit(repository, range(CHANGED), retries=7)
            changed.append(_import(repository, into))
    return [
        Figure(f"import of {FILES} files, the first", "s", tuple(first), 60),
        Figure(f"translation of {FILES} files", "s", tuple(translation), 20),
        Figure(f"import with {CHANGED} changed files", "s", tuple(changed), 8),
        Figure("import with nothing new", "s", tuple(unchanged), 1),
    ]


def _import(repository: Path, into: Path) -> float:
    begin = time.monotonic()
    command = [sys.executable, "-m", "wtmo", "import", str(repository), "--into", str(into)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WtmoError(
            f"the import of the benchmark ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"
        )
    return time.monotonic() - begin


def _commit(repository: Path, numbers: Iterable[int], retries: int) -> None:
    for number in numbers:
        name = f"bqetl_bench_{number:03}"
        tasks = "".join(_TASK.format(number=task) for task in range(TASKS))
        (repository / "dags" / f"{name}.py").write_text(_HEAD.format(name=name, retries=retries) + tasks)
    _git(repository, "add", "--all")
    _git(repository, "-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "--quiet", "-m", "Bench")


def _git(repository: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(repository), *arguments], check=True, stdout=2, env=environment())
