"""`toprung play` keeps to one codec of a title that has several, whoever decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from served import serving
from titles import mixed_library
from viewers import FAST_MACHINE, of_kind

from abr.core.events import Decided, Shown
from abr.errors import InputError
from abr.media.video_codecs import VideoCodec
from abr.simulation.traces import constant
from abr.virtual_time import run_virtual
from client_player.session.request import PlayRequest
from client_player.session.run import Played, watch


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
