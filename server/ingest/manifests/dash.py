"""What an MPD is made of: its elements (ISO/IEC 23009-1)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from xml.etree import ElementTree

import msgspec

from abr.core.title import (
    INIT_FILE,
    AudioTrack,
    HdrColour,
    Protection,
    Rendition,
    SubtitleTrack,
    Thumbnails,
    segment_file,
    sheet_file,
)
from server.ingest.encoders.colours import BT709, hdr_colour
from server.ingest.encoders.sound import OPUS
from server.ingest.manifests.shown import Shown, peak_bps
from server.ingest.subtitles.imsc import CODECS as IMSC_CODECS

Element = ElementTree.Element
FIRST_SOUND = 1
"""Its AdaptationSet; the pictures have 0, and in further codecs what follows all other tracks."""

THUMBNAIL_TILES = "http://dashif.org/guidelines/thumbnail_tile"
MP4_PROTECTION = "urn:mpeg:dash:mp4protection:2011"
CLEAR_KEY = "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e"
PROTECTION_NAMESPACES = {"xmlns:cenc": "urn:mpeg:cenc:2013", "xmlns:dashif": "https://dashif.org/CPS"}
NAMES = segment_file(0).replace("00001", "$Number%05d$")
PROFILES = "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019"


def video_set(shown: Shown, period: Element, top: Rendition, number: int = 0) -> Element:
    """The AdaptationSet of the pictures in one codec, without its Representations."""
    aspect = Fraction(shown.display_width_px, shown.display_height_px)
    video = ElementTree.SubElement(
        period,
        "AdaptationSet",
        id=str(number),
        contentType="video",
        mimeType="video/mp4",
        segmentAlignment="true",
        startWithSAP="1",
        par=f"{aspect.numerator}:{aspect.denominator}",
        maxWidth=str(top.width_px),
        maxHeight=str(top.height_px),
        maxFrameRate=frame_rate(shown),
    )
    ElementTree.SubElement(video, "Role", schemeIdUri="urn:mpeg:dash:role:2011", value="main")
    return video


def colour_properties(video: Element, hdr: HdrColour | None) -> None:
    """What the codes of an AdaptationSet stand for, in a title that keeps HDR (ISO/IEC 23009-1, 5.8.5.7; 23091-2).

    Of a set in HDR it is essential to know: players that do not, or whose display cannot show it, leave the set alone.
    One in standard range goes first: dash.js takes any that the browser decodes, whatever the display.
    """
    colour, kind = (hdr_colour(hdr), "EssentialProperty") if hdr else (BT709, "SupplementalProperty")
    for name, value in (
        ("ColourPrimaries", colour.primaries),
        ("TransferCharacteristics", colour.transfer),
        ("MatrixCoefficients", colour.matrix),
    ):
        told = ElementTree.Element(kind, schemeIdUri=f"urn:mpeg:mpegB:cicp:{name}", value=str(value))
        video.insert(len(video) - 1, told)  # the schema wants it before Role
    if not hdr:
        video.set("selectionPriority", "2")


def protect(adaptation: Element, protection: Protection) -> None:
    """Say how an AdaptationSet is encrypted (ISO/IEC 23009-1, 5.8.4.1; DASH-IF IOP part 6, ClearKey)."""
    key = {"value": protection.scheme, "cenc:default_KID": protection.key_uuid}
    adaptation.insert(0, ElementTree.Element("ContentProtection", {"schemeIdUri": MP4_PROTECTION} | key))
    clear_key = ElementTree.Element("ContentProtection", schemeIdUri=CLEAR_KEY, value="ClearKey1.0")
    if protection.licence_url:
        ElementTree.SubElement(clear_key, "dashif:Laurl", Lic_type="EME-1.0").text = protection.licence_url
    adaptation.insert(1, clear_key)


def video_representation(video: Element, shown: Shown, rendition: Rendition, name: str, bandwidth_bps: int) -> None:
    """A Representation of the pictures."""
    shape = Fraction(shown.display_width_px * rendition.height_px, shown.display_height_px * rendition.width_px)
    ElementTree.SubElement(
        video,
        "Representation",
        id=name,
        codecs=rendition.codecs,
        bandwidth=str(bandwidth_bps),
        width=str(rendition.width_px),
        height=str(rendition.height_px),
        frameRate=frame_rate(shown),
        sar=f"{shape.numerator}:{shape.denominator}",
    )


def sound_priority(track: AudioTrack, first: AudioTrack) -> int:
    """Its @selectionPriority. first: the one that plays unless asked, by players that do not decode its Opus.

    Without one, some players take the track of the highest bitrate.
    """
    if track.id == f"{first.id}{OPUS.suffix}":
        return 3
    return 2 if track.id == first.id else 1


def sound_set(
    period: Element,
    track: AudioTrack,
    number: int,
    base: str | None,
    durations: Sequence[int],
    start: Start,
    priority: int = 1,
) -> Element:
    """The AdaptationSet of one sound track. durations: samples of each segment. base: its BaseURL, if it has one.

    priority: as of `sound_priority`.
    """
    sound = ElementTree.SubElement(
        period,
        "AdaptationSet",
        id=str(number),
        contentType="audio",
        mimeType="audio/mp4",
        segmentAlignment="true",
        startWithSAP="1",
        lang=track.language,
    )
    if priority > 1:
        sound.set("selectionPriority", str(priority))
    _describe(sound, track)
    if base:
        ElementTree.SubElement(sound, "BaseURL").text = base
    folder = "audio/$RepresentationID$"
    timeline(sound, durations, track.sample_rate_hz, f"{folder}/{NAMES}", f"{folder}/{INIT_FILE}", start)
    _sound_representation(sound, track)
    return sound


def subtitle_set(period: Element, track: SubtitleTrack, number: int, base: str | None, duration_s: float) -> None:
    """The AdaptationSet of one track of subtitles: a file of WebVTT. base: as in `sound_set`."""
    subtitles = ElementTree.SubElement(
        period, "AdaptationSet", id=str(number), contentType="text", mimeType="text/vtt", lang=track.language
    )
    _describe(subtitles, track)
    if base:
        ElementTree.SubElement(subtitles, "BaseURL").text = base
    bandwidth_bps = int(8 * track.size_bytes / duration_s) + 1
    representation = ElementTree.SubElement(subtitles, "Representation", id=track.id, bandwidth=str(bandwidth_bps))
    ElementTree.SubElement(representation, "BaseURL").text = f"subtitles/{track.id}.vtt"


def imsc_set(
    period: Element, track: SubtitleTrack, number: int, base: str | None, durations: Sequence[int], ticks: int
) -> None:
    """The AdaptationSet of the same track as IMSC text in MP4. durations: of each segment, `ticks` to the second."""
    text = ElementTree.SubElement(
        period,
        "AdaptationSet",
        id=str(number),
        contentType="text",
        mimeType="application/mp4",
        segmentAlignment="true",
        startWithSAP="1",
        lang=track.language,
    )
    _describe(text, track)
    if base:
        ElementTree.SubElement(text, "BaseURL").text = base
    folder = f"subtitles/{track.id}"
    timeline(text, durations, ticks, f"{folder}/{NAMES}", f"{folder}/{INIT_FILE}")
    rates = (size * 8 * ticks / lasts for size, lasts in zip(track.imsc_bytes, durations, strict=True))
    ElementTree.SubElement(
        text, "Representation", id=f"{track.id}-imsc", codecs=IMSC_CODECS, bandwidth=str(int(max(rates)) + 1)
    )


def thumbnail_set(period: Element, thumbnails: Thumbnails, number: int, base: str | None) -> None:
    """The AdaptationSet of the thumbnails (DASH-IF IOP 4.3, section 6.2.6). base: as in `sound_set`."""
    images = ElementTree.SubElement(period, "AdaptationSet", id=str(number), contentType="image", mimeType="image/jpeg")
    if base:
        ElementTree.SubElement(images, "BaseURL").text = base
    ElementTree.SubElement(
        images,
        "SegmentTemplate",
        media=f"thumbnails/{sheet_file(0).replace('00001', '$Number%05d$')}",
        duration=f"{thumbnails.sheet_s:.0f}",
        startNumber="1",
    )
    representation = ElementTree.SubElement(
        images,
        "Representation",
        id="thumbnails",
        bandwidth=str(peak_bps(thumbnails)),
        width=str(thumbnails.columns * thumbnails.width_px),
        height=str(thumbnails.rows * thumbnails.height_px),
    )
    ElementTree.SubElement(
        representation,
        "EssentialProperty",
        schemeIdUri=THUMBNAIL_TILES,
        value=f"{thumbnails.columns}x{thumbnails.rows}",
    )


def _describe(adaptation: Element, track: AudioTrack | SubtitleTrack) -> None:
    """What viewers choose a track by; the schema wants it in this order."""
    if track.name:
        ElementTree.SubElement(adaptation, "Label").text = track.name
    if track.role == "description":
        ElementTree.SubElement(
            adaptation, "Accessibility", schemeIdUri="urn:tva:metadata:cs:AudioPurposeCS:2007", value="1"
        )
    ElementTree.SubElement(adaptation, "Role", schemeIdUri="urn:mpeg:dash:role:2011", value=track.role)


def _sound_representation(sound: Element, track: AudioTrack) -> None:
    representation = ElementTree.SubElement(
        sound,
        "Representation",
        id=track.id,
        codecs=track.codecs,
        bandwidth=str(track.bandwidth_bps),
        audioSamplingRate=str(track.sample_rate_hz),
    )
    ElementTree.SubElement(
        representation,
        "AudioChannelConfiguration",
        schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011",
        value=str(track.channels),
    )


class Start(msgspec.Struct, frozen=True):
    """The first segment that a timeline lists: its `$Number$`, and when it begins, in the timeline's ticks.

    period_ticks: when its Period begins, on the same clock.
    """

    number: int = 1
    ticks: int = 0
    period_ticks: int = 0


BEGINNING = Start()
"""Of a timeline that lists all segments."""


def timeline(
    parent: Element, durations: Sequence[int], ticks: int, media: str, init: str, start: Start = BEGINNING
) -> None:
    """A SegmentTemplate with a SegmentTimeline (5.3.9.6). durations: of each segment, `ticks` to the second."""
    template = ElementTree.SubElement(
        parent, "SegmentTemplate", timescale=str(ticks), startNumber=str(start.number), media=media, initialization=init
    )
    if start.period_ticks:
        template.set("presentationTimeOffset", str(start.period_ticks))
    listed = ElementTree.SubElement(template, "SegmentTimeline")
    for index, (duration, run) in enumerate(groupby(durations)):
        attributes = {"t": str(start.ticks)} if index == 0 else {}
        repeats = len(list(run)) - 1
        attributes |= {"d": str(duration)} | ({"r": str(repeats)} if repeats else {})
        ElementTree.SubElement(listed, "S", attributes)


def frame_rate(shown: Shown) -> str:
    """As MPDs write it: 25, or 30000/1001."""
    numerator, denominator = shown.frame_rate
    return str(numerator) if denominator == 1 else f"{numerator}/{denominator}"


def mpd_duration(seconds: float) -> str:
    """An xs:duration."""
    return f"PT{seconds:.6f}S"


def xml(mpd: Element) -> bytes:
    """The whole file."""
    ElementTree.indent(mpd)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(mpd) + b"\n"
