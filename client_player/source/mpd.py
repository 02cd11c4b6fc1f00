"""Reads a static DASH manifest (ISO/IEC 23009-1) as far as players meet it.

That is: SegmentTemplate with a timeline or a fixed duration, BaseURL and attributes inherited from the outside in, one
Period.

The document is hostile: no document type declaration (so no entities), bounded size and number of segments, and only
http(s) URLs come out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import urljoin
from xml.etree import ElementTree

from abr.errors import FormatError, InputError
from client_player.transport.http import check_url

MANIFEST_MAX_BYTES = 4 << 20
SEGMENTS_MAX = 50_000
TRACKS_MAX = 64
SEGMENTS_ALL_MAX = 100_000
"""In all representations together: each costs memory."""
URL_MAX_CHARS = 4096

_NAMESPACE = re.compile(r"\{[^}]*\}")
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_FIELD = re.compile(r"\$(RepresentationID|Number|Time|Bandwidth)?(?:%0(\d{1,2})d)?\$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One media segment: its URL and its place in the presentation."""

    url: str
    start_s: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One Representation. Sizes are 0 and frame_rate is None when the manifest does not say."""

    id: str
    kind: str
    """video or audio; others are left out."""
    codecs: str
    bandwidth_bps: int
    width_px: int
    height_px: int
    frame_rate: Fraction | None
    init_url: str
    segments: tuple[Span, ...]
    first: int = 0
    """The number of the first of them, from 0."""
    language: str = ""
    """BCP 47, as the manifest has it."""
    priority: int = 1
    """@selectionPriority (5.3.3.2): of sounds, the one with the highest plays unless asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """What a manifest offers: video tracks from the lowest bandwidth up; audio tracks, the one that plays first."""

    duration_s: float
    video: tuple[Track, ...]
    audio: tuple[Track, ...]


def loads_mpd(document: bytes, url: str) -> Presentation:
    """Parse an MPD that came from `url`. Raises FormatError naming what is wrong or not supported."""
    root = _root(document, url)
    if root.get("type", "static") != "static":
        raise FormatError(f"{url} is a live (dynamic) presentation; only static ones can be played.")
    periods = _children(root, "Period")
    if len(periods) != 1:
        raise FormatError(f"{url} has {len(periods)} periods; a presentation of one period can be played.")
    duration_s = _duration(root.get("mediaPresentationDuration") or periods[0].get("duration") or "", url)
    sets = [
        sorted(each, key=lambda track: track.bandwidth_bps)
        for each in _tracks_of_sets(root, periods[0], url, duration_s)
    ]
    tracks = [track for each in sets for track in each]
    video = sorted((track for track in tracks if track.kind == "video"), key=lambda track: track.bandwidth_bps)
    if not video:
        raise FormatError(f"{url} offers no video.")
    audio = sorted((track for track in tracks if track.kind == "audio"), key=lambda track: -track.priority)
    return Presentation(duration_s=duration_s, video=tuple(video), audio=tuple(audio))


def choose_sound(tracks: Sequence[Track], language: str) -> Track | None:
    """The first in this language, such as de, or the one that plays unless asked; None where there is no sound.

    Raises InputError when there is none in this language.
    """
    if not language or not tracks:
        return tracks[0] if tracks else None
    alike = [track for track in tracks if _speaks(track, language.lower())]
    if not alike:
        there = ", ".join(dict.fromkeys(track.language or "und" for track in tracks))
        raise InputError(f"There is no sound in {language[:40]!r}; there is {there}.")
    return alike[0]


def _speaks(track: Track, language: str) -> bool:
    """Whether de asks for de-AT too (RFC 4647, 3.3.1)."""
    return f"{track.language.lower()}-".startswith(f"{language}-")


def _root(document: bytes, url: str) -> ElementTree.Element:
    if len(document) > MANIFEST_MAX_BYTES:
        raise FormatError(f"{url} is {len(document)} bytes; a manifest has at most {MANIFEST_MAX_BYTES}.")
    try:
        text = document.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise FormatError(f"{url} declares a document type or entities; manifests have none, so this is refused.")
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise FormatError(f"{url} is not XML: {error}.") from error
    if _name(root) != "MPD":
        raise FormatError(f"{url} is no DASH manifest: its outermost element is {_name(root)[:40]!r}, not 'MPD'.")
    return root


def _tracks_of_sets(
    root: ElementTree.Element, period: ElementTree.Element, url: str, duration_s: float
) -> Iterator[list[Track]]:
    count = segments = 0
    for adaptation in _children(period, "AdaptationSet"):
        tracks: list[Track] = []
        for representation in _children(adaptation, "Representation"):
            scopes = [root, period, adaptation, representation]
            kind = _kind(scopes)
            if kind not in ("video", "audio") or any(map(_is_beyond_us, scopes[2:])):
                continue
            count += 1
            if count > TRACKS_MAX:
                raise FormatError(f"{url} has more than {TRACKS_MAX} representations.")
            track = _track(scopes, kind, url, duration_s)
            segments += len(track.segments)
            if segments > SEGMENTS_ALL_MAX:
                raise FormatError(f"{url} has more than {SEGMENTS_ALL_MAX} segments in all.")
            tracks.append(track)
        yield tracks


def _track(scopes: list[ElementTree.Element], kind: str, url: str, duration_s: float) -> Track:
    base = url
    for scope in scopes:
        bases = _children(scope, "BaseURL")
        base = urljoin(base, (bases[0].text or "").strip()) if bases else base
    fields = {
        "RepresentationID": _attribute(scopes, "id"),
        "Bandwidth": str(_integer(_attribute(scopes, "bandwidth"), "bandwidth", url)),
    }
    template = {
        key: value
        for scope in scopes
        for element in _children(scope, "SegmentTemplate")
        for key, value in element.items()
    }
    timelines = [
        timeline
        for scope in scopes
        for element in _children(scope, "SegmentTemplate")
        for timeline in _children(element, "SegmentTimeline")
    ]
    if "media" not in template:
        raise FormatError(f"Representation {fields['RepresentationID']!r} of {url} has no SegmentTemplate to follow.")
    return Track(
        id=fields["RepresentationID"],
        kind=kind,
        codecs=_attribute(scopes, "codecs"),
        bandwidth_bps=int(fields["Bandwidth"]),
        width_px=_integer(_attribute(scopes, "width") or "0", "width", url),
        height_px=_integer(_attribute(scopes, "height") or "0", "height", url),
        frame_rate=_frame_rate(_attribute(scopes, "frameRate"), url),
        init_url=_resolve(base, template.get("initialization", ""), fields),
        segments=tuple(_spans(template, timelines[-1] if timelines else None, base, fields, url, duration_s)),
        language=_attribute(scopes, "lang"),
        priority=_integer(_attribute(scopes, "selectionPriority") or "1", "selectionPriority", url),
    )


def _spans(
    template: dict[str, str],
    timeline: ElementTree.Element | None,
    base: str,
    fields: dict[str, str],
    url: str,
    duration_s: float,
) -> Iterator[Span]:
    scale = _integer(template.get("timescale", "1"), "timescale", url) or 1
    offset = _integer(template.get("presentationTimeOffset", "0"), "presentationTimeOffset", url)
    first = _integer(template.get("startNumber", "1"), "startNumber", url)
    if timeline is not None:
        times = _timeline(timeline, url, offset + round(duration_s * scale))
    else:
        times = _regular(_integer(template.get("duration", "0"), "duration", url), offset, duration_s * scale, url)
    for count, (time, length) in enumerate(times):
        if count >= SEGMENTS_MAX:
            raise FormatError(f"{url} has more than {SEGMENTS_MAX} segments in a representation.")
        place = {**fields, "Number": str(first + count), "Time": str(time)}
        yield Span(
            url=_resolve(base, template["media"], place), start_s=(time - offset) / scale, duration_s=length / scale
        )


def _timeline(timeline: ElementTree.Element, url: str, end: int) -> Iterator[tuple[int, int]]:
    """(time, duration) of each segment in units of the timescale; 5.3.9.6 of the standard."""
    time = 0
    entries = _children(timeline, "S")
    for index, entry in enumerate(entries):
        time = _integer(entry.get("t", str(time)), "S@t", url)
        length = _integer(entry.get("d", "0"), "S@d", url)
        if length <= 0:
            raise FormatError(f"{url} has a segment without duration in its timeline.")
        repeat = entry.get("r", "0")
        if repeat == "-1":  # until the next entry, or the end
            until = _integer(entries[index + 1].get("t", "0"), "S@t", url) if index + 1 < len(entries) else end
            repeats = max(0, -(-(until - time) // length) - 1)
        else:
            repeats = _integer(repeat, "S@r", url)
        for _ in range(repeats + 1):
            yield time, length
            time += length


def _regular(length: int, offset: int, end: float, url: str) -> Iterator[tuple[int, int]]:
    if length <= 0:
        raise FormatError(f"{url} has a SegmentTemplate with neither a timeline nor a duration.")
    time = 0
    while time < end - 1e-3:
        yield time + offset, min(length, round(end - time))
        time += length


def _resolve(base: str, template: str, fields: dict[str, str]) -> str:
    """Fill `$Number%05d$` and its like in (5.3.9.4.4) and make the URL absolute."""

    def fill(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        value = fields.get(match[1], "")
        return value.zfill(int(match[2])) if match[2] else value

    try:
        url = urljoin(base, _FIELD.sub(fill, template))
        if len(url) > URL_MAX_CHARS:
            raise InputError(f"one of {len(url)} characters; {URL_MAX_CHARS} at most.")
        check_url(url)
    except (InputError, ValueError) as error:
        raise FormatError(f"The manifest leads to a URL that cannot be fetched: {error}") from error
    return url


def _is_beyond_us(scope: ElementTree.Element) -> bool:
    """Whether players must leave it alone that do not know what it is marked with (ISO/IEC 23009-1, 5.8.4.8).

    This one knows none of these marks: what it shows is in standard range.
    """
    return bool(_children(scope, "EssentialProperty"))


def _kind(scopes: list[ElementTree.Element]) -> str:
    return _attribute(scopes, "contentType") or _attribute(scopes, "mimeType").partition("/")[0]


def _attribute(scopes: list[ElementTree.Element], name: str) -> str:
    """The innermost value; `id` belongs to the Representation alone."""
    for scope in reversed(scopes[-1:] if name == "id" else scopes[2:]):
        value = scope.get(name)
        if value is not None:
            return value
    return ""


def _integer(text: str, what: str, url: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text.strip()):
        raise FormatError(f"{url} has {what}={text[:40]!r} where a whole number is expected.")
    return int(text)


def _frame_rate(text: str, url: str) -> Fraction | None:
    if not text:
        return None
    if not re.fullmatch(r"[1-9]\d{0,8}(/[1-9]\d{0,8})?", text):
        raise FormatError(f"{url} has frameRate={text[:40]!r}; expected a number or a fraction such as 30000/1001.")
    return Fraction(text)


def _duration(text: str, url: str) -> float:
    match = _DURATION.fullmatch(text)
    parts = [float(part or 0) for part in match.groups()] if match else []
    seconds = sum(part * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=False))
    if not 0 < seconds <= 1e6:
        raise FormatError(f"{url} says its duration is {text[:40]!r}; expected one such as PT60.5S.")
    return seconds


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in element if _name(child) == name]


def _name(element: ElementTree.Element) -> str:
    return _NAMESPACE.sub("", element.tag) if isinstance(element.tag, str) else ""
