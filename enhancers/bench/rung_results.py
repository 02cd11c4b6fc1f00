"""Results for each rung of a title: quality plain and enhanced, bytes of weights, and speed on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from abr.core.enhancement import EnhancementTable, EnhancerEntry, Offer
from abr.core.title import INIT_FILE, Quality, Rendition, Title, segment_file
from abr.quality.bdrate import Point
from abr.quality.segment_figures import mean_figures
from enhancers.measurement.ladder_planner import TITLE_S, read_chunks
from enhancers.measurement.speed import EnhancerSpeed, measure_speed
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.loader import load_offered_weights

Figures = Mapping[str, float]
"""By member of the panel, and `trusted`: means over a title inside the picture, black frames left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftedFigures:
    """One enhancer on one rung.

    fps_end_to_end, fps_network: frames a second of the whole machine. peak_share: operations a second ÷ those of the
    machine's fastest convolution, 0–1. All three are None when speed was not measured.
    macs_per_output_px: None where it cannot be counted.
    """

    family: str
    tier: str
    architecture: str
    figures: Figures
    weights_bytes: int
    macs_per_output_px: float | None
    fps_end_to_end: float | None = None
    fps_network: float | None = None
    peak_share: float | None = None

    def as_json(self) -> dict[str, object]:
        """The figures, as `--json` prints them."""
        fields: dict[str, object] = asdict(self)
        del fields["figures"]
        return dict(self.figures) | fields


@dataclass(frozen=True, slots=True, kw_only=True)
class RungResult:
    """One rung: plain, and by each enhancer that the title offers for it."""

    id: str
    width_px: int
    height_px: int
    kbps: float
    plain: Figures
    enhancers: Mapping[str, LiftedFigures]

    def point(self, metric: str, families: Sequence[str] = ()) -> Point:
        """Rate in kbit/s and quality, by these families' enhancer with the best trusted quality; plain without one."""
        able = [lifted for lifted in self.enhancers.values() if lifted.family in families]
        best = max(able, key=lambda lifted: lifted.figures["trusted"], default=None)
        if best is None:
            return self.kbps, self.plain[metric]
        return self.kbps + best.weights_bytes * 8 / TITLE_S / 1000, best.figures[metric]

    def as_json(self) -> dict[str, object]:
        """The figures, as `--json` prints them."""
        return {
            "id": self.id,
            "width_px": self.width_px,
            "height_px": self.height_px,
            "kbps": round(self.kbps, 3),
            "plain": dict(self.plain),
            "enhancers": {name: lifted.as_json() for name, lifted in self.enhancers.items()},
        }


def measure_rungs(prepared: PreparedTitle, table: EnhancementTable, speed_seconds: float) -> list[RungResult]:
    """Every rung with every offer. speed_seconds: of measuring a network at one size, once; 0 leaves speeds out."""
    title = prepared.title
    results = []
    for rendition in title.renditions:
        speeds: dict[str, EnhancerSpeed] = {}
        enhanced = {}
        for entry in table.enhancers:
            offer = entry.offer(rendition.id)
            if offer is None:
                continue
            if offer.architecture not in speeds and speed_seconds:
                speeds[offer.architecture] = _measure_speed(prepared, rendition, offer, speed_seconds)
            enhanced[entry.name] = _figures_of_offer(title, entry, offer, speeds.get(offer.architecture))
        results.append(
            RungResult(
                id=rendition.id,
                width_px=rendition.width_px,
                height_px=rendition.height_px,
                kbps=rendition.average_bps / 1000,
                plain=figures_of(title, title.plain_quality[rendition.id]),
                enhancers=enhanced,
            )
        )
    return results


def _figures_of_offer(title: Title, entry: EnhancerEntry, offer: Offer, speed: EnhancerSpeed | None) -> LiftedFigures:
    return LiftedFigures(
        family=str(entry.family),
        tier=str(entry.tier),
        architecture=offer.architecture,
        figures=figures_of(title, offer.quality),
        weights_bytes=sum(chunk.size_bytes for chunk in offer.chunks),
        macs_per_output_px=offer.macs_per_output_px,
        fps_end_to_end=round(speed.fps_end_to_end, 1) if speed else None,
        fps_network=round(speed.fps_network, 1) if speed else None,
        peak_share=round(speed.peak_share, 4) if speed else None,
    )


def _measure_speed(prepared: PreparedTitle, rendition: Rendition, offer: Offer, seconds: float) -> EnhancerSpeed:
    folder = prepared.folder / "video" / rendition.id
    segment = (folder / INIT_FILE).read_bytes() + (folder / segment_file(0)).read_bytes()
    return measure_speed(
        load_offered_weights(offer, read_chunks(prepared, offer)),
        segment,
        size_px=(rendition.width_px, rendition.height_px),
        display_px=prepared.display_px,
        seconds=seconds,
    )


def figures_of(title: Title, quality: Quality) -> Figures:
    """Means over the title; where nothing says otherwise trusted quality is VMAF."""
    means = mean_figures(quality, title.segment_frames)
    return {name: round(value, 4) for name, value in ({"trusted": means["vmaf"]} | means).items()}
