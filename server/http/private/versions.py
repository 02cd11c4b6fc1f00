"""The version of a network that players tune together, and its weights."""

from __future__ import annotations

from aiohttp import web

from server.context import get_context
from server.errors import RequestError
from server.federation.tuning import Tuning
from server.http.bodies import json_answer
from server.http.private.handlers import OCTETS

_FOR_EVER = "public, max-age=31536000, immutable"


async def show_version(request: web.Request) -> web.Response:
    """Tell of the best version so far."""
    return json_answer(_tuning(request).version)


async def get_weights(request: web.Request) -> web.Response:
    """Send the weights of that version, or of the one before it: who has just asked may still want them."""
    body = _tuning(request).weights(request.match_info["sha256"])
    if body is None:
        raise RequestError(404, "No version has these weights now; ask for /federation/version again.")
    return web.Response(body=body, content_type=OCTETS, headers={"Cache-Control": _FOR_EVER})


def _tuning(request: web.Request) -> Tuning:
    tuning = get_context(request).contributions.tuning
    if tuning is None:
        raise RequestError(404, "Federated tuning is off here.")
    return tuning
