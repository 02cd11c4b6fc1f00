"""The panel asked about single frames of a title: one in so many segments, so that its cost stays bounded.

Each judged frame is fed with the two before it. Flicker looks at one of them, XPSNR's weights at both of the source's.
A judged frame of 1280x720 costs about 0.4 seconds of one core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import numpy as np

from abr.core.title import PanelFigures
from abr.quality.ffmpeg_meters import FfmpegMeters
from abr.quality.panel import column_of, members_for, meter_settings, picture_names
from abr.quality.picture_meters import PictureMeters
from abr.quality.pictures import Planes

FED_FRAMES = 3
"""Frames fed for each that is judged: the two before it, and itself."""
TABLED = ("vmaf", "vmaf_neg", "ssim", "psnr_y_db")
"""Members that a title's tables have anyway, from many more frames."""

_NONE: Mapping[int, int] = {}

Pair = tuple[Planes, Planes]
"""Source and shown picture."""


def judged_frames(segment_frames: Sequence[int], every_segments: int) -> dict[int, int]:
    """The frame to judge, counted from the title's start, of one in `every_segments`; by segment, ascending.

    The middle frame of the segment in the middle of each run of so many; none when `every_segments` is 0.
    """
    if every_segments == 0:
        return {}
    starts = np.concatenate([[0], np.cumsum(segment_frames)])
    first = min(every_segments // 2, (len(segment_frames) - 1) // 2)
    segments = range(first, len(segment_frames), every_segments)
    return {segment: int(starts[segment]) + segment_frames[segment] // 2 for segment in segments}


def fed_frames(frame: int) -> list[int]:
    """What is fed for a judged frame: the two before it, and itself; the title's first repeated at its start."""
    return [max(0, frame - back) for back in reversed(range(FED_FRAMES))]


class SampledPanel:
    """Judges frames one by one. Use it in a with statement: leaving it ends ffmpeg.

    judged: the frames to pick out by `watch`, by segment; not needed for `judge`. tabled: also ask the members that a
    title's tables have anyway; VMAF then knows the motion up to the judged frame only.
    """

    def __init__(
        self, width_px: int, height_px: int, fps: float, judged: Mapping[int, int] = _NONE, *, tabled: bool = False
    ) -> None:
        self._segment_of = {frame: segment for segment, frame in judged.items()}
        self._looked_at = {index for frame in judged.values() for index in fed_frames(frame)}
        self._held: dict[int, Pair] = {}
        self._members = [each for each in members_for(width_px, height_px) if tabled or each.name not in TABLED]
        self._settings = meter_settings(self._members, width_px, height_px, fps, every_frames=FED_FRAMES, threads=1)
        self._ffmpeg: FfmpegMeters | None = None
        self._pictures = PictureMeters(picture_names(self._members), FED_FRAMES, first=FED_FRAMES - 1)
        self._segments: list[int] = []

    def __enter__(self) -> SampledPanel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ffmpeg:
            self._ffmpeg.__exit__(kind, error, trace)

    def watch(self, index: int, pair: Callable[[], Pair], *, counts: bool) -> None:
        """Look at frame `index` of the title; frames come in order. `pair` is called for those that matter.

        counts: whether the frame may be judged. Black ones may not.
        """
        if index not in self._looked_at:
            return
        self._held[index] = pair()
        if index in self._segment_of:
            if counts:
                self.judge(self._segment_of[index], [self._held[each] for each in fed_frames(index)])
            self._held = {each: held for each, held in self._held.items() if each > index - FED_FRAMES}

    def judge(self, segment: int, pairs: Sequence[Pair]) -> None:
        """Judge the last of these FED_FRAMES pairs of neighbouring frames. Of the first only the source counts."""
        if self._ffmpeg is None:
            self._ffmpeg, (source, _) = FfmpegMeters(self._settings), pairs[0]
            self._ffmpeg.feed(source, source)  # ffmpeg scores its first pair: here that is nobody's
        for source, shown in pairs:
            self._ffmpeg.feed(source, shown)
            self._pictures.feed(source, shown)
        self._segments.append(segment)

    def finish(self) -> PanelFigures | None:
        """Figures of all judged frames; None without any. Raises ToprungError when ffmpeg failed."""
        if self._ffmpeg is None:
            return None
        own, report = self._pictures.finish(), self._ffmpeg.finish()
        columns = {
            member.name: own[member.name] if member.name in own else column_of(report, member.name)[1:]
            for member in self._members
        }
        return PanelFigures(
            segment=tuple(self._segments),
            figures={name: tuple(round(float(value), 4) for value in values) for name, values in columns.items()},
        )


def join_panels(parts: Sequence[PanelFigures | None]) -> PanelFigures | None:
    """The figures of consecutive parts of a title as one."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    return PanelFigures(
        segment=tuple(segment for part in known for segment in part.segment),
        figures={name: tuple(value for part in known for value in part.figures[name]) for name in known[0].figures},
    )
