"""The codecs of sounds: AAC, which all players play, and Opus, which many do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundCodec:
    """A codec and its encoder, all at 48 kHz.

    library: FFmpeg's name of the encoder. codecs: RFC 6381. suffix: of the ids of its tracks. frame_samples: of each
    packet. lead_samples: by how much the encoder is given its sound early, so that packets that are decoded from the
    first sample on are in time. packed: it takes samples of all channels in turn. rate_share: of AAC's bit rate.
    options: of the encoder.
    """

    library: str
    codecs: str
    suffix: str
    frame_samples: int
    lead_samples: int
    packed: bool
    rate_share: Fraction
    options: tuple[tuple[str, str], ...] = ()


AAC = SoundCodec(
    library="aac",
    codecs="mp4a.40.2",
    suffix="",
    frame_samples=1024,
    lead_samples=0,
    packed=False,
    rate_share=Fraction(1),
)
OPUS = SoundCodec(
    library="libopus",
    codecs="opus",
    suffix="-opus",
    frame_samples=960,
    lead_samples=312,
    packed=True,
    rate_share=Fraction(3, 4),
    options=(("vbr", "constrained"),),
)
"""lead_samples: libopus looks so far ahead (its pre-skip), with all that is encoded for music."""


def sound_codec(codecs: str) -> SoundCodec:
    """The one that RFC 6381 calls so; AAC unless it is Opus."""
    return OPUS if codecs == OPUS.codecs else AAC


def frame_ends(segment_ends_s: Sequence[Fraction], codec: SoundCodec = AAC, rate_hz: int = 48_000) -> list[int]:
    """Number of packets from the start to the end of each segment, to the nearest one.

    Of the last segment, those that fit in whole. Sound that outlasts the Period makes the media element longer
    than the Period. dash.js (5.2.1 and 4.7.4) looks every 200 ms whether the Period is over, and when it finds itself
    in those last milliseconds it jumps half a second back and pauses: its `ended` event never comes.
    """
    counts = [end * rate_hz / codec.frame_samples for end in segment_ends_s]
    ends = [*map(round, counts[:-1]), *map(int, counts[-1:])]
    return [max(index + 1, end) for index, end in enumerate(ends)]


def without_pre_skip(init: bytes) -> bytes:
    """An init segment of Opus whose decoder leaves out nothing (Encapsulation of Opus in ISO BMFF, 4.3.2).

    An edit list would have to say the same, which not every player honours.
    """
    at = init.index(b"dOps", init.index(b"stsd")) + len(b"dOps") + 2
    return init[:at] + bytes(2) + init[at + 2 :]
