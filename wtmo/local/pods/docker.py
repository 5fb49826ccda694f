"""Containers of a Docker engine: real images, real limits, and as much of the security context as the engine knows.

An image is, in this order: what ``--docker-images`` maps it or its repository to; the engine's image of that name; for an image that
has a stand-in program, that program in ``--stand-in-image``; what the engine can pull. ``imagePullPolicy`` is honoured for the second and
the last, with Kubernetes' default (``Always`` for ``:latest`` or no tag, else ``IfNotPresent``); there are no registry credentials. Stand-in
programs start as ``python -m ...`` in the image that they are mapped to, which brings the project.

Volumes are folders of the machine on which the engine runs, by the same path as the server sees them: a server in a container
needs its state folder mounted at the path it has outside. The network is the engine's machine's, where stand-ins listen on
127.0.0.1, or ``--docker-network``.

Of the security context: user and group, ``runAsNonRoot``, ``readOnlyRootFilesystem``, ``allowPrivilegeEscalation``, capabilities, seccomp
``Unconfined``; ``privileged`` is refused. The rest (SELinux, AppArmor, fsGroup, sysctls) is stored and ignored.

Every container bears the label ``wtmo.pods.server``. It is removed when it ended; what a server that was killed has left is removed when
it starts again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wtmo.local.pods.engine import Engine, EngineError, Stream, image_path
from wtmo.local.pods.errors import bad_request
from wtmo.local.pods.images import ImageError, Program, repository
from wtmo.local.pods.runtimes import PLATFORM_VARIABLE, ConfigError, StartError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from wtmo.local.pods.images import ImageTable
    from wtmo.local.pods.runtimes import Exec, Orders, Running

log = logging.getLogger(__name__)

Json = dict[str, Any]

SERVER_LABEL = "wtmo.pods.server"
_LOST_CODE = 137
_EXEC_TIMEOUT = 10.0


class DockerRuntime:
    """See the module's text. Made by :meth:`open`.

    :param server: tells this server's containers from another's.
    :param images: ``{image or repository: image of the engine}``.
    :param stand_in_image: the image in which stand-in programs run. Default: they can't.
    :param network: as in ``docker run --network``.
    :param platform: the value of ``WTMO_PLATFORM``, if any.
    """

    name = "docker"

    def __init__(
        self,
        engine: Engine,
        server: str,
        *,
        images: Mapping[str, str],
        stand_in_image: str | None,
        network: str,
        platform: str | None,
    ) -> None:
        self._engine = engine
        self._server = server
        self._images = images
        self._stand_in_image = stand_in_image
        self._network = network
        self._platform = platform

    @classmethod
    async def open(cls, address: str, state: Path, **options: Any) -> DockerRuntime:
        """Find the engine and remove what an earlier server of this state folder has left.

        :param address: as in ``DOCKER_HOST``.
        :param state: the server's folder, which keeps its identity.
        :param options: as above.
        :raises WtmoError: no engine answers.
        """
        identity = state / "server-id"
        if not identity.exists():
            identity.write_text(uuid.uuid4().hex)
        engine = Engine(address)
        await engine.open()
        runtime = cls(engine, identity.read_text(), **options)
        await runtime._remove_all()
        return runtime

    async def close(self) -> None:
        """Remove what is left, and let go of the engine."""
        with contextlib.suppress(EngineError):  # the engine may have ended first
            await self._remove_all()
        await self._engine.close()

    async def _remove_all(self) -> None:
        label = f'{{"label": ["{SERVER_LABEL}={self._server}"]}}'
        found = await self._engine.call("GET", "/containers/json", query={"all": "1", "filters": label})
        for container in found:
            log.info("removing the container %s", container["Names"])
            await _remove(self._engine, container["Id"])

    # -- images

    async def program(self, image: str, policy: str, images: ImageTable) -> Program:
        """What runs for an image; see the module's text."""
        name = repository(image)
        try:
            stand_in = images.program(image)
        except ImageError:
            stand_in = Program("image")
        if mapped := self._images.get(image) or self._images.get(name):
            if not await self._present(mapped):
                raise ImageError("ErrImagePull", f"the engine has no image {mapped}, which --docker-images names")
            return _in_image(stand_in, mapped)
        present = await self._present(image)
        if present and policy != "Always":
            return Program("image", image=image)
        if not present and stand_in.argv and self._stand_in_image:
            return _in_image(stand_in, self._stand_in_image)
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            raise ImageError("ErrImageNeverPull", message)
        try:
            await self._engine.pull(image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest")
        except EngineError as error:
            raise ImageError("ErrImagePull", str(error)) from error
        return Program("image", image=image)

    async def _present(self, image: str) -> bool:
        return await self._image(image) is not None

    async def _image(self, image: str) -> Json | None:
        try:
            found: Json = await self._engine.call("GET", f"{image_path(image)}/json")
        except EngineError as error:
            if error.status == 404:
                return None
            raise ImageError("ErrImagePull", f"the engine does not answer: {error}") from error
        return found

    # -- containers

    async def start(self, orders: Orders) -> Running:
        """Make a container and start it."""
        security = _security(orders)
        await self._check_user(orders, security)
        config = self._config(orders, security)
        metadata = orders.pod["metadata"]
        # Every start has a name of its own: the one before may still be on its way out.
        name = f"wtmo_{orders.container['name']}_{metadata['name']}_{uuid.uuid4().hex[:12]}"
        try:
            made = await self._engine.call("POST", "/containers/create", query={"name": name}, body=config)
        except EngineError as error:
            raise StartError(f"the engine refuses the container: {error}") from error
        identity = made["Id"]
        try:
            stream = await self._engine.stream(
                f"/containers/{identity}/attach", {"stream": "1", "stdout": "1", "stderr": "1"}
            )
            container = _DockerContainer(self._engine, identity, stream)
            await self._engine.call("POST", f"/containers/{identity}/start")
        except EngineError as error:
            await _remove(self._engine, identity)
            raise StartError(f"cannot run the container: {error}") from error
        except BaseException:
            await asyncio.shield(_remove(self._engine, identity))
            raise
        return container

    async def _check_user(self, orders: Orders, security: Json) -> None:
        if not security.get("runAsNonRoot"):
            return
        user = security.get("runAsUser")
        if user is None:
            image = await self._image(orders.image) or {}
            user = str((image.get("Config") or {}).get("User") or "0").partition(":")[0]
        if str(user) in {"0", "root"}:
            raise ConfigError("container has runAsNonRoot and image will run as root")

    def _config(self, orders: Orders, security: Json) -> Json:
        metadata, container = orders.pod["metadata"], orders.container
        env = orders.env | ({PLATFORM_VARIABLE: self._platform} if self._platform else {})
        words = list(orders.argv)
        config: Json = {
            "Image": orders.image,
            "Env": [f"{name}={value}" for name, value in env.items()],
            "Labels": {
                SERVER_LABEL: self._server,
                "io.kubernetes.pod.namespace": metadata["namespace"],
                "io.kubernetes.pod.name": metadata["name"],
                "io.kubernetes.pod.uid": metadata["uid"],
                "io.kubernetes.container.name": container["name"],
            },
            "AttachStdout": True,
            "AttachStderr": True,
            "HostConfig": self._host_config(orders, security),
        }
        # As in Kubernetes: a command takes the place of the image's entry point, arguments alone are given to it.
        if not orders.own_command or container.get("command"):
            config["Entrypoint"] = words
        elif words:
            config["Cmd"] = words
        if directory := container.get("workingDir"):
            config["WorkingDir"] = directory
        if security.get("runAsUser") is not None:
            group = security.get("runAsGroup")
            config["User"] = str(security["runAsUser"]) + (f":{group}" if group is not None else "")
        if self._network != "host":
            config["Hostname"] = metadata["name"][:63]
        return config

    def _host_config(self, orders: Orders, security: Json) -> Json:
        if security.get("privileged"):
            raise StartError("privileged containers are not offered here")
        options: list[str] = []
        if security.get("allowPrivilegeEscalation") is False:
            options.append("no-new-privileges:true")
        if (security.get("seccompProfile") or {}).get("type") == "Unconfined":
            options.append("seccomp=unconfined")
        capabilities = security.get("capabilities") or {}
        host: Json = {
            "NetworkMode": self._network,
            "LogConfig": {"Type": "none"},
            "Mounts": [
                {"Type": "bind", "Source": str(mount.source), "Target": mount.target, "ReadOnly": mount.read_only}
                for mount in orders.mounts
            ],
            "ReadonlyRootfs": bool(security.get("readOnlyRootFilesystem")),
            "SecurityOpt": options,
            "CapAdd": capabilities.get("add") or [],
            "CapDrop": capabilities.get("drop") or [],
        }
        if memory := orders.limits.memory:
            host |= {"Memory": memory, "MemorySwap": memory}
        if cpu := orders.limits.cpu:
            host["NanoCpus"] = int(cpu * 1e9)
        return host


def _security(orders: Orders) -> Json:
    """The container's security context over the pod's."""
    of_pod = orders.pod["spec"].get("securityContext") or {}
    own = {key: value for key, value in (orders.container.get("securityContext") or {}).items() if value is not None}
    return {**of_pod, **own}


def _in_image(program: Program, image: str) -> Program:
    """A stand-in in an image, with the interpreter of the image."""
    argv = ("python", *program.argv[1:]) if program.argv[:1] == (sys.executable,) else program.argv
    return replace(program, argv=argv, image=image)


async def _remove(engine: Engine, container: str) -> None:
    try:
        await engine.call("DELETE", f"/containers/{container}", query={"force": "1", "v": "1"})
    except EngineError as error:
        if error.status not in {404, 409}:  # gone, or already on its way
            log.warning("cannot remove the container %s: %s", container, error)


class _DockerContainer:
    """A container that the engine has started."""

    def __init__(self, engine: Engine, identity: str, stream: Stream) -> None:
        self._engine = engine
        self._identity = identity
        self._stream = stream
        self.output, _ = stream.divide(merge=True)
        self._oom_killed = False
        self._calls: set[asyncio.Task[None]] = set()

    async def wait(self) -> int:
        path = f"/containers/{self._identity}"
        try:
            answer = await self._engine.call("POST", f"{path}/wait", timeout=None)
            state = (await self._engine.call("GET", f"{path}/json"))["State"]
        except EngineError as error:  # somebody removed it, or the engine ended
            log.warning("lost the container %s: %s", self._identity, error)
            return _LOST_CODE
        self._oom_killed = bool(state["OOMKilled"])
        # Its output ends by itself; the container goes away at once all the same.
        await _remove(self._engine, self._identity)
        return int(answer["StatusCode"])

    def start_error(self) -> str | None:
        return None

    def oom_killed(self) -> bool:
        return self._oom_killed

    def terminate(self) -> None:
        self._background(self._signal("SIGTERM"))

    def kill(self) -> None:
        self._background(self._signal("SIGKILL"))

    def _background(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _signal(self, name: str) -> None:
        try:
            await self._engine.call("POST", f"/containers/{self._identity}/kill", query={"signal": name})
        except EngineError as error:
            if error.status not in {404, 409}:  # it has ended
                log.warning("cannot send %s to the container %s: %s", name, self._identity, error)

    async def exec(self, command: list[str], *, stdin: bool) -> Exec:
        body = {"AttachStdin": stdin, "AttachStdout": True, "AttachStderr": True, "Tty": False, "Cmd": command}
        try:
            identity = (await self._engine.call("POST", f"/containers/{self._identity}/exec", body=body))["Id"]
            stream = await self._engine.stream(f"/exec/{identity}/start", {}, {"Detach": False, "Tty": False})
        except EngineError as error:
            raise bad_request(f"cannot run a command in the container: {error}") from error
        return _DockerExec(self._engine, identity, stream)


class _DockerExec:
    """A command in a container. The engine can't end it: when the client goes away it loses its input and output."""

    def __init__(self, engine: Engine, identity: str, stream: Stream) -> None:
        self._engine = engine
        self._identity = identity
        self._stream = stream
        self.stdout, self.stderr = stream.divide(merge=False)

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)

    def end_input(self) -> None:
        self._stream.end_input()

    async def wait(self) -> int:
        try:
            async with asyncio.timeout(_EXEC_TIMEOUT):
                while True:
                    state = await self._engine.call("GET", f"/exec/{self._identity}/json")
                    if not state["Running"] and state["ExitCode"] is not None:
                        return int(state["ExitCode"])
                    await asyncio.sleep(0.02)  # its output has ended, the engine is about to know
        except (EngineError, TimeoutError):
            return _LOST_CODE

    def kill(self) -> None:
        self._stream.close()
