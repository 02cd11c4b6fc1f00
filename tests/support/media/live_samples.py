"""Samples of a stream as the processes beside it are given them, of a clip that is not waited for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import av
from live_process import run
from titles import SMALL_CLIP

from server.live.learning.learning import SPREAD
from server.live.samples.files import SampledStream, sampled_places, write_sample

SEGMENT_FRAMES = 25


@cache
def samples() -> tuple[Path, ...]:
    """Five samples of a second each, of 90p and 360p. Do not write to them."""
    home = Path(mkdtemp(prefix="toprung-samples-"))
    ladder = ("--heights", "90,360", "--preset", "ultrafast", "--segment-seconds", "1", "--measure-share", "0")
    done = run(home, str(SMALL_CLIP), *ladder, "--name", "cam")
    assert done.returncode == 0, done.stderr
    stream = SampledStream(
        folder=home / "cam", work=home / "work", rungs=["90p", "360p"], segment_frames=SEGMENT_FRAMES, segment_s=1.0
    )
    with av.open(str(SMALL_CLIP)) as source:
        pictures = list(source.decode(video=0))
    places = sampled_places(SEGMENT_FRAMES, SPREAD)
    return tuple(
        write_sample(stream, segment, {place: pictures[segment * SEGMENT_FRAMES + place] for place in places})
        for segment in range(len(pictures) // SEGMENT_FRAMES)
    )
