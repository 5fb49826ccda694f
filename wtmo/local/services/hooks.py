"""Where other systems are only told something: what they are told goes to the outbox.

====================================  ===================================================================
``POST /netlify/<path>``              a webhook of Netlify that builds a site; answered 200
``POST /jira/rest/api/2/issue``       a Jira ticket; answered 201 with its key, 401 without a user's token,
                                      400 with Jira's ``errors`` where a field is missing
``GET /bugzilla/rest/bug``            two bugs, less those that have a whiteboard
``PUT /bugzilla/rest/bug/<id>``       sets a bug's whiteboard; 401 without an API key, 404 where there is no such bug
====================================  ===================================================================
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
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
    :param bugs: whiteboards of Bugzilla's bugs, by number.
    """

    outbox: Path
    tickets: int = 0
    bugs: dict[int, str] = field(default_factory=lambda: {1: "", 2: ""})

    def routes(self) -> list[web.RouteDef]:
        """The routes, for the application that serves them."""
        return [
            web.post("/netlify/{path:.+}", self._build),
            web.post("/jira/rest/api/2/issue", self._ticket),
            web.get("/bugzilla/rest/bug", self._untagged_bugs),
            web.put(r"/bugzilla/rest/bug/{number:\d+}", self._tag_bug),
        ]

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

    async def _untagged_bugs(self, request: web.Request) -> web.Response:
        untagged = [number for number, whiteboard in self.bugs.items() if not whiteboard]
        return web.json_response({
            "bugs": [{"id": number, "whiteboard": ""} for number in sorted(untagged, reverse=True)]
        })

    async def _tag_bug(self, request: web.Request) -> web.Response:
        if not request.headers.get("X-BUGZILLA-API-KEY"):
            return web.json_response({"error": True, "message": "You must log in"}, status=401)
        number = int(request.match_info["number"])
        if number not in self.bugs:
            return web.json_response({"error": True, "message": f"Bug #{number} does not exist."}, status=404)
        try:
            whiteboard = str(json.loads(await request.text())["whiteboard"])
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": True, "message": "Nothing to change"}, status=400)
        self.bugs[number] = whiteboard
        self._store("bugzilla", str(number), "whiteboard", whiteboard)
        return web.json_response({"bugs": [{"id": number}]})

    def _store(self, kind: str, recipient: str, subject: str, text: str) -> None:
        path = write_message(self.outbox, kind=kind, sender="", recipients=[recipient], subject=subject, text=text)
        log.info("%s: %s (%s)", kind, subject, path.name)
