"""Each codec is timed by clips of its own, in one thread."""

from __future__ import annotations

from itertools import count

import av
import pytest

from abr.media.video_codecs import VideoCodec
from enhancers.profiling.decoding import (
    HEIGHTS_PX,
    REPEATS_MIN,
    clip_file,
    describe_decoding,
    measure_decoding,
)


def test_every_codec_is_timed_at_two_sizes_and_the_larger_takes_longer() -> None:
    found = measure_decoding()
    assert [(each.sample_entry, each.height_px) for each in found] == [
        (codec.in_band_entry, height_px) for codec in VideoCodec for height_px in HEIGHTS_PX
    ]
    for small, large in zip(found[::2], found[1::2], strict=True):
        assert 0 < small.p50_ms <= small.p95_ms and small.p50_ms < large.p50_ms
    assert "decoding av1          1280x720" in "\n".join(describe_decoding(found))


def test_a_device_that_is_slow_is_not_kept_longer_than_it_takes() -> None:
    """Each look at the clock is a second later: 24 frames a clip take one."""
    seconds = count()
    found = measure_decoding(lambda: float(next(seconds)))
    assert [each.p50_ms for each in found] == [pytest.approx(1000 / 24, abs=0.001)] * len(found)
    looks_each = 1 + 2 * REPEATS_MIN + 1
    assert next(seconds) == looks_each * len(found)


@pytest.mark.parametrize("codec", list(VideoCodec))
@pytest.mark.parametrize("height_px", HEIGHTS_PX)
def test_the_clips_are_a_second_of_what_prepare_makes(codec: VideoCodec, height_px: int) -> None:
    with av.open(str(clip_file(codec, height_px))) as clip:
        (stream,) = clip.streams.video
        assert stream.codec_context.codec.canonical_name == codec
        assert (stream.height, sum(packet.size > 0 for packet in clip.demux(stream))) == (height_px, 24)
    assert clip_file(codec, height_px).stat().st_size < 400_000
