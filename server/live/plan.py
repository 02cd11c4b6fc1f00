"""What a live stream is encoded to."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from abr.core.title import Version
from abr.media.probe import SourceInfo
from server.ingest.audio import TRACK
from server.ingest.encode_settings import Cuts, EncodeSettings, chunk_length, segment_length
from server.ingest.ladder import Rung, check_caps, plan_sizes, planned_sizes
from server.live.ladder.caps import caps_by_size

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


def plan_stream(
    name: str, recipe: EncodeSettings, footage: SourceInfo, *, version: str, window_s: float, chunk_s: float
) -> LivePlan:
    """The ladder for a source. Raises InputError for rungs that it cannot have."""
    display_px = footage.display_width_px, footage.display_height_px
    rungs = planned_sizes(*display_px, recipe.planned) if recipe.planned else plan_sizes(*display_px, recipe.heights_px)
    check_caps(rungs, recipe.caps_bps)
    segment_frames = segment_length(recipe, footage.rate)
    chunk_frames = chunk_length(segment_frames, footage.rate, chunk_s)
    sound_bps = recipe.audio_bps if footage.sounds else 0
    fixed = recipe.describe(), display_px, footage.frame_rate, rungs, chunk_frames, sound_bps, window_s
    return LivePlan(
        name=name,
        version=version,
        footage=footage,
        rungs=caps_by_size(rungs, footage.rate, dict(recipe.caps_bps)),
        segment_frames=segment_frames,
        chunk_frames=chunk_frames if chunk_frames < segment_frames else 0,
        sound_bps=sound_bps,
        window_s=window_s,
        recipe=sha256(repr(fixed).encode()).hexdigest()[:16],
    )
