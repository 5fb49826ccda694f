"""GLAM: parts of tables, their shell lines, and who waits for whom."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import DAG

DAILY = ("glam_fenix", "glam_fog")
WEEKLY = ("glam_fenix_release", "glam_fog_release")
SCRIPTS = {
    "generate_glean_sql": 'echo "generated $PRODUCT $STAGE"; exit ${BROKEN:-0}',
    "run_glam_sql": """
for kind in view init query; do
    eval "run_$kind() { printf '<%s>' run_$kind \\"\\$@\\"; }"
done
[ -n "$IMPORT" ] || echo "ran $PRODUCT for $SUBMISSION_DATE"
""",
}


def run(task: Any, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a task's shell line where its scripts are stand-ins that say what they were given."""
    scripts = folder / "script" / "glam"
    scripts.mkdir(parents=True)
    for name, text in SCRIPTS.items():
        (scripts / name).write_text(f"#!/bin/bash\n{text}")
        (scripts / name).chmod(0o755)
    return subprocess.run(
        [*task.cmds.words, *task.arguments],
        cwd=folder, env={"PATH": "/usr/bin:/bin", **task.env_vars, **env}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def groups(dags: dict[str, DAG]) -> dict[str, list[Any]]:
    """The parts of every table that is made in parts, in the order of their samples."""
    found: dict[str, list[Any]] = {}
    for dag_id in (*DAILY, *WEEKLY):
        for task in dags[dag_id].tasks:
            if "_sampled_" in task.task_id:
                found.setdefault(f"{dag_id}.{task.task_id.partition('.')[0]}", []).append(task)
    return {name: sorted(tasks, key=first_sample) for name, tasks in found.items()}


def first_sample(task: Any) -> int:
    return int(task.task_id.rsplit("_", 2)[1])


def test_parts_hold_every_sample_once_and_only_the_first_replaces(dags: dict[str, DAG]) -> None:
    assert len(groups(dags)) == 9
    for name, parts in groups(dags).items():
        samples: list[int] = []
        for part in parts:
            first, last = map(int, part.task_id.rsplit("_", 2)[1:])
            assert f"_v1 false {first} {last} " in part.arguments[0]
            samples += range(first, last + 1)
        assert samples == list(range(100)), name
        assert [("--replace" in part.arguments[0]) for part in parts] == [True] + [False] * (len(parts) - 1), name


def test_a_part_appends_after_the_one_before_it(dags: dict[str, DAG]) -> None:
    for parts in groups(dags).values():
        for before, after in pairwise(parts):
            assert after.upstream_task_ids == {before.task_id}


@pytest.mark.parametrize(
    ("task_id", "given"),
    [
        (
            "query_firefox_desktop_glam_release__scalar_probe_counts_v1",
            "<run_query><firefox_desktop_glam_release__scalar_probe_counts_v1><false><0><99><><--replace><10><true>",
        ),
        (
            "firefox_desktop_glam_release__histogram_bucket_counts_v1."
            "query_firefox_desktop_glam_release__histogram_bucket_counts_v1_sampled_90_99",
            "<run_query><firefox_desktop_glam_release__histogram_bucket_counts_v1>"
            "<false><90><99><><--append_table --noreplace><10><false>",
        ),
    ],
)
def test_what_the_script_is_given(dags: dict[str, DAG], tmp_path: Path, task_id: str, given: str) -> None:
    done = run(dags["glam_fog_release"].get_task(task_id), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"generated firefox_desktop_glam_release incremental\n{given}"


def test_a_day_is_read_by_application(dags: dict[str, DAG], tmp_path: Path) -> None:
    done = run(dags["glam_fenix"].get_task("daily_org_mozilla_firefox_beta"), tmp_path)
    assert done.stdout == "generated org_mozilla_firefox_beta daily\nran org_mozilla_firefox_beta for {{ ds }}\n"


def test_nothing_runs_when_the_sql_could_not_be_made(dags: dict[str, DAG], tmp_path: Path) -> None:
    task = dags["glam_fog_release"].get_task("query_firefox_desktop_glam_release__scalar_probe_counts_v1")
    done = run(task, tmp_path, BROKEN="3")
    assert done.returncode == 3
    assert "run_query" not in done.stdout


@pytest.mark.parametrize("dag_id", DAILY)
def test_a_day_adds_to_what_the_day_before_has_left(dags: dict[str, DAG], dag_id: str) -> None:
    dag: Any = dags[dag_id]
    sensors = [task for task in dag.tasks if "_wait_for_yesterdays_" in task.task_id]
    assert len(sensors) == 6
    for sensor in sensors:
        assert (sensor.external_dag_id, sensor.execution_delta) == (dag_id, timedelta(days=1))
        # What today's run makes after the sensor is what yesterday's must have made before it.
        assert sensor.external_task_id in sensor.get_flat_relative_ids(upstream=False)
        assert not sensor.failed_states, "a failed day is mended, and then the next one goes on"
    assert (dag.catchup, dag.max_active_runs) == (True, 1)


@pytest.mark.parametrize("dag_id", DAILY)
def test_the_snapshot_is_made_before_the_table_is_replaced(dags: dict[str, DAG], dag_id: str) -> None:
    dag: Any = dags[dag_id]
    snapshots = [task for task in dag.tasks if task.task_id.endswith("_aggregates_snapshot_v1")]
    assert len(snapshots) == 1
    (first,) = snapshots[0].downstream_task_ids
    assert first.endswith("_release__clients_histogram_aggregates_v1_sampled_0_2")


@pytest.mark.parametrize("daily", DAILY)
def test_a_channel_is_counted_either_daily_or_weekly(dags: dict[str, DAG], daily: str) -> None:
    weekly = f"{daily}_release"
    extracts = {dag_id: {task for task in dags[dag_id].task_ids if "__extract_" in task} for dag_id in (daily, weekly)}
    assert {task.split("_glam_")[1].split("__")[0] for task in extracts[daily]} == {"beta", "nightly"}
    assert {task.split("_glam_")[1].split("__")[0] for task in extracts[weekly]} == {"release"}
    assert (len(extracts[daily]), len(extracts[weekly])) == (4, 2)


@pytest.mark.parametrize("dag_id", WEEKLY)
def test_saturdays_run_counts_what_friday_has_left(dags: dict[str, DAG], dag_id: str) -> None:
    dag: Any = dags[dag_id]
    (sensor,) = (task for task in dag.tasks if task.task_id.startswith("wait_for_"))
    date, starts = pendulum.datetime(2026, 5, 30, 10), pendulum.datetime(2026, 6, 6, 10)  # Saturdays
    waited_for = date - sensor.execution_delta
    assert waited_for == pendulum.datetime(2026, 6, 5, 2)
    assert waited_for.add(days=1) < starts, "the daily run has started by then"
    assert sensor.external_task_id in dags[sensor.external_dag_id].task_ids
