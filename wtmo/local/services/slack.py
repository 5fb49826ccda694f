"""Slack sink: the calls that Slack's hook and incoming webhooks make; messages go to the outbox.

===================================  =========================================================================
``/api/auth.test``                   ok where a token is given
``/api/chat.postMessage``            one message in the outbox; answers its ``ts``
``/api/chat.update``                 one message too, its subject naming the ``ts`` that it replaces
``/api/files.getUploadURLExternal``  the three steps of an upload; the file's bytes are counted, not kept, and the
``/upload/<id>``                     message that completes the upload names the files
``/api/files.completeUploadExternal``
``POST /services/T../B../<token>``   an incoming webhook; also ``/workflows/...`` and ``/triggers/...``
===================================  =========================================================================

As with Slack, an API call is answered 200 with ``"ok": false`` where it fails, and ``not_authed`` without a token. The
token is never kept. Any other method is answered ``unknown_method``.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from wtmo.local.services.outbox import write_message

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

MAX_BYTES = 10_000_000
_WEBHOOK_CHANNEL = "(webhook)"


@dataclass
class SlackSink:
    """The sink's routes.

    :param outbox: the folder that the messages go to.
    :param uploads: the names of files whose upload is under way, by file id; a restart forgets them.
    """

    outbox: Path
    uploads: dict[str, str] = field(default_factory=dict)

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=MAX_BYTES)
        app.router.add_route("*", "/api/{method}", self._call)
        app.router.add_post("/upload/{file}", self._upload)
        app.router.add_post("/{kind:services|workflows|triggers}/{path:.+}", self._webhook)
        return app

    async def _call(self, request: web.Request) -> web.Response:
        arguments = await _arguments(request)
        if not (request.headers.get("Authorization", "").partition(" ")[2].strip() or arguments.get("token")):
            return _failed("not_authed")
        match request.match_info["method"]:
            case "auth.test":
                return _ok(team="local", team_id="T00000000", user="airflow", user_id="U00000000", bot_id="B00000000")
            case "chat.postMessage":
                return self._post(arguments)
            case "chat.update" if arguments.get("ts"):
                return self._post(arguments, subject=f"replaces the message {arguments['ts']}", ts=str(arguments["ts"]))
            case "chat.update":
                return _failed("message_not_found")
            case "files.getUploadURLExternal":
                return self._upload_url(request, arguments)
            case "files.completeUploadExternal":
                return self._complete_upload(arguments)
            case _:
                return _failed("unknown_method")

    def _post(self, arguments: dict[str, Any], *, subject: str = "", ts: str | None = None) -> web.Response:
        channel, text = str(arguments.get("channel") or ""), _text(arguments)
        if not channel:
            return _failed("channel_not_found")
        if not text:
            return _failed("no_text")
        ts = ts or f"{time.time():.6f}"
        self._store(channel=channel, sender=str(arguments.get("username") or ""), subject=subject, text=text)
        return _ok(channel=channel, ts=ts, message={"type": "message", "text": text, "ts": ts})

    def _upload_url(self, request: web.Request, arguments: dict[str, Any]) -> web.Response:
        if not arguments.get("filename"):
            return _failed("invalid_arguments")
        file = f"F{uuid.uuid4().hex[:10].upper()}"
        self.uploads[file] = str(arguments["filename"])
        return _ok(upload_url=str(request.url.with_path(f"/upload/{file}").with_query(None)), file_id=file)

    async def _upload(self, request: web.Request) -> web.Response:
        name = self.uploads.get(request.match_info["file"])
        if name is None:
            return web.Response(status=404, text="no such upload")
        self.uploads[request.match_info["file"]] = f"{name} ({len(await request.read())} bytes)"
        return web.Response(text="OK")

    def _complete_upload(self, arguments: dict[str, Any]) -> web.Response:
        files = _parsed(arguments.get("files"))
        ids = [str(file.get("id")) for file in files if isinstance(file, dict)] if isinstance(files, list) else []
        if not ids or any(file not in self.uploads for file in ids):
            return _failed("file_not_found")
        names = [self.uploads.pop(file) for file in ids]
        text = "".join([str(arguments.get("initial_comment") or ""), *(f"\n[file: {name}]" for name in names)])
        self._store(channel=str(arguments.get("channel_id") or ""), sender="", subject="", text=text)
        return _ok(files=[{"id": file, "title": name} for file, name in zip(ids, names, strict=True)])

    async def _webhook(self, request: web.Request) -> web.Response:
        text = _text(arguments := await _arguments(request))
        if not text:
            return web.Response(status=400, text="no_text")
        channel = str(arguments.get("channel") or _WEBHOOK_CHANNEL)
        self._store(channel=channel, sender=str(arguments.get("username") or ""), subject="", text=text)
        return web.Response(text="ok")

    def _store(self, *, channel: str, sender: str, subject: str, text: str) -> None:
        path = write_message(self.outbox, kind="slack", sender=sender, recipients=[channel], subject=subject, text=text)
        log.info("slack: message to %s (%s)", channel, path.name)


def _ok(**answer: Any) -> web.Response:
    return web.json_response({"ok": True} | answer)


def _failed(error: str) -> web.Response:
    return web.json_response({"ok": False, "error": error})


async def _arguments(request: web.Request) -> dict[str, Any]:
    """The call's arguments: Slack takes a query, a form (a webhook's ``payload`` too) or a JSON object."""
    if request.content_type == "application/json":
        body = _parsed(await request.text())
        return dict(request.query) | (body if isinstance(body, dict) else {})
    form = {key: value for key, value in (await request.post()).items() if isinstance(value, str)}
    payload = _parsed(form.pop("payload", None))
    return dict(request.query) | form | (payload if isinstance(payload, dict) else {})


def _parsed(value: Any) -> Any:
    """A value that is JSON text in a form and a plain value in a JSON body; None where it is broken."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _text(arguments: dict[str, Any]) -> str:
    """What a reader would see: the text, or where there is none the texts of blocks and attachments."""
    if text := arguments.get("text"):
        return str(text)
    found: list[str] = []
    _collect([_parsed(arguments.get("blocks")), _parsed(arguments.get("attachments"))], found)
    return "\n".join(found)


def _collect(value: Any, found: list[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in {"text", "fallback", "pretext", "title"} and isinstance(item, str):
                found.append(item)
            else:
                _collect(item, found)
