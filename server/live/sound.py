"""The sound of a running stream: AAC segments in step with the picture's, whatever the source's sound does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

from abr.core.title import segment_file
from server.ingest.audio import FRAME_SAMPLES, RATE_HZ, SoundEncoder, SoundPlacer, mux_sound
from server.ingest.cmaf import INIT_FILE
from server.ingest.encode import Write
from server.live.source import Arrived

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.packet import Packet

LATE_MAX_S = 1.0
"""Sound that comes this much later than its picture is silence: the picture does not wait for it."""
EARLY_MAX_S = 5.0
"""Of the sound that comes before the first picture, so much is kept: a source may send pictures late, or none."""


def drop_oldest(early: deque[Arrived]) -> None:
    """Leave no more than EARLY_MAX_S of sound that waits for a picture."""
    lasts_s = sum(each.sound_s for each in early)
    while early and lasts_s > EARLY_MAX_S:
        lasts_s -= early.popleft().sound_s


class LiveSound:
    """Takes sound as it comes, and writes a segment when both its sound and its pictures have come."""

    def __init__(self, bit_rate_bps: int, write: Write) -> None:
        self._bit_rate_bps = bit_rate_bps
        self._write = write
        self._placer = SoundPlacer()
        self._encoder = SoundEncoder(bit_rate_bps)
        self._packets: deque[Packet[AudioStream]] = deque()
        self._ends: deque[int] = deque()
        """Of segments whose pictures have come, in AAC frames from the stream's beginning."""
        self.ends: list[int] = []
        """Of segments that are written."""
        self.sizes: list[int] = []
        self.init_bytes = 0

    def add(self, frame: AudioFrame, time_s: float | None) -> None:
        """Take a frame that begins at that media time; None: where the one before ended. Raises StorageError."""
        self._encode(self._encoder.add(self._placer.add(frame, time_s)))

    def follow(self, time_s: Fraction) -> None:
        """The picture has come to that media time: what is missing of the sound long before it is silence."""
        self._encode(self._encoder.add(self._placer.silence_until(float(time_s) - LATE_MAX_S)))

    def close_segment(self, end_s: Fraction) -> None:
        """The next segment ends at that media time, to the nearest AAC frame."""
        self._ends.append(max(self._last_end + 1, round(end_s * RATE_HZ / FRAME_SAMPLES)))
        self._write_complete()

    def finish(self, end_s: Fraction) -> None:
        """The stream ends at that media time: the last segment has the AAC frames that fit in whole."""
        end = max(self._last_end + 1, int(end_s * RATE_HZ / FRAME_SAMPLES))
        self._ends.append(end)
        samples = self._placer.finish()
        self._encode([*self._encoder.add(samples, end), *self._encoder.finish(end)])

    @property
    def _last_end(self) -> int:
        return self._ends[-1] if self._ends else (self.ends[-1] if self.ends else 0)

    def _encode(self, packets: Iterable[Packet[AudioStream]]) -> None:
        self._packets.extend(packets)
        self._write_complete()

    def _write_complete(self) -> None:
        while self._ends:
            begin = self.ends[-1] if self.ends else 0
            if len(self._packets) < self._ends[0] - begin:
                return
            end = self._ends.popleft()
            taken = [self._packets.popleft() for _ in range(end - begin)]
            init, segment = mux_sound(taken, len(self.ends), self._bit_rate_bps)
            if not self.ends:
                self.init_bytes = len(init)
                self._write(INIT_FILE, init)
            self._write(segment_file(len(self.ends)), segment)
            self.ends.append(end)
            self.sizes.append(len(segment))
