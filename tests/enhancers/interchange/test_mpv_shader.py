"""Our networks as mpv user shaders: run by libplacebo, they show what our own runtime shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from networks import random_weights
from titles import TITLE_ID, prepared_library

from abr.errors import InputError, UnknownNameError
from enhancers.cli.models import export
from enhancers.interchange.mpv_export import measure_difference
from enhancers.interchange.mpv_shader import dumps_mpv_shader
from enhancers.interchange.user_shaders import run_user_shader
from enhancers.networks.plain import parse
from enhancers.runtime.frames import frame_of


def invoke(*options: object) -> Result:
    return CliRunner().invoke(export, [str(option) for option in options])


@pytest.mark.usefixtures("vulkan")
@pytest.mark.parametrize("name", ["plain-m1c8x1.5d2", "plain-m2c12x2d2", "plain-m1c4x3", "plain-m2c8x4"])
def test_a_shader_shows_what_our_runtime_shows_to_the_edges_of_the_picture(name: str) -> None:
    """At every scale, with any number of texels for its channels, and for odd and even numbers of layers."""
    weights = random_weights(parse(name))
    assert measure_difference(dumps_mpv_shader(weights), weights) <= 2


@pytest.mark.usefixtures("vulkan")
def test_the_command_writes_a_shader_that_is_held_against_our_runtime(tmp_path: Path) -> None:
    file = tmp_path / "ours.glsl"
    told = json.loads(invoke("generic", "--tier", "low", "--mpv", file, "--json").stdout)
    assert told["difference_max"] <= 2
    assert told["size_bytes"] == file.stat().st_size
    assert f"weights {told['weights_sha256']}" in file.read_text()


@pytest.mark.usefixtures("vulkan")
def test_a_shader_that_is_shown_at_its_own_size_lifts_nothing(tmp_path: Path) -> None:
    """A player runs it for pictures that are enlarged, and leaves others alone."""
    (tmp_path / "ours.glsl").write_text(dumps_mpv_shader(random_weights(parse("plain-m1c8x2d2"))))
    luma = np.random.default_rng(0).integers(40, 200, (48, 64), np.uint8)
    grey = np.full((24, 32), 128, np.uint8)
    (shown,) = run_user_shader(tmp_path / "ours.glsl", [frame_of(luma, grey, grey)], [(64, 48)])
    assert np.abs(shown.y.astype(int) - luma).max() <= 1


def test_without_vulkan_the_shader_is_written_and_the_command_says_that_it_was_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", str(tmp_path / "none.json"))
    monkeypatch.setenv("VK_ICD_FILENAMES", str(tmp_path / "none.json"))
    told = invoke("generic", "--tier", "low", "--mpv", tmp_path / "ours.glsl").stdout
    assert "no Vulkan here" in told
    assert "//!HOOK LUMA" in (tmp_path / "ours.glsl").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Give --onnx FILE or --mpv FILE"),
        (("--onnx", "a", "--mpv", "b"), "Give --onnx FILE or --mpv FILE"),
        (("--mpv", "b", "--chroma"), "lifts luma alone"),
        (("--mpv", "b", "--strength", "0"), "not in the range"),
    ],
)
def test_what_cannot_be_exported_is_said(options: tuple[str, ...], said: str) -> None:
    result = invoke("generic", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_title_without_enhancers_is_one_clear_sentence(tmp_path: Path) -> None:
    library = prepared_library().root
    asked = ("--library", library, "--rung", "180p", "--mpv", tmp_path / "film.glsl")
    untrained = invoke(TITLE_ID, *asked).exception
    assert isinstance(untrained, InputError) and "has no enhancers yet; train it first" in str(untrained)
    assert isinstance(invoke("fim", *asked).exception, UnknownNameError)
    assert not list(tmp_path.iterdir())


def test_a_weaker_shader_adds_less(tmp_path: Path) -> None:
    """Its last convolution is what differs."""
    for strength in ("1", "0.5"):
        invoke("generic", "--tier", "low", "--mpv", tmp_path / strength, "--strength", strength)
    whole, half = ((tmp_path / name).read_text().split("//!DESC") for name in ("1", "0.5"))
    assert [a == b for a, b in zip(whole, half, strict=True)] == [True, True, True, True, False, True]
