"""The tracks of a source beside its pictures: which there are, and what the container says of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from abr.core.title import AudioRole, Chapter, Count, Language, SubtitleRole, TrackName
from abr.media.languages import UNKNOWN, language_tag
from abr.media.survey import StreamSurvey
from abr.media.timeline import Shifts
from abr.records import Record

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

CHAPTERS_MAX = 1000
TRACKS_MAX = 32
"""Of each kind; each costs an encoder's time, and lines in every manifest."""
_NAME_MAX_CHARS = 200
_TEXT_SUBTITLES = {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"}
"""FFmpeg's codecs of subtitles that are text; others are pictures."""
_LOST_SOUND_MIN = 0.02
"""Above this share of damaged packets of sound, the user hears of it."""


class SourceSound(Record, frozen=True):
    """One stream of sound that can be decoded."""

    stream: Count
    """Its number in the file."""
    language: Language = UNKNOWN
    name: TrackName = ""
    role: AudioRole = "main"
    channels: Count = 2
    shifts: Shifts = ()
    """What mends the timestamps of its decoded frames."""


class SourceSubtitles(Record, frozen=True):
    """One stream of subtitles that are text."""

    stream: Count
    language: Language = UNKNOWN
    name: TrackName = ""
    role: SubtitleRole = "subtitle"


def sound_streams(container: InputContainer, video: Stream) -> list[SourceSound]:
    """All streams of sound that FFmpeg knows a decoder for: the one that plays unless asked, then by their number."""
    known = [stream for stream in container.streams.audio if stream.codec_context is not None]
    best = container.streams.best("audio", related=video)
    known.sort(key=lambda stream: (best is None or stream.index != best.index, stream.index))
    return [
        SourceSound(
            stream=stream.index,
            language=language_tag(stream.language),
            name=_name(stream),
            role=_audio_role(stream),
            channels=stream.codec_context.channels,
        )
        for stream in known[:TRACKS_MAX]
    ]


def decodable(sounds: Sequence[SourceSound], found: Mapping[int, StreamSurvey]) -> list[SourceSound]:
    """Those that gave sound when they were decoded. The first of them is the main one."""
    heard = [each for each in sounds if found[each.stream].frames]
    return [msgspec.structs.replace(each, role="main") for each in heard[:1]] + heard[1:]


def subtitle_streams(container: InputContainer) -> tuple[SourceSubtitles, ...]:
    """All streams of subtitles that are text, by their number."""
    texts = [stream for stream in container.streams.subtitles if _is_text(stream)]
    return tuple(
        SourceSubtitles(
            stream=stream.index,
            language=language_tag(stream.language),
            name=_name(stream),
            role=_subtitle_role(stream),
        )
        for stream in texts[:TRACKS_MAX]
    )


def chapters_of(container: InputContainer) -> list[Chapter]:
    """The file's chapters, on its own clock; a start before 0 counts as 0."""
    return [
        Chapter(
            start_s=max(0.0, float(each["start"] * (each["time_base"] or 0))),
            name=_printable(each["metadata"].get("title")),
        )
        for each in container.chapters()[:CHAPTERS_MAX]
    ]


def chapters_within(chapters: Sequence[Chapter], start_s: float, duration_s: float) -> tuple[Chapter, ...]:
    """Those of a title that begins at `start_s` of the file's clock, on its own: the one under way then begins at 0.

    Of two that begin together the later in the file counts: Matroska nests them.
    """
    found: dict[float, Chapter] = {}
    for each in sorted(chapters, key=lambda chapter: chapter.start_s):
        at_s = max(0.0, round(each.start_s - start_s, 3))
        if at_s < duration_s:
            found[at_s] = Chapter(start_s=at_s, name=each.name)
    return tuple(found.values())


def notes_on_clock(texts: Sequence[SourceSubtitles], chapters: Sequence[Chapter], shifts: Shifts) -> Iterator[str]:
    """Of subtitles and chapters in a file whose clock restarts: nobody can tell when they are meant."""
    for what, there in (("subtitles", texts), ("chapters", chapters)):
        if there and shifts:
            yield f"its {what} are left out, since its timestamps restart or jump"


def notes_on_subtitles(container: InputContainer) -> Iterator[str]:
    """What of a file's subtitles a viewer will miss, a clause about the file."""
    streams = container.streams.subtitles
    pictures = sum(not _is_text(stream) for stream in streams)
    if pictures:
        yield f"{pictures} of its {len(streams)} tracks of subtitles are pictures, not text, and are left out"


def notes_on_channels(sounds: Sequence[SourceSound]) -> Iterator[str]:
    """Of sounds that may be channels of one, as broadcasters have them: the title has each as a sound of its own."""
    told = {(each.channels, each.language, each.name) for each in sounds}
    if len(sounds) > 1 and told == {(1, sounds[0].language, "")}:
        yield (
            f"its {len(sounds)} tracks of sound have one channel each and become as many sounds; if they are channels "
            "of one, join them first"
        )


def notes_on_sounds(declared: int, sounds: Sequence[StreamSurvey]) -> Iterator[str]:
    """Likewise of its sound. declared: how many streams the file says it has. sounds: those that can be decoded."""
    looked_at = min(declared, TRACKS_MAX)
    if declared and not sounds:
        yield "its sound is empty or cannot be decoded, so the title is silent"
    elif looked_at > len(sounds):
        yield f"{looked_at - len(sounds)} of its {declared} tracks of sound cannot be decoded and are left out"
    if declared > looked_at:
        yield f"it has {declared} tracks of sound; {declared - looked_at} are left out"
    for number, sound in enumerate(sounds, 1):
        if sound.damaged > _LOST_SOUND_MIN * sound.packets:
            which = f" of track {number}" if len(sounds) > 1 else ""
            lost = f"{sound.damaged} of its {sound.packets} packets of sound{which}"
            yield f"{lost} cannot be decoded; there it is silent"


def _is_text(stream: Stream) -> bool:
    return stream.codec_context is not None and stream.codec_context.name in _TEXT_SUBTITLES


def _name(stream: Stream) -> str:
    return _printable(stream.metadata.get("title"))


def _printable(name: str | None) -> str:
    return "".join(letter for letter in name or "" if letter.isprintable()).strip()[:_NAME_MAX_CHARS]


def _audio_role(stream: Stream) -> AudioRole:
    from av.stream import Disposition

    said = stream.disposition
    if said & (Disposition.visual_impaired | Disposition.descriptions):
        return "description"
    if said & Disposition.comment:
        return "commentary"
    return "dub" if said & Disposition.dub else "alternate"


def _subtitle_role(stream: Stream) -> SubtitleRole:
    from av.stream import Disposition

    said = stream.disposition
    if said & Disposition.forced:
        return "forced-subtitle"
    if said & (Disposition.hearing_impaired | Disposition.captions):
        return "caption"
    return "commentary" if said & Disposition.comment else "subtitle"
