"""The quality of a running stream: its rungs played plainly, and lifted by the generic networks; for `toprung live`.

    python -m enhancers.workflows.live_quality --share 0.1

It takes samples of the newest segments, one JSON line each on stdin, and answers each with a line on stdout: the
quality of a usual segment by the last SAMPLES_KEPT of them. They are measured by the meters of prepared titles, and
offers pass the same gate (`enhancers.measurement.offers.select_worthwhile`). It takes no more of a core than its share.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from abr.core.enhancement import EnhancementTable, Family, Offer, Tier
from abr.core.live_quality import PICTURES_FILE, Answer, LiveQuality, Sample
from abr.core.title import TITLE_FILE, PanelFigures, Quality, Rendition, Title
from abr.errors import FormatError, ToprungError
from abr.quality.pictures import Planes, crop_planes
from abr.quality.sampled_panel import fed_frames, join_panels
from abr.quality.segment_figures import lift_judge
from abr.quality.vmaf import crop, is_black, meter_of, picture_box, segment_means
from abr.records import dumps, load, loads
from enhancers.measurement.offers import OfferCandidate, list_candidates, select_worthwhile
from enhancers.measurement.publish import table_entries
from enhancers.measurement.quality import Measured, ReferenceFrames, SegmentBlock, measure_shown, scored_frames
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame

SAMPLES_KEPT = 8
"""Segments that count; the oldest goes."""
TIERS = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)
STRENGTH = 0.75
"""How much of what a network adds is shown: what most titles are given (`enhancers.measurement.strengths`)."""
_NICE = 19
_PR_SET_PDEATHSIG = 1


class Pace:
    """Rests as long as it takes that no more than `share` of a core is used, children counted."""

    def __init__(
        self, share: float, spent_s: Callable[[], float] | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._share, self._spent_s, self._sleep = share, spent_s or _spent_s, sleep
        self._before_s = self._spent_s()

    def rest(self) -> None:
        """To be called after each piece of work."""
        now_s = self._spent_s()
        worked_s, self._before_s = now_s - self._before_s, now_s
        if self._share < 1:
            self._sleep(worked_s * (1 / self._share - 1))


def _spent_s() -> float:
    return sum(os.times()[:4])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One sample: what the meters say of each rendition played plainly, and of each candidate by its key."""

    plain: Mapping[str, Quality]
    lifted: Mapping[str, Quality]


class LiveMeter:
    """Measures samples of one stream."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._rows: deque[_Row] = deque(maxlen=SAMPLES_KEPT)
        self._box: tuple[int, int, int, int] | None = None
        self._candidates: list[OfferCandidate] | None = None

    def measure(self, folder: Path) -> LiveQuality | None:
        """Of a usual segment, this sample included; None for a black one, of which nothing can be said.

        Raises ToprungError when it cannot be read or measured.
        """
        title = load(folder / TITLE_FILE, Title)
        first, pictures = _pictures(folder)
        self._box = self._box or picture_box(planes[0] for planes in pictures)
        meter = meter_of(every_frames=title.segment_frames[0], crop=self._box, panel_every_segments=1)
        title = msgspec.structs.replace(title, meter=meter)
        prepared = PreparedTitle(folder=folder, title=title, source=folder)
        judged = first + len(pictures) - 2
        truth = _truth(first, pictures, judged, self._box, title.segment_frames[0])
        if is_black(truth.frames[judged]):
            return None
        if self._candidates is None:
            self._candidates = _candidates(prepared)
        self._rows.append(self._measure(prepared, truth, judged))
        return _live_quality(title, self._candidates, list(self._rows))

    def _measure(self, prepared: PreparedTitle, truth: ReferenceFrames, judged: int) -> _Row:
        block = SegmentBlock(first=0, last=0, start=0, scored=(judged,), judged={0: judged})
        plain: dict[str, Quality] = {}
        lifted: dict[str, Quality] = {}
        for rendition in prepared.title.renditions:
            frames = scored_frames(prepared, rendition, block)
            scaler = PlainScaler(rendition.width_px, rendition.height_px, *prepared.display_px)
            plain[rendition.id] = self._score(prepared, block, truth, frames, scaler.enhance)
            for candidate in self._of(rendition):
                enhance = candidate.open(prepared).enhancer.enhance
                lifted[candidate.key] = self._score(prepared, block, truth, frames, enhance)
        return _Row(plain=plain, lifted=lifted)

    def _of(self, rendition: Rendition) -> list[OfferCandidate]:
        return [each for each in self._candidates or () if each.rendition.id == rendition.id]

    def _score(
        self,
        prepared: PreparedTitle,
        block: SegmentBlock,
        truth: ReferenceFrames,
        frames: Mapping[int, Sequence[Frame]],
        enhance: Callable[[Frame], Frame],
    ) -> Quality:
        measured = measure_shown(prepared, block, truth, lambda index: enhance(frames[index][-1]))
        self._pace.rest()
        return _quality(measured, prepared.title.segment_frames)


def _candidates(prepared: PreparedTitle) -> list[OfferCandidate]:
    found = [each for each in list_candidates(prepared, {}, TIERS) if each.tier in TIERS]
    return [replace(each, strength=STRENGTH) for each in found]


def _pictures(folder: Path) -> tuple[int, list[Planes]]:
    try:
        with np.load(folder / PICTURES_FILE) as file:
            planes = zip(file["y"], file["u"], file["v"], strict=True)
            return int(file["first"]), [(y, u, v) for y, u, v in planes]
    except (OSError, KeyError, ValueError) as error:
        raise FormatError(f"{folder / PICTURES_FILE} cannot be read: {error}.") from error


def _truth(
    first: int, pictures: Sequence[Planes], judged: int, box: tuple[int, int, int, int], total: int
) -> ReferenceFrames:
    inside = {first + index: crop_planes(planes, box) for index, planes in enumerate(pictures)}
    return ReferenceFrames(
        frames={index: crop(planes[0], box) for index, planes in enumerate(pictures, first)},
        total=total,
        judged={0: [inside[index] for index in fed_frames(judged)]},
    )


def _quality(measured: Measured, segment_frames: Sequence[int]) -> Quality:
    keep = np.ones(sum(segment_frames), dtype=np.bool_)
    return msgspec.structs.replace(segment_means(measured.scores, segment_frames, keep), panel=measured.panel)


def _live_quality(title: Title, candidates: Sequence[OfferCandidate], rows: Sequence[_Row]) -> LiveQuality:
    """The rows as a title of as many segments, which passes the gate of any title; then their means."""
    whole = msgspec.structs.replace(
        title,
        segment_duration_s=title.segment_duration_s * len(rows),
        segment_frames=title.segment_frames * len(rows),
        plain_quality={each.id: _joined([row.plain[each.id] for row in rows]) for each in title.renditions},
    )
    qualities = {
        each.key: lift_judge(whole, each.rendition.id).with_trust(_joined([row.lifted[each.key] for row in rows]))
        for each in candidates
    }
    offers: dict[tuple[Family, Tier], list[Offer]] = {}
    for each in select_worthwhile(candidates, qualities, whole):
        offers.setdefault((each.family, each.tier), []).append(each.offer(_mean(qualities[each.key])))
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=table_entries(offers), note="live")
    return LiveQuality(
        plain={name: _mean(quality) for name, quality in whole.plain_quality.items()},
        meter=title.meter,
        enhancements=table,
        measured=True,
    )


def _joined(rows: Sequence[Quality]) -> Quality:
    """One after the other, as segments."""
    panels = [
        None if row.panel is None else PanelFigures(segment=(index,), figures=row.panel.figures)
        for index, row in enumerate(rows)
    ]
    return Quality(
        vmaf=sum((row.vmaf for row in rows), ()),
        vmaf_neg=sum((row.vmaf_neg for row in rows), ()),
        ssim=sum((row.ssim for row in rows), ()),
        psnr_y_db=sum((row.psnr_y_db for row in rows), ()),
        panel=join_panels(panels),
    )


def _mean(quality: Quality) -> Quality:
    """Of a usual segment."""

    def mean(values: Sequence[float]) -> tuple[float, ...]:
        return (round(float(np.mean(values)), 2),) if values else ()

    return Quality(
        vmaf=mean(quality.vmaf),
        vmaf_neg=mean(quality.vmaf_neg),
        ssim=(round(float(np.mean(quality.ssim)), 4),),
        psnr_y_db=mean(quality.psnr_y_db),
        trusted=mean(quality.trusted),
    )


def _end_with_parent() -> None:
    """Also while it is stopped, when it could not see that its stdin has ended (Linux: prctl(2), PR_SET_PDEATHSIG)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """Until stdin ends."""
    parser = argparse.ArgumentParser(prog="live_quality")
    parser.add_argument("--share", type=float, required=True)
    share = parser.parse_args().share
    os.nice(_NICE)
    _end_with_parent()
    meter = LiveMeter(Pace(share))
    for line in sys.stdin.buffer:
        try:
            answer = Answer(quality=meter.measure(Path(loads(line, Sample, what="sample").folder)))
        except ToprungError as error:
            answer = Answer(problem=str(error))
        sys.stdout.buffer.write(dumps(answer) + b"\n")
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
