"""WebVTT, written (W3C WebVTT, section 4.1)."""

from __future__ import annotations

from collections.abc import Iterable

from server.ingest.subtitles.cues import Cue


def dumps_webvtt(cues: Iterable[Cue]) -> bytes:
    """The whole file."""
    blocks = (f"{_timestamp(cue.start_s)} --> {_timestamp(cue.end_s)}\n{cue.text}\n" for cue in cues)
    return "\n".join(("WEBVTT\n", *blocks)).encode()


def _timestamp(time_s: float) -> str:
    milliseconds = round(1000 * time_s)
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
