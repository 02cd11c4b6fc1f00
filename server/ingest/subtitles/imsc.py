"""IMSC text, written: one TTML document a segment, in fragmented MP4 (W3C IMSC 1.2; ISO/IEC 14496-30, 5; CMAF, 11.3).

Times are those of the whole title, as the track's own clock has them. A cue that outlasts its segment goes on in the
next.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from xml.sax.saxutils import quoteattr

from server.ingest.mp4.sample_entry import box
from server.ingest.subtitles.cues import Cue

CODECS = "stpp.ttml.im1t"
_NAMESPACE = "http://www.w3.org/ns/ttml"
_STYLES = {"i": 'tts:fontStyle="italic"', "b": 'tts:fontWeight="bold"', "u": 'tts:textDecoration="underline"'}
_TAG = re.compile(r"</?([ibu])>")
_NO_XML = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_IDENTITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def write_document(cues: Iterable[Cue], language: str) -> bytes:
    """A document of some cues, at the bottom of the picture."""
    lines = [f"<p begin={_time(cue.start_s)} end={_time(cue.end_s)}>{_content(cue.text)}</p>" for cue in cues]
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<tt xmlns="{_NAMESPACE}" xmlns:ttp="{_NAMESPACE}#parameter"'
        f' xmlns:tts="{_NAMESPACE}#styling" ttp:profile="{_NAMESPACE}/profile/imsc1/text" ttp:timeBase="media"'
        f" xml:lang={quoteattr(language)}>\n"
        '<head><layout><region xml:id="bottom" tts:origin="10% 75%" tts:extent="80% 20%" tts:displayAlign="after"'
        ' tts:textAlign="center"/></layout></head>\n<body region="bottom"><div>\n'
        + "".join(f"{line}\n" for line in lines)
        + "</div></body>\n</tt>\n"
    ).encode()


def cues_within(cues: Sequence[Cue], start_s: Fraction, end_s: Fraction) -> Iterator[Cue]:
    """The cues of a segment, each as far as it lies in it."""
    for cue in cues:
        first_s, last_s = max(cue.start_s, float(start_s)), min(cue.end_s, float(end_s))
        if last_s - first_s >= 0.001:
            yield Cue(start_s=first_s, end_s=last_s, text=cue.text)


def init_segment(ticks: int) -> bytes:
    """Of any track; a second has so many ticks."""
    entry = box(b"stpp", bytes(6) + struct.pack(">H", 1) + f"{_NAMESPACE}\0\0\0".encode())
    tables = box(b"stsd", struct.pack(">II", 0, 1) + entry)
    tables += b"".join(box(kind, bytes(8)) for kind in (b"stts", b"stsc", b"stco")) + box(b"stsz", bytes(12))
    data = box(b"dinf", box(b"dref", struct.pack(">II", 0, 1) + box(b"url ", struct.pack(">I", 1))))
    media = box(b"mdhd", struct.pack(">5I", 0, 0, 0, ticks, 0) + struct.pack(">HH", 0x55C4, 0))
    media += box(b"hdlr", bytes(8) + b"subt" + bytes(12) + b"subtitles\0")
    media += box(b"minf", box(b"sthd", bytes(4)) + data + box(b"stbl", tables))
    head = box(b"tkhd", struct.pack(">6I", 3, 0, 0, 1, 0, 0) + bytes(16) + _IDENTITY + bytes(8))
    movie = box(
        b"mvhd",
        struct.pack(">5IIH", 0, 0, 0, ticks, 0, 0x10000, 0x100)
        + bytes(10)
        + _IDENTITY
        + bytes(24)
        + struct.pack(">I", 2),
    )
    movie += box(b"trak", head + box(b"mdia", media))
    movie += box(b"mvex", box(b"trex", struct.pack(">6I", 0, 1, 1, 0, 0, 0)))
    return box(b"ftyp", b"iso6" + struct.pack(">I", 0) + b"iso6cmfcim1t") + box(b"moov", movie)


def _content(text: str) -> str:
    """A cue's text, whose marks become spans. Its other letters are escaped for XML as they are for WebVTT."""
    styled = _TAG.sub(lambda tag: "</span>" if tag[0][1] == "/" else f"<span {_STYLES[tag[1]]}>", text)
    return _NO_XML.sub("", styled).replace("\n", "<br/>")


def _time(seconds: float) -> str:
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f'"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"'
