"""What was measured of a rendition, segment by segment, and by what."""

from __future__ import annotations

from abr.core.title.fields import Count, Positive
from abr.records import Record


class PanelFigures(Record, frozen=True):
    """What further meters (`abr.quality.panel`) say of some segments, each judged by one of its frames.

    segment: the judged ones, ascending. figures: member's name → one figure for each of these, in the member's unit.
    """

    segment: tuple[Count, ...]
    figures: dict[str, tuple[float, ...]]

    def __hash__(self) -> int:
        return hash((self.segment, frozenset(self.figures.items())))


class Quality(Record, frozen=True, omit_defaults=True):
    """Mean quality of each segment as shown at display size, against the source. One entry a segment.

    vmaf, vmaf_neg: 0–100. ssim: 0–1. psnr_y_db: decibels, at most 60 (capped, so that means stay finite).
    panel: None where no further meters were asked. trusted: VMAF points, 0–100, that the panel attests to a lifted
    picture (`abr.quality.trusted`); empty where nothing says otherwise than VMAF.
    """

    vmaf: tuple[float, ...]
    vmaf_neg: tuple[float, ...]
    ssim: tuple[float, ...]
    psnr_y_db: tuple[float, ...]
    panel: PanelFigures | None = None
    trusted: tuple[float, ...] = ()


class Meter(Record, frozen=True, omit_defaults=True):
    """How quality was measured, so that a figure names its maker."""

    vmaf_model: str
    vmaf_neg_model: str
    tool: str
    """Program and version that computed the metrics."""
    scaler: str
    """The scaler of plain playback, from rendition size to display size."""
    every_frames: Positive
    """One frame in this many was scored (motion is still computed on every frame)."""
    crop: tuple[Count, Count, Count, Count]
    """The picture inside letterbox borders, at display size: x, y, width, height in pixels."""
    black_luma_max: float
    """Frames whose source luma averages below this (8-bit code value) are left out of every mean."""
    panel_every_segments: Count = 0
    """The panel judged one frame in every so many segments; 0 when it was not asked."""
