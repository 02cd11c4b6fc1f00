"""An enhancement-aware ladder: the rungs that pay once rungs can be enhanced.

Samples of a trained title are encoded at each of its sizes and several qualities, enhanced by the title's best
enhancer for that size, and measured. The points on the upper hull of rate and quality become rungs
(per-title encoding, De Cock et al., ICIP 2016; here with the enhancer as a third axis).

Quality is trusted quality. VMAF is measured of every sample; of its lift the same part counts that the panel attests to
this enhancer on this rung in the title's tables, where it was judged over the whole title.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from abr.core.enhancement import PLAIN, Currency, EnhancementTable, Offer
from abr.core.ladder_plan import LadderPlan, PlannedRung
from abr.core.options import counted_quality
from abr.core.title import Quality, Rendition
from abr.errors import InputError, StorageError
from abr.media.display_filters import PIXEL_FORMAT
from abr.progress import ShareListener
from abr.quality.bdrate import hull
from abr.quality.vmaf import Luma, crop, is_black
from enhancers.measurement.quality import ReferenceFrames, SegmentBlock, score_block
from enhancers.prepared_title import PreparedTitle, TitleFolder
from enhancers.runtime.encode import compress
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.runtime.frames import Frame, decode_segment
from enhancers.runtime.loader import open_enhancer

CRFS = (19.0, 22.0, 25.0, 28.0, 31.0, 34.0)
_SEGMENTS, _SCORED_A_SEGMENT = 6, 2
PRESET = "faster"
"""The default of toprung prepare."""
_STEP, _LAST_STEP = 1.3, 1.1
"""Neighbouring rungs differ at least by this factor in rate: closer ones cost training and buy little. To the top rung
the last may be nearer: it shows as much to those who can enhance."""
TITLE_S = 600.0
"""Weights are downloaded once; their bytes are spread over a title of this length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderTrial:
    """One size at one quality, measured on the samples. kbps: of the video, weights included. quality: what counts."""

    rendition: Rendition
    crf: float
    enhancer: str
    kbps: float
    quality: float
    vmaf: float


@dataclass(slots=True, eq=False)
class _Encoded:
    """The samples at one size and quality: bytes in all, and the frames to be scored."""

    size_bytes: int = 0
    frames: dict[int, Frame] = field(default_factory=dict)


def plan_ladder(
    prepared: PreparedTitle,
    table: EnhancementTable,
    progress: ShareListener,
    *,
    crfs: Sequence[float] = CRFS,
    currency: Currency = Currency.TRUSTED,
) -> tuple[LadderPlan, tuple[LadderTrial, ...]]:
    """Measure every size × quality, plain and by the title's best enhancer for the size, on samples, and choose.

    Returns the plan and the better one of each pair. Of a title in several codecs its first ladder is planned.
    Raises InputError, FormatError, MediaError or StorageError.
    """
    title = prepared.title.by_ladder[0]
    prepared = replace(prepared, title=title)
    trials = measure_trials(prepared, table, progress, crfs, currency)
    full = title.renditions[-1]
    wanted = float(np.mean(title.plain_quality[full.id].vmaf))
    top = min((trial for trial in trials if trial.rendition == full), key=lambda trial: abs(trial.quality - wanted))
    chosen = choose_rungs(trials, top, least_quality=float(np.mean(title.plain_quality[title.renditions[0].id].vmaf)))
    rungs = tuple(
        PlannedRung(
            height_px=min(trial.rendition.width_px, trial.rendition.height_px),
            crf=trial.crf,
            kbps=round(trial.kbps, 1),
            quality=round(trial.quality, 2),
            vmaf=round(trial.vmaf, 2),
            enhancer=trial.enhancer,
        )
        for trial in chosen
    )
    return LadderPlan(rungs=rungs, title=title.id, made_by="toprung plan-ladder"), trials


def choose_rungs(trials: Sequence[LadderTrial], top: LadderTrial, *, least_quality: float) -> list[LadderTrial]:
    """Trials on the upper hull by rising rate, each a step from the next, and `top` for those who cannot enhance.

    Every trial is at least as good as `least_quality`: the lowest rung of the usual ladder without enhancers.
    """
    useful = {(trial.kbps, trial.quality): trial for trial in trials if trial.quality >= least_quality}
    chosen: list[LadderTrial] = []
    for point in hull([point for point in useful if point[0] * _LAST_STEP <= top.kbps]):
        if not chosen or point[0] >= _STEP * chosen[-1].kbps:
            chosen.append(useful[point])
    return [*chosen, top]


def measure_trials(
    prepared: PreparedTitle,
    table: EnhancementTable,
    progress: ShareListener,
    crfs: Sequence[float],
    currency: Currency = Currency.TRUSTED,
) -> tuple[LadderTrial, ...]:
    """Every size of the title at every quality, by the better of plain scaling and the title's best enhancer."""
    title = prepared.title
    block, truth, encoded = _encode_samples(prepared, crfs, progress)
    sampled_s = sum(title.segment_duration_s[segment] for segment in _sampled_segments(prepared))
    trials = []
    for number, ((id_, crf), sample) in enumerate(encoded.items()):
        progress("Measuring sizes and qualities", number / len(encoded))
        rendition = title.rendition(id_)
        kbps = sample.size_bytes * 8 / sampled_s / 1000
        plain_vmaf = _vmaf(prepared, block, truth, sample.frames, PlainScaler(*_size(rendition), *prepared.display_px))
        plain = LadderTrial(
            rendition=rendition, crf=crf, enhancer=PLAIN, kbps=kbps, quality=plain_vmaf, vmaf=plain_vmaf
        )
        lifted = _lift(prepared, table, plain, currency, partial(_vmaf, prepared, block, truth, sample.frames))
        trials.append(max((plain, *lifted), key=lambda trial: trial.quality))
    return tuple(trials)


def _sampled_segments(prepared: PreparedTitle) -> list[int]:
    count = len(prepared.title.segment_frames)
    return sorted({int((place + 0.5) * count / _SEGMENTS) for place in range(_SEGMENTS)})


def _encode_samples(
    prepared: PreparedTitle, crfs: Sequence[float], progress: ShareListener
) -> tuple[SegmentBlock, ReferenceFrames, dict[tuple[str, float], _Encoded]]:
    """The sampled segments at every size and quality, and what they are compared with."""
    title = prepared.title
    wanted, source = _sampled_segments(prepared), prepared.source_frames()
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
                small = [scale_down(scalers[id_], frame, _size(title.rendition(id_))) for frame in frames]
                data = compress(small, crf, preset=PRESET, rate=title.frame_rate, b_frames=0)
                sample.size_bytes += len(data)
                decoded = list(decode_segment(data))
                sample.frames |= {start + index: decoded[index] for index in inside}
        start += count
    if not scored:
        raise InputError(f"All samples of {title.id} are black: there is nothing to plan a ladder by.")
    block = SegmentBlock(first=0, last=len(title.segment_frames) - 1, start=0, scored=tuple(scored))
    return block, ReferenceFrames(frames=truth, total=sum(title.segment_frames)), encoded


def scale_down(scaler: VideoReformatter, frame: Frame, size_px: tuple[int, int]) -> Frame:
    """The frame at a rung's size, as `toprung prepare` scales it."""
    return Frame(picture=scaler.reformat(frame.picture, *size_px, PIXEL_FORMAT, interpolation=Interpolation.BICUBIC))


def _lift(
    prepared: PreparedTitle,
    table: EnhancementTable,
    plain: LadderTrial,
    currency: Currency,
    vmaf_of: Callable[[Enhancer], float],
) -> Iterator[LadderTrial]:
    """The same trial by the offer with the best picture for this size, if there is one."""
    rendition = plain.rendition
    offers = [(entry.name, offer) for entry in table.enhancers if (offer := entry.offer(rendition.id))]
    if not offers:
        return
    name, offer = max(offers, key=lambda named: float(np.mean(counted_quality(named[1].quality, currency))))
    chunks = read_chunks(prepared, offer)
    vmaf = vmaf_of(open_enhancer(offer, chunks, size_px=_size(rendition), display_px=prepared.display_px))
    attested = attested_part(offer.quality, prepared.title.plain_quality[rendition.id], currency)
    yield replace(
        plain,
        enhancer=name,
        kbps=plain.kbps + sum(map(len, chunks)) * 8 / TITLE_S / 1000,
        quality=plain.vmaf + attested * (vmaf - plain.vmaf),
        vmaf=vmaf,
    )


def attested_part(lifted: Quality, plain: Quality, currency: Currency) -> float:
    """The part of a lift of VMAF that counts, over the title; 1 where VMAF alone counts, and for a loss."""
    before = float(np.mean(plain.vmaf))
    lift = float(np.mean(lifted.vmaf)) - before
    return (float(np.mean(counted_quality(lifted, currency))) - before) / lift if lift > 0 else 1.0


def _size(rendition: Rendition) -> tuple[int, int]:
    return rendition.width_px, rendition.height_px


def read_chunks(prepared: TitleFolder, offer: Offer) -> list[bytes]:
    """The chunks of an offer from the title's folder, unchecked. Raises StorageError."""
    try:
        return [(prepared.folder / chunk.file).read_bytes() for chunk in offer.chunks]
    except OSError as error:
        raise StorageError(f"Cannot read the weights of {prepared.title.id}: {error.strerror}.") from error


def _vmaf(
    prepared: PreparedTitle, block: SegmentBlock, truth: ReferenceFrames, frames: dict[int, Frame], enhancer: Enhancer
) -> float:
    def shown(index: int) -> Luma:
        return crop(enhancer.enhance(frames[index]).y, prepared.title.meter.crop)

    return float(np.mean(score_block(block, truth, shown, prepared.title.fps).vmaf))
