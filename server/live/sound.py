"""The sound of a running stream: AAC segments in step with the picture's, whatever the source's sound does."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from abr.core.title import INIT_FILE
from server.ingest.audio import FRAME_SAMPLES, RATE_HZ, Form, SoundEncoder, SoundPlacer, mux_sound
from server.ingest.mp4.cmaf import SegmentWriter, Write

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.packet import Packet

LATE_MAX_S = 1.0
"""Sound that comes this much later than its picture is silence: the picture does not wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPlace:
    """Where sound begins, counted from the stream's beginning: in AAC frames, segments and chunks."""

    frame: int = 0
    segment: int = 0
    chunk: int = 0


class LiveSound:
    """Takes sound as it comes, and writes a chunk when both its sound and its pictures have come."""

    def __init__(
        self, bit_rate_bps: int, write: Write, *, in_parts: bool = False, first: SoundPlace = SoundPlace()
    ) -> None:
        self._form = Form(stereo_bps=bit_rate_bps)
        self._write = write
        self._segments = SegmentWriter(write, in_parts=in_parts, first=first.segment)
        self._placer = SoundPlacer(first.frame * FRAME_SAMPLES)
        self._encoder = SoundEncoder(self._form, first.frame)
        self._packets: deque[Packet[AudioStream]] = deque()
        self._ends: deque[tuple[int, bool]] = deque()
        """Of chunks whose pictures have come, in AAC frames from the stream's beginning, and if a segment ends too."""
        self._chunks, self._written_end = first.chunk, first.frame
        """How many are written, and where the last of them ended."""
        self.ends = array("Q")
        """Of segments that are written."""
        self.init_bytes = 0

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes of the segments that are written."""
        return self._segments.sizes

    def add(self, frame: AudioFrame, time_s: float | None) -> None:
        """Take a frame that begins at that media time; None: where the one before ended. Raises StorageError."""
        self._encode(self._encoder.add(self._placer.add(frame, time_s)))

    def follow(self, time_s: Fraction) -> None:
        """The picture has come to that media time: what is missing of the sound long before it is silence."""
        self._encode(self._encoder.add(self._placer.silence_until(float(time_s) - LATE_MAX_S)))

    def close_chunk(self, end_s: Fraction, *, closes_segment: bool) -> None:
        """The next chunk ends at that media time, to the nearest AAC frame, and perhaps the segment with it."""
        self._ends.append((max(self._last_end + 1, round(end_s * RATE_HZ / FRAME_SAMPLES)), closes_segment))
        self._write_complete()

    def finish(self, end_s: Fraction) -> None:
        """A span ends at that media time: its last segment has the AAC frames that fit in whole.

        What comes next is placed anew. Sound beyond the end is dropped.
        """
        end = max(self._last_end + 1, int(end_s * RATE_HZ / FRAME_SAMPLES))
        self._ends.append((end, True))
        samples = self._placer.finish()
        self._encode([*self._encoder.add(samples, end), *self._encoder.finish(end)])
        self._packets.clear()
        self._placer = SoundPlacer(end * FRAME_SAMPLES)
        self._encoder = SoundEncoder(self._form, end)

    @property
    def _last_end(self) -> int:
        return self._ends[-1][0] if self._ends else self._written_end

    def _encode(self, packets: Iterable[Packet[AudioStream]]) -> None:
        self._packets.extend(packets)
        self._write_complete()

    def _write_complete(self) -> None:
        while self._ends:
            count = self._ends[0][0] - self._written_end
            if len(self._packets) < count:
                return
            self._written_end, closes_segment = self._ends.popleft()
            taken = [self._packets.popleft() for _ in range(count)]
            init, chunk = mux_sound(taken, self._chunks, self._form)
            if not self.init_bytes:
                self.init_bytes = len(init)
                self._write(INIT_FILE, init)
            self._chunks += 1
            if closes_segment:
                self.ends.append(self._written_end)
            self._segments.add(chunk, closes=closes_segment)
