"""Gain carried along the codec's motion: fields move exactly, anchors are whole, the others keep most of the gain."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import low_frames
from titles import CLIP, SMALL_CLIP

from abr.core.enhancement import Tier
from abr.errors import FormatError
from abr.media.planes import Plane
from abr.quality.vmaf import score_pairs
from enhancers.bench import reuse as bench
from enhancers.cli.train import bench_reuse
from enhancers.measurement.speed import encode_rung
from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights, dumps_chunks, loads_chunks
from enhancers.networks.plain import parse
from enhancers.profiling.measuring import Effort, measure_enhancer
from enhancers.runtime.encode import compress
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.runtime.frames import Frame, decode_file, decode_segment
from enhancers.runtime.loader import load_weights, open_weights
from enhancers.runtime.motion import Motion, MotionCompensator, motion_of
from enhancers.runtime.network_enhancer import NetworkEnhancer


def open_reusing() -> Enhancer:
    """One anchor in four frames."""
    some = replace(weights(), architecture=replace(weights().architecture, reuse=4))
    return open_weights(some, "", **SIZES)


SIZES = {"size_px": (320, 180), "display_px": (1280, 720)}


@cache
def weights() -> Weights:
    return loads_chunks(catalog.generic_chunks(catalog.architecture(4)))


@cache
def segment() -> bytes:
    return encode_rung(CLIP, (320, 180), frames=25)


def frames(*, motion: bool = True) -> list[Frame]:
    return list(decode_segment(segment(), motion=motion))


def motion(rows: int, columns: int, right: int, down: int) -> Motion:
    shape = rows, columns
    return Motion(
        right=np.full(shape, right, np.int32), down=np.full(shape, down, np.int32), known=np.ones(shape, np.bool_)
    )


@settings(deadline=None)
@given(right=st.integers(-20, 20), down=st.integers(-12, 12), scale=st.sampled_from([1, 2, 3, 4]))
def test_a_field_moves_by_the_vectors_of_its_blocks(right: int, down: int, scale: int) -> None:
    """Whole pixels of the coded picture; where a block comes from outside, its edge is repeated or shifted."""
    field = np.random.default_rng(1).integers(-99, 99, (48 * scale, 64 * scale), np.int8)
    carrier = MotionCompensator(64, 48, scale)
    carrier.begin(field)
    carrier.carry(motion(6, 8, 4 * right, 4 * down))
    inner = (slice(16 * scale, 32 * scale), slice(24 * scale, 40 * scale))
    expected = np.roll(field, (-down * scale, -right * scale), (0, 1))[inner]
    assert np.array_equal(carrier.field[inner], expected)


@settings(deadline=None, max_examples=40)
@given(values=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=24, max_size=24), data=st.data())
def test_absurd_vectors_move_only_bytes_of_the_field(values: list[int], data: st.DataObject) -> None:
    width_px, height_px = data.draw(st.tuples(st.integers(17, 24), st.integers(25, 32)))
    carrier = MotionCompensator(width_px, height_px, 4)
    carrier.field[:] = 7
    vectors = np.array(values, np.int32)
    known = np.array([value % 3 > 0 for value in values[:12]]).reshape(4, 3)
    carrier.carry(Motion(right=vectors[:12].reshape(4, 3), down=vectors[12:].reshape(4, 3), known=known))
    assert set(np.unique(carrier.field)) <= {0, 7}
    assert known[0, 0] or not carrier.field[:32, :32].any()


def test_what_is_carried_does_not_depend_on_what_was_before_it_began() -> None:
    """The last row of blocks reaches beyond the picture: nothing of an earlier field may come back from there."""
    upwards = motion(23, 40, 0, 4 * 4)
    fresh, used = (MotionCompensator(320, 180, 1) for _ in range(2))
    used.begin(np.full((180, 320), 9, np.int8))
    used.carry(motion(23, 40, 0, -4 * 4))
    for carrier in (fresh, used):
        carrier.begin(np.full((180, 320), 5, np.int8))
        carrier.carry(upwards)
    assert np.array_equal(fresh.field, used.field)


def test_motion_is_that_of_the_film() -> None:
    """Carried along its vectors, the frame before resembles this one more than it did where it was."""
    before, now = frames()[5:7]
    found = motion_of(now.picture)
    assert found is not None
    assert found.known.mean() > 0.8
    carrier = MotionCompensator(320, 180, 1)
    carrier.begin(before.y.view(np.int8))
    carrier.carry(found)
    carried = carrier.field.view(np.uint8)[found.known.repeat(8, 0).repeat(8, 1)[:180, :320]]
    still = before.y[found.known.repeat(8, 0).repeat(8, 1)[:180, :320]]
    wanted = now.y[found.known.repeat(8, 0).repeat(8, 1)[:180, :320]].astype(int)
    assert np.abs(carried - wanted).mean() < 0.9 * np.abs(still - wanted).mean()


def test_key_frames_and_decoders_that_were_not_asked_have_no_motion() -> None:
    assert motion_of(frames()[0].picture) is None
    assert motion_of(frames(motion=False)[3].picture) is None


def test_anchors_are_the_full_enhancers_frames_and_the_others_keep_most_of_its_gain() -> None:
    full, reusing = open_weights(weights(), "", **SIZES), open_reusing()
    plain = PlainScaler(320, 180, 1280, 720)
    sources = [frame.y for frame in islice(decode_file(str(CLIP)), len(frames()))]
    seen: dict[str, list[Plane]] = {"plain": [], "full": [], "reused": []}
    for index, frame in enumerate(frames()):
        shown, wanted = reusing.enhance(frame), full.enhance(frame)
        assert np.array_equal(shown.y, wanted.y) == (index % 4 == 0)
        assert np.array_equal(shown.u, wanted.u)
        for name, picture in (("plain", plain.enhance(frame)), ("full", wanted), ("reused", shown)):
            seen[name].append(picture.y)

    def vmaf_neg(name: str) -> float:
        pairs = zip(sources, seen[name], strict=True)
        return float(score_pairs(pairs, width_px=1280, height_px=720, fps=25, every_frames=3).vmaf_neg.mean())

    gain = vmaf_neg("full") - vmaf_neg("plain")
    assert vmaf_neg("reused") - vmaf_neg("plain") > 0.7 * gain > 1


def test_what_is_carried_fades_until_the_next_anchor() -> None:
    """On a still picture, where nothing but age tells one frame from another."""
    plain, reusing = PlainScaler(320, 180, 1280, 720), open_reusing()
    low = next(iter(frames()))
    still = list(decode_segment(compress([low] * 8, 20, b_frames=0), motion=True))
    gains = [np.abs(reusing.enhance(frame).y.astype(int) - plain.enhance(frame).y).mean() for frame in still]
    assert gains[0] > gains[1] > gains[2] > gains[3] > 0.8 * gains[0]
    assert gains[4] > gains[5] > gains[6] > gains[7] > 0.8 * gains[4]


GIVEN: dict[str, Callable[[], list[Frame]]] = {
    "decoded without motion": lambda: frames(motion=False)[:6],
    "every other frame missing": lambda: frames()[:12:2],
    "not from a decoder": lambda: low_frames(320, 180),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_frames_without_motion_or_out_of_order_are_enhanced_whole(kind: str) -> None:
    given_ = GIVEN[kind]()
    full, reusing = open_weights(weights(), "", **SIZES), open_reusing()
    assert all(np.array_equal(reusing.enhance(frame).y, full.enhance(frame).y) for frame in given_)


def test_the_tier_runs_the_weights_of_high_and_is_named_for_how_often() -> None:
    high = catalog.architecture(4)
    wanted = catalog.architecture(4, Tier.REUSE)
    assert (str(wanted), parse(str(wanted)), wanted.on_every_frame) == (f"{high}r4", wanted, high)
    assert wanted.macs_per_output_px == high.macs_per_output_px / 4
    assert catalog.generic_chunks(wanted) == catalog.generic_chunks(high)
    opened = open_weights(load_weights(str(wanted), catalog.generic_chunks(wanted)), "", **SIZES)
    assert opened.descriptor.name == str(wanted)
    with pytest.raises(FormatError, match="are those of"):
        load_weights(str(wanted), catalog.generic_chunks(high)[:1])


def test_weights_that_say_how_often_they_run_are_refused() -> None:
    (chunk,) = dumps_chunks(replace(weights(), exits=(10,), architecture=catalog.architecture(4, Tier.REUSE)))
    with pytest.raises(FormatError, match="not of how often"):
        loads_chunks([chunk])


def test_the_profile_measures_frames_as_they_are_played_most_without_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lifted, lift = [], NetworkEnhancer.lift

    def counted(enhancer: NetworkEnhancer, frame: Frame, luma: Plane) -> None:
        lifted.append(frame)
        lift(enhancer, frame, luma)

    monkeypatch.setattr(NetworkEnhancer, "lift", counted)
    some = load_weights("plain-m10c32x4r4", catalog.generic_chunks(catalog.architecture(4)))
    found = measure_enhancer(some, (320, 180), "openvino-int8", 1, Effort(runs=8, seconds=60))
    assert found.architecture == "plain-m10c32x4r4"
    assert sum(frame.picture.pts is not None for frame in lifted) == 2, "the others are of the enhancer's opening"


def test_the_bench_says_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_FRAMES", 25)
    monkeypatch.setattr(bench, "_EVERIES", (1, 4))
    options = [str(SMALL_CLIP), "--skip", "10", "--seconds", "0.1", "--json"]
    found = json.loads(CliRunner().invoke(bench_reuse, options, catch_exceptions=False).stdout)
    whole, some = found["kept"]
    assert whole["vmaf_kept"] == pytest.approx(1)
    assert 0.5 < some["vmaf_kept"] < 1
    assert some["fps"] > 0
    assert len(some["seconds"]) == 1
