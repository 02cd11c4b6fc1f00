"""One segment lifted: decoded and enhanced as a player does it, then encoded so that stock players can show it.

The pictures are those of a player that lifts by itself, bit for bit: the same decoder, the same opener, the same
enhancer, each frame once and in display order. A segment begins with a key frame, so nothing is carried into it.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av

from abr.core.enhancement import Offer, PlanOffer
from abr.core.title import segment_file
from abr.errors import MediaError
from enhancers.runtime.enhancer import Enhancer
from enhancers.runtime.followed_plan import FollowedPlan
from enhancers.runtime.frames import Frame, decode_segment
from server.ingest.encode import encode_ladder
from server.ingest.encode_settings import EncodeSettings
from server.ingest.ladder import Rung

CRF, PRESET = 19.0, "veryfast"
"""Of the lifted rung: a picture that was encoded once already, and is seen over a link that is wide."""
SEGMENT_MIN_S, SEGMENT_MAX_S = 0.5, 30.0
"""What an encoder's recipe takes; shorter segments are no trouble, longer ones are not lifted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftJob:
    """A segment to be lifted. It can be pickled.

    data: its init segment and itself. first_frame: frames of the title before it. size_px, display_px: width and
    height of the rendition and of the display. offer, plan, chunks: as `enhancers.runtime.loader` opens them; plan is
    None for an enhancer that runs on every frame. plan_frames: frames of each segment of the title, for the plan.
    cap_bps: the most that the lifted rung may take.
    """

    segment: int
    data: bytes = field(repr=False)
    first_frame: int
    frames: int
    rate: Fraction
    size_px: tuple[int, int]
    display_px: tuple[int, int]
    offer: Offer
    plan: PlanOffer | None
    plan_frames: tuple[int, ...]
    chunks: tuple[bytes, ...] = field(repr=False)
    backend: str
    threads: int
    cap_bps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftedSegment:
    """A media segment of the lifted rung (CMAF, avc3), and the seconds of processor time and of time that it took."""

    body: bytes = field(repr=False)
    cpu_s: float
    took_s: float


class Lifter:
    """Lifts one segment after the other. Enhancers stay open from one to the next."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, tuple[int, int], str, int, float], Enhancer] = {}

    def lift(self, job: LiftJob) -> LiftedSegment:
        """Raises MediaError for a segment that is damaged, FormatError for weights that are."""
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        body = encode(job, lift_frames(job, self._enhancer(job)))
        return LiftedSegment(body=body, cpu_s=time.process_time() - began_cpu_s, took_s=time.perf_counter() - began_s)

    def _enhancer(self, job: LiftJob) -> Enhancer:
        name = job.plan.file.sha256 if job.plan else job.offer.architecture
        key = (name, job.offer.weights_sha256, job.size_px, job.backend, job.threads, job.offer.strength)
        if key not in self._open:
            if len(self._open) >= _OPEN_MAX:
                self._open.clear()
            self._open[key] = open_for(job)
        return self._open[key]


_OPEN_MAX = 8
"""Enhancers that are kept open; each takes some tens of megabytes."""


def open_for(job: LiftJob) -> Enhancer:
    """The enhancer that a job names. Raises FormatError."""
    from enhancers.runtime.loader import open_enhancer, open_plan  # brings its backends along

    how = {"size_px": job.size_px, "display_px": job.display_px}
    if job.plan is not None:
        return open_plan(job.plan, job.plan_frames, job.chunks, **how, backend=job.backend, threads=job.threads)
    return open_enhancer(job.offer, job.chunks, **how, backend=job.backend, threads=job.threads)


def lift_frames(job: LiftJob, enhancer: Enhancer) -> Iterator[Frame]:
    """The segment's frames at display size. Raises MediaError when there are not as many as the title says."""
    count = 0
    for decoded in decode_segment(job.data, motion=True):
        if isinstance(enhancer, FollowedPlan):
            yield enhancer.perform(decoded, enhancer.planned_action(job.segment, count))[0]
        else:
            yield enhancer.enhance(decoded)
        count += 1
        if count > job.frames:
            break
    if count != job.frames:
        raise MediaError(f"Segment {job.segment} has other frames than the {job.frames} that the title says.")


def encode(job: LiftJob, frames: Iterator[Frame]) -> bytes:
    """The frames as a media segment that fits between the title's own, in its place on the title's timeline."""
    files: dict[str, bytes] = {}
    width_px, height_px = job.display_px
    rung = Rung(id="lifted", width_px=width_px, height_px=height_px, pixel_aspect=(1, 1), cap_bps=job.cap_bps, crf=CRF)
    length_s = max(SEGMENT_MIN_S, float(job.frames / job.rate))
    recipe = EncodeSettings(preset=PRESET, crf=CRF, segment_s=length_s)
    encode_ladder(_pictures(job, frames), (rung,), recipe, job.rate, lambda _rung: files.__setitem__)
    return _numbered(files[segment_file(0)], job.segment + 1)


def _pictures(job: LiftJob, frames: Iterator[Frame]) -> Iterator[av.VideoFrame]:
    for number, frame in enumerate(frames, start=job.first_frame):
        picture = frame.picture
        picture.pts, picture.time_base = number, 1 / job.rate
        yield picture


def _numbered(segment: bytes, number: int) -> bytes:
    """With its own sequence number (ISO/IEC 14496-12, 8.8.5), since the muxer begins anew for each segment."""
    at = segment.index(b"mfhd") + 8
    return segment[:at] + struct.pack(">I", number) + segment[at + 4 :]
