"""Manifests of a running stream: a dynamic MPD (ISO/IEC 23009-1, 5.3) and live HLS playlists (RFC 8216, 6.2.2).

Once it has ended they are static, and end with ENDLIST, over what the window still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from xml.etree import ElementTree

from abr.core.title import INIT_FILE, Rendition, segment_file
from abr.media.video_codecs import VideoCodec
from server.clock import iso_time
from server.ingest.audio import FRAME_SAMPLES
from server.ingest.encode import timescale
from server.ingest.encoders.encoder import CAP_WINDOW_S
from server.ingest.manifests.dash import (
    NAMES,
    PROFILES,
    Element,
    Start,
    mpd_duration,
    sound_priority,
    sound_set,
    timeline,
    video_representation,
    video_set,
    xml,
)
from server.ingest.manifests.hls import master_head, target_s, variant
from server.ingest.manifests.shown import as_standalone
from server.ingest.manifests.title import (
    DRIVEN_FILE,
    DRIVEN_ID,
    DRIVEN_MASTER_FILE,
    DRIVEN_MEDIA_FILE,
    MASTER_FILE,
    MPD_FILE,
    client_data_reporting,
)
from server.ingest.mp4.cmaf import standalone_init_file
from server.live.edge.low_latency_dash import ANNOUNCED, offer_early
from server.live.edge.low_latency_hls import Parts, driven_parts, first_with_parts, picture_parts, sound_parts
from server.live.edge.presentation import LivePresentation
from server.media.live_title import TIME_FILE, WHOLE_FOLDER
from server.media.versions import version_folder

DELAY_SEGMENTS = 3
"""How far behind the live edge players are told to be, as HLS players are by themselves (RFC 8216, 6.3.3)."""
_STANDALONE_INIT_FILE = standalone_init_file(VideoCodec.H264)
_UTC_SCHEME = "urn:mpeg:dash:utc:http-iso:2014"
_CONTINUITY_SCHEME = "urn:mpeg:dash:period-continuity:2015"
_AAC_FRAME_S = 0.03
"""Segments of sound are up to so much longer than those of pictures."""
_END_SLACK_S = 0.03
"""An ended stream is told to be so much longer than its media. dash.js 5 asks five times a second whether the end that
it was told of is reached. When it finds so before the browser says that it has ended, it goes half a second back, and
stands: as with viewers who had waited at the live edge for what did not come.
"""


def live_manifests(shown: LivePresentation) -> dict[str, bytes]:
    """All manifests of a running or ended stream by file name, those that lead to others behind these.

    The same of whole segments only, for sessions' own choosers, in a folder of their own.
    """
    files = driven_playlist(shown) | {DRIVEN_MASTER_FILE: driven_master(shown), DRIVEN_FILE: driven_mpd(shown)}
    if shown.chunk_frames:
        files |= {f"{WHOLE_FOLDER}/{name}": body for name, body in _standard(shown.whole()).items()}
    return files | _standard(shown)


def edge_playlists(shown: LivePresentation) -> dict[str, bytes]:
    """Those that change with each chunk: all media playlists."""
    return live_playlists(shown) | driven_playlist(shown)


def _standard(shown: LivePresentation) -> dict[str, bytes]:
    return live_playlists(shown) | {MASTER_FILE: live_master(shown), MPD_FILE: live_mpd(shown)}


def live_playlists(shown: LivePresentation) -> dict[str, bytes]:
    """The media playlists of all renditions and of the sound."""
    files: dict[str, bytes] = {}
    for rendition in shown.renditions:
        folder, begin_s = f"video/{rendition.id}", float(shown.begin_s)
        is_made = rendition in shown.made(shown.end)
        parts = picture_parts(shown, rendition.id) if shown.is_early and is_made else None
        files[f"{rendition.id}.m3u8"] = live_playlist(
            shown, folder, _STANDALONE_INIT_FILE, shown.durations_s, begin_s, parts, rendition=rendition
        )
    for track in shown.audio:
        ends_s = [end * FRAME_SAMPLES / track.sample_rate_hz for end in shown.sound_ends]
        durations_s = [end_s - begin_s for begin_s, end_s in pairwise(ends_s)]
        parts = sound_parts(shown, track.id) if shown.is_early else None
        files[f"{track.id}.m3u8"] = live_playlist(shown, f"audio/{track.id}", INIT_FILE, durations_s, ends_s[0], parts)
    return files


def live_mpd(shown: LivePresentation) -> bytes:
    """Dynamic while the stream runs: players ask for it again each segment, and find the new one in its timeline."""
    mpd = _head(shown)
    folder = "video/$RepresentationID$"
    for listed, period in _periods(mpd, shown.ahead(ANNOUNCED) if shown.is_early else shown):
        made = listed.made(listed.first)
        video = video_set(shown, period, made[-1])
        _follow(video, listed)
        _video_timeline(video, listed, f"{folder}/{NAMES}", f"{folder}/{_STANDALONE_INIT_FILE}")
        for rendition in made:
            video_representation(video, shown, as_standalone(rendition), rendition.id, rendition.bandwidth_bps)
        for sound in _add_sound(period, listed, base=""):
            _follow(sound, listed)
    _add_clock(mpd, shown, base="")
    if shown.is_early:
        offer_early(mpd, shown)
    return xml(mpd)


def driven_playlist(shown: LivePresentation) -> dict[str, bytes]:
    """The media playlist of sessions."""
    parts, begin_s = driven_parts(shown) if shown.is_early else None, float(shown.begin_s)
    body = live_playlist(shown, "video", INIT_FILE, shown.durations_s, begin_s, parts, name=_driven_name)
    return {DRIVEN_MEDIA_FILE: body}


def driven_mpd(shown: LivePresentation) -> bytes:
    """The MPD of a session: one Representation, decided for each segment (`server.ingest.manifests.title`)."""
    mpd, base, shown = _head(shown), f"../../titles/{shown.name}/", shown.unbroken()
    mpd.insert(1, client_data_reporting())  # the schema wants it after ProgramInformation
    top = shown.renditions[-1]
    bandwidth_bps = max(rendition.bandwidth_bps for rendition in shown.renditions)
    for listed, period in _periods(mpd, shown.ahead(ANNOUNCED) if shown.is_early else shown):
        video = video_set(shown, period, top)
        _video_timeline(video, listed, "video/$Number$.m4s", f"video/{INIT_FILE}")
        video_representation(video, shown, top, DRIVEN_ID, bandwidth_bps)
        _add_sound(period, listed, base)
    _add_clock(mpd, shown, base)
    if shown.is_early:
        offer_early(mpd, shown)
    return xml(mpd)


def _periods(mpd: Element, shown: LivePresentation) -> Iterator[tuple[LivePresentation, Element]]:
    """A Period for each span, and what is listed of it.

    What a break took lies between two of them, so that the later one keeps the time of day. All but the last one of a
    running stream tell how long they are. That one stays what it was when the stream ends, so that players that follow
    find its last segments new.
    """
    spans = shown.by_span()
    for listed in spans:
        number = listed.timeline.spans[0].number
        period = ElementTree.SubElement(mpd, "Period", id=str(number), start=_period_start(listed.period_start_s))
        if listed is not spans[-1]:
            period.set("duration", mpd_duration(listed.period_s))
        elif shown.ended:
            period.set("duration", mpd_duration(listed.period_s + _END_SLACK_S))
        yield listed, period


def _period_start(begin_s: float) -> str:
    return mpd_duration(begin_s) if begin_s else "PT0S"


def _driven_name(segment: int) -> str:
    return f"{segment + 1}.m4s"


def _video_timeline(video: Element, shown: LivePresentation, media: str, init: str) -> None:
    ticks = timescale(shown.rate)
    durations = [int(frames * ticks / shown.rate) for frames in shown.frames]
    period_ticks = int(shown.timeline.spans[0].first_frame * ticks / shown.rate)
    start = Start(number=shown.first + 1, ticks=int(shown.begin_s * ticks), period_ticks=period_ticks)
    timeline(video, durations, ticks, media, init, start)


def _add_sound(period: Element, shown: LivePresentation, base: str) -> list[Element]:
    """base: from a session's manifests to the title."""
    sets = []
    for index, track in enumerate(shown.audio):
        samples = [(end - begin) * FRAME_SAMPLES for begin, end in pairwise(shown.sound_ends)]
        start = Start(
            number=shown.first + 1,
            ticks=shown.sound_ends[0] * FRAME_SAMPLES,
            period_ticks=round(shown.timeline.spans[0].first_frame / shown.rate * track.sample_rate_hz),
        )
        below = f"{base}{version_folder(shown.version)}" if base else None
        priority = sound_priority(track, shown.audio[0])
        sets.append(sound_set(period, track, index + 1, below, samples, start, priority))
    return sets


def _follow(adaptation_set: Element, shown: LivePresentation) -> None:
    """Where only the ladder has changed, it goes on from the Period before (ISO/IEC 23009-1, 5.3.2.4)."""
    span = shown.timeline.spans[0]
    if span.number and not span.follows_break:
        about = {"schemeIdUri": _CONTINUITY_SCHEME, "value": str(span.number - 1)}
        adaptation_set.insert(0, ElementTree.Element("SupplementalProperty", about))


def _add_clock(mpd: Element, shown: LivePresentation, base: str) -> None:
    if not shown.ended:
        ElementTree.SubElement(mpd, "UTCTiming", schemeIdUri=_UTC_SCHEME, value=f"{base}{TIME_FILE}")


def _head(shown: LivePresentation) -> Element:
    about = {
        "xmlns": "urn:mpeg:dash:schema:mpd:2011",
        "profiles": PROFILES,
        **(_of_ended(shown) if shown.ended else _of_running(shown)),
        "minBufferTime": mpd_duration(max(CAP_WINDOW_S, shown.segment_s)),
        "maxSegmentDuration": mpd_duration(shown.segment_s + _AAC_FRAME_S),
    }
    mpd = ElementTree.Element("MPD", about)
    named = ElementTree.SubElement(mpd, "ProgramInformation")
    ElementTree.SubElement(named, "Title").text = shown.name
    return mpd


def _of_running(shown: LivePresentation) -> dict[str, str]:
    return {
        "type": "dynamic",
        "availabilityStartTime": shown.clock.instant(0),
        "publishTime": iso_time(shown.published_s),
        "minimumUpdatePeriod": mpd_duration(shown.segment_s),
        "timeShiftBufferDepth": mpd_duration(shown.window_s),
        "suggestedPresentationDelay": mpd_duration(DELAY_SEGMENTS * shown.segment_s),
    }


def _of_ended(shown: LivePresentation) -> dict[str, str]:
    last = shown.by_span()[-1]
    end_s = last.period_start_s + last.period_s + _END_SLACK_S
    return {"type": "static", "mediaPresentationDuration": mpd_duration(end_s)}


def live_master(shown: LivePresentation) -> bytes:
    """The HLS playlist of all variants."""
    lines = master_head(shown, base="")
    for rendition in shown.made(shown.end):
        peak_bps = peak_bandwidth_bps(rendition.bandwidth_bps, shown.segment_s)
        lines += variant(shown, as_standalone(rendition), peak_bps, f"{rendition.id}.m3u8")
    return ("\n".join(lines) + "\n").encode()


def driven_master(shown: LivePresentation) -> bytes:
    """The HLS twin of `driven_mpd`."""
    top, cap_bps = shown.renditions[-1], max(rendition.bandwidth_bps for rendition in shown.renditions)
    lines = master_head(shown, base=f"../../titles/{shown.name}/{version_folder(shown.version)}")
    lines += variant(shown, top, peak_bandwidth_bps(cap_bps, shown.segment_s), "video.m3u8")
    return ("\n".join(lines) + "\n").encode()


def peak_bandwidth_bps(cap_bps: int, segment_s: float) -> int:
    """The most that a segment to come can take: x264 may overdraw its cap by a full buffer (RFC 8216, 4.3.4.2)."""
    return int(cap_bps * (1 + CAP_WINDOW_S / segment_s)) + 1


def live_playlist(
    shown: LivePresentation,
    folder: str,
    init_file: str,
    durations_s: Sequence[float],
    begin_s: float,
    parts: Parts | None = None,
    name: Callable[[int], str] = segment_file,
    rendition: Rendition | None = None,
) -> bytes:
    """A media playlist that slides: the target duration stays what it is for the whole of the stream.

    parts: of low latency, if it has any. name: of the file of a segment. rendition: whose segments may not be made:
    then they are gaps, and players take another rendition (RFC 8216bis, 4.4.4.7).
    """
    longest_s = target_s([shown.segment_s + _AAC_FRAME_S])
    breaks = shown.timeline.span_of(shown.first).breaks
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{longest_s}",
        *(parts.head() if parts else []),
        f"#EXT-X-MEDIA-SEQUENCE:{shown.first + 1}",
        *([f"#EXT-X-DISCONTINUITY-SEQUENCE:{breaks}"] if breaks else []),
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MAP:URI="{folder}/{init_file}"',
    ]
    begins_s = list(accumulate(durations_s, initial=begin_s))
    in_parts = first_with_parts(shown, longest_s) if parts else shown.end
    for segment, at_s, duration_s in zip(range(shown.first, shown.end), begins_s, durations_s, strict=False):
        lines += [*_break(shown, segment), f"#EXT-X-PROGRAM-DATE-TIME:{shown.instant(segment, at_s)}"]
        is_gap = rendition is not None and rendition not in shown.made(segment)
        lines += parts.of(segment) if parts and segment >= in_parts and not is_gap else []
        lines += ["#EXT-X-GAP"] if is_gap else []
        lines += [f"#EXTINF:{duration_s:.6f},", f"{folder}/{name(segment)}"]
    if parts:
        date = f"#EXT-X-PROGRAM-DATE-TIME:{shown.instant(shown.end, begins_s[-1])}"
        lines += [*_break(shown, shown.end), date] if shown.chunks else []
        lines += [*parts.of(shown.end), *parts.tail()]
    lines += ["#EXT-X-ENDLIST"] if shown.ended else []
    return ("\n".join(lines) + "\n").encode()


def _break(shown: LivePresentation, segment: int) -> list[str]:
    """Before the first segment of a span, if one before it is listed (RFC 8216, 4.3.2.3, 4.3.3.3)."""
    span = shown.timeline.span_of(segment)
    is_first = segment > shown.first and span.follows_break and span.first_segment == segment
    return ["#EXT-X-DISCONTINUITY"] if is_first else []
