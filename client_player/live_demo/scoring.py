"""What a viewer of a recorded live stream saw: some of the shown segments, made again and held against the source."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from abr.core.enhancement import PLAIN, EnhancementTable, EnhancerEntry
from abr.core.events import AnyEvent, Shown
from abr.core.live.tables import LiveTables
from abr.core.title import INIT_FILE, Rendition, segment_file
from abr.quality.pictures import Planes
from abr.quality.vmaf import meter_of
from abr.records import loads
from client_player.live_demo.recording import Recording
from enhancers.measurement.offers import OfferCandidate
from enhancers.networks import catalog
from enhancers.networks.plain import parse
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.frames import decode_file
from enhancers.workflows.live_sample import LiveSample, Row, title_of_rows, trusted_rows

SCORED_EACH = 5
"""One shown segment in so many is scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Of one segment: what it was, and points."""

    segment: int
    rendition: str
    enhancer: str
    enhanced_share: float
    trusted: float
    vmaf_neg: float
    vmaf: float


class Scorer:
    """Scores segments of a recording of `clip`, which came again and again."""

    def __init__(self, recording: Recording, clip: Path, work: Path) -> None:
        self._folder, self._work = recording.folder, work
        self._tables = [loads(moment.tables, LiveTables, what="tables") for moment in recording.moments]
        typical = self._tables[0].typical
        self._frames = typical.segment_frames[0]
        box = (0, 0, typical.display_width_px, typical.display_height_px)
        meter = meter_of(every_frames=self._frames, crop=box, panel_every_segments=1)
        self._title, self._box = msgspec.structs.replace(typical, meter=meter), box
        self._clip, self._pictures = clip, dict[int, Planes]()
        self._clip_frames = 0

    def score(self, events: Sequence[AnyEvent]) -> Iterator[Seen]:
        """Of the shown segments, one in SCORED_EACH; a stream's last one may be short, and is left out."""
        shown = [event for event in events if isinstance(event, Shown) and event.frames == self._frames][::SCORED_EACH]
        self._read_clip({event.segment for event in shown})
        for event in shown:
            yield self._seen(event)

    def _read_clip(self, segments: set[int]) -> None:
        """The pictures that samples of these segments need."""
        if not self._clip_frames:
            self._clip_frames = sum(1 for _ in decode_file(str(self._clip)))
        wanted = {self._number(segment, place) for segment in segments for place in self._places}
        for number, frame in enumerate(decode_file(str(self._clip))):
            if number in wanted and number not in self._pictures:
                y, u, v = frame.planes()
                self._pictures[number] = y.copy(), u.copy(), v.copy()

    @property
    def _places(self) -> range:
        """Of the judged picture in a segment, and those around it."""
        return range(self._frames // 2 - 2, self._frames // 2 + 2)

    def _number(self, segment: int, place: int) -> int:
        """In the clip."""
        return (segment * self._frames + place) % self._clip_frames

    def _seen(self, event: Shown) -> Seen:
        sample = self._sample(event.segment)
        place = [each.id for each in self._title.renditions].index(event.rendition)
        around = self._title.renditions[max(0, min(place, len(self._title.renditions) - 2)) :][:2]
        row = Row(plain={each.id: sample.score_plain(each, sample.frames_of(each)) for each in around}, lifted={})
        plain = row.plain[event.rendition]
        points = np.array([plain.vmaf[0], plain.vmaf_neg[0], plain.vmaf[0]])
        candidate = self._candidate(event, self._title.rendition(event.rendition))
        share = event.enhanced_frames / max(1, event.frames)
        if candidate is not None and share:
            frames = sample.frames_of(candidate.rendition)
            row.lifted["shown"] = sample.score(frames, candidate.open(sample.prepared).enhancer.enhance)
            whole = title_of_rows(msgspec.structs.replace(self._title, renditions=around), [row])
            lifted = trusted_rows(whole, event.rendition, "shown", [row])
            best = np.array([(lifted.trusted or lifted.vmaf)[0], lifted.vmaf_neg[0], lifted.vmaf[0]])
            points = share * best + (1 - share) * points
        trusted, vmaf_neg, vmaf = (round(float(value), 2) for value in points)
        return Seen(
            segment=event.segment,
            rendition=event.rendition,
            enhancer=event.enhancer,
            enhanced_share=share,
            trusted=trusted,
            vmaf_neg=vmaf_neg,
            vmaf=vmaf,
        )

    def _candidate(self, event: Shown, rendition: Rendition) -> OfferCandidate | None:
        """The enhancer by the first tables that knew the segment."""
        table = next((each.enhancements for each in self._tables if each.end > event.segment), None)
        entry = next((each for each in _entries(table) if each.name == event.enhancer), None)
        offer = entry.offer(rendition.id) if entry is not None else None
        if event.enhancer == PLAIN or entry is None or offer is None:
            return None
        own = tuple((self._folder / chunk.file).read_bytes() for chunk in offer.chunks)
        return OfferCandidate(
            family=entry.family,
            tier=entry.tier,
            rendition=rendition,
            architecture=offer.architecture,
            chunks=own or catalog.generic_chunks(parse(offer.architecture)),
            strength=offer.strength,
        )

    def _sample(self, segment: int) -> LiveSample:
        folder = self._work / str(segment)
        for rendition in self._title.renditions:
            home = folder / "video" / rendition.id
            home.mkdir(parents=True, exist_ok=True)
            for name, twin in ((INIT_FILE, INIT_FILE), (segment_file(segment), segment_file(0))):
                if not (home / twin).exists():
                    os.link(self._folder / "video" / rendition.id / name, home / twin)
        pictures: Mapping[int, Planes] = {place: self._pictures[self._number(segment, place)] for place in self._places}
        prepared = PreparedTitle(folder=folder, title=self._title, source=self._clip)
        return LiveSample(prepared=prepared, pictures=pictures, judged=self._frames // 2, box=self._box)


def _entries(table: EnhancementTable | None) -> Sequence[EnhancerEntry]:
    return table.enhancers if table is not None else ()
