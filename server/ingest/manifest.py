"""Manifests of a title, written from what was measured: DASH (ISO/IEC 23009-1), server-driven DASH, HLS (RFC 8216)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import PurePath
from xml.etree import ElementTree

import msgspec

from abr.core.enhancement import ENHANCEMENTS_FILE
from abr.core.title import AudioTrack, Rendition, Title, segment_file
from abr.media.languages import UNKNOWN
from server.ingest.audio import FRAME_SAMPLES, frame_ends
from server.ingest.cmaf import AVC1_INIT_FILE, INIT_FILE
from server.ingest.encode import timescale
from server.media.versions import version_folder

Element = ElementTree.Element

MPD_FILE = "manifest.mpd"
DRIVEN_FILE = "driven.mpd"
MASTER_FILE = "master.m3u8"
DRIVEN_MASTER_FILE = "driven.m3u8"
DRIVEN_MEDIA_FILE = "driven-video.m3u8"
ENHANCEMENT_URN = "urn:toprung:enhancement:2026"
"""SupplementalProperty whose value is the URL of the title's enhancement table; other players ignore it."""
DRIVEN_ID = "driven"
CMCD_SCHEME = "urn:mpeg:dash:cta-5004:2023"
CMCD_KEYS = "bl br bs cid d dl mtp nor ot rtp sf sid st su tb"

_NAMES = segment_file(0).replace("00001", "$Number%05d$")


def manifests(title: Title) -> dict[str, bytes]:
    """All manifests of a title by file name."""
    files = {
        MPD_FILE: standard_mpd(title),
        DRIVEN_FILE: driven_mpd(title),
        MASTER_FILE: master_playlist(title),
        DRIVEN_MASTER_FILE: driven_master_playlist(title),
        DRIVEN_MEDIA_FILE: driven_media_playlist(title),
    }
    for rendition in title.renditions:
        folder = f"video/{rendition.id}"
        files[f"{rendition.id}.m3u8"] = media_playlist(folder, AVC1_INIT_FILE, title.segment_duration_s)
    for track in title.audio:
        files[f"{track.id}.m3u8"] = media_playlist(f"audio/{track.id}", INIT_FILE, audio_durations_s(title))
    return files


def standard_mpd(title: Title) -> bytes:
    """The MPD for any player: one Representation a rendition. `avc1`, since some players take no `avc3`."""
    mpd, period = _presentation(title)
    video = _video_set(title, period, title.renditions[-1])
    if not title.no_enhancement:
        offer = ElementTree.Element("SupplementalProperty", schemeIdUri=ENHANCEMENT_URN, value=ENHANCEMENTS_FILE)
        video.insert(0, offer)  # the schema wants it before Role
    _template(video, title, f"video/$RepresentationID$/{_NAMES}", f"video/$RepresentationID$/{AVC1_INIT_FILE}")
    for rendition in title.renditions:
        _representation(video, title, _as_avc1(rendition), rendition.id, rendition.bandwidth_bps)
    _audio_sets(title, period, base=None)
    return _xml(mpd)


def driven_mpd(title: Title) -> bytes:
    """The MPD of a session: one video Representation whose segments the server picks from all renditions.

    To be served as /sessions/<id>/manifest.mpd; the sound comes from below /titles/<title>/. Codecs and bandwidth are
    those of the most demanding rendition.
    """
    mpd, period = _presentation(title)
    mpd.insert(1, _client_data_reporting())  # the schema wants it after ProgramInformation
    top = title.renditions[-1]
    video = _video_set(title, period, top)
    _template(video, title, "video/$Number$.m4s", f"video/{INIT_FILE}")
    bandwidth_bps = max(rendition.bandwidth_bps for rendition in title.renditions)
    _representation(video, title, top, DRIVEN_ID, bandwidth_bps)
    _audio_sets(title, period, base=_title_base(title))
    return _xml(mpd)


def master_playlist(title: Title) -> bytes:
    """The HLS playlist of all variants."""
    lines = _master_head(title, base="")
    for rendition in title.renditions:
        lines += _variant(title, _as_avc1(rendition), _peak_bps(title, rendition), f"{rendition.id}.m3u8")
    return ("\n".join(lines) + "\n").encode()


def driven_master_playlist(title: Title) -> bytes:
    """The HLS twin of `driven_mpd`, to be served as /sessions/<id>/master.m3u8 beside `driven_media_playlist`."""
    bandwidth_bps = max(_peak_bps(title, rendition) for rendition in title.renditions)
    lines = _master_head(title, base=_title_base(title))
    lines += _variant(title, title.renditions[-1], bandwidth_bps, "video.m3u8")
    return ("\n".join(lines) + "\n").encode()


def driven_media_playlist(title: Title) -> bytes:
    """To be served as /sessions/<id>/video.m3u8."""
    uris = [f"video/{segment + 1}.m4s" for segment in range(len(title.segment_duration_s))]
    return _media_playlist(f"video/{INIT_FILE}", title.segment_duration_s, uris)


def media_playlist(folder: str, init_file: str, durations_s: Sequence[float]) -> bytes:
    """The HLS playlist of one folder's segments."""
    uris = [f"{folder}/{segment_file(segment)}" for segment in range(len(durations_s))]
    return _media_playlist(f"{folder}/{init_file}", durations_s, uris)


def _as_avc1(rendition: Rendition) -> Rendition:
    """As the other init segment describes it."""
    return msgspec.structs.replace(rendition, codecs=rendition.codecs.replace("avc3.", "avc1."))


def _title_base(title: Title) -> str:
    """From a session's manifests to the title's files."""
    return f"../../titles/{title.id}/{version_folder(title.version)}"


def _master_head(title: Title, base: str) -> list[str]:
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for track in title.audio:
        language = "" if track.language == UNKNOWN else f'LANGUAGE="{track.language}",'
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="{track.id}",{language}DEFAULT=YES,AUTOSELECT=YES,'
            f'CHANNELS="{track.channels}",URI="{base}{track.id}.m3u8"'
        )
    return lines


def _variant(title: Title, rendition: Rendition, bandwidth_bps: int, uri: str) -> list[str]:
    sound_bps = sum(track.bandwidth_bps for track in title.audio)
    sound_codecs = "".join(f",{track.codecs}" for track in title.audio)
    head = (
        f"#EXT-X-STREAM-INF:BANDWIDTH={bandwidth_bps + sound_bps},"
        f"AVERAGE-BANDWIDTH={rendition.average_bps + sound_bps},"
        f'CODECS="{rendition.codecs}{sound_codecs}",RESOLUTION={rendition.width_px}x{rendition.height_px},'
        f"FRAME-RATE={title.fps:.3f}" + (',AUDIO="audio"' if title.audio else "")
    )
    return [head, uri]


def _peak_bps(title: Title, rendition: Rendition) -> int:
    """The highest rate of segments in a row that last 0.5 to 1.5 target durations together (RFC 8216, section 4.1).

    A last segment that is shorter than the others may be denser than any.
    """
    target_s = _target_s(title.segment_duration_s)
    peak_bps = 0.0
    for first in range(len(rendition.segment_bytes)):
        size, duration_s = 0, 0.0
        for segment in range(first, len(rendition.segment_bytes)):
            size += rendition.segment_bytes[segment]
            duration_s += title.segment_duration_s[segment]
            if duration_s > 1.5 * target_s:
                break
            if duration_s >= 0.5 * target_s:
                peak_bps = max(peak_bps, size * 8 / duration_s)
    return max(rendition.bandwidth_bps, int(peak_bps) + 1)


def _target_s(durations_s: Sequence[float]) -> int:
    return max(1, int(max(durations_s) + 0.5))


def _media_playlist(init_uri: str, durations_s: Sequence[float], uris: Sequence[str]) -> bytes:
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{_target_s(durations_s)}",
        "#EXT-X-MEDIA-SEQUENCE:1",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MAP:URI="{init_uri}"',
    ]
    for duration_s, uri in zip(durations_s, uris, strict=True):
        lines += [f"#EXTINF:{duration_s:.6f},", uri]
    return ("\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n").encode()


def segment_ends_s(segment_frames: Sequence[int], rate: Fraction) -> list[Fraction]:
    """Exact media time at which each segment ends."""
    ends, frames = [], 0
    for count in segment_frames:
        frames += count
        ends.append(frames / rate)
    return ends


def audio_durations_s(title: Title) -> list[float]:
    """Duration of each audio segment: whole AAC frames, nearest to the video's."""
    track = title.audio[0]
    return [frames * FRAME_SAMPLES / track.sample_rate_hz for frames in _audio_frames(title)]


def _audio_frames(title: Title) -> list[int]:
    ends = frame_ends(segment_ends_s(title.segment_frames, Fraction(*title.frame_rate)))
    return [end - start for start, end in pairwise([0, *ends])]


def _presentation(title: Title) -> tuple[Element, Element]:
    longest_s = max((*title.segment_duration_s, *(audio_durations_s(title) if title.audio else ())))
    mpd = ElementTree.Element(
        "MPD",
        xmlns="urn:mpeg:dash:schema:mpd:2011",
        profiles="urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019",
        type="static",
        mediaPresentationDuration=_duration(title.duration_s),
        minBufferTime=_duration(2 * longest_s),
        maxSegmentDuration=_duration(longest_s),
    )
    about = ElementTree.SubElement(mpd, "ProgramInformation")
    ElementTree.SubElement(about, "Title").text = _shown_name(title)
    return mpd, ElementTree.SubElement(mpd, "Period", id="0", start="PT0S", duration=_duration(title.duration_s))


def _shown_name(title: Title) -> str:
    """The name that people gave the file. XML has no place for control characters."""
    stem = PurePath(title.source.name).stem
    return "".join(letter for letter in stem if letter.isprintable()) or title.id


def _client_data_reporting() -> Element:
    """Asks the player for CMCD, which the decisions need (ISO/IEC 23009-1, annex K; dash.js 5 obeys)."""
    service = ElementTree.Element("ServiceDescription", id="0")
    reporting = ElementTree.SubElement(service, "ClientDataReporting")
    ElementTree.SubElement(
        reporting,
        "CMCDParameters",
        schemeIdUri=CMCD_SCHEME,
        version="1",
        mode="query",
        includeInRequests="segment",
        keys=CMCD_KEYS,
    )
    return service


def _video_set(title: Title, period: Element, top: Rendition) -> Element:
    aspect = Fraction(title.display_width_px, title.display_height_px)
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
        maxFrameRate=_frame_rate(title),
    )
    ElementTree.SubElement(video, "Role", schemeIdUri="urn:mpeg:dash:role:2011", value="main")
    return video


def _template(video: Element, title: Title, media: str, init: str) -> None:
    rate = Fraction(*title.frame_rate)
    ticks = timescale(rate)
    _timeline(video, [int(frames * ticks / rate) for frames in title.segment_frames], ticks, media, init)


def _representation(video: Element, title: Title, rendition: Rendition, name: str, bandwidth_bps: int) -> None:
    shape = Fraction(title.display_width_px * rendition.height_px, title.display_height_px * rendition.width_px)
    ElementTree.SubElement(
        video,
        "Representation",
        id=name,
        codecs=rendition.codecs,
        bandwidth=str(bandwidth_bps),
        width=str(rendition.width_px),
        height=str(rendition.height_px),
        frameRate=_frame_rate(title),
        sar=f"{shape.numerator}:{shape.denominator}",
    )


def _audio_sets(title: Title, period: Element, base: str | None) -> None:
    for index, track in enumerate(title.audio):
        sound = ElementTree.SubElement(
            period,
            "AdaptationSet",
            id=str(index + 1),
            contentType="audio",
            mimeType="audio/mp4",
            segmentAlignment="true",
            startWithSAP="1",
            lang=track.language,
        )
        ElementTree.SubElement(sound, "Role", schemeIdUri="urn:mpeg:dash:role:2011", value="main")
        if base:
            ElementTree.SubElement(sound, "BaseURL").text = base
        durations = [frames * FRAME_SAMPLES for frames in _audio_frames(title)]
        folder = "audio/$RepresentationID$"
        _timeline(sound, durations, track.sample_rate_hz, f"{folder}/{_NAMES}", f"{folder}/{INIT_FILE}")
        _sound_representation(sound, track)


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


def _timeline(parent: Element, durations: Sequence[int], ticks: int, media: str, init: str) -> None:
    template = ElementTree.SubElement(
        parent, "SegmentTemplate", timescale=str(ticks), startNumber="1", media=media, initialization=init
    )
    timeline = ElementTree.SubElement(template, "SegmentTimeline")
    for index, (duration, run) in enumerate(groupby(durations)):
        attributes = {"t": "0"} if index == 0 else {}
        repeats = len(list(run)) - 1
        attributes |= {"d": str(duration)} | ({"r": str(repeats)} if repeats else {})
        ElementTree.SubElement(timeline, "S", attributes)


def _frame_rate(title: Title) -> str:
    numerator, denominator = title.frame_rate
    return str(numerator) if denominator == 1 else f"{numerator}/{denominator}"


def _duration(seconds: float) -> str:
    return f"PT{seconds:.6f}S"


def _xml(mpd: Element) -> bytes:
    ElementTree.indent(mpd)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(mpd) + b"\n"
