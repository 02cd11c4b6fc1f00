"""An enhancement-aware ladder: the rungs worth having once rungs can be lifted.

Samples of a trained title are encoded at each of its sizes and several qualities, lifted by the best enhancer that the
title has for that size, and measured. What lies on the upper hull of these rate–quality points is worth offering
(per-title encoding, De Cock et al., ICIP 2016; here with the enhancer as a third axis).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from abr.bdrate import hull
from abr.enhancement import PLAIN, EnhancementTable, Offer
from abr.errors import InputError, StorageError
from abr.ladder import LadderPlan, PlannedRung
from abr.media import Rendition
from abr.quality import Luma, crop, is_black
from enhancers.base import Enhancer, PlainScaler
from enhancers.frames import PIXEL_FORMAT, Frame, decode_segment
from enhancers.job import Progress
from enhancers.pricing import Block, References, score
from enhancers.rungs import compress
from enhancers.runtime import open_enhancer
from enhancers.titles import PreparedTitle

CRFS = (19.0, 22.0, 25.0, 28.0, 31.0, 34.0)
_SEGMENTS, _SCORED_A_SEGMENT = 6, 2
PRESET = "faster"
"""As toprung prepare encodes unless told otherwise."""
_STEP, _LAST_STEP = 1.3, 1.1
"""Neighbouring rungs differ at least by this factor in rate: closer ones cost training and buy little. To the top rung
the last may be nearer: it shows as much to those who can enhance."""
_TITLE_S = 600.0
"""Over how long a title the bytes of its weights are spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One size at one quality, measured on the samples. kbps: of the video, weights included."""

    rendition: Rendition
    crf: float
    enhancer: str
    kbps: float
    vmaf: float


@dataclass(slots=True, eq=False)
class _Encoded:
    """The samples at one size and quality: bytes in all, and the frames to be scored."""

    size_bytes: int = 0
    frames: dict[int, Frame] = field(default_factory=dict)


def plan_ladder(
    prepared: PreparedTitle, table: EnhancementTable, progress: Progress, *, crfs: Sequence[float] = CRFS
) -> tuple[LadderPlan, tuple[Trial, ...]]:
    """Measure every size × quality, plain and by the title's best enhancer for the size, on samples, and choose.

    Returns the plan and the better one of each pair. Raises InputError, FormatError, MediaError or StorageError.
    """
    title = prepared.title
    trials = measured_trials(prepared, table, progress, crfs)
    full = title.renditions[-1]
    wanted = float(np.mean(title.plain_quality[full.id].vmaf))
    top = min((trial for trial in trials if trial.rendition == full), key=lambda trial: abs(trial.vmaf - wanted))
    chosen = choose(trials, top, least_vmaf=float(np.mean(title.plain_quality[title.renditions[0].id].vmaf)))
    rungs = tuple(
        PlannedRung(
            height_px=min(trial.rendition.width_px, trial.rendition.height_px),
            crf=trial.crf,
            kbps=round(trial.kbps, 1),
            vmaf=round(trial.vmaf, 2),
            enhancer=trial.enhancer,
        )
        for trial in chosen
    )
    return LadderPlan(rungs=rungs, title=title.id, made_by="toprung plan-ladder"), trials


def choose(trials: Sequence[Trial], top: Trial, *, least_vmaf: float) -> list[Trial]:
    """Trials on the upper hull by rising rate, each a step from the next, and `top` for those who cannot enhance.

    The lowest is no worse than `least_vmaf`, what the usual ladder shows at its lowest rung without enhancers: lifted,
    a rung as good as that one costs less.
    """
    useful = {(trial.kbps, trial.vmaf): trial for trial in trials if trial.vmaf >= least_vmaf}
    chosen: list[Trial] = []
    for point in hull([point for point in useful if point[0] * _LAST_STEP <= top.kbps]):
        if not chosen or point[0] >= _STEP * chosen[-1].kbps:
            chosen.append(useful[point])
    return [*chosen, top]


def measured_trials(
    prepared: PreparedTitle, table: EnhancementTable, progress: Progress, crfs: Sequence[float]
) -> tuple[Trial, ...]:
    """Every size of the title at every quality, by the better of plain scaling and the title's best enhancer."""
    title = prepared.title
    block, truth, encoded = _samples(prepared, crfs, progress)
    sampled_s = sum(title.segment_duration_s[segment] for segment in _sampled(prepared))
    trials = []
    for number, ((id_, crf), sample) in enumerate(encoded.items()):
        progress("Measuring sizes and qualities", number / len(encoded))
        rendition = title.rendition(id_)
        kbps = sample.size_bytes * 8 / sampled_s / 1000
        found = [
            Trial(
                rendition=rendition,
                crf=crf,
                enhancer=name,
                kbps=kbps + weights_bytes * 8 / _TITLE_S / 1000,
                vmaf=_vmaf(prepared, block, truth, sample.frames, enhancer),
            )
            for name, weights_bytes, enhancer in _ways(prepared, table, rendition)
        ]
        trials.append(max(found, key=lambda trial: trial.vmaf))
    return tuple(trials)


def _sampled(prepared: PreparedTitle) -> list[int]:
    count = len(prepared.title.segment_frames)
    return sorted({int((place + 0.5) * count / _SEGMENTS) for place in range(_SEGMENTS)})


def _samples(
    prepared: PreparedTitle, crfs: Sequence[float], progress: Progress
) -> tuple[Block, References, dict[tuple[str, float], _Encoded]]:
    """The sampled segments at every size and quality, and what they are compared with."""
    title = prepared.title
    wanted, source = _sampled(prepared), prepared.source_frames()
    encoded = {(rendition.id, crf): _Encoded() for rendition in title.renditions for crf in crfs}
    scalers = {rendition.id: VideoReformatter() for rendition in title.renditions}
    truth: dict[int, Luma] = {}
    scored: list[int] = []
    start = 0
    for segment, count in enumerate(title.segment_frames):
        frames = [next(source) for _ in range(count)]
        if segment in wanted:
            progress("Encoding sizes and qualities", segment / len(title.segment_frames))
            inside = sorted({int((place + 0.5) * count / _SCORED_A_SEGMENT) for place in range(_SCORED_A_SEGMENT)})
            inside = [index for index in inside if not is_black(frames[index].y)]
            scored += [start + index for index in inside]
            near = {index + step for index in inside for step in (-1, 0, 1)} & set(range(count))
            truth |= {start + index: crop(frames[index].y, title.meter.crop) for index in near}
            for (id_, crf), sample in encoded.items():
                size_px = title.rendition(id_).width_px, title.rendition(id_).height_px
                small = [_scaled(scalers[id_], frame, size_px) for frame in frames]
                data = compress(small, crf, preset=PRESET, rate=title.frame_rate, b_frames=0)
                sample.size_bytes += len(data)
                decoded = list(decode_segment(data))
                sample.frames |= {start + index: decoded[index] for index in inside}
        start += count
    if not scored:
        raise InputError(f"All samples of {title.id} are black: there is nothing to plan a ladder by.")
    block = Block(first=0, last=len(title.segment_frames) - 1, start=0, scored=tuple(scored))
    return block, References(frames=truth, total=sum(title.segment_frames)), encoded


def _scaled(scaler: VideoReformatter, frame: Frame, size_px: tuple[int, int]) -> Frame:
    return Frame(picture=scaler.reformat(frame.picture, *size_px, PIXEL_FORMAT, interpolation=Interpolation.BICUBIC))


def _ways(
    prepared: PreparedTitle, table: EnhancementTable, rendition: Rendition
) -> Iterator[tuple[str, int, Enhancer]]:
    """Plain scaling, and the offer with the best picture for this size: name, bytes of weights, opened."""
    size_px = rendition.width_px, rendition.height_px
    yield PLAIN, 0, PlainScaler(*size_px, *prepared.display_px)
    offers = [(entry.name, offer) for entry in table.enhancers if (offer := entry.offer(rendition.id))]
    if offers:
        name, offer = max(offers, key=lambda named: float(np.mean(named[1].quality.vmaf)))
        chunks = read_chunks(prepared, offer)
        yield name, sum(map(len, chunks)), open_enhancer(offer, chunks, size_px=size_px, display_px=prepared.display_px)


def read_chunks(prepared: PreparedTitle, offer: Offer) -> list[bytes]:
    """The chunks of an offer from the title's folder, unchecked. Raises StorageError."""
    try:
        return [(prepared.folder / chunk.file).read_bytes() for chunk in offer.chunks]
    except OSError as error:
        raise StorageError(f"Cannot read the weights of {prepared.title.id}: {error.strerror}.") from error


def _vmaf(
    prepared: PreparedTitle, block: Block, truth: References, frames: dict[int, Frame], enhancer: Enhancer
) -> float:
    def shown(index: int) -> Luma:
        return crop(enhancer.enhance(frames[index]).y, prepared.title.meter.crop)

    return float(np.mean(score(block, truth, shown, prepared.title.fps).vmaf))
