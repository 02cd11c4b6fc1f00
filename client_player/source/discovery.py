"""Finding what to play: a title on a Toprung server, or a standard manifest."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Meta

from abr.errors import InputError
from abr.records import loads
from client_player.transport.http import Transport, get_with_retries


class _TitleLine(msgspec.Struct, frozen=True):
    id: str


class _TitleList(msgspec.Struct, frozen=True):
    titles: Annotated[tuple[_TitleLine, ...], Meta(max_length=10_000)]


def split_url(url: str) -> tuple[str, str]:
    """(server's base URL, title id) from the same, as far as the URL tells: the id is empty in that of a server."""
    parts = urlsplit(url)
    pieces = parts.path.split("/")
    if "titles" in pieces[:-2]:
        at = pieces.index("titles")
        return f"{parts.scheme}://{parts.netloc}" + "/".join(pieces[:at]) + "/", pieces[at + 1]
    return (url if url.endswith("/") else url + "/"), ""


async def find_title(url: str, wanted: str, transport: Transport) -> tuple[str, str]:
    """(server's base URL, title id) from a server's URL, or that of a title's manifest on it. Raises InputError."""
    base_url, title_id = split_url(url)
    if title_id:
        return base_url, title_id
    reply = await get_with_retries(transport, urljoin(base_url, "titles"))
    known = [line.id for line in loads(reply.body, _TitleList, what=reply.url).titles]
    if wanted and wanted in known:
        return base_url, wanted
    if not wanted and len(known) == 1:
        return base_url, known[0]
    asked = (
        f"There is no title {wanted!r} at {url}." if wanted else f"{url} has {len(known)} titles; choose with --title."
    )
    raise InputError(f"{asked} There are: {', '.join(known[:20]) or 'none'}.")


async def find_manifest(url: str, wanted: str, transport: Transport) -> str:
    """The URL of a standard manifest: the one given, or that of a title on a Toprung server. Raises InputError."""
    if urlsplit(url).path.endswith(".mpd"):
        return url
    base_url, title_id = await find_title(url, wanted, transport)
    return urljoin(base_url, f"titles/{title_id}/manifest.mpd")
