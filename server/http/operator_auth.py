"""Who runs the server: pages that tell of all viewers are theirs alone, and closed unless opened."""

from __future__ import annotations

import hmac
from base64 import b64decode

from aiohttp import web

from server.context import Context
from server.errors import RequestError


def check_operator(request: web.Request, context: Context) -> None:
    """Raises RequestError 401 unless the request comes from a trusted peer or brings the operator's token."""
    if context.limits.is_trusted(request.remote or ""):
        return
    token = context.settings.operator_token
    if token and hmac.compare_digest(_given_token(request.headers.get("Authorization", "")), token.encode()):
        return
    detail = "This is for who runs the server: ask from that machine, or with the operator's token."
    raise RequestError(401, detail, {"WWW-Authenticate": 'Basic realm="toprung operator"'})


def _given_token(authorization: str) -> bytes:
    """The token of a Bearer, or the password of a Basic header; empty when there is none."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip().encode()
    try:
        return b64decode(rest, validate=True).partition(b":")[2] if scheme.lower() == "basic" else b""
    except ValueError:
        return b""
