"""The fault matrix on real processes. A table of it is printed at the end of the test run."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import airflow_client.client as airflow
import psutil
import pytest
from kubernetes import client as kubernetes

from tests.wtmo.local.fault_matrix import CELLS, OUTCOMES, REASONS, TABLE, WAYS, Cell
from utils.config import ROOT
from utils.labels import label_value
from wtmo.local import api, platform, warehouse
from wtmo.local.pods import records
from wtmo.local.state import PlatformRecord, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]

DAGS = ROOT / "tests" / "wtmo" / "local" / "fault_matrix_dags"
FINISHED = {"success", "failed", "upstream_failed", "skipped"}
ACTIVE = {"Pending", "Running", "Unknown"}
GRACE = 60
RUN_SECONDS = 500
RUN = "one"


class Platform:
    """A running platform, with what was seen of its pods."""

    def __init__(self, state: State, record: PlatformRecord) -> None:
        self.state = state
        self.record = record
        self.client = api.client(record)
        configuration = kubernetes.Configuration(
            host=f"https://127.0.0.1:{record.ports['pods']}",
            api_key={"authorization": f"Bearer {state.secret('service_token').read_text()}"},
        )
        configuration.ssl_ca_cert = record.settings["WTMO_GKE_CA_FILE"]
        self.pods = kubernetes.CoreV1Api(kubernetes.ApiClient(configuration))
        self.last_active: dict[tuple[str, str], float] = {}
        """When a pod of (dag, task) was last seen active."""
        self.started: set[str] = set()

    def look(self) -> dict[tuple[str, str], str]:
        """Phases of the pods by (dag, task)."""
        found = {}
        for pod in self.pods.list_namespaced_pod("default").items:
            prefix = "workflow.telemetry.mozilla.org"
            key = pod.metadata.annotations[f"{prefix}/dag"], pod.metadata.annotations[f"{prefix}/task"]
            found[key] = pod.status.phase
            if pod.status.phase in ACTIVE:
                self.last_active[key] = time.time()
        return found

    def start(self, dag: str) -> None:
        def known() -> bool:
            return dag in {each.dag_id for each in api.call(airflow.DAGApi(self.client).get_dags, limit=100).dags}

        self.wait(known, f"the DAG {dag} to be read", 90)
        unpause = airflow.DAGPatchBody(is_paused=False)
        api.call(airflow.DAGApi(self.client).patch_dag, dag, unpause, update_mask=["is_paused"])
        body = airflow.TriggerDAGRunPostBody(dag_run_id=RUN, logical_date=None)
        api.call(airflow.DagRunApi(self.client).trigger_dag_run, dag, body)
        self.started.add(dag)

    def tasks(self, dag: str) -> dict[str, Any]:
        self.look()
        listed = api.call(airflow.TaskInstanceApi(self.client).get_task_instances, dag, RUN, limit=100)
        return {task.task_id: task for task in listed.task_instances}

    def states(self, dag: str) -> dict[str, str]:
        return {name: task.state.value if task.state else "" for name, task in self.tasks(dag).items()}

    def finish(self, dag: str, seconds: float) -> dict[str, Any]:
        self.wait(lambda: set(self.states(dag).values()) <= FINISHED, f"{dag} to finish", seconds)
        tasks = self.tasks(dag)

        def ended() -> bool:
            return not any(phase in ACTIVE for (of, _), phase in self.look().items() if of == dag)

        self.wait(ended, f"every pod of {dag} to end", GRACE)
        return tasks

    def wait(self, condition: Callable[[], Any], what: str, seconds: float) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                pytest.fail(f"waited {seconds} s for {what}\n{self.account()}")
            time.sleep(1)
        return found

    def account(self) -> str:
        """The tasks of every run with their states, and the pods with their phases."""
        states = {dag: self.states(dag) for dag in sorted(self.started)}
        tasks = (f"{dag}.{name}: {state or 'not scheduled'}" for dag in states for name, state in states[dag].items())
        pods = (f"pod of {dag}.{name}: {phase}" for (dag, name), phase in self.look().items())
        return "\n".join([*tasks, *pods])

    def made(self) -> Counter[tuple[str, str, str]]:
        """How many pods each try of (dag, task) made, ended ones included."""
        labels = {each["uid"]: each["labels"] for each in records.read(self.state.root / "pods")}
        labels |= {p.metadata.uid: p.metadata.labels for p in self.pods.list_namespaced_pod("default").items}
        return Counter((each["airflow-dag"], each["airflow-task"], each["airflow-try"]) for each in labels.values())

    def log(self, dag: str, task: str) -> str:
        files = (self.state.root / "airflow" / "logs" / f"dag_id={dag}").glob(f"run_id={RUN}/task_id={task}/*.log")
        return "\n".join(file.read_text() for file in files)

    def triggerer(self) -> psutil.Process:
        """The triggerer, when it runs; after the loss of one the next."""

        def running() -> psutil.Process | None:
            record = PlatformRecord.load(self.state)
            assert record
            service = record.services["triggerer"]
            with contextlib.suppress(psutil.NoSuchProcess):
                return psutil.Process(service.pid) if service.state == "running" else None
            return None

        found: psutil.Process = self.wait(running, "the triggerer to run", 90)
        return found

    def left_running(self, dag: str, task: Any) -> float:
        """Seconds that a pod was active after the end of its task."""
        return self.last_active.get((dag, task.task_id), 0.0) - task.end_date.timestamp()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    state = State(tmp_path_factory.mktemp("matrix"))
    launch = platform.Launch(state, port=0, dags=DAGS)
    try:
        yield Platform(state, launch.wait(lambda _: None))
    finally:
        launch.stop()


@pytest.fixture(scope="module")
def matrix(running: Platform, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The tasks of the matrix after its run; the table goes to the end of pytest's output."""
    running.start("fault_matrix")
    tasks = running.finish("fault_matrix", RUN_SECONDS)
    rows: dict[str, dict[str, str]] = defaultdict(dict)
    for cell in CELLS:
        task = tasks[cell.task_id]
        seconds = f"{task.duration:.0f} s" if task.duration is not None else "-"
        rows[cell.fault or "(none)"][cell.way] = f"{task.state.value} {seconds}"
    width = max(map(len, rows))
    lines = [" ".join([f"{'fault':{width}}", *(f"{way:16}" for way in WAYS)])]
    lines += [" ".join([f"{fault:{width}}", *(f"{row[way]:16}" for way in WAYS)]) for fault, row in rows.items()]
    request.config.stash[TABLE] = lines
    return tasks


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.task_id)
def test_cell(running: Platform, matrix: dict[str, Any], cell: Cell) -> None:
    task = matrix[cell.task_id]
    log = running.log("fault_matrix", cell.task_id)
    assert task.state.value == OUTCOMES[cell.fault], log
    assert running.made()["fault_matrix", label_value(cell.task_id), "1"] == 1, "one pod a try"
    assert running.left_running("fault_matrix", task) < GRACE
    if task.state.value == "failed":
        assert re.search(REASONS[cell.fault], log)
    elif cell.xcom and not cell.fault.startswith("vanish"):
        value = api.call(
            airflow.XComApi(running.client).get_xcom_entry, "fault_matrix", cell.task_id, RUN, "return_value"
        ).actual_instance.value
        assert "--some" in str(value)


@pytest.fixture(scope="module")
def interrupted(running: Platform) -> dict[str, Any]:
    """The tasks of ``killed`` after what they were made for: marked as failed, kill -9 of what runs them.

    They go on: that a supervisor is lost, Airflow sees after two minutes. Others can run meanwhile.
    """
    dag = "killed"
    running.start(dag)
    marked = {f"marked_failed-{way}" for way in ("sync", "deferrable")}
    busy = marked | {f"{process}_killed" for process in ("runner", "supervisor", "triggerer")}

    def all_run() -> bool:
        states, pods = running.states(dag), running.look()
        waits = {name for name, state in states.items() if state in {"running", "deferred"}}
        # A task that is marked before the triggerer has begun to wait is the matter of another test.
        triggers = all(
            "Checking pod" in running.log(dag, name) for name in ("marked_failed-deferrable", "triggerer_killed")
        )
        return busy <= waits and triggers and all(pods.get((dag, name)) == "Running" for name in busy)

    running.wait(all_run, "the tasks to wait for their pods", 90)
    tasks = running.tasks(dag)
    failed = airflow.PatchTaskInstanceBody(new_state=airflow.TaskInstanceState.FAILED)
    for name in sorted(marked):
        patch = airflow.TaskInstanceApi(running.client).patch_task_instance
        api.call(patch, dag, RUN, name, failed)

    def marked_end() -> bool:
        pods = running.look()
        return not any(pods.get((dag, name)) in ACTIVE for name in marked)

    running.wait(marked_end, "the pods of the tasks that were marked as failed to end", GRACE)
    runner(tasks["runner_killed"]).kill()
    supervisor(tasks["supervisor_killed"]).kill()
    lost = running.triggerer()
    lost.kill()
    lost.wait(30)  # until it is gone: from then on running.triggerer() is another one
    return tasks


@pytest.fixture(scope="module")
def killed(running: Platform, interrupted: dict[str, Any], orphaned: dict[str, Any]) -> dict[str, Any]:
    """The tasks of ``killed`` at their end."""
    assert interrupted
    assert orphaned
    return running.finish("killed", 240)


def runner(task: Any) -> psutil.Process:
    """The process that executes a task."""
    return psutil.Process(task.pid)


def supervisor(task: Any) -> psutil.Process:
    """Its parent, a worker process of the LocalExecutor, which tells Airflow how the task does."""
    parent = runner(task).parent()
    assert parent is not None
    scheduler = parent.parent()
    assert scheduler is not None
    assert "scheduler" in scheduler.cmdline(), f"{parent.cmdline()} of {scheduler.cmdline()}"
    return parent


@pytest.mark.parametrize("way", ["sync", "deferrable"])
def test_marked_failed_while_the_pod_runs(running: Platform, killed: dict[str, Any], way: str) -> None:
    task = killed[f"marked_failed-{way}"]
    assert task.state.value == "failed"
    assert running.made()["killed", label_value(task.task_id), "1"] == 1
    assert running.left_running("killed", task) < GRACE


@pytest.mark.parametrize(("process", "tries"), [("runner", 2), ("supervisor", 2), ("triggerer", 1)])
def test_kill_9_while_the_pod_runs(running: Platform, killed: dict[str, Any], process: str, tries: int) -> None:
    """Of the task's process, of the one that supervises it, of the triggerer: the same pod goes on, its result is kept."""
    task = killed[f"{process}_killed"]
    assert task.state.value == "success", running.log("killed", task.task_id)
    made = {key: n for key, n in running.made().items() if key[:2] == ("killed", label_value(task.task_id))}
    assert made == {("killed", label_value(task.task_id), "1"): 1}
    value = api.call(airflow.XComApi(running.client).get_xcom_entry, "killed", task.task_id, RUN, "return_value")
    assert "--some" in str(value.actual_instance.value)
    assert task.try_number == tries


def test_an_evicted_pod_is_made_anew_and_uses_up_no_retry(running: Platform, matrix: dict[str, Any]) -> None:
    assert matrix, "its four slots are free by now"
    running.start("put_off")
    for name, task in running.finish("put_off", 120).items():
        assert (task.state.value, task.try_number) == ("success", 1), running.log("put_off", name)
        assert running.made()["put_off", label_value(name), "1"] == 3


@pytest.fixture(scope="module")
def orphaned(running: Platform, interrupted: dict[str, Any]) -> dict[str, Any]:
    """The tasks of ``orphaned``, which end or are cleared before the triggerer has begun to wait for them."""
    assert interrupted, "they go on meanwhile"
    dag, waiting = "orphaned", {"marked_failed", "marked_success", "cleared", "goes_on"}
    last = {"last_try_runner_killed", "last_try_supervisor_killed"}

    stopped = running.triggerer()
    for process in [stopped, *stopped.children(recursive=True)]:
        process.suspend()
    running.start(dag)

    def all_wait() -> bool:
        states, pods = running.states(dag), running.look()
        deferred = {name for name, state in states.items() if state == "deferred"} == {*waiting, "query"}
        return deferred and all(pods.get((dag, name)) == "Running" for name in {*waiting, *last})

    running.wait(all_wait, "the tasks to wait for their pods", 120)
    assert not any("Checking pod" in running.log(dag, name) for name in waiting)
    instances = airflow.TaskInstanceApi(running.client)
    for name, state in (("marked_failed", "failed"), ("marked_success", "success"), ("query", "failed")):
        marked = airflow.PatchTaskInstanceBody(new_state=airflow.TaskInstanceState(state))
        api.call(instances.patch_task_instance, dag, RUN, name, marked)
    name = airflow.ClearTaskInstancesBodyTaskIdsInner("cleared")
    cleared = airflow.ClearTaskInstancesBody(dry_run=False, dag_run_id=RUN, task_ids=[name], only_failed=False)
    api.call(instances.post_clear_task_instances, dag, cleared)
    tasks = running.tasks(dag)
    runner(tasks["last_try_runner_killed"]).kill()
    supervisor(tasks["last_try_supervisor_killed"]).kill()
    stopped.kill()
    return running.finish(dag, 240)


@pytest.mark.parametrize(
    ("task_id", "state"),
    [
        ("marked_failed", "failed"),
        ("marked_success", "success"),
        ("cleared", "success"),
        ("goes_on", "success"),
        ("last_try_runner_killed", "failed"),
        ("last_try_supervisor_killed", "failed"),
    ],
)
def test_a_pod_that_nobody_is_told_to_end(
    running: Platform, orphaned: dict[str, Any], task_id: str, state: str
) -> None:
    task = orphaned[task_id]
    assert task.state.value == state, running.log("orphaned", task_id)
    assert running.left_running("orphaned", task) < GRACE
    made = {key[2]: n for key, n in running.made().items() if key[:2] == ("orphaned", label_value(task_id))}
    assert made["1"] == 1
    assert made == {"1": 1} or (task_id == "cleared" and made["2"] == 1)


def test_a_job_that_nobody_is_told_to_cancel(running: Platform, orphaned: dict[str, Any]) -> None:
    task = orphaned["query"]
    assert task.state.value == "failed"
    (job,) = warehouse.client(running.record).list_jobs(all_users=True)
    running.wait(lambda: job.reload() or job.state == "DONE", "the job to be cancelled", GRACE)
    assert job.error_result["reason"] == "stopped"
    assert (job.ended - task.end_date).total_seconds() < GRACE
