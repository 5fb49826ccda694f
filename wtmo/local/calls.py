"""Counts what a stand-in is asked: ``GET /calls`` answers ``{"GET /api/v1/namespaces/{namespace}/pods/{name}": 12, ...}``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATH = "/calls"
_NOT_COUNTED = frozenset({PATH, "/healthz"})


class Calls:
    """The number of calls by method and route, since the start of the server."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Count a call, whatever becomes of it."""
        resource = request.match_info.route.resource
        if request.path not in _NOT_COUNTED:
            self._numbers[f"{request.method} {resource.canonical if resource else '(no route)'}"] += 1
        return await handler(request)

    def route(self) -> web.RouteDef:
        """``GET /calls``."""
        return web.get(PATH, self._answer)

    async def _answer(self, _: web.Request) -> web.Response:
        return web.json_response(self._numbers)
