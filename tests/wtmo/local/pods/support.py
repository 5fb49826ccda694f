"""A pod server as a process of its own, and what its tests share."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from kubernetes import client

from utils.config import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TOKEN = "a-token-of-the-tests"
NAMESPACE = "default"
WAIT = 20.0
PYTHON = "test/python:1"
SIDECAR = "alpine:3.24.2"
UNKNOWN = "example.com/team/unknown:1"
RECORDED = "example.com/team/job:1.2"


def eventually(what: str, look: Callable[[], T], seconds: float = WAIT) -> T:
    """What ``look`` returns, once that is true."""
    end = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s for {what}")
        time.sleep(0.03)


@dataclass(frozen=True)
class Certificates:
    ca: Path
    certificate: Path
    key: Path


def pod(name: str, code: str = "", *args: str, image: str = PYTHON, **spec: Any) -> dict[str, Any]:
    """A pod that runs Python code, or another image with arguments."""
    container = {"name": "base", "image": image, "args": [*([code] if code else []), *args]}
    container |= spec.pop("container", {})
    metadata = {"name": name, **spec.pop("metadata", {})}
    return {"metadata": metadata, "spec": {"restartPolicy": "Never", "containers": [container], **spec}}


def phase(api: client.CoreV1Api, name: str) -> str:
    return str(api.read_namespaced_pod(name, NAMESPACE).status.phase)


def run(api: client.CoreV1Api, body: dict[str, Any]) -> client.V1Pod:
    """Create a pod and wait for its end."""
    api.create_namespaced_pod(NAMESPACE, body)
    name = body["metadata"]["name"]
    eventually(f"the end of {name}", lambda: phase(api, name) in {"Succeeded", "Failed"})
    return api.read_namespaced_pod(name, NAMESPACE)


def log_of(api: client.CoreV1Api, name: str, **options: Any) -> bytes:
    response = api.read_namespaced_pod_log(name, NAMESPACE, _preload_content=False, **options)
    return bytes(response.data)


def gone(api: client.CoreV1Api, name: str) -> bool:
    try:
        api.read_namespaced_pod(name, NAMESPACE)
    except client.ApiException as error:
        assert error.status == 404
        return True
    return False


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    stat = Path(f"/proc/{pid}/stat")
    with suppress(OSError):
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def processes_with(word: str) -> list[int]:
    """Processes with a word on their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if word.encode() in (folder / "cmdline").read_bytes() and alive(int(folder.name)):
                found.append(int(folder.name))
    return found


class PodServer:
    """One pod server. ``restart`` keeps its state and its port."""

    def __init__(self, folder: Path, certificates: Certificates, runtime: str, *options: str, engine: str = "") -> None:
        self.folder = folder
        self.runtime = runtime
        self._engine = engine
        self.state = folder / "state"
        self.certificates = certificates
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        (folder / "token").write_text(f"{TOKEN}\n")
        self.argv = [
            sys.executable, str(Path(__file__).parent / "serve.py"), "--port", str(self.port), "--state", str(self.state),
            "--cert", str(certificates.certificate), "--key", str(certificates.key),
            "--token-file", str(folder / "token"), "--runtime", runtime, "--removal-delay", "0.5", *options,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        env = environment() | {"PYTHONPATH": str(ROOT), "A_SECRET_OF_THE_SERVER": "must not leak"}
        env["DOCKER_HOST"] = self._engine
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.argv, env=env, stderr=log, stdout=log)
        eventually("the pod server to answer", self._healthy)

    def _healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> float:
        """SIGTERM. Returns the seconds that the end took."""
        assert self.process is not None
        start = time.monotonic()
        self.process.terminate()
        self.process.wait(10)
        return time.monotonic() - start

    def api(self, token: str = TOKEN) -> client.CoreV1Api:
        configuration = client.Configuration(host=self.url)
        configuration.ssl_ca_cert = str(self.certificates.ca)
        configuration.api_key = {"authorization": f"Bearer {token}"}
        return client.CoreV1Api(client.ApiClient(configuration))
