"""The offline platform's stand-ins on loopback, without the platform: the small ones in a thread, the pod server as a process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from socket import create_connection
from typing import TYPE_CHECKING, Any

import yaml
from aiohttp import web
from kubernetes import client

from utils.config import GKE, ROOT, environment
from wtmo.local.services.hooks import Hooks
from wtmo.local.services.outbox import read_outbox
from wtmo.local.services.slack import SlackSink
from wtmo.local.services.web import serve
from wtmo.local.state import free_port
from wtmo.local.tls import ensure_certificate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from pathlib import Path

    from tests.operators.airflow_api import Airflow
    from wtmo.local.services.outbox import Message

TOKEN = "a-token-of-the-tests"
WAIT = 60.0


class StandIns:
    """Slack, Jira and Bugzilla as the platform has them, and Airflow's REST API as ``tests/operators/airflow_api.py`` has it.

    :param url: where they listen.
    :param asked: each request: method and path.
    :param troubles: what the next requests to a path are answered in place of what they ask for: status and headers.
    """

    def __init__(self, folder: Path, airflow: Airflow) -> None:
        self.outbox = folder / "outbox"
        self.airflow = airflow
        self.hooks = Hooks(self.outbox)
        self.url = ""
        self.asked: list[tuple[str, str]] = []
        self.troubles: dict[str, list[tuple[int, dict[str, str]]]] = {}

    def sent(self, kind: str) -> list[Message]:
        """What came in of a kind: ``slack``, ``jira``, ``bugzilla``."""
        return [message for message in read_outbox(self.outbox) if message.kind == kind]

    @contextmanager
    def listening(self) -> Generator[None]:
        """Serve in a thread of its own until the end of the block."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            runner = asyncio.run_coroutine_threadsafe(
                serve(self._app(), name="stand-ins", host="127.0.0.1", port=0), loop
            ).result(WAIT)
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(WAIT)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(WAIT)
            loop.close()

    def _app(self) -> web.Application:
        @web.middleware
        async def note(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            self.asked.append((request.method, request.path))
            if waiting := self.troubles.get(request.path):
                status, headers = waiting.pop(0)
                return web.Response(status=status, headers=headers, text="busy")
            return await handler(request)

        app = SlackSink(self.outbox).app()
        app.middlewares.append(note)
        app.add_routes([
            *self.hooks.routes(),
            web.get("/auth/token", self._token),
            web.route("*", "/api/v2/{path:.+}", self._airflow),
        ])
        return app

    async def _token(self, _: web.Request) -> web.Response:
        return web.json_response({"access_token": TOKEN}, status=201)

    async def _airflow(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text() or "null")
        status, content = self.airflow.answer(request.method, str(request.url), body)
        return web.json_response(content, status=status)

    @property
    def connections(self) -> dict[str, dict[str, Any]]:
        """Airflow's connections to them."""
        from utils.config import CONNECTIONS

        return {
            CONNECTIONS.slack: {
                "conn_type": "slack",
                "password": TOKEN,
                "extra": json.dumps({"base_url": f"{self.url}/api/"}),
            },
            CONNECTIONS.jira: {"conn_type": "http", "host": f"{self.url}/jira", "login": "user", "password": TOKEN},
            CONNECTIONS.airflow_api: {"conn_type": "http", "host": self.url},
        }


class Cluster:
    """The platform's pod server, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        ensure_certificate(folder)
        (folder / "token").write_text(TOKEN)
        self.ca = folder / "pods.crt"
        self.port = free_port()
        self.log = folder / "log"
        command = [
            *(sys.executable, "-m", "wtmo.local.pods", "--port", str(self.port), "--state", str(folder / "state")),
            *("--cert", str(self.ca), "--key", str(folder / "pods.key"), "--token-file", str(folder / "token")),
            *("--runtime", "process"),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment() | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
            )

    def await_start(self) -> None:
        """Wait until it listens."""
        end = time.monotonic() + WAIT
        while True:
            with suppress(OSError):
                create_connection(("127.0.0.1", self.port), 1).close()
                return
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, f"waited {WAIT} s for the pod server to listen"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and its pods."""
        self.process.terminate()
        self.process.wait(WAIT)

    def connection(self, token: str = TOKEN) -> dict[str, Any]:
        """Airflow's connection to it, which may stand in the place of GKE's."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [
                {
                    "name": "c",
                    "cluster": {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.ca)},
                }
            ],
            "users": [{"name": "c", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": GKE.namespace}}],
        }
        return {"conn_type": "kubernetes", "extra": json.dumps({"kube_config": yaml.safe_dump(config)})}

    def pods(self, run_id: str) -> list[client.V1Pod]:
        """The pods of a run."""
        configuration = client.Configuration(host=f"https://127.0.0.1:{self.port}")
        configuration.ssl_ca_cert = str(self.ca)
        configuration.api_key = {"authorization": f"Bearer {TOKEN}"}
        with client.ApiClient(configuration) as api:
            found = client.CoreV1Api(api).list_namespaced_pod(GKE.namespace, label_selector=f"run_id={run_id}")
        pods: list[client.V1Pod] = found.items
        return pods
