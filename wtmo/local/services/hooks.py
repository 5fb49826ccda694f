"""Where other systems are only told something: what they are told goes to the outbox.

====================================  ===================================================================
``POST /netlify/<path>``              a webhook of Netlify that builds a site; answered 200
``POST /jira/rest/api/2/issue``       a Jira ticket; answered 201 with its key, 401 without a user's token,
                                      400 with Jira's ``errors`` where a field is missing
====================================  ===================================================================
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from wtmo.local.services.outbox import write_message

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_NEEDED = {
    "project": "project is required",
    "issuetype": "issue type is required",
    "summary": "You must specify a summary",
}


@dataclass
class Hooks:
    """The routes.

    :param outbox: the folder that the messages go to.
    :param tickets: how many tickets were opened since the start; the next one's number follows.
    """

    outbox: Path
    tickets: int = 0

    def routes(self) -> list[web.RouteDef]:
        """The routes, for the application that serves them."""
        return [web.post("/netlify/{path:.+}", self._build), web.post("/jira/rest/api/2/issue", self._ticket)]

    async def _build(self, request: web.Request) -> web.Response:
        self._store("netlify", request.match_info["path"], "build", await request.text())
        return web.Response(text="ok")

    async def _ticket(self, request: web.Request) -> web.Response:
        if not request.headers.get("Authorization", "").startswith("Basic "):
            return web.Response(status=401)
        try:
            fields: Any = json.loads(await request.text())["fields"]
            missing = {name: text for name, text in _NEEDED.items() if not fields.get(name)}
            project = "" if missing else str(fields["project"]["key"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return web.json_response({"errorMessages": ["Can not instantiate issue"], "errors": {}}, status=400)
        if missing:
            return web.json_response({"errorMessages": [], "errors": missing}, status=400)
        self.tickets += 1
        key = f"{project}-{self.tickets}"
        self._store("jira", key, str(fields["summary"]), str(fields.get("description") or ""))
        return web.json_response({"id": str(self.tickets), "key": key}, status=201)

    def _store(self, kind: str, recipient: str, subject: str, text: str) -> None:
        path = write_message(self.outbox, kind=kind, sender="", recipients=[recipient], subject=subject, text=text)
        log.info("%s: %s (%s)", kind, subject, path.name)
