"""The path under which viewers reach this server, where a reverse proxy shows it below its own root."""

from __future__ import annotations

import re

from aiohttp import web

from server.context import get_context

HEADER = "X-Forwarded-Prefix"
"""Said by proxies that take the prefix off (Traefik, Spring's and Flask's proxy filters read the same name)."""
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}/?")


def url_prefix(request: web.Request) -> str:
    """What goes before the absolute paths of answers: such as `/video`, or nothing.

    The proxy's word comes before the setting. What does not look like a path is passed over.
    """
    told = request.headers.get(HEADER, "")
    prefix = told if _PREFIX.fullmatch(told) else get_context(request).settings.path_prefix
    return prefix.rstrip("/")
