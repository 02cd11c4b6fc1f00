"""Which of a title's bitrate ladders a player watches: a title may have one for each of several codecs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from abr.core.device import DeviceProfile
from abr.core.title import Title
from abr.errors import InputError
from abr.media.video_codecs import VideoCodec, codec_of

DECODE_LOAD_MAX = 0.9
"""Share of real time that decoding may take."""


def codecs_in(title: Title) -> tuple[VideoCodec, ...]:
    """Of its ladders, in their order; codecs that are not known here are left out."""
    found: dict[VideoCodec, None] = {}
    for ladder in title.ladders:
        try:
            found[codec_of(ladder[0].codecs)] = None
        except ValueError:
            continue
    return tuple(found)


def in_codec(title: Title, codec: VideoCodec | str) -> Title:
    """The title with one of its ladders alone: all that a player of that codec, and who decides for it, needs to know.

    The title itself where it has but one ladder, or none in that codec.
    """
    return next((each for each in title.by_ladder if codec in codecs_in(each)), title)


def choose_codec(title: Title, decoded: Collection[str], profile: DeviceProfile | None = None) -> VideoCodec | None:
    """Of the codecs that a player decodes the one that needs the least bits for a picture: AV1, then HEVC, then H.264.

    decoded: their names, others than those known here too; empty where the player does not tell: then the title's first
    ladder, which all players play where it is in H.264. profile: of the player's device; a codec whose top rung it was
    seen to decode too slowly comes after those that it decodes in time. None for a title whose codecs are not known
    here. Raises InputError when it has none that the player decodes.
    """
    codecs = codecs_in(title)
    if not codecs or not decoded:
        return codecs[0] if codecs else None
    playable = [codec for codec in VideoCodec if codec in codecs and codec in decoded]
    if not playable:
        told = ", ".join(sorted(decoded))
        raise InputError(f"{title.id} comes in {', '.join(codecs)}, and the player decodes {told[:200]}.")
    tops = {codec: in_codec(title, codec).renditions[-1] for codec in playable}
    sizes_px = {codec: (top.width_px, top.height_px) for codec, top in tops.items()}
    return best_in_time(sizes_px, title.fps, profile)


def best_in_time(
    sizes_px: Mapping[VideoCodec, tuple[int, int]], fps: float, profile: DeviceProfile | None
) -> VideoCodec:
    """Of some codecs, each with the size of its top rung, the last that the device decodes in time, else the first.

    sizes_px: in the order of VideoCodec, not empty. What the profile does not tell of is in time.
    """
    for codec in reversed(list(sizes_px)):
        frame_s = profile.decode_s(codec.in_band_entry, *sizes_px[codec]) if profile else 0.0
        if frame_s * fps <= DECODE_LOAD_MAX:
            return codec
    return next(iter(sizes_px))
