"""The cluster: pods from creation to removal, and their state on disk.

``<state>/pods/<uid>/pod.json`` is a pod's object, written at each change; ``<container>.log`` beside it its logs. Pods that ended, and
their logs, stay until they are deleted; of those the newest 500. Pods that had not ended when the server did are ``Failed``
with reason ``NodeLost`` after a restart: their processes died with it, or are ended then. All writes survive a kill of the server, not a loss of power.

A deleted pod's object stays visible for ``removal_delay`` after its processes ended, as in a real cluster, where clients run
into just that.

Containers start together, after the init containers one by one. ``restartPolicy`` is that of Kubernetes, ``Always`` unless stated: the
first restart comes at once, each one after it twice as late as the one before, in at most 300 s. Pulling an image is tried again
in the same way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from utils.config import ROOT
from wtmo.local.pods import faults, records, validation
from wtmo.local.pods.containers import Container
from wtmo.local.pods.errors import ApiError, pod_not_found
from wtmo.local.pods.events import EventLog, timestamp
from wtmo.local.pods.faults import FOR_EVER, Chance, Faults
from wtmo.local.pods.images import ImageError
from wtmo.local.pods.launch import START_ERROR, TEMPORARY
from wtmo.local.pods.limits import Limits
from wtmo.local.pods.logs import BLOCK, ContainerLog
from wtmo.local.pods.runtimes import SEARCH_PATH, ConfigError, Mount, Orders, StartError
from wtmo.local.pods.volumes import VolumeError, Volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from wtmo.local.pods.containers import Secrets
    from wtmo.local.pods.images import ImageTable, Program
    from wtmo.local.pods.runtimes import Running, Runtime

log = logging.getLogger(__name__)

Json = dict[str, Any]

VOLUMES, CONTAINERS = "volumes", "containers"  # folders in a pod's own, for as long as it runs
KEPT_PODS = 500
DEFAULT_GRACE = 30
LOST_CODE = 137
SHUTDOWN_GRACE = 1.0
_PULL_BACK_OFF = 2.0
_OUTPUT_TIMEOUT = 1.0
_LONGEST_BACK_OFF = 300.0
_SIZE_INTERVAL = 1.0
_LOW_ON_MEMORY = "The node was low on resource: memory."
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Settings:
    """How the cluster behaves.

    :param image_environment: variables of every stand-in, as an image's ENV would give them.
    :param secrets: ``{secret: {key: value}}``.
    :param startup_delay: seconds between a pod's creation and its containers' start.
    :param removal_delay: seconds that a deleted pod's object stays after its processes ended.
    :param back_off: seconds before the second restart of a container, and before the second try to pull an image.
    :param memory: folder for volumes in memory. Default: they lie with the others.
    :param chance: which pods get a fault that they did not ask for.
    """

    image_environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=dict)
    startup_delay: float = 0.0
    removal_delay: float = 2.0
    back_off: float = 10.0
    memory: Path | None = None
    chance: Chance = field(default_factory=Chance)


@dataclass
class Pod:
    """A pod that this server runs or ran."""

    object: Json
    folder: Path
    init_containers: list[Container]
    containers: list[Container]
    volumes: Volumes
    faults: Faults = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    removal: asyncio.Task[None] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata["namespace"], self.metadata["name"]

    @property
    def metadata(self) -> Json:
        """The object's metadata."""
        metadata: Json = self.object["metadata"]
        return metadata

    @property
    def status(self) -> Json:
        """The object's status."""
        status: Json = self.object["status"]
        return status

    @property
    def ended(self) -> bool:
        """Whether its phase is a last one."""
        return self.status["phase"] in _ENDED

    @property
    def grace(self) -> int:
        """Seconds between SIGTERM and SIGKILL unless a deletion says otherwise."""
        stated = self.object["spec"].get("terminationGracePeriodSeconds")
        return DEFAULT_GRACE if stated is None else int(stated)

    @property
    def all_containers(self) -> list[Container]:
        """Init containers first."""
        return [*self.init_containers, *self.containers]

    def container(self, name: str) -> Container:
        """One of its containers.

        :raises ApiError: 400 if there is none of that name.
        """
        for container in self.all_containers:
            if container.name == name:
                return container
        raise ApiError(400, "BadRequest", f"container {name[:80]} is not valid for pod {self.metadata['name']}")


class Cluster:
    """All pods.

    :param state: folder of its own; made if it does not exist.
    """

    def __init__(self, state: Path, runtime: Runtime, images: ImageTable, settings: Settings) -> None:
        self._state = state
        self._folder = state / "pods"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._runtime = runtime
        self._images = images
        self._settings = settings
        self.chance = settings.chance
        self._pods: dict[tuple[str, str], Pod] = {}
        # Higher than any version given before: what was deleted since is not on disk any more, the clock goes on.
        self.version = int(time.time())
        self._restore()
        self.events = EventLog(self._next_version)

    def _next_version(self) -> int:
        self.version += 1
        return self.version

    # -- what the API does

    def create(self, namespace: str, body: Any) -> Json:
        """Create a pod and start it in the background. Returns its object.

        :raises ApiError: 400, 409 or 422.
        """
        accepted = validation.pod(body, namespace)
        self.chance.annotate(accepted["metadata"])
        faults.of(accepted["metadata"])  # refused before anything is made
        name = accepted["metadata"]["name"]
        if (namespace, name) in self._pods:
            raise ApiError(409, "AlreadyExists", f'pods "{name}" already exists')
        uid = str(uuid.uuid4())
        accepted["metadata"] |= {"uid": uid, "creationTimestamp": timestamp()}
        status = {"phase": "Pending", "conditions": [], "qosClass": "BestEffort"}
        folder = self._folder / uid
        folder.mkdir()
        pod = self._pod({"apiVersion": "v1", "kind": "Pod", **accepted, "status": status}, folder, closed=False)
        try:
            self._save(pod)
        except (OSError, RecursionError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise ApiError(500, "InternalError", f"cannot store the pod: {error}") from error
        self._pods[pod.key] = pod
        log.info("pod %s created: %s", "/".join(pod.key), [each.image for each in pod.containers])
        pod.task = asyncio.create_task(self._run(pod))
        return pod.object

    def pod(self, namespace: str, name: str) -> Pod:
        """A pod.

        :raises ApiError: 404.
        """
        pod = self._pods.get((namespace, name))
        if pod is None:
            raise pod_not_found(name)
        return pod

    def find(self, namespace: str | None, matches: Callable[[Json], bool]) -> list[Json]:
        """The objects that match, of one namespace or of all."""
        found = (pod.object for key, pod in self._pods.items() if namespace in {None, key[0]})
        return [item for item in found if matches(item)]

    def patch(self, namespace: str, name: str, body: Any) -> Json:
        """Change labels and annotations. Returns the object."""
        pod = self.pod(namespace, name)
        metadata = validation.metadata_patch(body, pod.object)
        faults.of(metadata)
        pod.object["metadata"] = metadata
        self._save(pod)
        return pod.object

    def delete(self, namespace: str, name: str, *, grace: int | None, same: Mapping[str, Any]) -> Json:
        """Stop a pod and remove it in the background. Returns its object.

        A second call can only shorten the time that it has.

        :param grace: seconds between SIGTERM and SIGKILL. Default: the pod's own, else 30.
        :param same: only if its ``uid`` and ``resourceVersion`` are these, where given (409 otherwise).
        """
        pod = self.pod(namespace, name)
        for key in ("uid", "resourceVersion"):
            wanted, found = same.get(key), pod.metadata[key]
            if wanted is not None and wanted != found:
                raise ApiError(409, "Conflict", f"the {key} of pod {name} is {found}, not {wanted}")
        if grace is None:
            grace = pod.grace
        if pod.removal is None or grace < pod.metadata["deletionGracePeriodSeconds"]:
            deadline = timestamp(time.time() + grace)
            pod.metadata.update(deletionTimestamp=deadline, deletionGracePeriodSeconds=grace)
            self._save(pod)
            self._stop(pod, grace)
        if pod.removal is None:
            pod.removal = asyncio.create_task(self._remove(pod))
        return pod.object

    async def shutdown(self) -> None:
        """Stop everything; what ran is ``Failed`` afterwards. Takes about a second if a program does not end by itself."""
        active = [pod for pod in self._pods.values() if not pod.ended]
        for pod in active:
            pod.status.update(reason="NodeShutdown", message="the pod server was stopped while this pod ran")
            self._stop(pod, SHUTDOWN_GRACE)
        tasks = [pod.task for pod in active if pod.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=SHUTDOWN_GRACE + _OUTPUT_TIMEOUT)
        for pod in [pod for pod in self._pods.values() if pod.removal is not None]:
            self.forget(pod)
        await self._runtime.close()

    # -- a pod's life

    async def _run(self, pod: Pod) -> None:
        try:
            delay = self._settings.startup_delay + pod.faults.get("slow-start", 0)
            if not await _within(pod.stopping, delay) and await self._schedule(pod):
                await self._run_containers(pod)
        except Exception:
            log.exception("pod %s", "/".join(pod.key))
            _kill(pod)
            pod.status.update(reason="InternalError", message="the pod server failed; see its log")
        finally:
            self._finish(pod)

    async def _schedule(self, pod: Pod) -> bool:
        """Whether a node takes the pod; at once, but for a fault."""
        if seconds := pod.faults.get("unschedulable"):
            message = "0/1 nodes are available: 1 Insufficient memory."
            _set_condition(pod, "PodScheduled", False, reason="Unschedulable", message=message)
            self._save(pod)
            self.events.add(pod.object, "FailedScheduling", message, warning=True)
            return not await _within(pod.stopping, seconds)
        return True

    async def _run_containers(self, pod: Pod) -> None:
        _set_condition(pod, "PodScheduled")
        pod.status.update(startTime=timestamp(), hostIP="127.0.0.1", podIP="127.0.0.1")
        self._save(pod)
        self.events.add(pod.object, "Scheduled", f"Successfully assigned {'/'.join(pod.key)} to this machine")
        deadline = pod.object["spec"].get("activeDeadlineSeconds")
        loop = asyncio.get_running_loop()
        timers: list[asyncio.TimerHandle | asyncio.Task[None]] = []
        if deadline:
            timers.append(loop.call_later(deadline, self._exceed, pod))
        if "evicted" in pod.faults:
            timers.append(loop.call_later(pod.faults["evicted"], self._evict, pod, _LOW_ON_MEMORY))
        if pod.volumes.limited:
            timers.append(asyncio.create_task(self._watch_volumes(pod)))
        try:
            if await self._mount_volumes(pod):
                await self._run_in_order(pod)
        finally:
            for each in timers:
                each.cancel()

    async def _mount_volumes(self, pod: Pod) -> bool:
        """Whether all volumes are there; if not, the pod waits until it is stopped."""
        try:
            pod.volumes.make(self._settings.secrets)
        except VolumeError as error:
            self.events.add(pod.object, "FailedMount", str(error), warning=True)
            await pod.stopping.wait()
            return False
        return True

    async def _watch_volumes(self, pod: Pod) -> None:
        while not (excess := await asyncio.to_thread(pod.volumes.excess)):
            await asyncio.sleep(_SIZE_INTERVAL)
        self._evict(pod, excess)

    async def _run_in_order(self, pod: Pod) -> None:
        if pod.init_containers:
            names = " ".join(container.name for container in pod.init_containers)
            message = f"containers with incomplete status: [{names}]"
            _set_condition(pod, "Initialized", False, reason="ContainersNotInitialized", message=message)
        for container in pod.init_containers:
            await self._run_container(pod, container)
            if container.exit_code != 0 or pod.stopping.is_set():
                return
        _set_condition(pod, "Initialized")
        async with asyncio.TaskGroup() as group:
            for container in pod.containers:
                group.create_task(self._run_container(pod, container))

    def _exceed(self, pod: Pod) -> None:
        message = "Pod was active on the node longer than the specified deadline"
        pod.status.update(reason="DeadlineExceeded", message=message)
        self.events.add(pod.object, "DeadlineExceeded", message, warning=True)
        self._stop(pod, pod.grace)

    def _evict(self, pod: Pod, message: str) -> None:
        pod.status.update(reason="Evicted", message=message)
        self.events.add(pod.object, "Evicted", message, warning=True)
        self._stop(pod, 0)

    async def _run_container(self, pod: Pod, container: Container) -> None:
        """From the image to the last exit code; returns early, the container still waiting, when the pod is stopped."""
        program = await self._pull(pod, container)
        while program is not None:
            container.program = program
            await self._run_once(pod, container, program)
            if not await self._restarts(pod, container):
                return
            container.restart()

    async def _pull(self, pod: Pod, container: Container) -> Program | None:
        """What runs in place of the image; None when the pod is stopped before that is there."""
        if seconds := pod.faults.get("image-pull"):
            cause = faults.NO_IMAGE if seconds == FOR_EVER else faults.NO_REGISTRY
            await self._fail_to_pull(pod, container, cause, seconds)
        tries = 0
        while not pod.stopping.is_set():
            search = asyncio.create_task(self._runtime.program(container.image, container.pull_policy, self._images))
            stop = asyncio.create_task(pod.stopping.wait())
            await asyncio.wait([search, stop], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if not search.done():
                search.cancel()
                break
            try:
                return search.result()
            except ImageError as error:
                await self._fail_to_pull(pod, container, error, self._back_off(tries))
            tries += 1
        return None

    def _back_off(self, tries: int) -> float:
        """Seconds until another try; ``tries`` were in vain before this one."""
        return min(self._settings.back_off * 2.0 ** min(tries, 10), _LONGEST_BACK_OFF)

    async def _restarts(self, pod: Pod, container: Container) -> bool:
        """Whether a container that ended is to start again; waits until it may."""
        policy = pod.object["spec"].get("restartPolicy") or "Always"
        ended_well = container.exit_code == 0
        if pod.stopping.is_set() or policy == "Never" or (ended_well and (container.init or policy == "OnFailure")):
            return False
        if container.restarts == 0:  # the first one comes at once
            return True
        seconds = self._back_off(container.restarts - 1)
        name = container.name
        message = f"back-off {seconds:g}s restarting failed container={name} pod={pod.metadata['name']}"
        container.wait_for("CrashLoopBackOff", message)
        self._save(pod)
        self.events.add(pod.object, "BackOff", message, warning=True, container=name)
        return not await _within(pod.stopping, seconds)

    async def _run_once(self, pod: Pod, container: Container, program: Program) -> None:
        """One start of a container, to its end."""
        container.log.open()
        try:
            container.running = running = await self._runtime.start(self._orders(pod, container, program))
        except ConfigError as error:
            container.wait_for("CreateContainerConfigError", str(error))
            self._save(pod)
            self.events.add(pod.object, "Failed", f"Error: {error}", warning=True, container=container.name)
            await pod.stopping.wait()
            return
        except (StartError, OSError, ValueError) as error:
            self._end(pod, container, START_ERROR, reason="StartError", message=str(error))
            return
        container.start()
        self._save(pod)
        self.events.add(pod.object, "Started", f"Started container {container.name}", container=container.name)
        if pod.stopping.is_set():  # between the two it could not be asked to end
            running.kill()
        if container is pod.containers[0] and pod.faults:
            code, reason = await self._exit_with_faults(pod, container, running)
            self._end(pod, container, code, reason=reason, message=None)
            return
        code = await _output_and_exit(running, container.log)
        error_text = running.start_error() if code == START_ERROR else None
        reason = "StartError" if error_text else "OOMKilled" if code and running.oom_killed() else None
        self._end(pod, container, code, reason=reason, message=error_text)

    async def _exit_with_faults(self, pod: Pod, container: Container, running: Running) -> tuple[int, str | None]:
        """The exit code, and the reason where a fault gives one."""
        if "oom" in pod.faults:
            killer = asyncio.get_running_loop().call_later(pod.faults["oom"], running.kill)
            await _output_and_exit(running, container.log)
            killer.cancel()
            return LOST_CODE, "OOMKilled"
        code = await _output_and_exit(running, container.log)
        container.running = None
        held = FOR_EVER if "evicted" in pod.faults else pod.faults.get("slow-end", 0)
        interrupted = held > 0 and await _within(pod.stopping, held)
        reason = "OOMKilled" if code and running.oom_killed() else None
        return code or (LOST_CODE if interrupted else 0), reason

    def _end(self, pod: Pod, container: Container, code: int, *, reason: str | None, message: str | None) -> None:
        container.end(code, reason=reason, message=message)
        self._save(pod)
        if reason == "StartError":
            self.events.add(pod.object, "Failed", f"Error: {message}", warning=True, container=container.name)
        container.log.close()

    async def _fail_to_pull(self, pod: Pod, container: Container, error: ImageError, seconds: float) -> None:
        """As the kubelet reports it: an error, then the back-off, until ``seconds`` are over or the pod is stopped."""
        name = container.name

        def report(reason: str, message: str, event: str, text: str) -> None:
            container.wait_for(reason, message)
            self._save(pod)
            self.events.add(pod.object, event, text, warning=True, container=name)

        if error.reason == "InvalidImageName":
            report(error.reason, error.message, "InspectFailed", f"Failed to apply default image tag: {error.message}")
        elif error.reason != "ErrImagePull":
            report(error.reason, error.message, "Failed", f"Error: {error.message}")
        else:
            self.events.add(pod.object, "Pulling", f'Pulling image "{container.image}"', container=name)
            text = f'Failed to pull image "{container.image}": {error.message}'
            report("ErrImagePull", error.message, "Failed", text)
            if not await _within(pod.stopping, _PULL_BACK_OFF):
                text = f'Back-off pulling image "{container.image}"'
                report("ImagePullBackOff", f"{text}: ErrImagePull: {error.message}", "BackOff", text)
        await _within(pod.stopping, FOR_EVER if error.reason == "InvalidImageName" else seconds - _PULL_BACK_OFF)

    def _orders(self, pod: Pod, container: Container, program: Program) -> Orders:
        declared = container.environment(pod.object, self._settings.secrets)
        env = {"HOSTNAME": pod.metadata["name"]}
        if not program.image:
            env |= {"PATH": SEARCH_PATH, "HOME": str(TEMPORARY)}
        if program.argv:
            env |= dict(self._settings.image_environment) | declared
            env.pop("PYTHONHOME", None)
            env |= {"PYTHONUNBUFFERED": "1", "WTMO_CONTAINER": container.declared_json()}
            if not program.image:  # an image says itself where its modules are
                env["PYTHONPATH"] = str(ROOT)
        else:
            env |= declared
        container.folder.mkdir(parents=True, exist_ok=True)
        return Orders(
            argv=container.argv(program, declared),
            env=env,
            folder=container.folder,
            mounts=tuple(self._mount(pod, mount) for mount in container.spec.get("volumeMounts") or []),
            own_command=not program.argv,
            limits=Limits.of(container.spec),
            image=program.image,
            pod=pod.object,
            container=container.spec,
        )

    def _mount(self, pod: Pod, mount: Json) -> Mount:
        name = mount["name"]
        read_only = bool(mount.get("readOnly")) or pod.volumes.read_only(name)
        return Mount(pod.volumes.folder(name), mount["mountPath"], read_only)

    def _stop(self, pod: Pod, grace: float) -> None:
        """Ask all containers to end, and see to it after ``grace`` seconds."""
        if not pod.stopping.is_set():
            pod.stopping.set()
            for container in pod.all_containers:
                if container.running is not None:
                    name = container.name
                    self.events.add(pod.object, "Killing", f"Stopping container {name}", container=name)
                    container.running.terminate()
        asyncio.get_running_loop().call_later(grace, _kill, pod)

    def _finish(self, pod: Pod) -> None:
        """The pod's last phase."""
        for container in pod.all_containers:
            container.log.close()
        succeeded = all(container.exit_code == 0 for container in pod.all_containers) and "reason" not in pod.status
        pod.status["phase"] = "Succeeded" if succeeded else "Failed"
        self._save(pod)
        codes = " ".join(f"{each.name}={each.exit_code}" for each in pod.all_containers)
        log.info("pod %s ended: %s, exit codes %s", "/".join(pod.key), pod.status["phase"], codes)
        records.append(self._state, pod.object, pod.all_containers)
        pod.volumes.remove()
        shutil.rmtree(pod.folder / CONTAINERS, ignore_errors=True)
        self._prune()

    async def _remove(self, pod: Pod) -> None:
        if pod.task is not None:
            await asyncio.wait([pod.task])
        await asyncio.sleep(self._settings.removal_delay + pod.faults.get("slow-removal", 0))
        self.forget(pod)

    def forget(self, pod: Pod) -> None:
        """Remove an ended pod at once."""
        self._pods.pop(pod.key, None)
        shutil.rmtree(pod.folder, ignore_errors=True)
        log.info("pod %s removed", "/".join(pod.key))

    def _prune(self) -> None:
        ended = [pod for pod in self._pods.values() if pod.ended and pod.removal is None]
        for pod in ended[: max(0, len(ended) - KEPT_PODS)]:
            self.forget(pod)

    # -- state on disk

    def _pod(self, item: Json, folder: Path, *, closed: bool) -> Pod:
        initializes = bool(item["spec"].get("initContainers"))

        def containers(key: str) -> list[Container]:
            return [
                Container(
                    spec,
                    ContainerLog(folder / f"{spec['name']}.log", closed=closed),
                    folder / CONTAINERS / spec["name"],
                    init=key == "initContainers",
                    state={"waiting": {"reason": "PodInitializing" if initializes else "ContainerCreating"}},
                )
                for spec in item["spec"].get(key) or []
            ]

        memory = self._settings.memory / f"wtmo-pod-{folder.name}" if self._settings.memory else None
        return Pod(
            item,
            folder,
            containers("initContainers"),
            containers("containers"),
            Volumes(item["spec"], folder / VOLUMES, memory),
            faults.of(item["metadata"]),
        )

    def _save(self, pod: Pod) -> None:
        """Bring the object up to date with its containers and write it."""
        status = pod.status
        if "startTime" in status:
            if pod.init_containers:
                status["initContainerStatuses"] = [container.status() for container in pod.init_containers]
            status["containerStatuses"] = [container.status() for container in pod.containers]
            if status.get("reason") == "Evicted" and pod.ended:
                del status["containerStatuses"]  # the kubelet knows nothing of them any more
            if not pod.ended and not any("waiting" in container.state for container in pod.all_containers):
                status["phase"] = "Running"
            ready = status["phase"] == "Running" and all("running" in container.state for container in pod.containers)
            for kind in ("ContainersReady", "Ready"):
                _set_condition(pod, kind, ready)
        pod.metadata["resourceVersion"] = str(self._next_version())
        unfinished = pod.folder / "pod.json.new"
        unfinished.write_text(json.dumps(pod.object), encoding="utf-8")
        unfinished.replace(pod.folder / "pod.json")

    def _restore(self) -> None:
        """Take the pods from disk. Those that had not ended are lost."""
        for folder in self._folder.iterdir():
            file = folder / "pod.json"
            item = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
            if item is None:  # killed before the creation was acknowledged
                shutil.rmtree(folder, ignore_errors=True)
                continue
            pod = self._pod(item, folder, closed=True)
            self._pods[pod.key] = pod
            self.version = max(self.version, int(pod.metadata["resourceVersion"]))
            self._recall(pod)
        by_age = sorted(self._pods.values(), key=lambda pod: int(pod.metadata["resourceVersion"]))
        self._pods = {pod.key: pod for pod in by_age}
        for pod in by_age:
            if not pod.ended:
                self._lose(pod)
            if "deletionTimestamp" in pod.metadata:
                self.forget(pod)
        self._prune()

    def _recall(self, pod: Pod) -> None:
        statuses = [*pod.status.get("initContainerStatuses", []), *pod.status.get("containerStatuses", [])]
        known = {status["name"]: status for status in statuses}
        for container in pod.all_containers:
            if status := known.get(container.name):
                container.state, container.last_state = status["state"], status["lastState"]
                container.restarts = status["restartCount"]

    def _lose(self, pod: Pod) -> None:
        message = "the pod server was killed while this pod ran; its processes were ended"
        pod.status.update(reason="NodeLost", message=message)
        pod.status.setdefault("startTime", pod.metadata["creationTimestamp"])
        for container in pod.all_containers:
            if "terminated" not in container.state:
                container.end(LOST_CODE, reason="ContainerStatusUnknown", message=message)
        self._finish(pod)


def _set_condition(pod: Pod, kind: str, holds: bool = True, **why: str) -> None:
    conditions: list[Json] = pod.status["conditions"]
    state = "True" if holds else "False"
    for condition in conditions:
        if condition["type"] == kind:
            if condition["status"] != state:
                condition.clear()
                condition.update(type=kind, status=state, lastTransitionTime=timestamp(), **why)
            return
    conditions.append({"type": kind, "status": state, "lastTransitionTime": timestamp(), **why})


def _kill(pod: Pod) -> None:
    for container in pod.all_containers:
        if container.running is not None:
            container.running.kill()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether something happens within a time; waits for the one or the other."""
    if seconds <= 0:
        return event.is_set()
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _output_and_exit(running: Running, target: ContainerLog) -> int:
    """Put the output into the log until the end. Returns the exit code."""
    pump = asyncio.create_task(_pump(running.output, target))
    code = await running.wait()
    # Whatever still holds the other end of the pipe is no longer part of the container.
    await asyncio.wait([pump], timeout=_OUTPUT_TIMEOUT)
    pump.cancel()
    target.flush()
    return code


async def _pump(output: asyncio.StreamReader, target: ContainerLog) -> None:
    while data := await output.read(BLOCK):
        try:
            target.append(data)
        except OSError as error:  # a full disk must not block the program
            log.error("cannot write a container's log: %s", error)
