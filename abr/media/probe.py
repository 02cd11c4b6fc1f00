"""Look at a source file: which streams to take, what a viewer should see of them, and whether the file is whole.

Sources are hostile: only plain container formats are opened, never playlists that name other files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from abr.core.title import Chapter, Count, HdrColour, Positive
from abr.display_height import DISPLAY_MAX_PX
from abr.errors import MediaError
from abr.media.colour import is_full_range, matrix_of
from abr.media.languages import UNKNOWN
from abr.media.survey import StreamSurvey, count_packets, find_shortfall, survey
from abr.media.timeline import Shifts, find_all_shifts, tidy_rate
from abr.media.tone_mapping import PEAK_USUAL_NITS, Transfer
from abr.media.tracks import (
    SourceSound,
    SourceSubtitles,
    chapters_of,
    chapters_within,
    decodable,
    notes_on_channels,
    notes_on_clock,
    notes_on_sounds,
    notes_on_subtitles,
    sound_streams,
    subtitle_streams,
)
from abr.records import Record

if TYPE_CHECKING:
    from av.container import InputContainer

SMALLEST_SIDE_PX = 64
_LARGEST_SIDE_PX = 16384
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegts,avi,flv,asf,ogg,mxf,nut,dv,wtv,ivf,rm,gxf,yuv4mpegpipe,"
    "h264,hevc,m4v,mpegvideo,obu,swf,gif,apng,mp3,wav,flac,aac"
)
"""FFmpeg's names of plain container formats: none of them names other files."""
_LONGEST_S = 24 * 3600
"""A few pictures with far timestamps would otherwise keep a machine busy for days."""
_SOUND_ALONE_MIN_S = 0.25
"""Sound this much before the first picture or after the last counts; less is the slack of muxers and codecs."""
_MOVING_SHARE_MIN = 0.02
"""A stream with fewer of the packets of the longest stream of pictures is a cover or a slide beside the film."""
_CLOCK_JUMPS = 0x0200
"""AVFMT_TS_DISCONT."""
_KEPT_SHARE_MIN = 0.8
"""Below this share of the pictures that the grid has room for, the user hears of it."""
_ODD_STILL_MIN_S, _ODD_STILL_RATIO = 60.0, 10.0
"""A picture that stands for longer, and so many times longer than any other, may be a wrong timestamp's."""


class SourceInfo(Record, frozen=True):
    """What is taken of a source and how it is to be shown.

    display_*: the picture a viewer sees: rotated, square pixels, even sizes, at most 1080 on its short side.
    """

    video_stream: Count
    coded_width_px: Positive
    coded_height_px: Positive
    display_width_px: Positive
    display_height_px: Positive
    rotation_deg: int
    """Counterclockwise turn that brings the coded picture upright: 0, 90, 180 or 270."""
    mirrored: bool
    """Whether the coded picture is swapped left to right before it is turned."""
    frame_rate: tuple[Positive, Positive]
    start_s: float
    """Time of the first picture, or of sound before it, on the source's own clock."""
    duration_s: float
    interlaced: bool
    """Whether some pictures are, by their flags and by looking at them: those without a flag are left as they are."""
    matrix: str
    """Colour matrix of the coded picture: bt709, bt601, bt2020 or rgb."""
    full_range: bool
    pixel_format: str
    """FFmpeg's name of the decoded pixel format."""
    time_base: tuple[Positive, Positive]
    picture_shifts: Shifts
    """What mends the timestamps of decoded pictures."""
    notes: tuple[str, ...]
    """What a viewer of the title could miss, each a clause about the file."""
    sounds: tuple[SourceSound, ...] = ()
    """The one that plays unless asked, then the others in the file's order."""
    subtitles: tuple[SourceSubtitles, ...] = ()
    transfer: Transfer = "sdr"
    """How codes stand for light: as on an ordinary display, or HDR by PQ or HLG."""
    peak_nits: Positive = PEAK_USUAL_NITS
    """The brightest light of an HDR film."""
    hdr: HdrColour | None = None
    """What an HDR film says of its light."""
    chapters: tuple[Chapter, ...] = ()
    """On the title's clock."""

    @property
    def sound_language(self) -> str:
        """BCP 47, of the first sound."""
        return self.sounds[0].language if self.sounds else UNKNOWN

    @property
    def rate(self) -> Fraction:
        """Frames a second, exactly."""
        return Fraction(*self.frame_rate)

    @property
    def frames_expected(self) -> int:
        """Frames that duration and rate promise; at least one."""
        return max(1, round(self.duration_s * float(self.rate)))


@contextmanager
def open_source(path: Path) -> Iterator[InputContainer]:
    """Open a source; MediaError in one sentence for whatever FFmpeg makes of it, also inside the `with` body."""
    import av

    try:
        with av.open(f"file:{path}", mode="r", options={"format_whitelist": FORMATS}) as container:
            yield container
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"{path.name} cannot be read as video ({why}); give a whole file in a format FFmpeg knows, such as MP4."
        ) from error


def probe(path: Path, *, accept_short: bool = False) -> SourceInfo:
    """Choose streams and measure the source by decoding it once.

    accept_short: take a file that ends before it says it does as it is, with a note. Raises MediaError when it is
    missing, empty, truncated or has no moving picture.
    """
    streams = _survey_streams(path, accept_short)
    pictures, sounds = streams.pictures, [streams.found[each.stream] for each in streams.sounds]
    _check_pictures(pictures, path)
    rate = tidy_rate(pictures.plausible_rate(streams.promised_rate))
    pictures.fill_durations(float(1 / rate))
    picture = pictures.largest_format()
    display = display_size(picture.width_px, picture.height_px, streams.pixel_aspect, picture.rotation_deg)
    check_size(path.name, max(picture.width_px, picture.height_px, *display), min(display))
    picture_shifts, sound_shifts = find_all_shifts(pictures, sounds, clock_jumps=streams.clock_jumps)
    first_packet_s = pictures.first_packet_s
    pictures.shift(picture_shifts)
    for sound, shifts in zip(sounds, sound_shifts, strict=True):
        sound.shift(shifts)
    start_s, end_s = _span(pictures, sounds[0] if sounds else None, first_packet_s)
    _check_length(path, end_s - start_s)
    return SourceInfo(
        video_stream=streams.video_index,
        coded_width_px=picture.width_px,
        coded_height_px=picture.height_px,
        display_width_px=display[0],
        display_height_px=display[1],
        rotation_deg=picture.rotation_deg,
        mirrored=picture.mirrored,
        frame_rate=(rate.numerator, rate.denominator),
        start_s=start_s,
        duration_s=end_s - start_s,
        interlaced=pictures.interlace.is_interlaced,
        matrix=matrix_of(picture),
        full_range=is_full_range(picture),
        pixel_format=picture.pixel_format,
        time_base=(picture.tick.numerator, picture.tick.denominator),
        picture_shifts=picture_shifts,
        notes=(
            *((f"it {streams.shortfall}",) if streams.shortfall else ()),
            *notes_on_sounds(streams.declared_sounds, sounds),
            *notes_on_channels(streams.sounds),
            *streams.subtitle_notes,
            *notes_on_clock(streams.subtitles, streams.chapters, picture_shifts),
            *_notes_on_times(pictures, picture_shifts, start_s, rate),
        ),
        sounds=tuple(
            msgspec.structs.replace(each, shifts=shifts)
            for each, shifts in zip(streams.sounds, sound_shifts, strict=True)
        ),
        subtitles=streams.subtitles,
        transfer=picture.transfer,
        peak_nits=picture.peak_nits,
        hdr=picture.hdr,
        chapters=chapters_within(() if picture_shifts else streams.chapters, start_s, end_s - start_s),
    )


class _Streams(NamedTuple):
    """What decoding a source once tells. sounds: those that can be decoded, whatever the file declares."""

    video_index: int
    found: dict[int, StreamSurvey]
    sounds: list[SourceSound]
    declared_sounds: int
    subtitles: tuple[SourceSubtitles, ...]
    subtitle_notes: tuple[str, ...]
    chapters: list[Chapter]
    pixel_aspect: Fraction
    promised_rate: Fraction
    clock_jumps: bool
    shortfall: str | None

    @property
    def pictures(self) -> StreamSurvey:
        """Of the chosen stream."""
        return self.found[self.video_index]


def _survey_streams(path: Path, accept_short: bool) -> _Streams:
    if not path.is_file():
        raise MediaError(f"There is no file {path}; give the path of a video file.")
    if path.stat().st_size == 0:
        raise MediaError(f"{path.name} is empty; give a video file.")
    with open_source(path) as container:
        chosen = _choose_video(container, path)
    with open_source(path) as container:  # streams must not be touched once their container is closed
        video = next(stream for stream in container.streams.video if stream.index == chosen)
        sounds = sound_streams(container, video)
        found, last_s = survey(container, [video.index, *(each.stream for each in sounds)])
        shortfall = find_shortfall(container, last_s)
        if shortfall and not accept_short:
            raise MediaError(
                f"{path.name} {shortfall}: it is truncated; fetch the whole file again, or take it as it is with "
                "--accept-short."
            )
        return _Streams(
            video_index=video.index,
            found=found,
            sounds=decodable(sounds, found),
            declared_sounds=len(container.streams.audio),
            subtitles=subtitle_streams(container),
            subtitle_notes=tuple(notes_on_subtitles(container)),
            chapters=chapters_of(container),
            pixel_aspect=video.sample_aspect_ratio or Fraction(1),
            promised_rate=video.guessed_rate or video.average_rate or Fraction(25),
            clock_jumps=bool(container.format.flags & _CLOCK_JUMPS),
            shortfall=shortfall,
        )


def _notes_on_times(pictures: StreamSurvey, shifts: Shifts, start_s: float, rate: Fraction) -> Iterator[str]:
    if shifts:
        yield f"its timestamps restart or jump (at picture {shifts[0][0]} first); what follows is put after what was"
    _, end_s = pictures.extent_s()
    room = round((end_s - start_s) * float(rate))
    times_s = np.array(pictures.times_s)
    times_s = times_s[~np.isnan(times_s)]
    kept = len(np.unique(np.floor((times_s - start_s) * float(rate) + 0.5)))
    moments = len(np.unique(times_s))
    if still_s := _odd_still_s(pictures):
        yield f"one of its pictures stands for {still_s:.0f} s, far longer than any other"
    if kept < _KEPT_SHARE_MIN * min(pictures.frames, room) or moments < _KEPT_SHARE_MIN * pictures.frames:
        yield f"only {kept} of its {pictures.frames} pictures have a moment of their own and are kept"


def _odd_still_s(pictures: StreamSurvey) -> float:
    """How long a picture stands that stands far longer than all others; 0 when there is none."""
    *others_s, longest_s = (0.0, 0.0, *np.sort(np.diff(np.unique(pictures.times_s))))
    is_odd = others_s[-1] > 0 and longest_s > max(_ODD_STILL_MIN_S, _ODD_STILL_RATIO * others_s[-1])
    return float(longest_s) if is_odd else 0.0


def _check_length(path: Path, duration_s: float) -> None:
    if duration_s > _LONGEST_S:
        raise MediaError(
            f"{path.name} would last {duration_s / 3600:.0f} h by its timestamps; a title lasts at most "
            f"{_LONGEST_S // 3600} h. Cut the file, or repair its timestamps."
        )


def check_size(name: str, largest_px: int, smallest_px: int) -> None:
    """Raises MediaError when the picture of what is called `name` has a side out of bounds."""
    if largest_px > _LARGEST_SIDE_PX or smallest_px < SMALLEST_SIDE_PX:
        raise MediaError(
            f"The picture of {name} has a side of {largest_px if largest_px > _LARGEST_SIDE_PX else smallest_px} "
            f"pixels; each side must have {SMALLEST_SIDE_PX} to {_LARGEST_SIDE_PX}."
        )


def display_size(width: int, height: int, pixel_aspect: Fraction, rotation_deg: int) -> tuple[int, int]:
    """Size a viewer sees: square pixels (only ever widened), upright, even, short side at most 1080."""
    shown_width = width * max(pixel_aspect, Fraction(1))
    shown_height = height / min(pixel_aspect, Fraction(1))
    if rotation_deg in (90, 270):
        shown_width, shown_height = shown_height, shown_width
    shrink = min(Fraction(1), Fraction(DISPLAY_MAX_PX) / min(shown_width, shown_height))
    if pixel_aspect == 1 and shrink == 1:
        return int(shown_width) & ~1, int(shown_height) & ~1  # an odd row or column is cropped, not resampled
    return round(shown_width * shrink / 2) * 2, round(shown_height * shrink / 2) * 2


def _choose_video(container: InputContainer, path: Path) -> int:
    """The largest stream of moving pictures. One with next to no packets is a cover, whatever its flags say."""
    from av.stream import Disposition

    stills = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & stills and s.codec_context is not None]
    if not streams:
        raise MediaError(f"{path.name} has no video stream; give a file with moving pictures.")
    sizes = {s.index: (s.width * s.height, bool(s.disposition & Disposition.default), -s.index) for s in streams}
    if len(streams) > 1:
        packets = count_packets(container)
        most = max(packets[index] for index in sizes)
        few = min(most - 1, max(1, most * _MOVING_SHARE_MIN))
        sizes = {index: size for index, size in sizes.items() if packets[index] > few}
    return max(sizes, key=lambda index: sizes[index])


def _check_pictures(pictures: StreamSurvey, path: Path) -> None:
    if not pictures.shapes:
        raise MediaError(f"No picture of {path.name} can be decoded; the file is damaged or truncated.")
    if not pictures.timed or (pictures.frames > 1 and len(np.unique(pictures.times_s)) == 1):
        raise MediaError(
            f"{path.name} is a bare stream of pictures without times; put it into a container first, "
            f"as ffmpeg -i {path.name} -c copy {path.stem}.mp4 does."
        )


def _span(pictures: StreamSurvey, sound: StreamSurvey | None, first_packet_s: float) -> tuple[float, float]:
    """First and last moment that a viewer gets, of pictures or of sound, by what the decoders give.

    Sound that runs along with pictures which cannot be decoded, before the first key frame, is left out with them.
    """
    start_s, end_s = pictures.extent_s()
    if sound is None or not sound.timed:
        return start_s, end_s
    sound_start_s, sound_end_s = sound.extent_s()
    if sound_start_s < start_s - _SOUND_ALONE_MIN_S and first_packet_s > start_s - _SOUND_ALONE_MIN_S:
        start_s = sound_start_s
    return start_s, sound_end_s if sound_end_s > end_s + _SOUND_ALONE_MIN_S else end_s
