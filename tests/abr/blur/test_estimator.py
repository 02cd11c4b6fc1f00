"""The estimator that ships, on a film that its training never saw."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from clips import make_clip
from titles import SMALL_CLIP

from abr.blur.cli import kernels
from abr.blur.estimator import WEIGHTS_FILE, shipped_digest, shipped_estimator
from abr.blur.kernel import Blur, bicubic_kernel, blur_of
from abr.blur.track import KernelTrack
from abr.errors import MediaError
from abr.records import load
from enhancers.restoration.degradation import Compression, Degradation, degrade
from enhancers.runtime.frames import decode_file


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """One frame of the film in 36."""
    return np.stack([frame.y for frame in islice(decode_file(str(SMALL_CLIP)), 0, 109, 36)])


def width_told(film: np.ndarray, kernel: np.ndarray) -> float:
    """Mean width of the wide axis, behind H.264."""
    lossy = Degradation(scale=2, kernels=(kernel,), compression=Compression(codec="h264", quality=18))
    told = [shipped_estimator().estimate(luma) for luma in degrade(film, lossy)]
    return float(np.mean([blur_of(each.code).axes[0] for each in told if each]))


def test_wider_kernels_are_told_to_be_wider(film: np.ndarray) -> None:
    kernels = [bicubic_kernel(2), *(Blur.of_axes(width, width, 0.0).kernel(2) for width in (0.6, 0.9, 1.3))]
    widths = [width_told(film, kernel) for kernel in kernels]
    assert widths == sorted(widths)
    assert widths[0] < 0.45 and widths[-1] > 0.9


def test_the_direction_of_a_kernel_is_told(film: np.ndarray) -> None:
    for angle in (0.0, np.pi / 2):
        degradation = Degradation(scale=2, kernels=(Blur.of_axes(1.3, 0.4, angle).kernel(2),))
        told = shipped_estimator().estimate(degrade(film[:1], degradation)[0])
        assert told is not None
        blur = blur_of(told.code)
        assert (blur.xx > blur.yy) == (angle == 0.0)


def test_a_picture_without_edges_tells_nothing() -> None:
    assert shipped_estimator().estimate(np.full((180, 320), 90, np.uint8)) is None


def test_the_card_names_the_weights_that_ship() -> None:
    folder = files("abr.blur") / "weights"
    card = json.loads((folder / "card.json").read_text())
    assert card["sha256"] == hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest() == shipped_digest()
    assert card["bytes"] < 100_000
    assert not any(clip.startswith("bbb_") for clip in card["clips"])


def test_the_command_writes_track_and_plot_of_a_source(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "film.mp4", frames=4)
    out, plot = tmp_path / "kernels.json", tmp_path / "kernels.svg"
    result = CliRunner().invoke(kernels, [str(clip), "--out", str(out), "--plot", str(plot)])
    assert result.exit_code == 0, result.output
    assert sum(shot.frames for shot in load(out, KernelTrack).shots) == 4
    assert result.stdout.startswith("shot 1, from 0.00 s, 4 frames")
    assert plot.read_text().startswith("<svg")


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("no film")
    result = CliRunner().invoke(kernels, [str(tmp_path / "film.mp4"), "--out", str(tmp_path / "kernels.json")])
    assert isinstance(result.exception, MediaError)
    assert not (tmp_path / "kernels.json").exists()
