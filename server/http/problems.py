"""Problem details (RFC 9457): the one shape of every error answer."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from aiohttp import web

from abr.records import dumps

PROBLEM_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What went wrong, for programs (`status`) and for people (`detail`)."""

    title: str
    status: int
    detail: str = ""
    type: str = "about:blank"


def respond(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """The answer that carries a problem."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    fixed = {"Cache-Control": "no-store"} | (headers or {})
    return web.Response(status=status, body=dumps(problem), content_type=PROBLEM_TYPE, headers=fixed)


def raw(response: web.Response) -> bytes:
    """An answer as it goes over the wire, for where there is no request to answer."""
    body = response.body
    assert isinstance(body, bytes)
    lines = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{k}: {v}" for k, v in response.headers.items())]
    return ("\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n").encode("ascii") + body
