"""One codec for a whole session, of a manifest or a title that comes in several."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from abr.core.device import DeviceProfile
from abr.core.title import Title
from abr.errors import InputError
from abr.media.ladders import best_in_time
from abr.media.video_codecs import VideoCodec, codec_of
from client_player.source.mpd import Presentation, Track


def in_one_codec(
    presentation: Presentation, decoded: Collection[str], profile: DeviceProfile | None = None
) -> Presentation:
    """The video tracks in the codec that needs the least bits, of those that the player decodes (empty: all).

    profile: of the device, heeded as by `abr.media.ladders.choose_codec`. Unchanged where there is one codec, or none
    that is known here. Raises InputError when none can be decoded.
    """
    by_codec: dict[VideoCodec | None, list[Track]] = {}
    for track in presentation.video:
        by_codec.setdefault(_codec(track), []).append(track)
    known = [codec for codec in VideoCodec if codec in by_codec]
    playable = [codec for codec in known if not decoded or codec in decoded]
    if known and not playable and None not in by_codec:
        raise InputError(f"The manifest offers {', '.join(known)}; the player was to take {', '.join(decoded)}.")
    if len(by_codec) == 1 or not playable:
        return presentation
    tops = {codec: max(by_codec[codec], key=lambda track: track.width_px * track.height_px) for codec in playable}
    sizes_px = {codec: (top.width_px, top.height_px) for codec, top in tops.items() if top.width_px and top.height_px}
    fps = float(presentation.video[0].frame_rate or 0)
    chosen = best_in_time(sizes_px, fps, profile) if len(sizes_px) == len(tops) else playable[-1]
    return replace(presentation, video=tuple(by_codec[chosen]))


def ladder_with(title: Title, rendition_id: str) -> Title:
    """The title with the ladder alone that has this rendition; the title itself where none has."""
    return next((each for each in title.by_ladder if rendition_id in {one.id for one in each.renditions}), title)


def _codec(track: Track) -> VideoCodec | None:
    try:
        return codec_of(track.codecs)
    except ValueError:
        return None
