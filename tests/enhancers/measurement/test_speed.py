"""Measuring speed: frames come out whole and in order whatever the arrangement, and figures hang together."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from click.testing import CliRunner
from networks import low_frames, random_weights
from titles import CLIP

from enhancers.bench import runtime as bench
from enhancers.cli.train import bench_runtime
from enhancers.measurement import peak
from enhancers.measurement.speed import BackendChoice, encode_rung, gop_per_frame, measure_speed
from enhancers.networks.plain import parse
from enhancers.runtime.enhancer import Enhancer
from enhancers.runtime.frames import Frame, decode_segment
from enhancers.runtime.loader import open_weights
from enhancers.runtime.pipeline import enhance_frames

SIZES = {"size_px": (64, 36), "display_px": (256, 144)}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_SHAPES", ((64, 64),))
    monkeypatch.setattr(peak, "_TRY_S", 0.05)
    monkeypatch.setattr(bench, "_FRAMES", 24)
    monkeypatch.setattr(bench, "_SCORED", 3)


def opened(count: int) -> list[Enhancer]:
    weights = random_weights(parse("plain-m1c16x4"))
    return [open_weights(weights, "", **SIZES) for _ in range(count)]


def test_frames_come_out_in_order_as_one_enhancer_would_give_them() -> None:
    frames = low_frames(64, 36) * 5
    (alone,) = opened(1)
    shown = list(enhance_frames(iter(frames), opened(3)))
    assert len(shown) == len(frames)
    assert all(np.array_equal(a.y, alone.enhance(b).y) for a, b in zip(shown, frames, strict=True))


def test_decoding_runs_ahead_only_a_little() -> None:
    taken = 0

    def endless() -> Iterator[Frame]:
        nonlocal taken
        while True:
            taken += 1
            yield low_frames(64, 36)[0]

    shown = enhance_frames(endless(), opened(2))
    next(shown)
    assert taken <= 6
    shown.close()


def test_an_error_while_decoding_comes_out_after_the_frames_before_it() -> None:
    def broken() -> Iterator[Frame]:
        yield from low_frames(64, 36)
        raise ValueError("cut short")

    shown = []
    with pytest.raises(ValueError, match="cut short"):
        for frame in enhance_frames(broken(), opened(1)):
            shown.append(frame)
    with pytest.raises(ValueError, match="opened for frames of"):
        list(enhance_frames(iter(low_frames(64, 38)), opened(2)))


def test_a_rung_has_the_frames_of_its_clip() -> None:
    frames = list(decode_segment(encode_rung(CLIP, (160, 90), frames=10)))
    assert [(frame.width_px, frame.height_px) for frame in frames] == [(160, 90)] * 10
    small = low_frames(160, 90)[1].y.astype(int)
    assert np.abs(frames[8].y - small).mean() < 6
    assert np.abs(frames[8].y - small).mean() < np.abs(frames[0].y - small).mean()


def test_operations_are_counted_by_hand() -> None:
    """320x180 ×4, one block of 16: 9·(1·16 + 16·16 + 16·16) products and as many sums for each input pixel."""
    assert gop_per_frame(random_weights(parse("plain-m1c16x4")), 320, 180) == pytest.approx(
        2e-9 * 9 * (16 + 256 + 256) * 320 * 180
    )


def test_speed_is_that_of_the_fastest_arrangement_and_share_follows_from_it() -> None:
    weights = random_weights(parse("plain-m2c16x4"))
    among = (BackendChoice(workers=1, threads=1), BackendChoice(workers=2, threads=1))
    found = measure_speed(weights, encode_rung(CLIP, (64, 36), frames=8), **SIZES, seconds=0.1, among=among)
    assert found.way in among
    assert found.fps_end_to_end > 0 and found.fps_network > 0
    assert found.peak_share > 0


def test_the_bench_prints_what_its_parts_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    case = bench.RuntimeCase(architecture="plain-m1c16x4", size_px=(64, 36), wanted_fps=7)
    monkeypatch.setattr(bench, "CASES", (case,))
    options = [str(CLIP), "--seconds", "0.1", "--train-seconds", "0.5", "--json"]
    printed = json.loads(CliRunner().invoke(bench_runtime, options, catch_exceptions=False).stdout)
    (found,) = printed["cases"]
    assert printed["peak"]["int8"]["gops"] > 0 and printed["peak"]["fp32"]["gops"] > 0
    assert found["times_torch_eager"] == pytest.approx(found["fps_end_to_end"] / found["fps_torch_eager"])
    assert (found["architecture"], found["wanted_fps"]) == ("plain-m1c16x4", 7)
    assert abs(found["psnr_y_db"]["int8"] - found["psnr_y_db"]["fp32"]) < 0.1
    assert found["psnr_y_db"]["plain"] > 15
