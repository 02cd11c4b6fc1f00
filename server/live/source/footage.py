"""What a running source shows, from its first pictures: all that can be known of it when it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from abr.core.title import Count
from abr.media.colour import is_full_range, matrix_of
from abr.media.display_filters import PIXEL_FORMAT
from abr.media.probe import SourceInfo, check_size, display_size
from abr.media.survey import StreamSurvey
from abr.media.timeline import tidy_rate
from abr.media.tracks import SourceSound
from server.live.source.opening import Opened

if TYPE_CHECKING:
    from fractions import Fraction

    from av.video.frame import VideoFrame

PICTURES_LOOKED_AT = 8
"""They tell the size, the format and the rate; they are encoded too."""


def footage_of(opened: Opened, pictures: Sequence[VideoFrame], name: str) -> SourceInfo:
    """How the source is to be shown, by its first pictures. Raises MediaError for one that is too small or too large.

    What changes on the way is brought to the size and format of these.
    """
    seen = StreamSurvey()
    for picture in pictures:
        seen.add_picture(picture)
    rate = tidy_rate(seen.plausible_rate(opened.promised_rate))
    format_ = seen.largest_format()
    display = display_size(format_.width_px, format_.height_px, opened.pixel_aspect, format_.rotation_deg)
    check_size(name, max(format_.width_px, format_.height_px, *display), min(display))
    return SourceInfo(
        video_stream=opened.video_stream,
        coded_width_px=format_.width_px,
        coded_height_px=format_.height_px,
        display_width_px=display[0],
        display_height_px=display[1],
        rotation_deg=format_.rotation_deg,
        mirrored=format_.mirrored,
        frame_rate=(rate.numerator, rate.denominator),
        start_s=0.0,
        duration_s=0.0,
        interlaced=seen.interlace.is_interlaced,
        matrix=matrix_of(format_),
        full_range=is_full_range(format_),
        pixel_format=format_.pixel_format,
        time_base=(format_.tick.numerator, format_.tick.denominator),
        picture_shifts=(),
        notes=(),
        sounds=_sounds(opened),
        transfer=format_.transfer,
        peak_nits=format_.peak_nits,
    )


def _sounds(opened: Opened) -> tuple[SourceSound, ...]:
    if opened.audio_stream is None:
        return ()
    return (SourceSound(stream=opened.audio_stream, language=opened.language),)


def footage_of_recording(shown: SourceInfo, frames: Count) -> SourceInfo:
    """Of a recording of the display's own frames: nothing is turned, scaled or converted any more."""
    rate: Fraction = shown.rate
    return SourceInfo(
        video_stream=0,
        coded_width_px=shown.display_width_px,
        coded_height_px=shown.display_height_px,
        display_width_px=shown.display_width_px,
        display_height_px=shown.display_height_px,
        rotation_deg=0,
        mirrored=False,
        frame_rate=shown.frame_rate,
        start_s=0.0,
        duration_s=float(frames / rate),
        interlaced=False,
        matrix="bt709",
        full_range=False,
        pixel_format=PIXEL_FORMAT,
        time_base=(rate.denominator, rate.numerator),
        picture_shifts=(),
        notes=(),
    )
