"""Cues: what is to be read, from when to when. FFmpeg's decoders give them as lines of ASS, whatever the file has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.subtitles.stream import SubtitleStream

TEXT_BYTES_MAX = 4 << 20
"""Of a track, as WebVTT: a film has some 100 kB, and what is beyond is no subtitles."""
_FIELDS_BEFORE_TEXT = 8
_STYLE = re.compile(r"\{[^{}]*\}")
_SWITCH = re.compile(r"\\([ibu])([01])")
_ESCAPES = {r"\N": "\n", r"\n": "\n", r"\h": "\u00a0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """Some lines of text. text: WebVTT's cue text (W3C WebVTT, section 4.2.2), without blank lines."""

    start_s: float
    end_s: float
    text: str


def read_cues(container: InputContainer, stream: int) -> Iterator[Cue]:
    """The cues of one stream of text, as the file has them. A damaged packet is left out."""
    import av

    subtitles = next(each for each in container.streams.subtitles if each.index == stream)
    for packet in container.demux(subtitles):
        try:
            yield from _cues_of(packet)
        except av.error.FFmpegError:
            continue


def place_cues(cues: Iterable[Cue], begins_s: float, lasts_s: float) -> list[Cue]:
    """Those of a title that begins at `begins_s` of the file's clock, in order.

    Left out are those beyond TEXT_BYTES_MAX, those that last no time, and those that are over before the title begins.
    """
    placed: list[Cue] = []
    room_bytes = TEXT_BYTES_MAX
    for cue in cues:
        start_s, end_s = max(0.0, cue.start_s - begins_s), min(lasts_s, cue.end_s - begins_s)
        room_bytes -= len(cue.text.encode()) + 32
        if room_bytes < 0:
            break
        if end_s - start_s >= 0.001 and cue.text:
            placed.append(Cue(start_s=start_s, end_s=end_s, text=cue.text))
    return sorted(placed, key=lambda cue: (cue.start_s, cue.end_s))


def _cues_of(packet: Packet[SubtitleStream]) -> Iterator[Cue]:
    if packet.pts is None or packet.time_base is None:
        return
    start_s = float(packet.pts * packet.time_base)
    lasts_s = float((packet.duration or 0) * packet.time_base)
    for line in packet.decode():
        text = cue_text(bytes(getattr(line, "ass", b"")).decode("utf-8", "replace"))
        yield Cue(start_s=start_s, end_s=start_s + lasts_s, text=text)


def cue_text(line: str) -> str:
    r"""The text of a line of ASS: `0,0,Default,,0,0,0,,{\i1}Hello{\i0}\Nyou` → `<i>Hello</i>`, a new line, `you`."""
    written = line.split(",", _FIELDS_BEFORE_TEXT)[-1]
    for escape_sequence, letter in _ESCAPES.items():
        written = written.replace(escape_sequence, letter)
    plain = _STYLE.split(written)
    styles = [_SWITCH.findall(found) for found in _STYLE.findall(written)]
    text, opened = escape(plain[0], quote=False), list[str]()
    for switches, words in zip(styles, plain[1:], strict=True):
        for tag, on in switches:
            text += _open(tag, opened) if on == "1" else _close(tag, opened)
        text += escape(words, quote=False)
    text += "".join(f"</{tag}>" for tag in reversed(opened))
    return "\n".join(line for each in text.splitlines() if (line := each.strip()))


def _open(tag: str, opened: list[str]) -> str:
    if tag in opened:
        return ""
    opened.append(tag)
    return f"<{tag}>"


def _close(tag: str, opened: list[str]) -> str:
    """Tags that were opened later are closed too, and opened again: they must nest."""
    if tag not in opened:
        return ""
    later = opened[opened.index(tag) + 1 :]
    opened.remove(tag)
    return "".join(f"</{each}>" for each in (*reversed(later), tag)) + "".join(f"<{each}>" for each in later)
