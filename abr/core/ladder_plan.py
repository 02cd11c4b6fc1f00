"""The plan of a ladder: which sizes at which quality, written by whoever knows what enhancers do with each rung."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from abr.core.title import Positive
from abr.records import Record

LADDER_FILE = "ladder.json"


class PlannedRung(Record, frozen=True):
    """One rung, and what was measured of it on samples of the title when it was planned.

    height_px: along the short side. crf: x264's constant quality. quality, vmaf: as shown by `enhancer`; the rung was
    chosen by `quality`, trusted quality unless VMAF was asked for.
    """

    height_px: Positive
    crf: Annotated[float, Meta(ge=0, le=51)]
    kbps: float = 0.0
    quality: float = 0.0
    vmaf: float = 0.0
    enhancer: str = ""


class LadderPlan(Record, frozen=True):
    """Rungs by rising bitrate. The last one has the source's size; sizes may come more than once."""

    rungs: Annotated[tuple[PlannedRung, ...], Meta(min_length=1, max_length=16)]
    title: str = ""
    made_by: str = ""
    schema: int = 1
