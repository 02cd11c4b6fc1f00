"""The detail loss against libvmaf's own measure, and what a viewer would say of it."""

from __future__ import annotations

import json
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from titles import CLIP
from torch.nn import functional

from abr.quality.vmaf import Luma, ffmpeg_program
from enhancers.runtime.frames import decode_file
from enhancers.training.detail_loss import DetailLoss


@pytest.fixture(scope="module")
def frame() -> Luma:
    return next(islice(decode_file(str(CLIP)), 60, None)).y.copy()


def blurred(luma: Luma, radius: int) -> Luma:
    padded = functional.pad(torch.from_numpy(luma)[None, None].float(), [radius] * 4, mode="reflect")
    return functional.avg_pool2d(padded, 2 * radius + 1, 1)[0, 0].round().byte().numpy()


def sharpened(luma: Luma) -> Luma:
    return np.clip(2.0 * luma - blurred(luma, 1), 0, 255).astype(np.uint8)


def noisy(luma: Luma) -> Luma:
    return np.clip(luma + np.random.default_rng(1).normal(0, 8, luma.shape), 0, 255).astype(np.uint8)


def lost(source: Luma, shown: Luma) -> float:
    def tensor(luma: Luma) -> torch.Tensor:
        return torch.from_numpy(luma)[None, None].float() / 255

    return float(DetailLoss(tensor(source)).lost(tensor(shown)))


def libvmaf_detail(source: Luma, shown: Luma, folder: Path) -> float:
    """adm2 of libvmaf with its gain limited as in VMAF-NEG."""
    height, width = source.shape
    for name, luma in (("shown", shown), ("source", source)):
        (folder / name).write_bytes(luma.tobytes() + bytes([128]) * (2 * (height // 2) * (width // 2)))
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", f"{width}x{height}"]
    inputs = [*raw, "-i", str(folder / "shown"), *raw, "-i", str(folder / "source")]
    model = "model=version=vmaf_v0.6.1neg"
    graph = f"[0:v][1:v]libvmaf={model}:log_fmt=json:log_path={folder / 'log.json'}"
    subprocess.run([ffmpeg_program(), "-v", "error", *inputs, "-lavfi", graph, "-f", "null", "-"], check=True)
    metrics = json.loads((folder / "log.json").read_text())["frames"][0]["metrics"]
    return float(metrics["integer_adm2_egl_1"])


@pytest.mark.parametrize("change", [lambda y: blurred(y, 1), lambda y: blurred(y, 3), noisy, sharpened])
def test_it_agrees_with_libvmaf(frame: Luma, change: object, tmp_path: Path) -> None:
    assert callable(change)
    shown = change(frame)
    assert 1 - lost(frame, shown) == pytest.approx(libvmaf_detail(frame, shown, tmp_path), abs=0.02)


def test_the_same_picture_loses_nothing_and_a_flat_one_almost_all(frame: Luma) -> None:
    assert lost(frame, frame) == pytest.approx(0, abs=1e-6)
    assert lost(frame, np.full_like(frame, 128)) > 0.5
    assert 0.02 < lost(frame, blurred(frame, 1)) < lost(frame, blurred(frame, 2)) < lost(frame, blurred(frame, 4))


def test_sharpening_beyond_the_source_gains_nothing(frame: Luma) -> None:
    assert lost(frame, sharpened(frame)) > 0.01
    soft = blurred(frame, 1)
    assert lost(frame, sharpened(soft)) < lost(frame, soft)
