"""TTML and IMSC text, read (W3C TTML2, IMSC 1.2): what is to be read and when, with slanted, bold and underlined words.

Places on the screen, colours and pictures of text are left out: WebVTT players set text at the bottom, in their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from html import escape
from xml.etree import ElementTree

from abr.errors import MediaError
from server.ingest.subtitles.cues import Cue

_TTML, _PARAMETER, _STYLING = (f"{{http://www.w3.org/ns/ttml{part}}}" for part in ("", "#parameter", "#styling"))
_XML = "{http://www.w3.org/XML/1998/namespace}"
_CLOCK = re.compile(r"(\d{2,}):([0-5]\d):(\d{2})(?:(\.\d{1,9})|:(\d{1,4})(?:\.\d{1,4})?)?")
"""Hours, minutes, seconds, and a fraction or frames (TTML2, 12.3.1); sub-frames are not heeded."""
_OFFSET = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(h|ms|m|s|f|t)")
_DEPTH_MAX = 64
_SPANS_MAX = 500
"""Of one paragraph that have times of their own."""
_STEPS_MAX, _TEXT_MAX = 20_000_000, 16 << 20
"""Of one document: pieces of text looked at for the moments at which something changes, and characters of all cues.
A paragraph is told anew at each such moment, so that a small file could ask for a very large one."""
_MARKS = {"i": ("fontStyle", ("italic", "oblique")), "b": ("fontWeight", ("bold",)), "u": ("textDecoration", ())}
"""WebVTT's tags, and what of TTML's styles they stand for."""
_OLDER = re.compile(r"http://www\.w3\.org/2006/(?:02|04|10)/ttaf1(#[a-z]+)?")
_BLANKS = re.compile(r"[ \t\r\n]+")

Element = ElementTree.Element
Style = Mapping[str, str]
_Times = tuple[Fraction, Fraction | None]
"""From when, and to when if it ends by itself; seconds."""


@dataclass(frozen=True, slots=True)
class _Clock:
    """What times are counted in: frames and ticks a second."""

    frame_rate: Fraction
    tick_rate: Fraction

    def seconds(self, written: str) -> Fraction:
        """Of a time expression. Raises ValueError."""
        if found := _CLOCK.fullmatch(written.strip()):
            hours, minutes, seconds, fraction, frames = found.groups()
            whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
            return whole + Fraction(f"0{fraction or ''}") + int(frames or 0) / self.frame_rate
        if found := _OFFSET.fullmatch(written.strip()):
            count, unit = Fraction(found[1]), found[2]
            rates = {"f": self.frame_rate, "t": self.tick_rate, "ms": Fraction(1000)}
            return count / rates[unit] if unit in rates else count * {"h": 3600, "m": 60, "s": 1}[unit]
        raise ValueError(written)


@dataclass(frozen=True, slots=True)
class _Run:
    """Words in one style, and when they are there. text: plain; a line break is a newline."""

    text: str
    marks: tuple[str, ...]
    times: _Times


@dataclass(slots=True)
class _Reader:
    clock: _Clock
    styles: Mapping[str, Element]
    cues: list[Cue] = field(default_factory=list)
    _resolved: dict[str, Style] = field(default_factory=dict)
    _steps: int = 0
    _characters: int = 0

    def read(self, element: Element, parent: _Times, style: Style, depth: int = 0) -> _Times:
        """Find the paragraphs in a body, a division or a paragraph. Returns when it is there."""
        _check_depth(depth)
        times, style = self._times(element, parent), self._style(element, style)
        if _is_hidden(style):
            return times
        if element.tag == f"{_TTML}p":
            self._add(list(self._runs(element, times, style, depth)), times)
            return times
        one_by_one, begin = element.get("timeContainer") == "seq", times[0]
        for child in element:
            if child.tag in (f"{_TTML}div", f"{_TTML}p"):
                _, end = self.read(child, (begin, times[1]), style, depth + 1)
                begin = end if one_by_one and end is not None else begin
        return times

    def _runs(self, element: Element, times: _Times, style: Style, depth: int) -> Iterator[_Run]:
        _check_depth(depth)
        marks = tuple(tag for tag, (name, values) in _MARKS.items() if _has(style.get(name, ""), values))
        kept = style.get("space") == "preserve"

        def words(text: str | None) -> Iterator[_Run]:
            if text:
                yield _Run(text if kept else _BLANKS.sub(" ", text), marks, times)

        yield from words(element.text)
        for child in element:
            if child.tag == f"{_TTML}br":
                yield _Run("\n", marks, times)
            elif child.tag == f"{_TTML}span":
                inner = self._style(child, style)
                if not _is_hidden(inner):
                    yield from self._runs(child, self._times(child, times), inner, depth + 1)
            yield from words(child.tail)

    def _times(self, element: Element, parent: _Times) -> _Times:
        """Times are counted from the parent's beginning, and end with it (TTML2, 12.4; SMIL's par)."""
        begins, ends = parent
        begin, end, lasts = (self._time(element, name) for name in ("begin", "end", "dur"))
        start = begins + (begin or 0)
        stops = [
            each
            for each in (ends, begins + end if end is not None else None, start + lasts if lasts is not None else None)
            if each is not None
        ]
        return start, min(stops, default=None)

    def _time(self, element: Element, name: str) -> Fraction | None:
        written = element.get(name)
        if written is None:
            return None
        try:
            return self.clock.seconds(written)
        except ValueError:
            raise MediaError(f"{written[:40]!r} is no time of TTML, such as 00:01:02.5 or 62.5s.") from None

    def _style(self, element: Element, inherited: Style) -> Style:
        """Styles that are inherited, then those that are referred to, then the element's own."""
        own = {name.removeprefix(_STYLING): value for name, value in element.items() if name.startswith(_STYLING)}
        space = {"space": space} if (space := element.get(f"{_XML}space")) else {}
        return {**inherited, **self._referred(element, 0), **own, **space}

    def _referred(self, element: Element, depth: int) -> Style:
        """Each style is resolved once, however many lead to it; one that leads to itself adds nothing more."""
        _check_depth(depth)
        found: dict[str, str] = {}
        for name in element.get("style", "").split():
            style = self.styles.get(name)
            if style is None:
                continue
            if name not in self._resolved:
                self._resolved[name] = {}
                own = {key.removeprefix(_STYLING): value for key, value in style.items() if key.startswith(_STYLING)}
                self._resolved[name] = {**self._referred(style, depth + 1), **own}
            found |= self._resolved[name]
        return found

    def _add(self, runs: list[_Run], times: _Times) -> None:
        """The cues of a paragraph. Raises MediaError where those of the document come to too much."""
        moments = _moments(runs, times)
        self._steps += len(moments) * len(runs)
        if self._steps > _STEPS_MAX:
            raise MediaError("The paragraphs of this TTML change too often in too many places.")
        for cue in _cues(runs, times, moments):
            self._characters += len(cue.text)
            if self._characters > _TEXT_MAX:
                raise MediaError(f"The cues of this TTML come to more than {_TEXT_MAX >> 20} million characters.")
            self.cues.append(cue)


def is_ttml(data: bytes) -> bool:
    """Whether a file is XML, as no other file of subtitles is."""
    return data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<?xml", b"<tt", b"<!--"))


def loads_ttml(data: bytes) -> list[Cue]:
    """The cues of a document, in its order. Raises MediaError for one that is no TTML, or of another clock."""
    root = _root(data)
    if root.get(f"{_PARAMETER}timeBase", "media") not in ("media", "smpte"):
        raise MediaError("The times of this TTML are those of a clock on the wall; give one of media time.")
    styles = {name: style for style in root.iter(f"{_TTML}style") if (name := style.get(f"{_XML}id"))}
    reader = _Reader(_clock(root), styles)
    space = {"space": root.get(f"{_XML}space", "default")}
    for body in root.findall(f"{_TTML}body"):
        reader.read(body, (Fraction(0), None), space)
    return reader.cues


def _root(data: bytes) -> Element:
    try:
        text = data.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise MediaError("This TTML declares a document type or entities; subtitles have none, so it is refused.")
        root = ElementTree.fromstring(_OLDER.sub(_newer, text))
    except (ElementTree.ParseError, ValueError) as error:
        raise MediaError(f"This is no TTML: {error}.") from error
    if root.tag != f"{_TTML}tt":
        raise MediaError(f"This is no TTML: its outermost element is {root.tag[:80]!r}, not {_TTML}tt.")
    return root


def _newer(found: re.Match[str]) -> str:
    """The namespace of TTML 1 for that of a draft of it, DFXP."""
    part = found[1] or ""
    return f"http://www.w3.org/ns/ttml{'#styling' if part == '#style' else part}"


def _clock(root: Element) -> _Clock:
    """Frames are 30 a second unless told, ticks as many as frames where those are told (TTML2, 7.2)."""

    def number(name: str) -> Fraction | None:
        written = root.get(f"{_PARAMETER}{name}", "")
        return Fraction(int(written)) if re.fullmatch(r"[1-9]\d{0,8}", written) else None

    told = number("frameRate")
    times = re.fullmatch(r"([1-9]\d{0,8})[ :]([1-9]\d{0,8})", root.get(f"{_PARAMETER}frameRateMultiplier", ""))
    frame_rate = (told or 30) * (Fraction(int(times[1]), int(times[2])) if times else 1)
    usual = Fraction(frame_rate * (number("subFrameRate") or 1)) if told else Fraction(1)
    return _Clock(frame_rate=Fraction(frame_rate), tick_rate=number("tickRate") or usual)


def _moments(runs: list[_Run], times: _Times) -> list[Fraction]:
    """At which a paragraph begins or some of its words come or go, in order."""
    found = sorted({times[0], *(moment for run in runs for moment in run.times if moment is not None)})
    if len(found) > 2 * _SPANS_MAX:
        raise MediaError(f"A paragraph of this TTML has more than {_SPANS_MAX} spans with times of their own.")
    return found


def _cues(runs: list[_Run], times: _Times, moments: list[Fraction]) -> Iterator[Cue]:
    """One for each time between which the same words are there: spans may come and go by themselves."""
    _, ends = times
    for place, start in enumerate(moments):
        end = moments[place + 1] if place + 1 < len(moments) else None
        shown = [run for run in runs if run.times[0] <= start and (run.times[1] is None or run.times[1] > start)]
        text = _text(shown)
        if text and (ends is None or start < ends):
            yield Cue(start_s=float(start), end_s=float(end) if end is not None else float("inf"), text=text)


def _text(runs: list[_Run]) -> str:
    """WebVTT's cue text."""
    text = ""
    for run in runs:
        words = escape(run.text, quote=False)
        before = "".join(f"<{tag}>" for tag in run.marks)
        after = "".join(f"</{tag}>" for tag in reversed(run.marks))
        text += f"{before}{words}{after}" if run.text.strip() else words
    return "\n".join(line for each in text.split("\n") if (line := each.strip()))


def _has(value: str, wanted: tuple[str, ...]) -> bool:
    return value in wanted if wanted else "underline" in value.split()


def _is_hidden(style: Style) -> bool:
    """Also what is written beside characters to tell their sound, which WebVTT would show among the words."""
    beside = style.get("ruby") in ("text", "textContainer", "delimiter")
    return style.get("display") == "none" or style.get("visibility") == "hidden" or beside


def _check_depth(depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise MediaError(f"The elements of this TTML are nested more than {_DEPTH_MAX} deep.")
