"""Plan the bitrate ladder: which sizes, at which quality, under which cap.

Each rung is encoded at constant quality (CRF) under a cap on its bitrate. The caps come from this title itself: a few
of its segments are encoded at that quality first, and the busiest of them sets the cap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import msgspec

from abr.core.title import HdrColour, Identifier, Positive
from abr.errors import InputError
from abr.media.display_filters import HDR_PIXEL_FORMAT, PIXEL_FORMAT
from abr.media.video_codecs import VideoCodec
from abr.records import Record

NOMINAL_HEIGHTS_PX = (180, 240, 360, 480, 720, 1080)
DIVISORS = (2, 3, 4, 6)
_SNAP = Fraction(15, 100)
_TOO_CLOSE = Fraction(85, 100)
"""A rung above this share of the next one's height buys nothing."""
CAP_OVER_BUSIEST = 1.2
"""The cap leaves this much above the busiest sampled segment: the samples are few."""
_LEAST_CAP_BPS = 48_000


class Rung(Record, frozen=True):
    """One rung of the ladder. `cap_bps` is 0 until it is known: no cap.

    pixel_aspect: width over height of one pixel; it makes the picture exactly as wide as the display's.
    """

    id: Identifier
    width_px: Positive
    height_px: Positive
    pixel_aspect: tuple[Positive, Positive]
    cap_bps: int = 0
    crf: float | None = None
    """Its own quality; that of the recipe when None."""
    codec: VideoCodec = VideoCodec.H264
    hdr: HdrColour | None = None
    """What its codes stand for; None in standard range (BT.709)."""

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of what is encoded."""
        return HDR_PIXEL_FORMAT if self.hdr else PIXEL_FORMAT

    @property
    def pixels(self) -> int:
        """Of one picture."""
        return self.width_px * self.height_px


def plan_sizes(
    width_px: int, height_px: int, heights_px: Sequence[int] | None = None, source_px: int | None = None
) -> tuple[Rung, ...]:
    """Rungs for a display size, lowest first; heights count along the short side, the top rung is the display size.

    source_px: the short side of a source that is smaller than the display, and then of the top rung.

    Nominal heights near a whole fraction of the display snap to it, so that enhancers scale by 2, 3 or 4 exactly.
    `heights_px` replaces the nominal ones as they are. Raises InputError for one that is odd, tiny or above the source.
    """
    short_px = source_px or min(width_px, height_px)
    if heights_px is None:
        chosen = _nominal(width_px, height_px, short_px)
    else:
        _check_heights(heights_px, short_px)
        chosen = sorted(set(heights_px))
    return tuple(_rung(width_px, height_px, height) for height in chosen)


def planned_sizes(width_px: int, height_px: int, planned: Sequence[tuple[int, float]]) -> tuple[Rung, ...]:
    """The rungs of a plan, (height along the short side, CRF) each, in its order: by rising bitrate.

    Raises InputError for a height that is not possible, a rung given twice, or a plan that does not end at full size.
    """
    short_px = min(width_px, height_px)
    heights = [height for height, _ in planned]
    _check_heights(heights, short_px)
    if len(set(planned)) < len(planned) or heights[-1] != short_px:
        raise InputError(f"The ladder plan must have different rungs and end with one of {short_px} lines.")
    rungs = [msgspec.structs.replace(_rung(width_px, height_px, height), crf=crf) for height, crf in planned]
    return tuple(
        rung if heights.count(height) == 1 else msgspec.structs.replace(rung, id=f"{rung.id}-crf{rung.crf:g}")
        for rung, height in zip(rungs, heights, strict=True)
    )


def in_each_codec(rungs: Sequence[Rung], codecs: Iterable[VideoCodec]) -> tuple[Rung, ...]:
    """A ladder of these rungs for each codec. Those of the first keep their names, others have the codec's added."""
    ladders = []
    for place, codec in enumerate(codecs):
        ladders += [
            msgspec.structs.replace(each, codec=codec, id=each.id + f"-{codec}" * (place > 0)) for each in rungs
        ]
    return tuple(ladders)


def in_hdr(rungs: Sequence[Rung], codecs: Iterable[VideoCodec], colour: HdrColour) -> tuple[Rung, ...]:
    """A ladder of these rungs in high dynamic range for each codec, with it and the transfer in their names."""
    return tuple(
        msgspec.structs.replace(each, codec=codec, id=f"{each.id}-{codec}-{colour.transfer}", crf=None, hdr=colour)
        for codec in codecs
        for each in rungs
    )


def caps_from_samples(
    rungs: Sequence[Rung], sampled_bytes: Sequence[Sequence[int]], segment_s: float, given_bps: Mapping[int, int]
) -> tuple[Rung, ...]:
    """Put a cap on each rung from the sizes of its sampled segments, unless the user gives one for its height.

    sampled_bytes: (rungs, samples). Computed caps rise strictly with the rungs of each ladder.
    """
    capped: list[Rung] = []
    for rung, sizes in zip(rungs, sampled_bytes, strict=True):
        busiest_bps = int(max(sizes) * 8 / segment_s * CAP_OVER_BUSIEST)
        below_bps = capped[-1].cap_bps if capped and capped[-1].codec is rung.codec else 0
        cap_bps = given_bps.get(_short(rung)) or max(busiest_bps, _LEAST_CAP_BPS, below_bps * 11 // 10)
        capped.append(msgspec.structs.replace(rung, cap_bps=cap_bps))
    return tuple(capped)


def check_caps(rungs: Sequence[Rung], caps_bps: Iterable[tuple[int, int]]) -> None:
    """Raises InputError for a cap on a height that the ladder does not have."""
    heights = [_short(rung) for rung in rungs]
    for height, _ in caps_bps:
        if height not in heights:
            raise InputError(
                f"There is no rung of {height} lines to cap; the ladder has {', '.join(map(str, heights))}."
            )


def _nominal(width_px: int, height_px: int, short_px: int) -> list[int]:
    below = [_snap(nominal, width_px, height_px) for nominal in NOMINAL_HEIGHTS_PX if nominal < short_px]
    return [*sorted({height for height in below if height < short_px * _TOO_CLOSE}), short_px]


def _snap(nominal_px: int, width_px: int, height_px: int) -> int:
    short_px = min(width_px, height_px)
    exact = [short_px // k for k in DIVISORS if width_px % (2 * k) == 0 and height_px % (2 * k) == 0]
    near = [height for height in exact if abs(height - nominal_px) <= nominal_px * _SNAP]
    return min(near, key=lambda height: abs(height - nominal_px), default=nominal_px)


def _rung(width_px: int, height_px: int, short_px: int) -> Rung:
    scale = Fraction(short_px, min(width_px, height_px))
    width, height = _even(width_px * scale), _even(height_px * scale)
    aspect = Fraction(width_px * height, height_px * width)
    return Rung(
        id=f"{short_px}p", width_px=width, height_px=height, pixel_aspect=(aspect.numerator, aspect.denominator)
    )


def _even(size: Fraction) -> int:
    return round(size / 2) * 2


def _short(rung: Rung) -> int:
    return min(rung.width_px, rung.height_px)


def _check_heights(heights_px: Sequence[int], short_px: int) -> None:
    if not heights_px:
        raise InputError("The ladder has no rung; give heights such as 180,360,720.")
    for height in heights_px:
        if height % 2 or not 64 <= height <= short_px:
            raise InputError(f"A rung of {height} lines is not possible: give even heights from 64 to {short_px}.")
