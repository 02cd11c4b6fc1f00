"""Manifests of a title, written from what was measured: DASH (ISO/IEC 23009-1), server-driven DASH, HLS (RFC 8216)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import PurePath
from xml.etree import ElementTree

from msgspec import UNSET, UnsetType

from abr.core.enhancement import ENHANCEMENTS_FILE
from abr.core.title import CHAPTERS_FILE, INIT_FILE, TRICK_PLAY, Hdr, Protection, Rendition, Title, segment_file
from abr.media.video_codecs import codec_of
from server.ingest.encode import timescale
from server.ingest.manifests.dash import (
    BEGINNING,
    FIRST_SOUND,
    NAMES,
    PROFILES,
    PROTECTION_NAMESPACES,
    Element,
    colour_properties,
    imsc_set,
    mpd_duration,
    protect,
    sound_priority,
    sound_set,
    subtitle_set,
    thumbnail_set,
    timeline,
    video_representation,
    video_set,
    xml,
)
from server.ingest.manifests.hls import (
    THUMBNAILS_FILE,
    as_imsc,
    chapters_json,
    chapters_line,
    master_head,
    target_s,
    thumbnail_playlist,
    thumbnail_variant,
    trick_variant,
    variant,
    write_media_playlist,
)
from server.ingest.manifests.shown import as_standalone
from server.ingest.manifests.sounds import for_sessions, sound_durations_s, sound_samples
from server.ingest.mp4.cmaf import standalone_init_file
from server.media.versions import ladder_file, session_title_base

MPD_FILE = "manifest.mpd"
IMSC_FILE = "manifest-imsc.mpd"
DRIVEN_FILE = "driven.mpd"
MASTER_FILE = "master.m3u8"
DRIVEN_MASTER_FILE = "driven.m3u8"
DRIVEN_MEDIA_FILE = "driven-video.m3u8"
ENHANCEMENT_URN = "urn:toprung:enhancement:2026"
"""SupplementalProperty whose value is the URL of the title's enhancement table; other players ignore it."""
DRIVEN_ID = "driven"
TRICK_MODE = "http://dashif.org/guidelines/trickmode"
TRICK_RATE_MAX = 16
CMCD_SCHEME = "urn:mpeg:dash:cta-5004:2023"
CMCD_KEYS = "bl br bs cid d dl mtp nor ot rtp sf sid st su tb"


def manifests(title: Title) -> dict[str, bytes]:
    """All manifests of a title by file name."""
    files = ladder_manifests(title) | {DRIVEN_MEDIA_FILE: driven_media_playlist(title)}
    for rendition in title.files:
        init_file = standalone_init_file(codec_of(rendition.codecs))
        playlist = media_playlist(f"video/{rendition.id}", init_file, title.segment_duration_s, title.protection)
        files[f"{rendition.id}.m3u8"] = playlist
    if title.trick_play:
        files[f"{TRICK_PLAY}.m3u8"] = media_playlist(
            f"video/{TRICK_PLAY}", INIT_FILE, title.segment_duration_s, title.protection, key_frames=True
        )
    for track in title.audio:
        files[f"{track.id}.m3u8"] = media_playlist(
            f"audio/{track.id}", INIT_FILE, sound_durations_s(title, track), title.protection
        )
    for subtitles in title.subtitles:
        files[f"{subtitles.id}.m3u8"] = write_media_playlist("", [title.duration_s], [f"subtitles/{subtitles.id}.vtt"])
    for imsc in title.subtitles if _has_imsc(title) else ():
        files[f"{as_imsc(imsc).id}.m3u8"] = media_playlist(f"subtitles/{imsc.id}", INIT_FILE, title.segment_duration_s)
    if _has_imsc(title):
        files[IMSC_FILE] = standard_mpd(title, imsc=True)
    if title.chapters:
        files[CHAPTERS_FILE] = chapters_json(title.chapters, title.duration_s)
    if title.thumbnails:
        files[THUMBNAILS_FILE] = thumbnail_playlist(title.thumbnails, title.duration_s)
    return files


def ladder_manifests(title: Title) -> dict[str, bytes]:
    """The manifests that tell of all renditions; of a title in several codecs also those of each ladder alone.

    A session plays one codec: those that it decides by are of one ladder.
    """
    files = {MPD_FILE: standard_mpd(title), MASTER_FILE: master_playlist(title)}
    driven = {DRIVEN_FILE: driven_mpd, DRIVEN_MASTER_FILE: driven_master_playlist}
    if not title.is_mixed:
        return files | {name: write(title) for name, write in driven.items()}
    writers = {MPD_FILE: standard_mpd, MASTER_FILE: master_playlist} | driven
    for each in title.by_ladder:
        codec = codec_of(each.renditions[0].codecs)
        files |= {ladder_file(name, codec): write(each) for name, write in writers.items()}
    return files


def standard_mpd(title: Title, *, imsc: bool = False) -> bytes:
    """The MPD for any player: one AdaptationSet a ladder, one Representation a rendition.

    Each has its own parameter sets in its init segment. imsc: its subtitles are IMSC text in place of WebVTT. dash.js
    shows none of those in MP4 where there are others beside them.
    """
    mpd, period = _presentation(title)
    for place, ladder in enumerate(title.ladders):
        _ladder_set(title, period, ladder, number=_track_count(title) + place if place else 0)
    for place, ladder in enumerate(title.hdr_ladders, _track_count(title) + len(title.ladders)):
        _ladder_set(title, period, ladder, number=place, hdr=title.hdr)
    _track_sets(title, period, base=None, imsc=imsc)
    if title.trick_play:
        _trick_set(title, period, title.trick_play)
    return xml(mpd)


def _trick_set(title: Title, period: Element, trick: Rendition) -> None:
    """The AdaptationSet of single key frames, for the first one (DASH-IF IOP 4.3, section 3.2.9)."""
    places = _track_count(title) + len(title.ladders) + len(title.hdr_ladders)
    video = video_set(title, period, trick, number=places)
    told = ElementTree.Element("EssentialProperty", schemeIdUri=TRICK_MODE, value="0")
    video.insert(0, told)
    folder = f"video/{TRICK_PLAY}"
    _template(video, title, f"{folder}/{NAMES}", f"{folder}/{INIT_FILE}")
    if title.protection:
        protect(video, title.protection)
    video_representation(video, title, as_standalone(trick), trick.id, trick.bandwidth_bps)
    video[-1].attrib |= {"codingDependency": "false", "maxPlayoutRate": str(TRICK_RATE_MAX)}


def _ladder_set(
    title: Title, period: Element, ladder: Sequence[Rendition], number: int, hdr: Hdr | UnsetType = UNSET
) -> None:
    """hdr: of a ladder that is in it."""
    video = video_set(title, period, ladder[-1], number)
    if title.hdr:
        colour_properties(video, hdr.colour if hdr else None)
    if not hdr and title.may_be_enhanced:
        offer = ElementTree.Element("SupplementalProperty", schemeIdUri=ENHANCEMENT_URN, value=ENHANCEMENTS_FILE)
        video.insert(0, offer)  # the schema wants it before Role
    init_file = standalone_init_file(codec_of(ladder[-1].codecs))
    _template(video, title, f"video/$RepresentationID$/{NAMES}", f"video/$RepresentationID$/{init_file}")
    if title.protection:
        protect(video, title.protection)
    for rendition in ladder:
        video_representation(video, title, as_standalone(rendition), rendition.id, rendition.bandwidth_bps)


def _track_count(title: Title) -> int:
    """AdaptationSets of all that is not video."""
    return len(title.audio) + len(title.subtitles) + (title.thumbnails is not None)


def driven_mpd(title: Title) -> bytes:
    """The MPD of a session: one video Representation whose segments the server picks from all renditions.

    title: with one ladder. To be served as /sessions/<id>/manifest.mpd; the sound comes from below /titles/<title>/.
    Codecs and bandwidth are those of the most demanding rendition.
    """
    title = for_sessions(title)
    mpd, period = _presentation(title)
    mpd.insert(1, client_data_reporting())  # the schema wants it after ProgramInformation
    top = title.renditions[-1]
    video = video_set(title, period, top)
    _template(video, title, "video/$Number$.m4s", f"video/{INIT_FILE}")
    if title.protection:
        protect(video, title.protection)
    bandwidth_bps = max(rendition.bandwidth_bps for rendition in title.renditions)
    video_representation(video, title, top, DRIVEN_ID, bandwidth_bps)
    _track_sets(title, period, base=session_title_base(title.id, title.version))
    return xml(mpd)


def master_playlist(title: Title) -> bytes:
    """The HLS playlist of all variants."""
    lines = master_head(title, base="", by_form=True)
    ranges = {each.id: title.hdr.colour.transfer.upper() for each in title.hdr.renditions} if title.hdr else {}
    for rendition in title.files:
        peak_bps, uri = _peak_bps(title, rendition), f"{rendition.id}.m3u8"
        light = ranges.get(rendition.id, "SDR" if ranges else "")
        lines += variant(title, as_standalone(rendition), peak_bps, uri, by_form=True, light=light)
    if title.trick_play:
        lines.append(trick_variant(as_standalone(title.trick_play)))
    return _master(title, lines, "")


def _master(title: Title, lines: list[str], base: str) -> bytes:
    """A master playlist with what belongs to no variant at its end. base: goes before the URLs of that."""
    lines += [thumbnail_variant(title.thumbnails, base)] if title.thumbnails else []
    lines += [chapters_line(base)] if title.chapters else []
    return ("\n".join(lines) + "\n").encode()


def driven_master_playlist(title: Title) -> bytes:
    """The HLS twin of `driven_mpd`, with all sounds to choose from.

    To be served as /sessions/<id>/master.m3u8 beside `driven_media_playlist`.
    """
    title = for_sessions(title)
    bandwidth_bps = max(_peak_bps(title, rendition) for rendition in title.renditions)
    base = session_title_base(title.id, title.version)
    lines = master_head(title, base)
    lines += variant(title, title.renditions[-1], bandwidth_bps, "video.m3u8")
    return _master(title, lines, base)


def driven_media_playlist(title: Title) -> bytes:
    """To be served as /sessions/<id>/video.m3u8."""
    uris = [f"video/{segment + 1}.m4s" for segment in range(len(title.segment_duration_s))]
    return write_media_playlist(f"video/{INIT_FILE}", title.segment_duration_s, uris, title.protection)


def media_playlist(
    folder: str,
    init_file: str,
    durations_s: Sequence[float],
    protection: Protection | UnsetType = UNSET,
    *,
    key_frames: bool = False,
) -> bytes:
    """The HLS playlist of one folder's segments. key_frames: of nothing else (RFC 8216, 4.3.3.6)."""
    uris = [f"{folder}/{segment_file(segment)}" for segment in range(len(durations_s))]
    return write_media_playlist(f"{folder}/{init_file}", durations_s, uris, protection, key_frames=key_frames)


def _peak_bps(title: Title, rendition: Rendition) -> int:
    """The highest rate of segments in a row that last 0.5 to 1.5 target durations together (RFC 8216, section 4.1).

    A last segment that is shorter than the others may be denser than any.
    """
    target = target_s(title.segment_duration_s)
    peak_bps = 0.0
    for first in range(len(rendition.segment_bytes)):
        size, duration_s = 0, 0.0
        for segment in range(first, len(rendition.segment_bytes)):
            size += rendition.segment_bytes[segment]
            duration_s += title.segment_duration_s[segment]
            if duration_s > 1.5 * target:
                break
            if duration_s >= 0.5 * target:
                peak_bps = max(peak_bps, size * 8 / duration_s)
    return max(rendition.bandwidth_bps, int(peak_bps) + 1)


def _presentation(title: Title) -> tuple[Element, Element]:
    longest_s = max(*title.segment_duration_s, *(max(sound_durations_s(title, track)) for track in title.audio), 0.0)
    mpd = ElementTree.Element(
        "MPD",
        xmlns="urn:mpeg:dash:schema:mpd:2011",
        profiles=PROFILES,
        type="static",
        mediaPresentationDuration=mpd_duration(title.duration_s),
        minBufferTime=mpd_duration(2 * longest_s),
        maxSegmentDuration=mpd_duration(longest_s),
        attrib=PROTECTION_NAMESPACES if title.protection else {},
    )
    about = ElementTree.SubElement(mpd, "ProgramInformation")
    ElementTree.SubElement(about, "Title").text = _shown_name(title)
    return mpd, ElementTree.SubElement(mpd, "Period", id="0", start="PT0S", duration=mpd_duration(title.duration_s))


def _shown_name(title: Title) -> str:
    """The name that people gave the file. XML has no place for control characters."""
    stem = PurePath(title.source.name).stem
    return "".join(letter for letter in stem if letter.isprintable()) or title.id


def client_data_reporting() -> Element:
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


def _template(video: Element, title: Title, media: str, init: str) -> None:
    ticks, durations = _frame_ticks(title)
    timeline(video, durations, ticks, media, init)


def _frame_ticks(title: Title) -> tuple[int, list[int]]:
    """Ticks a second, and of each segment."""
    rate = Fraction(*title.frame_rate)
    ticks = timescale(rate)
    return ticks, [int(frames * ticks / rate) for frames in title.segment_frames]


def _track_sets(title: Title, period: Element, base: str | None, *, imsc: bool = False) -> None:
    for number, track in enumerate(title.audio, FIRST_SOUND):
        priority = sound_priority(track, title.audio[0])
        sound = sound_set(period, track, number, base, sound_samples(title, track), BEGINNING, priority)
        if title.protection:
            protect(sound, title.protection)
    ticks, durations = _frame_ticks(title)
    for number, subtitles in enumerate(title.subtitles, FIRST_SOUND + len(title.audio)):
        if imsc:
            imsc_set(period, subtitles, number, base, durations, ticks)
        else:
            subtitle_set(period, subtitles, number, base, title.duration_s)
    if title.thumbnails:
        thumbnail_set(period, title.thumbnails, FIRST_SOUND + len(title.audio) + len(title.subtitles), base)


def _has_imsc(title: Title) -> bool:
    return bool(title.subtitles) and all(each.imsc_bytes for each in title.subtitles)
