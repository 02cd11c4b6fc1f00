"""The quality of a running stream: its rungs played plainly, and lifted by the generic networks; for `toprung live`.

    python -m enhancers.workflows.live_quality --share 0.1

It takes samples of the newest segments, one JSON line each on stdin, and answers each with a line on stdout: the
quality of a usual segment by the last SAMPLES_KEPT of them. They are measured by the meters of prepared titles, and
offers pass the same gate (`enhancers.measurement.offers.select_worthwhile`). It takes no more of a core than its share.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from abr.core.enhancement import EnhancementTable, Family, Offer, Tier
from abr.core.live.quality import Answer, LiveQuality, Sample
from abr.core.title import Quality, Title
from abr.errors import ToprungError
from abr.quality.vmaf import Box
from abr.records import dumps, loads
from enhancers.measurement.offers import OfferCandidate, list_candidates, select_worthwhile
from enhancers.measurement.publish import table_entries
from enhancers.workflows.live_process import Pace, begin_beside
from enhancers.workflows.live_sample import (
    LiveSample,
    Row,
    mean_quality,
    qualities_of_rows,
    read_sample,
    title_of_rows,
)

SAMPLES_KEPT = 8
"""Segments that count; the oldest goes."""
TIERS = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)
STRENGTH = 0.75
"""How much of what a network adds is shown: what most titles are given (`enhancers.measurement.strengths`)."""


class LiveMeter:
    """Measures samples of one stream."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._rows: deque[Row] = deque(maxlen=SAMPLES_KEPT)
        self._box: Box | None = None
        self._candidates: list[OfferCandidate] | None = None

    def measure(self, folder: Path) -> LiveQuality | None:
        """Of a usual segment, this sample included; None for a black one, of which nothing can be said.

        Raises ToprungError when it cannot be read or measured.
        """
        sample = read_sample(folder, self._box)
        self._box = sample.box
        if sample.is_black:
            return None
        if self._candidates is None:
            found = [each for each in list_candidates(sample.prepared, {}, TIERS) if each.tier in TIERS]
            self._candidates = [replace(each, strength=STRENGTH) for each in found]
        self._rows.append(self._measure(sample, self._candidates))
        return _live_quality(sample.title, self._candidates, list(self._rows))

    def _measure(self, sample: LiveSample, candidates: Sequence[OfferCandidate]) -> Row:
        plain: dict[str, Quality] = {}
        lifted: dict[str, Quality] = {}
        for rendition in sample.title.renditions:
            frames = sample.frames_of(rendition)
            plain[rendition.id] = sample.score_plain(rendition, frames)
            self._pace.rest()
            for candidate in candidates:
                if candidate.rendition.id == rendition.id:
                    lifted[candidate.key] = sample.score(frames, candidate.open(sample.prepared).enhancer.enhance)
                    self._pace.rest()
        return Row(plain=plain, lifted=lifted)


def _live_quality(title: Title, candidates: Sequence[OfferCandidate], rows: Sequence[Row]) -> LiveQuality:
    """The rows as a title of as many segments, which passes the gate of any title; then their means."""
    whole = title_of_rows(title, rows)
    qualities = qualities_of_rows(whole, candidates, rows)
    offers: dict[tuple[Family, Tier], list[Offer]] = {}
    for each in select_worthwhile(candidates, qualities, whole):
        offers.setdefault((each.family, each.tier), []).append(each.offer(mean_quality(qualities[each.key])))
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=table_entries(offers), note="live")
    return LiveQuality(
        plain={name: mean_quality(quality) for name, quality in whole.plain_quality.items()},
        meter=title.meter,
        enhancements=table,
        measured=True,
    )


def main() -> int:
    """Until stdin ends."""
    parser = argparse.ArgumentParser(prog="live_quality")
    parser.add_argument("--share", type=float, required=True)
    share = parser.parse_args().share
    begin_beside()
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
