"""Google's token endpoint: gives a service account key the token that the local servers want.

``POST /token`` is the JWT bearer grant of RFC 7523, as ``google.oauth2.service_account`` and gcloud-aio send it. The
signature and the claims of the assertion are **not** checked: whoever reaches this port on loopback gets the token, which
is worth something on this machine only. Nothing else of Google's is here: with a service account key google-auth asks
neither the metadata server nor a trust boundary.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_SECONDS = 3600


@dataclass(frozen=True)
class GoogleAuth:
    """The endpoint's route.

    :param token_file: the file whose content is the access token; read at each request, so that it can be renewed.
    """

    token_file: Path

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application()
        app.router.add_post("/token", self._token)
        return app

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != JWT_BEARER:
            return _failed(400, "unsupported_grant_type", f"grant_type must be {JWT_BEARER}")
        assertion = form.get("assertion")
        if not isinstance(assertion, str) or assertion.count(".") != 2:
            return _failed(400, "invalid_grant", "the assertion is not a signed JWT")
        try:
            token = self.token_file.read_text().strip()
        except OSError as error:
            log.error("google: the token file %s cannot be read: %s", self.token_file, error.strerror)
            return _failed(503, "temporarily_unavailable", f"the token file {self.token_file} cannot be read")
        log.info("google: access token given")
        return web.json_response({"access_token": token, "expires_in": LIFETIME_SECONDS, "token_type": "Bearer"})


def _failed(status: int, error: str, description: str) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=status)
