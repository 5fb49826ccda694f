"""The HTTP side: what of core/v1 is offered, and how.

========================================================== ============================================================
``GET /healthz``, ``GET /version``                         no token needed
``GET /calls``                                             how often each route was called
``POST /api/v1/namespaces/{ns}/pods``                      create; 409, 422
``GET /api/v1/namespaces/{ns}/pods``, ``GET /api/v1/pods`` list; ``labelSelector``, ``fieldSelector``; no watch
``GET .../pods/{name}``                                    read
``PATCH .../pods/{name}``                                  merge or strategic merge, of labels and annotations
``DELETE .../pods/{name}``                                 ``gracePeriodSeconds`` in the query or the V1DeleteOptions
``GET .../pods/{name}/log``                                ``container follow previous timestamps sinceSeconds sinceTime
                                                           tailLines``
``GET .../pods/{name}/exec``                               websocket, ``v4.channel.k8s.io`` and ``v5``; no terminal
``GET .../events``                                         list, and with ``watch`` a stream of JSON lines
========================================================== ============================================================

A followed log ends only after the container's status says that it ended: clients take an earlier end for a broken
connection and read the last lines twice.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from wtmo.local.calls import Calls
from wtmo.local.pods import validation
from wtmo.local.pods.errors import ApiError, bad_request
from wtmo.local.pods.faults import ApiFaults
from wtmo.local.pods.logs import BLOCK, nano_timestamp
from wtmo.local.pods.selectors import field_selector, label_selector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wtmo.local.pods.cluster import Cluster, Json, Pod
    from wtmo.local.pods.containers import Container
    from wtmo.local.pods.runtimes import Exec

log = logging.getLogger(__name__)

LARGEST_BODY = 3 * 1024 * 1024
_OPEN_PATHS = frozenset({"/healthz", "/version"})
_POD_FIELDS = frozenset({"metadata.name", "metadata.namespace", "status.phase", "spec.nodeName"})
_EVENT_FIELDS = frozenset({
    *(f"involvedObject.{name}" for name in ("kind", "name", "namespace", "uid", "fieldPath")),
    *("metadata.name", "metadata.namespace", "reason", "type"),
})
_PATCHES = frozenset({"application/merge-patch+json", "application/strategic-merge-patch+json"})
_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_DEFAULT_WATCH = 300


class Server:
    """The API of a cluster.

    :param token: what clients must send as ``Authorization: Bearer <token>``.
    """

    def __init__(self, cluster: Cluster, token: str) -> None:
        self._cluster = cluster
        self._authorization = f"Bearer {token}".encode()
        self._faults = ApiFaults(cluster, cluster.chance)

    def application(self) -> web.Application:
        """The application; it stops the cluster when it is shut down."""
        calls = Calls()
        middlewares = [calls.middleware, self._errors, self._faults.middleware]
        application = web.Application(middlewares=middlewares, client_max_size=LARGEST_BODY)
        namespace = "/api/v1/namespaces/{namespace}"
        pod = f"{namespace}/pods/{{name}}"
        application.add_routes([
            web.get("/healthz", self._healthz),
            web.get("/version", self._version),
            calls.route(),
            web.get("/api/v1/pods", self._list),
            web.get(f"{namespace}/pods", self._list),
            web.post(f"{namespace}/pods", self._create),
            web.get(pod, self._read),
            web.patch(pod, self._patch),
            web.delete(pod, self._delete),
            web.get(f"{pod}/log", self._log),
            web.get(f"{pod}/exec", self._exec),
            web.get(f"{namespace}/events", self._events),
        ])

        async def stop(_: web.Application) -> None:
            await self._cluster.shutdown()

        application.on_shutdown.append(stop)
        return application

    @web.middleware
    async def _errors(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Check the token; turn every error into a ``Status`` object."""
        try:
            if request.path not in _OPEN_PATHS:
                self._check_token(request)
            return await handler(request)
        except ApiError as error:
            failure = error
        except web.HTTPException as error:
            if error.status < 400:
                raise
            failure = ApiError(error.status, (error.reason or "Unknown").replace(" ", ""), error.text or error.reason)
        except ConnectionError:
            raise  # the client is gone: there is nobody to answer
        except Exception:
            log.exception("%s %s", request.method, request.path)
            failure = ApiError(500, "InternalError", "the pod server failed; see its log")
        return web.json_response(failure.status(), status=failure.code)

    def _check_token(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._authorization):
            raise ApiError(401, "Unauthorized", "Unauthorized")

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"major": "1", "minor": "32", "gitVersion": "v1.32.0+wtmo", "platform": "local"})

    # -- pods

    async def _create(self, request: web.Request) -> web.Response:
        body = await _json(request)
        return web.json_response(self._cluster.create(_namespace(request), body), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        if _flag(request, "watch"):
            raise bad_request("pods cannot be watched here; list them")
        namespace = _namespace(request) if "namespace" in request.match_info else None
        labels = label_selector(request.query.get("labelSelector", ""))
        fields = field_selector(request.query.get("fieldSelector", ""), _POD_FIELDS)
        items = self._cluster.find(namespace, lambda pod: fields(pod) and labels(pod["metadata"]["labels"]))
        return web.json_response(_listing("PodList", self._cluster.version, items))

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response(self._cluster.pod(_namespace(request), request.match_info["name"]).object)

    async def _patch(self, request: web.Request) -> web.Response:
        if request.content_type not in _PATCHES:
            kinds = ", ".join(sorted(_PATCHES))
            raise ApiError(415, "UnsupportedMediaType", f"{request.content_type} is not supported; use one of {kinds}")
        body = await _json(request)
        return web.json_response(self._cluster.patch(_namespace(request), request.match_info["name"], body))

    async def _delete(self, request: web.Request) -> web.Response:
        options = await _json(request) if request.can_read_body else {}
        if not isinstance(options, dict):
            raise bad_request("the body must be DeleteOptions")
        stated = options.get("gracePeriodSeconds")
        grace = validation.whole_number(
            request.query.get("gracePeriodSeconds", None if stated is None else str(stated)), "gracePeriodSeconds"
        )
        preconditions = options.get("preconditions")
        same = preconditions if isinstance(preconditions, dict) else {}
        pod = self._cluster.delete(_namespace(request), request.match_info["name"], grace=grace, same=same)
        return web.json_response(pod)

    # -- log

    async def _log(self, request: web.Request) -> web.StreamResponse:
        pod, container = self._container(request)
        source = container.log
        if _flag(request, "previous"):
            source = container.previous_log
            if not source.exists:
                name = request.match_info["name"]
                raise bad_request(f'previous terminated container "{container.name}" in pod "{name}" not found')
        tail = validation.whole_number(request.query.get("tailLines"), "tailLines")
        since = _since(request)
        if not source.exists:
            name, reason = request.match_info["name"], container.state.get("waiting", {}).get("reason", "ended before")
            raise bad_request(f'container "{container.name}" in pod "{name}" is waiting to start: {reason}')
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        blocks = source.read(
            follow=_flag(request, "follow"), timestamps=_flag(request, "timestamps"), since=since, tail=tail
        )
        if "log-cut" in pod.faults:
            blocks = self._faults.cut(pod, blocks, request)
        async for block in blocks:
            await response.write(block)
        await response.write_eof()
        return response

    def _container(self, request: web.Request) -> tuple[Pod, Container]:
        """A pod and the container that the query names; the only one if it names none."""
        pod = self._cluster.pod(_namespace(request), request.match_info["name"])
        if name := request.query.get("container"):
            return pod, pod.container(name)
        if len(pod.containers) > 1:
            names = " ".join(container.name for container in pod.containers)
            raise bad_request(
                f"a container name must be specified for pod {request.match_info['name']}, choose one of: [{names}]"
            )
        return pod, pod.containers[0]

    # -- exec

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        _, container = self._container(request)
        command = request.query.getall("command", [])
        if not command or not all(map(validation.is_plain, command)):
            raise bad_request("you must specify at least 1 command for the container")
        if _flag(request, "tty"):
            raise bad_request("exec with a terminal (tty) is not offered here")
        if container.running is None:
            raise bad_request(f"container {container.name} is not running")
        socket = web.WebSocketResponse(protocols=_PROTOCOLS)
        if not socket.can_prepare(request):
            raise bad_request("exec needs a websocket")
        execution = await container.running.exec(command, stdin=_flag(request, "stdin"))
        feeding: asyncio.Task[None] | None = None
        try:
            await socket.prepare(request)
            feeding = asyncio.create_task(_feed(socket, execution))
            await asyncio.gather(
                _send(socket, _STDOUT, execution.stdout),
                _send(socket, _STDERR, execution.stderr),
            )
            code = await execution.wait()
            await socket.send_bytes(bytes([_ERROR]) + json.dumps(_exec_status(code)).encode())
            await socket.close()
        except ConnectionError:
            log.info("exec in %s: the client went away", container.name)
        finally:
            execution.kill()
            if feeding is not None:
                feeding.cancel()
        return socket

    # -- events

    async def _events(self, request: web.Request) -> web.StreamResponse:
        namespace = _namespace(request)
        fields = field_selector(request.query.get("fieldSelector", ""), _EVENT_FIELDS)

        def matches(event: Json) -> bool:
            return bool(event["metadata"]["namespace"] == namespace) and fields(event)

        if not _flag(request, "watch"):
            items = self._cluster.events.listed(matches)
            return web.json_response(_listing("EventList", self._cluster.version, items))
        version = validation.whole_number(request.query.get("resourceVersion"), "resourceVersion") or 0
        seconds = validation.whole_number(request.query.get("timeoutSeconds"), "timeoutSeconds") or _DEFAULT_WATCH
        known = self._cluster.events.since(version, matches)
        with self._cluster.events.watch() as queue:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for event in known:
                await response.write(_watched(event))
            try:
                async with asyncio.timeout(seconds):
                    while True:
                        event = await queue.get()
                        if matches(event):
                            await response.write(_watched(event))
            except TimeoutError:
                await response.write_eof()
        return response


def _namespace(request: web.Request) -> str:
    return validation.namespace(request.match_info["namespace"])


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in {"true", "1"}


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is not JSON: {error}") from error


def _listing(kind: str, version: int, items: list[Json]) -> Json:
    return {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, "items": items}


def _watched(event: Json) -> bytes:
    return json.dumps({"type": "ADDED", "object": event}).encode() + b"\n"


def _since(request: web.Request) -> str | None:
    """The earliest time of a log line that is asked for."""
    seconds = validation.whole_number(request.query.get("sinceSeconds"), "sinceSeconds", least=1)
    if seconds is not None:
        return nano_timestamp(time.time_ns() - seconds * 1_000_000_000) if seconds < time.time() else None
    if moment := request.query.get("sinceTime"):
        try:
            return nano_timestamp(int(datetime.fromisoformat(moment).timestamp() * 1_000_000) * 1000)
        except ValueError as error:
            raise bad_request(f"invalid value for sinceTime: {moment[:80]!r}") from error
    return None


async def _send(socket: web.WebSocketResponse, channel: int, stream: asyncio.StreamReader) -> None:
    while data := await stream.read(BLOCK):
        await socket.send_bytes(bytes([channel]) + data)


async def _feed(socket: web.WebSocketResponse, execution: Exec) -> None:
    """Hand the client's standard input on; end the command when the client goes away."""
    async for message in socket:
        if message.type not in {WSMsgType.BINARY, WSMsgType.TEXT}:
            continue
        data = message.data if isinstance(message.data, bytes) else message.data.encode()
        if data[:1] == bytes([_STDIN]):
            await execution.write(data[1:])
        elif data == bytes([_CLOSE, _STDIN]) and socket.ws_protocol == _PROTOCOLS[0]:
            execution.end_input()
    execution.kill()


def _exec_status(code: int) -> Json:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
