"""What manifests of any format tell of what is shown."""

from __future__ import annotations

from typing import Protocol

import msgspec

from abr.core.title import AudioTrack, Rendition, SubtitleTrack, Thumbnails
from abr.media.video_codecs import codec_of


class Shown(Protocol):
    """What is the same in all renditions, and the sound that goes with them."""

    @property
    def display_width_px(self) -> int:
        """Of the picture that a viewer sees."""

    @property
    def display_height_px(self) -> int:
        """Of the same."""

    @property
    def frame_rate(self) -> tuple[int, int]:
        """Frames a second, as numerator and denominator."""

    @property
    def audio(self) -> tuple[AudioTrack, ...]:
        """The one that plays unless asked, and others."""

    @property
    def subtitles(self) -> tuple[SubtitleTrack, ...]:
        """Text to read."""


def as_standalone(rendition: Rendition) -> Rendition:
    """As the init segment of standard manifests describes it."""
    codec = codec_of(rendition.codecs)
    codecs = rendition.codecs.replace(codec.in_band_entry, codec.standalone_entry, 1)
    return msgspec.structs.replace(rendition, codecs=codecs)


def peak_bps(thumbnails: Thumbnails) -> int:
    """Bits of the largest sheet, over the seconds that a sheet is for."""
    return int(8 * max(thumbnails.sheet_bytes) / thumbnails.sheet_s) + 1
