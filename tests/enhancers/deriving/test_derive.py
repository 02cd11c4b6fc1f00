"""Deriving: the budget is kept, cutting changes nothing, and what comes out is an ordinary network."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import low_frames, random_trunk, random_weights, source_frames, stairs_ms

from abr.errors import FormatError, InputError
from enhancers.deriving.budget import Budget
from enhancers.deriving.derive import Derivation, Derived, derive, measure_costs
from enhancers.deriving.gates import GatedTrunk
from enhancers.deriving.slicing import slice_channels
from enhancers.interchange.import_network import read_own
from enhancers.networks.checkpoint import dumps_chunks
from enhancers.networks.derived import loads_derived
from enhancers.networks.plain import parse
from enhancers.networks.plain_torch import PlainTrunk, run_collapsed
from enhancers.runtime.backends import runnable
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.loader import open_weights
from enhancers.training.patches import TrainingPairs
from enhancers.training.trainer import TrainingSettings

TEACHER = parse("plain-m3c24x4")
BUDGET = Budget(ms=3.2, bytes=9000)


@cache
def pairs() -> TrainingPairs:
    low, shrink, grow = low_frames(160, 90), PlainScaler(1280, 720, 640, 360), PlainScaler(160, 90, 640, 360)
    return TrainingPairs(
        low=np.stack([frame.y for frame in low]),
        plain=np.stack([grow.enhance(frame).y for frame in low]),
        target=np.stack([shrink.enhance(frame).y for frame in source_frames()]),
        box=(0, 0, 640, 360),
    )


def wanted(budget: Budget = BUDGET) -> Derivation:
    recipe = TrainingSettings(steps=12, batch=2)
    teacher = random_weights(TEACHER, ready=False)
    return Derivation(teacher=teacher, pairs=[pairs()], size_px=(160, 90), budget=budget, recipe=recipe)


@cache
def derived() -> Derived:
    return derive(wanted(), lambda _what, _done: None, latency=stairs_ms)


def test_the_budget_is_kept_by_the_file_and_by_the_clock():
    network = derived().network
    assert derived().ms == stairs_ms(network.architecture) <= BUDGET.ms
    assert len(network.data) <= BUDGET.bytes
    assert derived().teacher_ms == stairs_ms(TEACHER) > BUDGET.ms


def test_what_comes_out_runs_on_every_backend_and_shows_the_same():
    network = loads_derived(derived().network.data)
    frame, shown = low_frames(160, 90)[0], {}
    for backend in runnable():
        enhancer = open_weights(network.weights, "", size_px=(160, 90), display_px=(640, 360), backend=backend)
        shown[backend] = enhancer.enhance(frame).y.astype(int)
    for backend, picture in shown.items():
        worst = np.abs(picture - shown["torch"]).max()
        assert worst <= (1 if backend in ("onnxruntime", "openvino-fp32") else 6), backend


def test_derived_twice_it_is_the_same_file():
    assert derive(wanted(), lambda _what, _done: None, latency=stairs_ms).network.data == derived().network.data


def test_a_budget_that_no_network_keeps_is_refused():
    with pytest.raises(InputError, match=r"No network keeps the budget ms=0\.5"):
        derive(wanted(Budget(ms=0.5)), lambda _what, _done: None, latency=stairs_ms)


def test_a_budget_that_no_network_keeps_by_the_clock_is_refused_before_it_trains():
    """As on a device that grew slow after its operators were measured."""
    told: list[str] = []
    costs = measure_costs(wanted(), stairs_ms)
    with pytest.raises(InputError, match="by the clock"):
        derive(wanted(), lambda what, _done: told.append(what), costs=costs, latency=lambda each: 4 * stairs_ms(each))
    assert "Training" not in told


def test_cutting_closed_channels_out_changes_no_picture():
    trunk = GatedTrunk(TEACHER)
    trunk.load_state_dict(random_trunk(TEACHER, (3,)).state_dict(), strict=False)
    kept = [torch.arange(0, 24, 3), torch.arange(8), torch.arange(12, 24), torch.tensor([1, 5, 9, 15])]
    with torch.no_grad():
        for gate, open_ones in zip(trunk.gates, kept, strict=True):
            gate.fill_(-1)
            gate[open_ones] = 1
        y = torch.rand(1, 1, 24, 32)
        small, tensors = slice_channels(TEACHER, trunk.collapse(), kept)
        assert str(small) == "plain-m3c8-8-12-4x4"
        assert torch.allclose(run_collapsed(small, tensors, y), trunk(y)[0], atol=1e-5)
        assert not torch.allclose(PlainTrunk.forward(trunk, y)[0], trunk(y)[0], atol=1e-3)


def test_a_derived_file_is_read_as_a_network_of_ones_own_and_a_damaged_one_is_refused(tmp_path: Path):
    file = tmp_path / "small.safetensors"
    file.write_bytes(derived().network.data)
    assert read_own(file).architecture == derived().network.architecture
    file.write_bytes(derived().network.data[:-40])
    with pytest.raises(FormatError, match=r"small\.safetensors"):
        read_own(file)
    weights = derived().network.weights
    file.write_bytes(dumps_chunks(replace(weights, ranges={}))[0])
    with pytest.raises(FormatError, match="never calibrated"):
        read_own(file)
