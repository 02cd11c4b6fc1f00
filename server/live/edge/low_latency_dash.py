"""What a low-latency MPD adds (ISO/IEC 23009-1:2022, 5.3.9.5.3 and K.3.2; DASH-IF, Low-latency Modes for DASH).

Segments are announced before they begin, and offered from their first chunk on. So a player needs no newer MPD to go
on, and one whose stream has fallen behind the clock of the wall is not told of what is far from being there.
"""

from __future__ import annotations

from copy import copy
from xml.etree import ElementTree

from abr.core.live.timeline import Span
from server.clock import iso_time
from server.ingest.manifests.dash import Element, mpd_duration
from server.live.edge.presentation import LivePresentation

PROFILE = "http://www.dashif.org/guidelines/low-latency-live-v5"
ANNOUNCED = 2
"""Segments that the MPD lists ahead: the one that is under way, and the one that follows it."""
DELAY_SEGMENTS = 2
"""The delay for players that do not follow the ServiceDescription's target.

Shaka 5 takes it from where the segments that have begun end, and their availabilityTimeOffset later: up to a segment
and a half ahead of the live edge.
"""
LATENCY_CHUNKS = 4
"""The target: how many chunks behind the live edge players are told to be."""
_SOONEST_CHUNKS, _LATEST_SEGMENTS = 2, 3
_RATES = {"min": "0.96", "max": "1.04"}
"""How much slower and faster a player may play to keep to the target: nobody hears it."""
_CLOCK = "0"


def offer_early(mpd: Element, shown: LivePresentation) -> None:
    """Add it all to an MPD whose timelines list `shown.ahead(ANNOUNCED)`."""
    mpd.set("profiles", f"{mpd.get('profiles')},{PROFILE}")
    mpd.set("suggestedPresentationDelay", mpd_duration(DELAY_SEGMENTS * shown.segment_s))
    _tell_service(mpd, shown)
    early_s = float((shown.segment_frames - shown.cuts.chunk_frames) / shown.rate)
    spans = {str(span.number): span for span in shown.timeline.spans}
    for period in mpd.iter("Period"):
        for adaptation_set in period.iter("AdaptationSet"):
            adaptation_set.insert(0, _reference(mpd, spans[period.get("id", "")]))
            for template in adaptation_set.iter("SegmentTemplate"):
                template.set("availabilityTimeOffset", f"{early_s:.6f}")
                template.set("availabilityTimeComplete", "false")


def latency_target_s(shown: LivePresentation) -> float:
    """How far behind the camera players are told to be."""
    return LATENCY_CHUNKS * float(shown.cuts.chunk_frames / shown.rate)


def _tell_service(mpd: Element, shown: LivePresentation) -> None:
    """In the ServiceDescription that is there, or one after ProgramInformation, as the schema wants it."""
    service = mpd.find("ServiceDescription")
    if service is None:
        service = ElementTree.Element("ServiceDescription", id="0")
        mpd.insert(1, service)
    target_s = latency_target_s(shown)
    bounds_s = {
        "target": target_s,
        "min": target_s * _SOONEST_CHUNKS / LATENCY_CHUNKS,
        "max": _LATEST_SEGMENTS * shown.segment_s,
    }
    told = {name: str(round(1000 * each_s)) for name, each_s in bounds_s.items()}
    latency = ElementTree.Element("Latency", told | {"referenceId": _CLOCK})
    service[:0] = [latency, ElementTree.Element("PlaybackRate", _RATES)]


def _reference(mpd: Element, span: Span) -> Element:
    """When media time 0 was captured, by the clock of a span."""
    reference = ElementTree.Element(
        "ProducerReferenceTime",
        id=_CLOCK,
        inband="false",
        type="captured",
        wallClockTime=iso_time(span.begun_s),
        presentationTime="0",
    )
    for timing in mpd.findall("UTCTiming"):
        reference.append(copy(timing))
    return reference
