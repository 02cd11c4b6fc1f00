"""What the server knows of a viewer at the moment of a decision: heard in CMCD, remembered, or estimated."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import web

from abr import cmcd
from abr.cmcd import Cmcd, ViewerState, from_headers, from_query, to_viewer
from abr.control import Download, Observation
from abr.errors import FormatError
from abr.options import Menu, PriceList
from server.cadence import last_download
from server.sessions import SessionState, pack_owned, unpack_download

_NOT_BEGUN = ("d", "s")
"""States (`sta`, CTA-5004-A) before the first frame: preloading, starting."""
SPAN_MAX_S = 1e6
"""Longer spans than the session log can hold are cut to this."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What one request told of its viewer. `fault` says why its CMCD was left aside, if it was."""

    cmcd: Cmcd = {}
    viewer: ViewerState = ViewerState()
    fault: str = ""

    @property
    def tells_throughput(self) -> bool:
        """True of our own players even before their first download, and of others that send `mtp`, or `bl`: then the
        rhythm of their requests tells."""
        return self.viewer != ViewerState() or "mtp" in self.cmcd or "bl" in self.cmcd


def hear(request: web.Request) -> Heard:
    """Read CMCD from headers and query; the query wins. What is malformed is left aside whole: media still flows."""
    return hear_keys(request.headers, request.query.get(cmcd.QUERY))


def hear_keys(headers: Mapping[str, str], argument: str | None) -> Heard:
    """The same of headers, whose names are found whatever their case, and of the query argument, decoded once."""
    try:
        keys = from_headers(headers)
        if argument is not None:
            keys |= from_query(argument)
        return Heard(cmcd=keys, viewer=to_viewer(keys))
    except FormatError as error:
        return Heard(fault=str(error))


def session_time_s(state: SessionState, heard: Heard, now_s: float) -> float:
    """The viewer's own session time if it tells, else that of the server's clock `now_s`; never negative."""
    told_s = heard.viewer.now_s
    return max(0.0, now_s - state.created_s) if told_s is None else told_s


def remember(state: SessionState, heard: Heard, prices: PriceList, segment: int, now_s: float) -> SessionState:
    """The state with what the viewer tells of its last download, by its own word or by asking for `segment` at session
    time `now_s`, and of the weights it owns."""
    if heard.viewer.download is not None:
        state = state.with_download(heard.viewer.download)
    elif (told_s := _told_buffer_s(heard)) is not None:
        came = _came(state, prices, segment, told_s, now_s)
        state = state if came is None else state.with_download(came)
        state = msgspec.structs.replace(state, fullest_s=max(state.fullest_s, told_s))
    if heard.viewer.owned is not None:
        state = msgspec.structs.replace(state, owned=pack_owned(heard.viewer.owned))
    return state


def _came(state: SessionState, prices: PriceList, segment: int, buffer_s: float, now_s: float) -> Download | None:
    """The last segment's download, when this is the next one and nothing better tells."""
    if state.reports or state.segment != segment - 1 or not 0 <= state.last < len(prices.choices):
        return None
    duration_s = float(prices.duration_s[state.segment])
    return last_download(
        asked_s=state.heard_s,
        now_s=now_s,
        buffer_before_s=state.ahead_s - duration_s,
        buffer_s=buffer_s,
        fullest_s=state.fullest_s,
        duration_s=duration_s,
        size_bytes=int(prices.size_bytes[state.segment, state.last]),
    )


def observe(state: SessionState, heard: Heard, prices: PriceList, menu: Menu, *, now_s: float) -> Observation:
    """All that a controller may know. `state` already remembers what was heard; `now_s` is session time."""
    return Observation(
        now_s=now_s,
        menu=menu,
        buffer_s=_buffer_s(state, heard, now_s),
        buffer_max_s=state.buffer_max_s,
        backlog_s=min(heard.viewer.backlog_s or 0.0, SPAN_MAX_S),
        playing=_playing(state, heard),
        downloads=_downloads(state, heard, now_s),
        last=prices.choices[state.last] if state.last >= 0 else None,
        memory=state.memory,
    )


def _buffer_s(state: SessionState, heard: Heard, now_s: float) -> float:
    """Told by our player to the millisecond, by others to 100 ms; else what was sent less what was played since."""
    if heard.viewer.buffer_s is not None:
        return min(heard.viewer.buffer_s, SPAN_MAX_S)
    if (told_s := _told_buffer_s(heard)) is not None:
        return told_s
    return min(max(0.0, state.ahead_s - max(0.0, now_s - state.heard_s)), state.buffer_max_s)


def _told_buffer_s(heard: Heard) -> float | None:
    told_ms = heard.cmcd.get("bl")
    return min(told_ms / 1000, SPAN_MAX_S) if isinstance(told_ms, int) else None


def _playing(state: SessionState, heard: Heard) -> bool:
    """Without word of it, playback counts as started once a segment was sent (`su` is also said after a stall)."""
    if heard.viewer.playing is not None:
        return heard.viewer.playing
    if (told := heard.cmcd.get("sta")) is not None:
        return told not in _NOT_BEGUN
    return state.last >= 0


def _downloads(state: SessionState, heard: Heard, now_s: float) -> tuple[Download, ...]:
    """Those told of; else the player's own estimate, as one second of download at that rate; else our own sends."""
    told_kbps = heard.cmcd.get("mtp")
    if heard.viewer.download is None and not state.reports and isinstance(told_kbps, int) and told_kbps > 0:
        size_bytes = min(told_kbps, 10**9) * 125
        return (Download(started_s=max(0.0, now_s - 1.0), duration_s=1.0, latency_s=0.0, size_bytes=size_bytes),)
    return tuple(map(unpack_download, state.downloads))
