"""Every enhancer and every backend passes the same table of behaviours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from networks import low_frames, psnr_db, random_weights, source_frames, with_chroma

from abr.core.enhancement import Tier
from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights, loads_chunks
from enhancers.networks.plain import parse
from enhancers.runtime.backends import runnable
from enhancers.runtime.backends.openvino import OpenVinoSum
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.runtime.frames import Frame, frame_of
from enhancers.runtime.loader import open_weights

Opener = Callable[[tuple[int, int], tuple[int, int]], Enhancer]


def _network(backend: str, architecture: str) -> Opener:
    weights = random_weights(parse(architecture))
    return lambda size_px, display_px: open_weights(
        weights, "", size_px=size_px, display_px=display_px, backend=backend
    )


KINDS: dict[str, Callable[[], Opener]] = {
    "none": lambda: lambda size_px, display_px: PlainScaler(*size_px, *display_px),
    **{
        f"{backend} {architecture}": lambda b=backend, a=architecture: _network(b, a)
        for backend in runnable()
        for architecture in ("plain-m2c16x2d2", "plain-m2c16x3", "plain-m2c16x4")
    },
}


@pytest.fixture(params=KINDS, scope="module")
def opener(request: pytest.FixtureRequest) -> Opener:
    return KINDS[request.param]()


@pytest.mark.parametrize(
    ("size_px", "display_px"),
    [
        ((64, 36), (256, 144)),
        ((64, 36), (192, 108)),
        ((63, 37), (127, 73)),
        ((50, 50), (300, 300)),
        ((33, 18), (64, 35)),
    ],
)
def test_gives_planes_of_the_displays_size(
    opener: Opener, size_px: tuple[int, int], display_px: tuple[int, int]
) -> None:
    frame = low_frames(*size_px)[0]
    shown = opener(size_px, display_px).enhance(frame)
    width, height = display_px
    chroma = ((height + 1) // 2, (width + 1) // 2)
    assert [plane.shape for plane in shown.planes()] == [(height, width), chroma, chroma]
    assert all(plane.dtype == np.uint8 for plane in shown.planes())
    assert (shown.width_px, shown.height_px) == display_px


def test_is_deterministic_and_leaves_its_input_alone(opener: Opener) -> None:
    frames = low_frames(64, 36)
    before = [plane.copy() for plane in frames[0].planes()]
    enhancer = opener((64, 36), (256, 144))
    first = [plane.copy() for plane in enhancer.enhance(frames[0]).planes()]
    enhancer.enhance(frames[1])
    again = enhancer.enhance(frames[0])
    assert all(np.array_equal(a, b) for a, b in zip(first, again.planes(), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(before, frames[0].planes(), strict=True))
    reopened = opener((64, 36), (256, 144)).enhance(frames[0])
    assert all(np.array_equal(a, b) for a, b in zip(first, reopened.planes(), strict=True))


def test_earlier_results_survive_later_calls(opener: Opener) -> None:
    frames = low_frames(64, 36)
    enhancer = opener((64, 36), (256, 144))
    shown = enhancer.enhance(frames[0])
    kept = shown.y.copy()
    for frame in frames[1:]:
        enhancer.enhance(frame)
    assert np.array_equal(shown.y, kept)


def test_keeps_the_time_stamp(opener: Opener) -> None:
    frame = low_frames(64, 36)[2]
    assert frame.time_s is not None
    assert opener((64, 36), (256, 144)).enhance(frame).time_s == frame.time_s


def test_refuses_frames_of_another_size(opener: Opener) -> None:
    enhancer = opener((64, 36), (256, 144))
    with pytest.raises(ValueError, match="opened for frames of"):
        enhancer.enhance(low_frames(64, 38)[0])


def test_says_what_it_is(opener: Opener) -> None:
    descriptor = opener((64, 36), (256, 144)).descriptor
    assert (descriptor.width_px, descriptor.height_px) == (64, 36)
    assert (descriptor.display_width_px, descriptor.display_height_px) == (256, 144)
    assert descriptor.name == "none" or parse(descriptor.name)


@pytest.mark.parametrize("architecture", ["plain-m3c16x2d2", "plain-m3c16x3", "plain-m3c16x4"])
def test_backends_agree(architecture: str) -> None:
    """Float backends to the rounding, int8 to well below what an eye or a meter could tell."""
    weights = random_weights(parse(architecture))
    scale = weights.architecture.scale
    size_px, display_px = (161, 91), (161 * scale, 91 * scale)
    frame = low_frames(*size_px)[1]
    shown = {
        backend: open_weights(weights, "", size_px=size_px, display_px=display_px, backend=backend).enhance(frame).y
        for backend in runnable()
    }
    plain = PlainScaler(*size_px, *display_px).enhance(frame).y
    assert psnr_db(shown["torch"], plain) < 45  # the network really changed the picture
    assert np.abs(shown["openvino-fp32"].astype(int) - shown["torch"]).max() <= 1
    assert np.abs(shown["onnxruntime"].astype(int) - shown["torch"]).max() <= 1
    assert psnr_db(shown["openvino-bf16"], shown["torch"]) > 50
    assert psnr_db(shown["torch-bf16"], shown["torch"]) > 50
    assert psnr_db(shown["openvino-int8"], shown["torch"]) > 42


@pytest.mark.parametrize("architecture", ["plain-m1c16x1.5d2", "plain-m1c16x2d2", "plain-m1c16x3", "plain-m1c16x4"])
def test_backends_agree_on_chroma(architecture: str) -> None:
    """As on luma, and luma is the same with and without a chroma part."""
    weights = with_chroma(random_weights(parse(architecture)))
    scale = weights.architecture.scale
    size_px, display_px = (161, 91), (int(161 * scale), int(91 * scale))
    frame = low_frames(*size_px)[1]

    def shown(backend: str, of: Weights) -> tuple[np.ndarray, ...]:
        opened = open_weights(of, "", size_px=size_px, display_px=display_px, backend=backend)
        return tuple(plane.copy() for plane in opened.enhance(frame).planes())

    with_part = {backend: shown(backend, weights) for backend in runnable()}
    without = shown("openvino-int8", replace(weights, chroma=None))
    assert np.array_equal(with_part["openvino-int8"][0], without[0])
    plain = PlainScaler(*size_px, *display_px).enhance(frame)
    assert all(np.array_equal(a, b) for a, b in zip(without[1:], (plain.u, plain.v), strict=True))
    for plane in (1, 2):
        reference = with_part["torch"][plane]
        assert psnr_db(reference, without[plane]) < 45  # the part really changed the picture
        for backend in ("openvino-fp32", "onnxruntime"):
            assert np.abs(with_part[backend][plane].astype(int) - reference).max() <= 1
        for backend in ("openvino-bf16", "torch-bf16"):
            assert psnr_db(with_part[backend][plane], reference) > 50
        assert psnr_db(with_part["openvino-int8"][plane], reference) > 42


@pytest.mark.parametrize("share", [1.0, 0.91])
@pytest.mark.parametrize("stride_px", [64, 70])
def test_a_share_of_residuals_is_added_within_eight_bits_in_place(stride_px: int, share: float) -> None:
    """On planes without and with gaps between their lines, which take different ways."""
    random = np.random.default_rng(0)
    plain = random.integers(0, 256, (36, stride_px), np.uint8)[:, :64]
    residual = random.integers(-128, 128, (36, 64), np.int8)
    expected = np.clip(plain + np.rint(residual * np.float32(share)), 0, 255)
    OpenVinoSum(64, 36, threads=1)(plain, residual, plain, share)
    assert np.array_equal(plain, expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("tier", list(catalog.TIER_DEPTHS))
def test_int8_costs_at_most_a_twentieth_of_a_decibel(scale: int, tier: Tier) -> None:
    architecture = catalog.architecture(scale, tier)
    weights = loads_chunks(catalog.generic_chunks(architecture))
    size_px = (1280 // scale & ~1, 720 // scale)
    display_px = (size_px[0] * scale, size_px[1] * scale)
    fit = PlainScaler(1280, 720, *display_px)
    sources = [fit.enhance(frame).y for frame in source_frames()]
    decibels = {}
    for backend in ("torch", "openvino-int8"):
        enhancer = open_weights(weights, "", size_px=size_px, display_px=display_px, backend=backend)
        shown = [enhancer.enhance(frame).y for frame in low_frames(*size_px)]
        decibels[backend] = np.mean([psnr_db(a, b) for a, b in zip(shown, sources, strict=True)])
    assert decibels["openvino-int8"] >= decibels["torch"] - 0.05


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_flat_picture_stays_flat_up_to_its_borders(scale: int) -> None:
    """Convolutions pad with zeros, blacker than black: a trained network must not draw a frame around the picture."""
    weights = loads_chunks(catalog.generic_chunks(catalog.architecture(scale)))
    chroma = np.full((45, 80), 128, np.uint8)
    flat = frame_of(np.full((90, 160), 120, np.uint8), chroma, chroma)
    enhancer = open_weights(weights, "", size_px=(160, 90), display_px=(160 * scale, 90 * scale))
    assert np.abs(enhancer.enhance(flat).y.astype(int) - 120).max() <= 6


def test_the_plain_scaler_is_swscales_lanczos_to_the_pixel() -> None:
    for size_px in ((320, 180), (426, 240), (640, 360)):
        frame = low_frames(*size_px)[0]
        shown = PlainScaler(*size_px, 1280, 720).enhance(frame)
        oracle = Frame(picture=frame.picture.reformat(1280, 720, "yuv420p", interpolation="LANCZOS"))
        assert all(np.array_equal(a, b) for a, b in zip(shown.planes(), oracle.planes(), strict=True))


def test_the_plain_scaler_passes_frames_of_display_size_untouched() -> None:
    frame = source_frames()[0]
    assert PlainScaler(1280, 720, 1280, 720).enhance(frame).picture is frame.picture
