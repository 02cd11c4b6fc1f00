"""What the fleet comes to: classes of devices, and what each tier takes and brings on them. JSON of GET /devices."""

from __future__ import annotations

from abr.controllers.toprung.speed_classes import FPS_LEAST, SpeedClass
from abr.private_telemetry.layout import TIERS
from abr.records import Record
from server.fleet.tally import GAIN_STEP, Cells, percentile


class TierView(Record, frozen=True):
    """One tier on one class of devices. Figures are None while nothing tells of them.

    load_p50, load_p95: seconds of compute for a second of video, by the profiles of sessions that were offered it.
    frame_p50_ms: the median of what players measured in the middle of a segment; frame_p95_ms: the 95th percentile of
    what they measured at its slow end. frames_share: of all frames that the class was shown, those of segments that
    were to be lifted by this tier. enhanced_share: of these frames, those that were; late_share: that came late.
    gained: points of quality above plain playback, a mean over the time shown. energy_mj: of an enhanced frame.
    """

    tier: str
    load_p50: float | None
    load_p95: float | None
    segments: int
    frames_share: float
    enhanced_share: float | None
    late_share: float | None
    frame_p50_ms: float | None
    frame_p95_ms: float | None
    gained: float | None
    energy_mj: float | None


class ClassView(Record, frozen=True):
    """One class of devices. fps_least: that tier low lifts 640×360 at, at least; None of the slow and the unmeasured.

    reference_ms: what a frame of that takes the class, the median of its sessions.
    """

    name: str
    fps_least: float | None
    sessions: int
    sessions_share: float
    reference_ms: float | None
    enhanced_share: float | None
    """Of all frames that the class was shown, those that were enhanced."""
    tiers: tuple[TierView, ...]


class DevicesView(Record, frozen=True):
    """Answer to GET /devices: the classes that were seen in the last days, slowest first."""

    days: int
    sessions: int
    classes: tuple[ClassView, ...]


def report(cells: Cells, days: int) -> DevicesView:
    """What these cells say, of so many days."""
    sessions = sum(cells.get(f"{each}//sessions", 0) for each in SpeedClass)
    classes = (_class_view(cells, each, sessions) for each in SpeedClass)
    return DevicesView(days=days, sessions=sessions, classes=tuple(each for each in classes if each is not None))


def _class_view(cells: Cells, device: SpeedClass, of: int) -> ClassView | None:
    sessions = cells.get(f"{device}//sessions", 0)
    frames = sum(cells.get(f"{device}/{tier}/frames", 0) for tier in ("", *TIERS))
    if not sessions and not frames:
        return None
    enhanced = sum(cells.get(f"{device}/{tier}/enhanced", 0) for tier in TIERS)
    tiers = (_tier_view(cells, device, tier, frames) for tier in TIERS)
    return ClassView(
        name=device.value,
        fps_least=FPS_LEAST.get(device),
        sessions=sessions,
        sessions_share=_ratio(sessions, of) or 0.0,
        reference_ms=_rounded(percentile(cells, f"{device}//reference_ms", 0.5)),
        enhanced_share=_ratio(enhanced, frames),
        tiers=tuple(each for each in tiers if each is not None),
    )


def _tier_view(cells: Cells, device: SpeedClass, tier: str, of: int) -> TierView | None:
    def count(figure: str) -> int:
        return cells.get(f"{device}/{tier}/{figure}", 0)

    def at(figure: str, share: float) -> float | None:
        return _rounded(percentile(cells, f"{device}/{tier}/{figure}", share))

    view = TierView(
        tier=tier,
        load_p50=at("load", 0.5),
        load_p95=at("load", 0.95),
        segments=count("segments"),
        frames_share=_ratio(count("frames"), of) or 0.0,
        enhanced_share=_ratio(count("enhanced"), count("frames")),
        late_share=_ratio(count("late"), count("frames")),
        frame_p50_ms=at("p50_ms", 0.5),
        frame_p95_ms=at("p95_ms", 0.95),
        gained=_ratio(count("gain") * GAIN_STEP, count("shown_ms") / 1000),
        energy_mj=_ratio(count("energy_mj"), count("enhanced")),
    )
    return view if view.segments or view.load_p50 is not None else None


def _ratio(part: float, of: float) -> float | None:
    return round(part / of, 4) if of else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
