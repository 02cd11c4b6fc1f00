"""A segment of a live title that is sent while it grows, chunk by chunk."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from server.context import Context, get_context
from server.errors import RequestError
from server.http.file_response import SENT, patience
from server.live_edge.watch import Edge
from server.media.live_title import LiveTitle
from server.media.title_cache import SLOWEST_BYTES_PER_S

SEGMENTS_AHEAD = 2
"""A segment may be asked for so many ahead of the newest whole one."""
WAITED = "Server-Timing"
"""Says in its metric `wait` how long an answer was held until there was something to send (W3C Server Timing): the
encoder's time, not the network's."""
_WAIT_SEGMENTS = 3


@dataclass(slots=True, kw_only=True)
class GrowingSegment:
    """A segment that is under way, whose first chunk is there. Make it with `reach_growing`.

    number: 0-based. seen_s: when that was seen, by the server's clock. waited_s: until that chunk came. wrote_s: what
    the chunks sent so far took.
    """

    title_id: str
    version: str
    live: LiveTitle
    number: int
    seen_s: float
    waited_s: float
    wrote_s: float = 0.0

    async def send(self, request: web.Request, relative: str, headers: Mapping[str, str]) -> web.StreamResponse:
        """Send the file at that path of the title as it grows, to its end.

        Raises RequestError 404, before anything is sent, for one that is not made. When the stream stops meanwhile, the
        viewer is hung up on: what has come is not the whole segment.
        """
        context, version = get_context(request), self.live.version
        body = await context.live_parts.read(self.title_id, version, relative, 0)
        waited = {WAITED: f"wait;dur={1000 * self.waited_s:.1f}", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers={**headers, **waited})
        response.enable_chunked_encoding()
        writer = await response.prepare(request)
        sent_bytes, part = 0, 0
        while request.method == "GET" and body is not None:
            began_s = time.perf_counter()
            async with patience(context.settings.request_timeout_s + len(body) / SLOWEST_BYTES_PER_S):
                await response.write(body)
                if writer is not None:
                    await writer.drain()
            self.wrote_s += time.perf_counter() - began_s
            part, sent_bytes = part + 1, sent_bytes + len(body)
            if part == self.live.segment_chunks:
                break
            await self._go_on(context, part)
            body = await context.live_parts.read(self.title_id, version, relative, part)
        await response.write_eof()
        response[SENT] = sent_bytes
        return response

    async def _go_on(self, context: Context, part: int) -> None:
        """Wait for a part. Raises ConnectionResetError when no more comes of a segment that is not whole."""
        if self.live.has(self.number, part):
            return
        watch, patience_s = context.edge_watch, wait_max_s(self.live)
        try:
            self.live = (await watch.reach(self.title_id, self.version, self.number, part, patience_s)).live
        except (TimeoutError, RequestError) as error:
            raise ConnectionResetError(f"{self.title_id} stopped within a segment") from error
        if not self.live.has(self.number, part):
            raise ConnectionResetError(f"{self.title_id} ended before the segment was whole")


async def reach_growing(context: Context, title_id: str, version: str, segment: int) -> GrowingSegment | None:
    """Wait for the first chunk of a segment (0-based); None when it is neither under way nor the next one.

    It may have become whole a moment ago. Raises RequestError 503 when it does not come, 410 when that version is gone.
    """
    live = (await context.edge_watch.now(title_id, version)).live
    if not is_growing(context, live) or not live.first_segment <= segment < live.end + SEGMENTS_AHEAD:
        return None
    began_s = time.perf_counter()
    live, seen_s = await reach_chunk(context, title_id, version, live, segment, 0)
    if not live.has(segment, 0):
        return None
    waited_s = time.perf_counter() - began_s
    return GrowingSegment(
        title_id=title_id, version=version, live=live, number=segment, seen_s=seen_s, waited_s=waited_s
    )


async def reach_chunk(context: Context, title_id: str, version: str, live: LiveTitle, segment: int, chunk: int) -> Edge:
    """Wait until a chunk is there, or the stream runs no more. Raises RequestError 503 when neither comes."""
    try:
        return await context.edge_watch.reach(title_id, version, segment, chunk, wait_max_s(live))
    except TimeoutError as error:
        again = {"Retry-After": str(math.ceil(live.segment_s))}
        raise RequestError(503, f"Nothing new has come of {live.id!r} for a while; try again.", again) from error


def is_growing(context: Context, live: LiveTitle) -> bool:
    """Whether chunks of it come one after the other: not of a stream without chunks, or whose encoder was killed."""
    return live.segment_chunks > 1 and live.state_at(context.clock()) == "running"


def wait_max_s(live: LiveTitle) -> float:
    """How long a request waits for a chunk."""
    return _WAIT_SEGMENTS * math.ceil(live.segment_s)
