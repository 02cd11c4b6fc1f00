"""`toprung play` keeps to one codec of a title that has several, whoever decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from served import serving
from titles import TITLE_ID, mixed_library
from viewers import FAST_MACHINE, of_kind

from abr.core.device import DecodeSpeed, Device, DeviceProfile
from abr.core.events import Decided, Shown
from abr.errors import InputError
from abr.media.video_codecs import VideoCodec
from abr.simulation.traces import constant
from abr.virtual_time import run_virtual
from client_player.session.request import PlayRequest
from client_player.session.run import Played, watch
from client_player.source.codec_choice import in_one_codec
from client_player.source.mpd import loads_mpd


def watched(folder: Path, **how: object) -> Played:
    request = replace(PlayRequest(url="", trace=constant(8e6, 0.02), families=()), **how)

    async def main() -> Played:
        async with serving(library) as url:
            return await watch(replace(request, url=url), folder / "shown.y")

    library = str(mixed_library().root)
    return run_virtual(main(), wall_rate=FAST_MACHINE)


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(("codecs", "ending"), [({}, "p-av1"), ({"codecs": (VideoCodec.H264,)}, "p")])
def test_it_plays_the_codec_of_least_bits_that_it_may_take(local: bool, codecs: dict, ending: str, tmp_path: Path):
    played = watched(tmp_path, local=local, **codecs)
    assert {event.rendition.lstrip("0123456789") for event in of_kind(played.events, Decided)} == {ending}
    shown = of_kind(played.events, Shown)
    assert sum(event.frames for event in shown) == sum(played.title.segment_frames)
    assert [each.id for each in played.title.renditions] == [f"90{ending}", f"180{ending}"]


@pytest.mark.parametrize("local", [False, True])
def test_what_it_may_not_take_is_said(local: bool, tmp_path: Path):
    with pytest.raises(InputError, match=r"h264, hevc, av1.* (decodes|take) vp9"):
        watched(tmp_path, local=local, codecs=("vp9",))


def test_of_a_manifest_it_takes_what_its_device_decodes_in_time():
    title = mixed_library().title(TITLE_ID)
    presentation = loads_mpd((mixed_library().root / TITLE_ID / "manifest.mpd").read_bytes(), "http://it/manifest.mpd")
    top = title.renditions[-1]
    slow = DecodeSpeed(
        sample_entry="av01",
        width_px=top.width_px,
        height_px=top.height_px,
        p50_ms=1.0,
        p95_ms=1000 / title.fps,
    )
    device = Device(name="it", processor="slow", cores=1, memory_bytes=0)
    profile = DeviceProfile(device=device, measurements=(), decoding=(slow,))
    for known, ending in ((None, "p-av1"), (profile, "p-hevc")):
        taken = in_one_codec(presentation, tuple(VideoCodec), known).video
        assert [track.id for track in taken] == [f"90{ending}", f"180{ending}"]
