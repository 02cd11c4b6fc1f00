"""What manifests are made of: elements of an MPD (ISO/IEC 23009-1) and lines of HLS playlists (RFC 8216)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from typing import Protocol
from xml.etree import ElementTree

import msgspec

from abr.core.title import AudioTrack, Rendition, SubtitleTrack, segment_file
from abr.media.languages import UNKNOWN
from abr.media.video_codecs import codec_of
from server.ingest.cmaf import INIT_FILE

Element = ElementTree.Element
FIRST_SOUND = 1
"""Its AdaptationSet; the pictures have 0."""
DESCRIBES_VIDEO = "public.accessibility.describes-video"
DESCRIBES_SOUNDS = "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound"

NAMES = segment_file(0).replace("00001", "$Number%05d$")
PROFILES = "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019"


class Shown(Protocol):
    """What is the same in all renditions, and the sound that goes with them."""

    @property
    def display_width_px(self) -> int:
        """Of the picture that a viewer sees."""

    @property
    def display_height_px(self) -> int:
        """Of the same."""

    @property
    def frame_rate(self) -> tuple[int, int]:
        """Frames a second, as numerator and denominator."""

    @property
    def audio(self) -> tuple[AudioTrack, ...]:
        """The one that plays unless asked, and others."""

    @property
    def subtitles(self) -> tuple[SubtitleTrack, ...]:
        """Text to read."""


def as_standalone(rendition: Rendition) -> Rendition:
    """As the init segment of standard manifests describes it."""
    codec = codec_of(rendition.codecs)
    codecs = rendition.codecs.replace(codec.in_band_entry, codec.standalone_entry, 1)
    return msgspec.structs.replace(rendition, codecs=codecs)


def video_set(shown: Shown, period: Element, top: Rendition) -> Element:
    """The AdaptationSet of the pictures, without its Representations."""
    aspect = Fraction(shown.display_width_px, shown.display_height_px)
    video = ElementTree.SubElement(
        period,
        "AdaptationSet",
        id="0",
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


def sound_set(
    period: Element, track: AudioTrack, number: int, base: str | None, durations: Sequence[int], start: Start
) -> Element:
    """The AdaptationSet of one sound track. durations: samples of each segment. base: its BaseURL, if it has one.

    number: FIRST_SOUND for the one that plays unless asked.
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
    if number == FIRST_SOUND:
        sound.set("selectionPriority", "2")  # else some players take the track of the highest bitrate
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


def master_head(shown: Shown, base: str) -> list[str]:
    """The first lines of a master playlist. base: goes before the URLs of the playlists of sound and subtitles."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for sound, name in zip(shown.audio, names_of(shown.audio), strict=True):
        flags = {"DEFAULT": _yes(sound is shown.audio[0]), "AUTOSELECT": _yes(sound.role != "commentary")}
        more = {"CHARACTERISTICS": DESCRIBES_VIDEO} if sound.role == "description" else {}
        lines.append(_media("AUDIO", sound, name, flags, more | {"CHANNELS": str(sound.channels)}, base))
    for text, name in zip(shown.subtitles, names_of(shown.subtitles), strict=True):
        forced = text.role == "forced-subtitle"
        flags = {"DEFAULT": "NO", "AUTOSELECT": _yes(text.role != "commentary"), "FORCED": _yes(forced)}
        more = {"CHARACTERISTICS": DESCRIBES_SOUNDS} if text.role == "caption" else {}
        lines.append(_media("SUBTITLES", text, name, flags, more, base))
    return lines


def names_of(tracks: Sequence[AudioTrack | SubtitleTrack]) -> list[str]:
    """What viewers read, a name of its own for each (RFC 8216, 4.3.4.1.1)."""
    names: list[str] = []
    for track in tracks:
        name = (track.name or ("" if track.language == UNKNOWN else track.language) or track.id).replace('"', "'")
        alike = sum(each == name or each.startswith(f"{name} (") for each in names)
        names.append(f"{name} ({alike + 1})" if alike else name)
    return names


def _media(
    kind: str,
    track: AudioTrack | SubtitleTrack,
    name: str,
    flags: dict[str, str],
    more: dict[str, str],
    base: str,
) -> str:
    """An EXT-X-MEDIA (RFC 8216, 4.3.4.1)."""
    language = {} if track.language == UNKNOWN else {"LANGUAGE": track.language}
    quoted = {"GROUP-ID": kind.lower(), "NAME": name} | language
    after = more | {"URI": f"{base}{track.id}.m3u8"}
    attributes = [f'{key}="{value}"' for key, value in quoted.items()]
    attributes += [f"{key}={value}" for key, value in flags.items()]
    attributes += [f'{key}="{value}"' for key, value in after.items()]
    return f"#EXT-X-MEDIA:TYPE={kind},{','.join(attributes)}"


def _yes(true: bool) -> str:
    return "YES" if true else "NO"


def variant(shown: Shown, rendition: Rendition, bandwidth_bps: int, uri: str) -> list[str]:
    """The lines of one variant in a master playlist. bandwidth_bps: the most that its pictures take."""
    sound_bps = max((track.bandwidth_bps for track in shown.audio), default=0)
    codecs = ",".join(dict.fromkeys((rendition.codecs, *(track.codecs for track in shown.audio))))
    head = (
        f"#EXT-X-STREAM-INF:BANDWIDTH={bandwidth_bps + sound_bps},"
        f"AVERAGE-BANDWIDTH={rendition.average_bps + sound_bps},"
        f'CODECS="{codecs}",RESOLUTION={rendition.width_px}x{rendition.height_px},'
        f"FRAME-RATE={shown.frame_rate[0] / shown.frame_rate[1]:.3f}"
        + (',AUDIO="audio"' if shown.audio else "")
        + (',SUBTITLES="subtitles"' if shown.subtitles else "")
    )
    return [head, uri]


def target_s(durations_s: Sequence[float]) -> int:
    """EXT-X-TARGETDURATION: the longest segment, to the nearest second (RFC 8216, 4.3.3.1)."""
    return max(1, int(max(durations_s) + 0.5))
