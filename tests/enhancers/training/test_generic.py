"""The command that trains generic weights: one scale anew, and a card that stays true of all."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import av
import numpy as np
import pytest

from enhancers.networks import catalog
from enhancers.networks.checkpoint import digest, loads_chunks
from enhancers.training import generic

SHIPPED = files("enhancers") / "weights"


def make_photograph(path: Path) -> None:
    """A picture of blocks, large enough for a patch at ×4."""
    blocks = np.random.default_rng(1).integers(40, 220, (20, 32, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(np.kron(blocks, np.ones((16, 16, 1), np.uint8)), format="rgb24")
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "rgb24"
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def train(monkeypatch: pytest.MonkeyPatch, clips: Path, output: Path, *options: str) -> dict[str, np.ndarray]:
    """Train ×4 for two steps from the weights that ship: the tensors that were written."""
    places = ["--clips", str(clips), "--output", str(output), "--start", str(SHIPPED)]
    monkeypatch.setattr(sys, "argv", ["generic", *places, "--scales", "4", "--steps", "2", *options])
    generic.main()
    return tensors_in(output)


def tensors_in(folder: Path) -> dict[str, np.ndarray]:
    chunks = [(folder / catalog.generic_file(4.0, number)).read_bytes() for number in (1, 2, 3)]
    return dict(loads_chunks(chunks).tensors)


def test_weights_can_be_between_those_before_and_those_after_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    make_photograph(clips / "blocks.png")
    before = tensors_in(Path(str(SHIPPED)))
    after = train(monkeypatch, clips, tmp_path / "whole")
    between = train(monkeypatch, clips, tmp_path / "part", "--blend", "0.25")
    for name, weight in between.items():
        np.testing.assert_allclose(weight, 0.75 * before[name] + 0.25 * after[name], rtol=0, atol=1e-3)
    assert any(np.abs(weight - after[name]).max() > 1e-3 for name, weight in between.items())
    assert "--blend 0.25 " in (tmp_path / "part" / "card.json").read_text()


def test_one_scale_is_trained_on_and_the_card_keeps_what_it_says_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, output = tmp_path / "clips", tmp_path / "weights"
    clips.mkdir()
    make_photograph(clips / "blocks.png")
    shutil.copytree(str(SHIPPED), output)
    before = json.loads((output / "card.json").read_text())
    train(monkeypatch, clips, output, "--detail", "0.25", "--structure", "0.03", "--seed", "3")

    card = json.loads((output / "card.json").read_text())
    networks = {each["architecture"]: each for each in card["networks"]}
    for scale in catalog.SQUEEZES:
        chunks = [(output / catalog.generic_file(scale, number)).read_bytes() for number in (1, 2, 3)]
        told = networks[str(catalog.architecture(scale))]
        assert told["sha256"] == [digest(chunk) for chunk in chunks]
        shipped = list(catalog.generic_chunks(catalog.architecture(scale)))
        assert (chunks == shipped) == (scale != 4)
    trained = networks[str(catalog.architecture(4.0))]
    assert trained["made_by"].endswith("--steps 2 --detail 0.25 --structure 0.03 --rate 0.001 --seed 3")
    (started,) = (each for each in before["networks"] if each["architecture"] == trained["architecture"])
    assert trained["started_from"] == started["made_by"]
    assert card["clips"] == sorted([*before["clips"], "blocks.png"])
