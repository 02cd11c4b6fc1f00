"""Asking an edge node where to enhance: its manifests link to the question, others do not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

import aiohttp

from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.errors import ToprungError
from abr.protocols.edge_api import EnhanceAtReply, EnhanceAtRequest, find_link
from abr.records import dumps, loads
from abr.virtual_time import working
from client_player.source.mpd import MANIFEST_MAX_BYTES
from client_player.transport.http import DownloadError, Transport, get_with_retries, read_body

_ANSWER_MAX_BYTES = 64 << 10
_ANSWER_MAX_S = 10.0


async def placed_manifest(
    manifest_url: str,
    profile: DeviceProfile,
    families: Sequence[Family],
    *,
    pool: aiohttp.ClientSession,
    transport: Transport,
) -> str:
    """The manifest that this device is to play: the one given, or where an edge node leads a device like it.

    Raises DownloadError when there is no such manifest.
    """
    manifest = await get_with_retries(transport, manifest_url, max_bytes=MANIFEST_MAX_BYTES)
    if (link := find_link(manifest.headers.get("Link", ""))) is None:
        return manifest_url
    where = urljoin(manifest.url, link)
    if _origin(where) != _origin(manifest.url):
        return manifest_url
    try:
        reply = await _ask(pool, where, EnhanceAtRequest(profile=profile, families=tuple(families)))
    except (aiohttp.ClientError, TimeoutError, OSError, ToprungError):
        return manifest_url  # it plays there too
    found = urljoin(where, reply.manifest_url)
    return found if _origin(found) == _origin(where) else manifest_url


async def _ask(pool: aiohttp.ClientSession, url: str, asked: EnhanceAtRequest) -> EnhanceAtReply:
    headers = {"Content-Type": "application/json"}
    with working():
        async with (
            asyncio.timeout(_ANSWER_MAX_S),
            pool.post(url, data=dumps(asked), headers=headers, allow_redirects=False) as response,
        ):
            answer, _ = await read_body(response, _ANSWER_MAX_BYTES)
    if response.status != 200:
        raise DownloadError(f"{url} answered {response.status}", status=response.status)
    return loads(answer, EnhanceAtReply, what=f"the answer of {url}")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
