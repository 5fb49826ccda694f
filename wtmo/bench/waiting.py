"""Hundreds of pods that are waited for at once: what their tasks hold, and whether one triggerer keeps up.

The pods are of ``resources/bench/waiting``. Before and while they are waited for, a few pods end: how long after the end of
its pod a task's trigger fires is what a user sees of a triggerer that is busy.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from wtmo.bench import measure
from wtmo.bench.measure import Counters, Figure
from wtmo.errors import WtmoError
from wtmo.local import api, platform

if TYPE_CHECKING:
    from collections.abc import Callable

    import airflow_client.client as airflow

    from wtmo.local.state import PlatformRecord, State

DAGS = measure.RESOURCES / "waiting"
PODS = 500
ENDING = 8
START_SECONDS = 3600
"""For all tasks to begin to wait: starting 500 takes ten minutes on two cores."""
SETTLE_SECONDS = 20
WINDOW_SECONDS = 60
SAMPLE_SECONDS = 3

MOST_SLOTS = 0
"""A task that waits holds no slot, neither of a pool nor of the executor."""
MOST_EVENT_SECONDS = 5.0
"""From the end of a pod to its trigger's event. A young pod is looked at every 2 s; the rest is what a busy triggerer adds."""
MOST_HEARTBEAT_AGE = 15.0
"""Half of the 30 s after which Airflow takes a triggerer for dead."""
MOST_BLOCKED = 1.0
"""Log lines a minute of the triggerer that its event loop stood still for 0.2 s. One a minute delays nobody."""
MOST_PROCESSOR = 0.5
"""Half a core: the other half is left for a burst of pods that end."""
MOST_TRIGGER_MEMORY = 0.5
"""MB: with it Airflow's own capacity of a triggerer, 1000 triggers, takes half a GB."""
MOST_CALLS = 100.0
"""A second. With two-second looks at each pod it would be 250; a production API server has other clients."""
MOST_KILL_SECONDS = 60.0
"""From the run's being marked as failed to its last pod's end: what every task promises."""

ACTIVE = frozenset({"Pending", "Running", "Unknown"})
_BUSY_WORKER = re.compile(r"^airflow worker -- LocalExecutor.*: (?!<idle>)")
_ENDED = re.compile(r"^(?P<time>\S+ \S+) INFO pod [^/]+/(?P<pod>\S+) ended: Succeeded")


@dataclass(frozen=True)
class Slots:
    """What is in use at one moment.

    :param states: number of task instances of the run by state.
    :param triggers: of these, how many a triggerer has taken up.
    :param pool: slots of the default pool that run or are queued.
    :param executor: processes of the executor that run a task, and tasks' own processes.
    """

    states: dict[str, int]
    triggers: int
    pool: int
    executor: int


class Run:
    """A run of one of the bench's DAGs on a running platform.

    :param logical_date: Default: none.
    """

    def __init__(
        self,
        state: State,
        record: PlatformRecord,
        client: airflow.ApiClient,
        dag: str,
        logical_date: dt.datetime | None = None,
    ) -> None:
        import airflow_client.client as airflow

        self._state = state
        self._record = record
        self._client = client
        self.dag = dag
        self.run_id = f"bench-{time.time_ns()}"
        dags = airflow.DAGApi(client)
        await_(lambda: self._is_read(dags), f"the DAG {dag} to be read", 120)
        patch = airflow.DAGPatchBody(is_paused=False)
        api.call(dags.patch_dag, dag, patch, update_mask=["is_paused"])
        body = airflow.TriggerDAGRunPostBody(dag_run_id=self.run_id, logical_date=logical_date)
        api.call(airflow.DagRunApi(client).trigger_dag_run, dag, body)

    def _is_read(self, dags: airflow.DAGApi) -> bool:
        return self.dag in {each.dag_id for each in api.call(dags.get_dags, limit=1000).dags}

    def instances(self) -> list[Any]:
        """Its task instances."""
        import airflow_client.client as airflow

        listed = airflow.TaskInstanceApi(self._client).get_task_instances
        found: list[Any] = []
        while True:
            page = api.call(listed, self.dag, self.run_id, limit=100, offset=len(found), order_by=["id"])
            found += page.task_instances
            if not page.task_instances or len(found) >= page.total_entries:
                return found

    def number(self, state: str) -> int:
        """Number of its task instances in a state: cheaper to ask for than all of them."""
        import airflow_client.client as airflow

        listed = airflow.TaskInstanceApi(self._client).get_task_instances
        return int(api.call(listed, self.dag, self.run_id, state=[state], limit=1).total_entries)

    def states(self) -> dict[str, int]:
        """Number of its task instances by state; ``none`` before they are scheduled."""
        return _by_state(self.instances())

    def slots(self) -> Slots:
        """What is in use now."""
        import airflow_client.client as airflow

        instances = self.instances()
        pool = api.call(airflow.PoolApi(self._client).get_pool, "default_pool")
        return Slots(
            states=_by_state(instances),
            triggers=sum(1 for each in instances if each.triggerer_job),
            pool=pool.running_slots + pool.queued_slots,
            executor=busy_workers(self._record),
        )

    def await_waiting(self, number: int, seconds: float) -> None:
        """Wait until so many tasks wait in the triggerer and the processes that brought them there have ended.

        :raises WtmoError: when it takes longer, or one of them failed.
        """

        def all_wait() -> bool:
            if failed := self.number("failed"):
                raise WtmoError(f"{failed} tasks of {self.dag} failed", fix="see the logs of its tasks")
            if self.number("deferred") != number:
                return False
            now = self.slots()
            return now.triggers == number and not now.executor

        await_(all_wait, f"{number} tasks of {self.dag} to wait", seconds)

    def event_delays(self) -> list[float]:
        """Seconds from the end of each pod to the event of its trigger."""
        ends = pods_ended(self._state)
        folder = self._state.root / "airflow" / "logs" / f"dag_id={self.dag}" / f"run_id={self.run_id}"
        delays = []
        for log in folder.glob("task_id=*/*trigger*.log"):
            for line in log.read_text().splitlines():
                entry = json.loads(line)
                if entry.get("event") != "Trigger fired event":
                    continue
                (ended,) = [end for pod, end in ends.items() if f"'{pod}'" in entry["result"]]
                delays.append(dt.datetime.fromisoformat(entry["timestamp"]).timestamp() - ended)
        return delays

    def fail(self) -> None:
        """Mark the run as failed, as a person does who wants it to end."""
        import airflow_client.client as airflow

        body = airflow.DAGRunPatchBody(state=airflow.DagRunMutableStates.FAILED)
        api.call(airflow.DagRunApi(self._client).patch_dag_run, self.dag, self.run_id, body, update_mask=["state"])


def _by_state(instances: list[Any]) -> dict[str, int]:
    return dict(Counter(instance.state.value if instance.state else "none" for instance in instances))


def await_(condition: Callable[[], object], what: str, seconds: float) -> float:
    """Wait for a condition. Returns the seconds that it took.

    :raises WtmoError: when it takes longer than ``seconds``.
    """
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise WtmoError(f"waited {seconds:.0f} s for {what}")
        time.sleep(1)
    return time.monotonic() - begin


def busy_workers(record: PlatformRecord) -> int:
    """Processes of the LocalExecutor that have a task, by their titles: on macOS they have none."""
    found = 0
    for process in measure.service(record, "scheduler"):
        with suppress(psutil.Error):
            found += bool(_BUSY_WORKER.match(" ".join(process.cmdline())))
    return found


def pods_ended(state: State) -> dict[str, float]:
    """When each pod that succeeded did, in seconds since the epoch, from the pod server's log."""
    ends = {}
    for line in (platform.log_folder(state) / "pods.log").read_text().splitlines():
        if found := _ENDED.match(line):
            # The log has the machine's own time zone.
            ends[found["pod"]] = dt.datetime.strptime(found["time"], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()
    return ends


def active_pods(state: State, record: PlatformRecord) -> int:
    """Pods that have not ended."""
    phases = [pod.status.phase for pod in measure.pods_api(state, record).list_namespaced_pod("default").items]
    return sum(phase in ACTIVE for phase in phases)


def heartbeat_age(client: airflow.ApiClient) -> float:
    """Seconds since the triggerer's last heartbeat."""
    import airflow_client.client as airflow

    health = api.call(airflow.MonitorApi(client).get_health)
    beat = dt.datetime.fromisoformat(health.triggerer.latest_triggerer_heartbeat)
    return (dt.datetime.now(dt.UTC) - beat).total_seconds()


def waiting(_: int) -> list[Figure]:
    """500 pods that are waited for at once: slots, the triggerer's pace, memory and processor, calls to the cluster.

    It runs once, whatever the number of runs: starting 500 tasks takes minutes.
    """
    with measure.state() as state, measure.running(state, DAGS) as record, api.client(record) as client:
        alone = _ending(state, record, client)
        memory_alone = measure.memory(measure.service(record, "triggerer"))
        run = Run(state, record, client, f"bench_waiting_{PODS}")
        begin = time.monotonic()
        run.await_waiting(PODS, START_SECONDS)
        started = time.monotonic() - begin
        time.sleep(SETTLE_SECONDS)

        memory = measure.memory(measure.service(record, "triggerer"))
        counters, processor = Counters(state, record), _processor(record)
        begin, slots, ages = time.monotonic(), [], []
        while time.monotonic() - begin < WINDOW_SECONDS:
            slots.append(run.slots())
            ages.append(heartbeat_age(client))
            time.sleep(SAMPLE_SECONDS)
        took = time.monotonic() - begin
        counted = counters.difference()
        used = {name: (now - processor[name]) / took for name, now in _processor(record).items()}
        crowd = _ending(state, record, client)

        run.fail()
        killed = await_(lambda: not active_pods(state, record), "the pods of the failed run to end", 600)
    triggered = min(each.triggers for each in slots)
    if triggered != PODS:
        raise WtmoError(f"only {triggered} of {PODS} tasks waited throughout")
    most = f"{PODS} pods are waited for"
    return [
        Figure(f"start of {PODS} tasks that wait for a pod", "s", (started,)),
        Figure(f"{most}: slots of the pool in use", "", tuple(float(s.pool) for s in slots), MOST_SLOTS),
        Figure(f"{most}: workers of the executor in use", "", tuple(float(s.executor) for s in slots), MOST_SLOTS),
        Figure("no pods are waited for: from a pod's end to its event", "s", tuple(alone), MOST_EVENT_SECONDS),
        Figure(f"{most}: from another pod's end to its event", "s", tuple(crowd), MOST_EVENT_SECONDS),
        Figure(f"{most}: age of the triggerer's heartbeat", "s", tuple(ages), MOST_HEARTBEAT_AGE),
        Figure(f"{most}: the triggerer was blocked", "1/min", (counted["blocked"] / took * 60,), MOST_BLOCKED),
        Figure(f"{most}: triggerer, processor", "CPU-s/s", (used["triggerer"],), MOST_PROCESSOR),
        Figure(f"{most}: pod server, processor", "CPU-s/s", (used["pods"],)),
        Figure(f"{most}: triggerer, memory", "MB", (memory / 1e6,)),
        Figure(f"{most}: memory of a trigger", "MB", ((memory - memory_alone) / 1e6 / PODS,), MOST_TRIGGER_MEMORY),
        Figure(f"{most}: calls to the pod server", "1/s", (counted["pods"] / took,), MOST_CALLS),
        Figure(f"{PODS} tasks marked as failed: until their last pod's end", "s", (killed,), MOST_KILL_SECONDS),
    ]


def _ending(state: State, record: PlatformRecord, client: airflow.ApiClient) -> list[float]:
    """Run the few pods that end. Returns the delays of their events."""
    run = Run(state, record, client, f"bench_ending_{ENDING}")
    await_(lambda: run.states() == {"success": ENDING}, f"the tasks of {run.dag} to succeed", 300)
    delays = run.event_delays()
    if len(delays) != ENDING:
        raise WtmoError(
            f"{run.dag} had {len(delays)} events of {ENDING}: a pod ended before its task waited for it",
            fix="try again when the machine has less to do",
        )
    return delays


def _processor(record: PlatformRecord) -> dict[str, float]:
    return {name: measure.cpu(measure.service(record, name)) for name in ("triggerer", "pods")}
