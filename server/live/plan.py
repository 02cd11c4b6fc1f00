"""What a live stream is encoded to."""

from __future__ import annotations

from dataclasses import dataclass

from abr.core.title import Version
from abr.media.probe import SourceInfo
from server.ingest.audio import TRACK
from server.ingest.encode_settings import Cuts
from server.ingest.ladder import Rung

SOUND_PART = f"audio/{TRACK}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlan:
    """What a stream is encoded to. segment_frames: usually; one that a break ends is shorter. sound_bps: 0 without.

    chunk_frames: of the chunks that a segment is offered in while it is under way; 0: it is offered when it is whole.
    recipe: all that makes its init segments and its timeline what they are, hashed.
    """

    name: str
    version: Version
    footage: SourceInfo
    rungs: tuple[Rung, ...]
    segment_frames: int
    sound_bps: int
    window_s: float
    chunk_frames: int = 0
    recipe: str = ""

    @property
    def cuts(self) -> Cuts:
        """Where segments and chunks begin."""
        return Cuts(self.footage.rate, self.segment_frames, self.chunk_frames or self.segment_frames)

    @property
    def segment_s(self) -> float:
        """Of a usual segment."""
        return float(self.segment_frames / self.footage.rate)

    @property
    def parts(self) -> list[str]:
        """Folders of the renditions and of the sound."""
        return [*(f"video/{rung.id}" for rung in self.rungs), *([SOUND_PART] if self.sound_bps else [])]

    def describe(self) -> str:
        """One sentence."""
        shown, rungs = self.footage, ", ".join(rung.id for rung in self.rungs)
        size = f"{shown.display_width_px}x{shown.display_height_px}"
        return f"{self.name} is live: {size} at {float(shown.rate):g} frames a second, rungs {rungs}."
