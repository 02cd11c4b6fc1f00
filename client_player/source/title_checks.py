"""Checks of a title that was downloaded. It is not trusted: its numbers decide how much memory is allocated."""

from __future__ import annotations

from abr.core.title import Quality, Title
from abr.errors import FormatError

DISPLAY_MAX_PX = 8192 * 4352
FPS_MAX = 300.0
SEGMENTS_MAX = 50_000
SEGMENT_MAX_S = 120.0


def check_title(title: Title, what: str) -> None:
    """Raises FormatError, naming `what`, when sizes are absurd or its parts do not fit each other."""
    count = len(title.segment_duration_s)
    faults = (
        (title.display_width_px * title.display_height_px > DISPLAY_MAX_PX, "its display size is absurd"),
        (not 0 < title.fps <= FPS_MAX, "its frame rate is absurd"),
        (not 0 < count <= SEGMENTS_MAX, f"it has {count} segments"),
        (max(title.segment_duration_s, default=0.0) > SEGMENT_MAX_S, "a segment is too long"),
        (not title.renditions, "it has no renditions"),
        (len(title.segment_frames) != count, "segment durations and frame counts differ in number"),
        (_wrong_frames(title), "frame counts do not fit the durations"),
        (any(len(rendition.segment_bytes) != count for rendition in title.renditions), "a rendition lacks segments"),
        (
            any(_lacks(title.plain_quality.get(rendition.id), count) for rendition in title.renditions),
            "a quality table is short",
        ),
        (_crop_outside(title), "its crop is outside the picture"),
    )
    for wrong, why in faults:
        if wrong:
            raise FormatError(f"{what} cannot be relied on: {why}. Prepare the title again.")


def _wrong_frames(title: Title) -> bool:
    pairs = zip(title.segment_frames, title.segment_duration_s, strict=False)
    return any(abs(frames - duration_s * title.fps) > 2 for frames, duration_s in pairs)


def _lacks(quality: Quality | None, count: int) -> bool:
    return quality is None or len(quality.vmaf) != count


def _crop_outside(title: Title) -> bool:
    x, y, width, height = title.meter.crop
    inside = x + width <= title.display_width_px and y + height <= title.display_height_px
    return not (inside and width > 0 and height > 0)
