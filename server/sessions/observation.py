"""What the server knows of a viewer at the moment of a decision: told in CMCD, remembered, or estimated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from aiohttp import web

from abr.core.control import Download, Observation
from abr.core.options import PriceList, menu_of
from abr.errors import FormatError
from abr.protocols import cmcd
from abr.protocols.cmcd import Cmcd, ViewerState, from_headers, from_query, to_viewer
from server.sessions.request_timing import last_download
from server.sessions.state import SessionState, owned_keys

_NOT_BEGUN = ("d", "s")
"""States (`sta`, CTA-5004-A) before the first frame: preloading, starting."""
SPAN_MAX_S = 1e6
"""Longer spans than the session log can hold are cut to this."""


class ClientHints(msgspec.Struct, frozen=True, kw_only=True):
    """What one request told of its viewer. `fault` says why its CMCD was left aside, if it was."""

    cmcd: Cmcd = {}
    viewer: ViewerState = ViewerState()
    fault: str = ""

    @property
    def tells_throughput(self) -> bool:
        """True of our own players even before their first download, and of others that send `mtp` or `bl`.

        With `bl` the time between their requests tells.
        """
        return self.viewer != ViewerState() or "mtp" in self.cmcd or "bl" in self.cmcd


def read_hints(request: web.Request) -> ClientHints:
    """Read CMCD from headers and query; the query wins. What is malformed is left aside whole: media still flows."""
    return read_hints_from_keys(request.headers, request.query.get(cmcd.QUERY))


def read_hints_from_keys(headers: Mapping[str, str], argument: str | None) -> ClientHints:
    """The same of headers, whose names are found whatever their case, and of the query argument, decoded once."""
    try:
        keys = from_headers(headers)
        if argument is not None:
            keys |= from_query(argument)
        return ClientHints(cmcd=keys, viewer=to_viewer(keys))
    except FormatError as error:
        return ClientHints(fault=str(error))


class ObservedSession(NamedTuple):
    """A session at the moment of a decision."""

    state: SessionState
    """It remembers what the request tells."""
    observation: Observation
    """All that a controller may know."""
    owned: tuple[str, ...]
    """Keys of the title's weights chunks that the viewer has."""


def observe(
    state: SessionState,
    hints: ClientHints,
    prices: PriceList,
    segment: int,
    *,
    now_s: float,
    horizon: int,
    is_paced: bool = False,
) -> ObservedSession:
    """What the server knows of a viewer who asks for `segment` when its clock says `now_s`.

    is_paced: segments come as they are made, so that the time between two requests tells nothing of the network.

    The session time is the viewer's own if it tells, else that of the server's clock; never negative.
    """
    viewer, bl_s = hints.viewer, _bl_s(hints)
    session_s = max(0.0, now_s - state.created_s) if viewer.now_s is None else viewer.now_s
    download = viewer.download
    if download is None and bl_s is not None and not is_paced:
        download = _timed_download(state, prices, segment, bl_s, session_s)
    fullest_s = bl_s if viewer.download is None else None
    state = state.with_viewer(download, fullest_s, viewer.owned)
    owned = owned_keys(state.owned, prices.weights_bytes)
    observation = Observation(
        now_s=session_s,
        menu=menu_of(prices, segment, horizon, frozenset(owned)),
        buffer_s=_buffer_s(state, hints, bl_s, session_s),
        buffer_max_s=state.buffer_max_s,
        backlog_s=min(viewer.backlog_s or 0.0, SPAN_MAX_S),
        playing=_is_playing(state, hints),
        downloads=_downloads(state, hints, session_s),
        last=prices.choices[state.last] if state.last >= 0 else None,
        memory=state.memory,
    )
    return ObservedSession(state, observation, owned)


def _timed_download(
    state: SessionState, prices: PriceList, segment: int, buffer_s: float, now_s: float
) -> Download | None:
    """The last segment's download, by the time between two requests.

    None unless this is the next segment and nothing better tells.
    """
    if state.reports or state.segment != segment - 1 or not 0 <= state.last < len(prices.choices):
        return None
    duration_s = float(prices.duration_s[state.segment])
    return last_download(
        requested_s=state.decided_s,
        now_s=now_s,
        buffer_before_s=state.ahead_s - duration_s,
        buffer_s=buffer_s,
        fullest_s=state.fullest_s,
        duration_s=duration_s,
        size_bytes=int(prices.size_bytes[state.segment, state.last]),
    )


def _buffer_s(state: SessionState, hints: ClientHints, bl_s: float | None, now_s: float) -> float:
    """Told by our player to the millisecond, by others to 100 ms; else what was sent less what was played since."""
    if hints.viewer.buffer_s is not None:
        return min(hints.viewer.buffer_s, SPAN_MAX_S)
    if bl_s is not None:
        return bl_s
    return min(max(0.0, state.ahead_s - max(0.0, now_s - state.decided_s)), state.buffer_max_s)


def _bl_s(hints: ClientHints) -> float | None:
    bl_ms = hints.cmcd.get("bl")
    return min(bl_ms / 1000, SPAN_MAX_S) if isinstance(bl_ms, int) else None


def _is_playing(state: SessionState, hints: ClientHints) -> bool:
    """Without word of it, playback counts as started once a segment was sent (`su` is also said after a stall)."""
    if hints.viewer.playing is not None:
        return hints.viewer.playing
    if (player_state := hints.cmcd.get("sta")) is not None:
        return player_state not in _NOT_BEGUN
    return state.last >= 0


def _downloads(state: SessionState, hints: ClientHints, now_s: float) -> tuple[Download, ...]:
    """Those told of; else the player's own estimate, as one second of download at that rate; else our own sends."""
    mtp_kbps = hints.cmcd.get("mtp")
    if hints.viewer.download is None and not state.reports and isinstance(mtp_kbps, int) and mtp_kbps > 0:
        size_bytes = min(mtp_kbps, 10**9) * 125
        return (Download(started_s=max(0.0, now_s - 1.0), duration_s=1.0, latency_s=0.0, size_bytes=size_bytes),)
    return state.recent_downloads()
