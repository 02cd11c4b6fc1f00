"""What there is of each part of a running stream, a part being a rendition or the sound, and how manifests name it."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from abr.core.title import INIT_FILE, AudioTrack, Rendition
from server.ingest.audio import CHANNELS, CODECS, RATE_HZ, TRACK
from server.ingest.encoders.codec_names import codecs_of
from server.ingest.ladder import Rung
from server.live.plan import SOUND_PART, LivePlan
from server.live_edge.growing import split_part

_SOUND_PEAK = 1.25
"""A segment of sound takes at most this much of its nominal bitrate."""
_FRAME_BOX_BYTES, _CHUNK_BOX_BYTES = 16, 300
"""What a frame and a chunk take beside their coded pictures, at most: `trun` entries, `moof`, parameter sets."""


class LadderParts:
    """Hears of each file that an encoder has written."""

    def __init__(self, plan: LivePlan) -> None:
        self.sizes = {part: array("Q") for part in plan.parts}
        """Bytes of the whole segments; 0 of those that are not made."""
        self._plan = plan
        self._codecs: dict[str, str] = {}
        self._init_bytes: dict[str, int] = {}
        self._chunks = dict.fromkeys(plan.parts, 0)
        """Of the segment that is under way in each part."""

    def take_up(self, sizes: Mapping[str, array[int]], inits: Mapping[str, bytes]) -> None:
        """Go on with a stream of that plan: bytes of its segments so far, and the init segment of each part."""
        self.sizes = dict(sizes)
        for part, init in inits.items():
            self.note(part, INIT_FILE, init)

    def note(self, part: str, name: str, data: bytes) -> None:
        """A file is there."""
        if name == INIT_FILE:
            self._init_bytes[part] = len(data)
            self._codecs[part] = CODECS if part == SOUND_PART else codecs_of(data)
        elif split_part(name):
            self._chunks[part] += 1
        elif name.startswith("seg-"):
            self.sizes[part].append(len(data))
            self._chunks[part] = 0

    @property
    def segments(self) -> int:
        """That all parts have."""
        return min(map(len, self.sizes.values()))

    def chunks_of(self, segment: int) -> int:
        """Chunks that all parts have of the segment under way: some may be at the next one already."""
        most = self._plan.cuts.chunks - 1
        under_way = [min(most, self._chunks[part]) for part, sizes in self.sizes.items() if len(sizes) == segment]
        return min(under_way, default=0)

    def rendition(self, rung: Rung, segments: int) -> Rendition:
        """By its first `segments`.

        bandwidth_bps: with a minBufferTime of the VBV buffer's length, a link of the cap's rate is enough (5.3.5.2).
        The cap knows nothing of what the segments' boxes take.
        """
        part = f"video/{rung.id}"
        sizes = [size for size in self.sizes[part][:segments] if size]
        return Rendition(
            id=rung.id,
            width_px=rung.width_px,
            height_px=rung.height_px,
            codecs=self._codecs[part],
            bandwidth_bps=rung.cap_bps + self._boxes_bps(),
            average_bps=int(sum(sizes) * 8 / (len(sizes) * self._plan.segment_s)) + 1,
            init_bytes=self._init_bytes[part],
            segment_bytes=tuple(sizes[-1:]),
        )

    def _boxes_bps(self) -> int:
        chunks_per_s = self._plan.cuts.chunks / self._plan.segment_s
        return int(8 * (_FRAME_BOX_BYTES * self._plan.footage.rate + _CHUNK_BOX_BYTES * chunks_per_s))

    def track(self) -> AudioTrack:
        """The sound."""
        return AudioTrack(
            id=TRACK,
            codecs=CODECS,
            bandwidth_bps=int(self._plan.sound_bps * _SOUND_PEAK),
            sample_rate_hz=RATE_HZ,
            channels=CHANNELS,
            init_bytes=self._init_bytes[SOUND_PART],
            segment_bytes=tuple(self.sizes[SOUND_PART][-1:]),
            language=self._plan.footage.sound_language,
        )
