"""A sample of a running stream: a segment of every rung, some pictures of its source, and what the meters say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from abr.core.live.quality import PICTURES_FILE
from abr.core.title import TITLE_FILE, PanelFigures, Quality, Rendition, Title
from abr.errors import FormatError
from abr.quality.pictures import Planes, crop_planes
from abr.quality.sampled_panel import fed_frames, join_panels
from abr.quality.segment_figures import lift_judge
from abr.quality.vmaf import Box, crop, is_black, meter_of, picture_box, segment_means
from abr.records import load
from enhancers.measurement.offers import OfferCandidate
from enhancers.measurement.quality import ReferenceFrames, SegmentBlock, measure_shown, scored_frames
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame


@dataclass(frozen=True, kw_only=True)
class LiveSample:
    """One segment, and its source.

    prepared: the title of that one segment. pictures: of its source, by their number in it. judged: one of them, after
    two others and before one. box: the picture inside letterbox borders.
    """

    prepared: PreparedTitle
    pictures: Mapping[int, Planes]
    judged: int
    box: Box

    @property
    def title(self) -> Title:
        """Of one segment."""
        return self.prepared.title

    @property
    def is_black(self) -> bool:
        """Nothing can be said of it then."""
        return is_black(self.truth.frames[self.judged])

    @property
    def beside(self) -> tuple[int, ...]:
        """Pictures that nearly repeat the judged one: there for the meters only."""
        return self.judged - 2, self.judged - 1, self.judged + 1

    @cached_property
    def truth(self) -> ReferenceFrames:
        """The source around the judged picture."""
        fed = fed_frames(self.judged)
        near = [number for number in (*fed, self.judged + 1) if number in self.pictures]
        return ReferenceFrames(
            frames={number: crop(self.pictures[number][0], self.box) for number in near},
            total=self.title.segment_frames[0],
            judged={0: [crop_planes(self.pictures[number], self.box) for number in fed]},
        )

    @cached_property
    def _block(self) -> SegmentBlock:
        return SegmentBlock(first=0, last=0, start=0, scored=(self.judged,), judged={0: self.judged})

    def frames_of(self, rendition: Rendition) -> Mapping[int, Sequence[Frame]]:
        """As decoded, for `score`."""
        return scored_frames(self.prepared, rendition, self._block)

    def score(self, frames: Mapping[int, Sequence[Frame]], enhance: Callable[[Frame], Frame]) -> Quality:
        """What the meters say of a rung, lifted so."""
        measured = measure_shown(self.prepared, self._block, self.truth, lambda index: enhance(frames[index][-1]))
        keep = np.ones(sum(self.title.segment_frames), dtype=np.bool_)
        return msgspec.structs.replace(
            segment_means(measured.scores, self.title.segment_frames, keep), panel=measured.panel
        )

    def score_plain(self, rendition: Rendition, frames: Mapping[int, Sequence[Frame]]) -> Quality:
        """The same of plain playback."""
        scaler = PlainScaler(rendition.width_px, rendition.height_px, *self.prepared.display_px)
        return self.score(frames, scaler.enhance)


def read_sample(folder: Path, box: Box | None = None) -> LiveSample:
    """box: as found before; looked for otherwise. Raises FormatError, StorageError."""
    title = load(folder / TITLE_FILE, Title)
    pictures, judged = _pictures(folder)
    box = box or picture_box(planes[0] for planes in pictures.values())
    meter = meter_of(every_frames=title.segment_frames[0], crop=box, panel_every_segments=1)
    title = msgspec.structs.replace(title, meter=meter)
    prepared = PreparedTitle(folder=folder, title=title, source=folder)
    return LiveSample(prepared=prepared, pictures=pictures, judged=judged, box=box)


def _pictures(folder: Path) -> tuple[dict[int, Planes], int]:
    try:
        with np.load(folder / PICTURES_FILE) as file:
            planes = zip(file["y"], file["u"], file["v"], strict=True)
            numbered = zip(file["numbers"].tolist(), planes, strict=True)
            return {number: (y, u, v) for number, (y, u, v) in numbered}, int(file["judged"])
    except (OSError, KeyError, ValueError) as error:
        raise FormatError(f"{folder / PICTURES_FILE} cannot be read: {error}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the meters say of one sample: of renditions played plainly, by id, and of lifts, by any key."""

    plain: dict[str, Quality]
    lifted: dict[str, Quality]


def title_of_rows(title: Title, rows: Sequence[Row]) -> Title:
    """The title of as many segments."""
    return msgspec.structs.replace(
        title,
        segment_duration_s=title.segment_duration_s * len(rows),
        segment_frames=title.segment_frames * len(rows),
        plain_quality={each.id: _joined([row.plain[each.id] for row in rows]) for each in title.renditions},
    )


def trusted_rows(whole: Title, rendition: str, key: str, rows: Sequence[Row]) -> Quality:
    """The lift of that key, an entry for each row, with its trusted quality. whole: `title_of_rows` of the same."""
    return lift_judge(whole, rendition).with_trust(_joined([row.lifted[key] for row in rows]))


def qualities_of_rows(whole: Title, candidates: Sequence[OfferCandidate], rows: Sequence[Row]) -> dict[str, Quality]:
    """Of all candidates, by their keys."""
    return {each.key: trusted_rows(whole, each.rendition.id, each.key, rows) for each in candidates}


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


def mean_quality(quality: Quality) -> Quality:
    """Of a usual segment: one entry."""

    def mean(values: Sequence[float]) -> tuple[float, ...]:
        return (round(float(np.mean(values)), 2),) if values else ()

    return Quality(
        vmaf=mean(quality.vmaf),
        vmaf_neg=mean(quality.vmaf_neg),
        ssim=(round(float(np.mean(quality.ssim)), 4),),
        psnr_y_db=mean(quality.psnr_y_db),
        trusted=mean(quality.trusted),
    )
