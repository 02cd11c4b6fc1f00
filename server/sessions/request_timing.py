"""Throughput from the rhythm of requests: for stock players, whose network the server cannot see by its own sockets.

A player that wants more asks for the next segment as soon as the last one has come, so the time between two requests is
the time that a download took, sound and all. It is so wherever the bottleneck lies, behind a reverse proxy too. It is
not so when the player rested between them, its buffer full or its viewer pausing: CMCD's buffer length (`bl`) tells.
"""

from __future__ import annotations

from abr.core.control import Download

FULL_SLACK_S = 0.35
"""A buffer this near to the fullest heard of may be as full as the player wants it (`bl` is rounded to 0.1 s)."""
REST_MIN_S = 6.0
"""No player rests on less."""
STEADY_SHARE = 0.25
"""A player at rest asks once in a segment's duration, give or take this share of it."""
PAUSED_SHARE = 0.8
"""A buffer that grew by this share of the segment, although the segment took longer to come than to play, was not
playing all the while."""
ELAPSED_MIN_S, ELAPSED_MAX_S = 0.005, 120.0


def last_download(
    *,
    requested_s: float,
    now_s: float,
    buffer_before_s: float,
    buffer_s: float,
    fullest_s: float,
    duration_s: float,
    size_bytes: int,
) -> Download | None:
    """The download of the segment asked for at `requested_s`, now that the next one is; None when nothing can be said.

    buffer_before_s, buffer_s: told with those two requests; fullest_s: the most told before now. duration_s: media
    seconds of the segment. size_bytes: its bytes and those of the sound that comes with it.
    """
    elapsed_s = now_s - requested_s
    if not ELAPSED_MIN_S <= elapsed_s <= ELAPSED_MAX_S:
        return None
    is_steady = abs(elapsed_s - duration_s) < STEADY_SHARE * duration_s
    has_rested = is_steady and buffer_s > max(fullest_s - FULL_SLACK_S, REST_MIN_S)
    has_grown = buffer_s >= buffer_before_s + PAUSED_SHARE * duration_s
    was_paused = elapsed_s > duration_s and has_grown and buffer_before_s > 1.0
    if has_rested or was_paused:
        return None
    return Download(started_s=requested_s, duration_s=elapsed_s, latency_s=0.0, size_bytes=size_bytes)
