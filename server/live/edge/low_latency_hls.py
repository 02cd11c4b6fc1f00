"""What Low-Latency HLS adds to media playlists (RFC 8216bis, 4.4.3.7, 4.4.3.8, 4.4.4.9, 4.4.5.3, 4.4.5.4).

A part is a chunk of a segment. Parts are listed over the last three target durations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

from abr.core.title import part_file
from server.ingest.audio import FRAME_SAMPLES, RATE_HZ
from server.live.edge.presentation import LivePresentation

HOLD_BACK_PARTS = 3
"""How many part targets behind the live edge players are told to be: the least that is recommended (4.4.3.8)."""
PARTS_TARGETS = 3
"""Parts are listed for as many target durations (4.4.4.9)."""
_AAC_FRAME_S = FRAME_SAMPLES / RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of one playlist. durations_s: of each part of each listed segment; those under way are the last.

    name: of the file of a part of a segment.
    """

    folder: str
    end: int
    target_s: float
    durations_s: Sequence[Sequence[float]]
    reports: Sequence[str] = ()
    name: Callable[[int, int], str] = part_file

    def head(self) -> list[str]:
        """Lines for the head of the playlist."""
        return [
            f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={HOLD_BACK_PARTS * self.target_s:.3f}",
            f"#EXT-X-PART-INF:PART-TARGET={self.target_s:.3f}",
        ]

    def of(self, segment: int) -> list[str]:
        """Lines before a segment, or for the one that is under way."""
        durations_s = self.durations_s[segment - self.end - 1]
        lines = [
            f'#EXT-X-PART:DURATION={duration_s:.6f},URI="{self.folder}/{self.name(segment, part)}"'
            for part, duration_s in enumerate(durations_s)
        ]
        starts = range(len(lines)) if self.folder.startswith("audio") else range(min(1, len(lines)))
        return [f"{line},INDEPENDENT=YES" if part in starts else line for part, line in enumerate(lines)]

    def tail(self) -> list[str]:
        """Lines for the end of the playlist: the part that comes next, and how far the other playlists are."""
        chunks = len(self.durations_s[-1])
        last = (self.end + 1, chunks - 1) if chunks else (self.end, len(self.durations_s[-2]) - 1)
        hint = f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{self.folder}/{self.name(self.end, chunks)}"'
        reports = [
            f'#EXT-X-RENDITION-REPORT:URI="{name}",LAST-MSN={last[0]},LAST-PART={last[1]}' for name in self.reports
        ]
        return [hint, *reports]


def first_with_parts(shown: LivePresentation, target_s: int) -> int:
    """The first segment whose parts are listed."""
    ends_s = list(accumulate(shown.durations_s))
    return next(
        shown.first + index for index, end_s in enumerate(ends_s) if end_s > ends_s[-1] - PARTS_TARGETS * target_s
    )


def picture_parts(shown: LivePresentation, rendition: str) -> Parts:
    """Of a rendition."""
    return _parts(shown, f"video/{rendition}", _picture_durations_s(shown), f"{rendition}.m3u8")


def driven_parts(shown: LivePresentation) -> Parts:
    """Of a session, whose segments are decided one by one: with its first part each."""
    return Parts(
        folder="video",
        end=shown.end,
        target_s=part_target_s(shown),
        durations_s=_picture_durations_s(shown),
        name=lambda segment, part: f"{segment + 1}.{part + 1}.m4s",
    )


def _picture_durations_s(shown: LivePresentation) -> list[list[float]]:
    return [
        [float(Fraction(end - begin) / shown.rate) for begin, end in pairwise([0, *ends])]
        for ends in _ends_of_chunks(shown)
    ]


def sound_parts(shown: LivePresentation, track: str) -> Parts:
    """Of a sound track."""
    segment_ends, timeline = shown.sound_ends, shown.timeline
    durations_s = []
    for index, ends in enumerate(_ends_of_chunks(shown)):
        begin = timeline.begin(shown.first + index)
        inner = [shown.sound_end(begin + end) for end in ends]
        if index < len(shown.frames):
            inner[-1] = segment_ends[index + 1]
        durations_s.append([(end - start) * _AAC_FRAME_S for start, end in pairwise([segment_ends[index], *inner])])
    return _parts(shown, f"audio/{track}", durations_s, f"{track}.m3u8")


def _ends_of_chunks(shown: LivePresentation) -> list[list[int]]:
    """In frames, within each listed segment and within the one that is under way."""
    cuts = shown.cuts
    return [*(cuts.chunk_ends(frames) for frames in shown.frames), cuts.chunk_ends(cuts.segment_frames)[: shown.chunks]]


def _parts(shown: LivePresentation, folder: str, durations_s: Sequence[Sequence[float]], own: str) -> Parts:
    ids = [*(rendition.id for rendition in shown.renditions), *(track.id for track in shown.audio)]
    names = [f"{each}.m3u8" for each in ids]
    return Parts(
        folder=folder,
        end=shown.end,
        target_s=part_target_s(shown),
        durations_s=durations_s,
        reports=[name for name in names if name != own],
    )


def part_target_s(shown: LivePresentation) -> float:
    """The longest part of any playlist: sound ends with an AAC frame, one before or after the picture's end."""
    chunk_s = float(shown.cuts.chunk_frames / shown.rate)
    longest_s = (math.floor(chunk_s / _AAC_FRAME_S) + 1) * _AAC_FRAME_S if shown.audio else chunk_s
    return math.ceil(max(chunk_s, longest_s) * 1000) / 1000
