"""A chroma part learns the colours of its own film, and stopped training goes on where it was."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import psnr_db, random_weights

from enhancers.networks import catalog
from enhancers.networks.chroma import parse_chroma
from enhancers.networks.plain import parse
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame, frame_of
from enhancers.runtime.loader import open_weights
from enhancers.training.chroma_training import ChromaSampler, train_chroma
from enhancers.training.patches import PairCollector, TrainingPairs
from enhancers.training.title_weights import add_chroma
from enhancers.training.trainer import TrainingSettings

LOW_PX, SHOWN_PX = (160, 90), (640, 360)


@cache
def frames() -> tuple[list[Frame], list[Frame]]:
    """(low, source): thin bars whose colour follows their brightness, which 90 lines hardly keep."""
    random = np.random.default_rng(0)
    sources = []
    for _ in range(3):
        bars = np.kron(random.integers(0, 2, (30, 80)), np.ones((12, 8))).astype(np.uint8)
        half = bars[::2, ::2]
        sources.append(frame_of(60 + 120 * bars, 90 + 80 * half, 170 - 60 * half))
    shrink = PlainScaler(*SHOWN_PX, *LOW_PX)
    return [shrink.enhance(source) for source in sources], sources


@cache
def pairs() -> TrainingPairs:
    collected, grow = PairCollector(), PlainScaler(*LOW_PX, *SHOWN_PX)
    for low, source in zip(*frames(), strict=True):
        collected.add(low, grow.enhance(low), source)
    return collected.pairs(lambda _target: (0, 0, *SHOWN_PX))


def test_trained_chroma_is_nearer_to_the_source_than_scaled_chroma() -> None:
    architecture = catalog.chroma_architecture(4.0)
    trained = train_chroma([pairs()], architecture, TrainingSettings(steps=80), seed=1)
    weights = add_chroma(random_weights(parse("plain-m1c8x4")), trained, [pairs()])
    enhancer = open_weights(weights, "", size_px=LOW_PX, display_px=SHOWN_PX)
    plain = PlainScaler(*LOW_PX, *SHOWN_PX)

    def gain_db(plane: str) -> float:
        triples = [
            (getattr(source, plane), getattr(enhancer.enhance(low), plane), getattr(plain.enhance(low), plane))
            for low, source in zip(*frames(), strict=True)
        ]
        return float(np.mean([psnr_db(lifted, truth) - psnr_db(scaled, truth) for truth, lifted, scaled in triples]))

    assert gain_db("u") > 1.0
    assert gain_db("v") > 1.0


def test_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    architecture = parse_chroma("m1c8", parse("plain-m1c8x4"))
    whole = train_chroma([pairs()], architecture, TrainingSettings(steps=6), seed=1)
    state = tmp_path / "state.safetensors"
    train_chroma([pairs()], architecture, TrainingSettings(steps=6), seed=1, state=state)
    again = train_chroma([pairs()], architecture, TrainingSettings(steps=6), seed=1, state=state)
    assert again.steps == 6
    assert all(torch.equal(whole.tensors[name], again.tensors[name]) for name in whole.tensors)


@pytest.mark.parametrize("flips", [True, False])
def test_batches_are_what_the_network_is_given_and_asked_for(flips: bool) -> None:
    architecture = catalog.chroma_architecture(4.0)
    sampler = ChromaSampler([pairs()], architecture, seed=3, flips=flips)
    one, two = sampler.batch(7, 4), sampler.batch(7, 4)
    assert np.array_equal(one.folded, two.folded)
    assert np.array_equal(one.wanted, two.wanted)
    side = one.folded.shape[-1]
    assert one.folded.shape == (4, architecture.layers[0].inputs, side, side)
    assert one.wanted.shape == (4, 2, side * architecture.shuffle, side * architecture.shuffle)
