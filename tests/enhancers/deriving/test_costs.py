"""What networks take, as a derivation reckons it: held against files, against tensors, and against times."""

from __future__ import annotations

import math

import pytest
import torch
from networks import random_trunk, random_weights, stairs_ms

from abr.errors import InputError
from enhancers.deriving.budget import Budget, read_budget
from enhancers.deriving.costs import CostModel
from enhancers.deriving.operator_latency import OperatorLatency, measure_operators
from enhancers.networks.checkpoint import dumps_chunks
from enhancers.networks.plain import PlainArchitecture, parse

SIZE_PX = (320, 180)


def operators(name: str = "plain-m5c32x4") -> OperatorLatency:
    return measure_operators(parse(name), SIZE_PX, stairs_ms)


def numbers(network: PlainArchitecture) -> list[torch.Tensor]:
    return [torch.tensor(float(each)) for each in network.channels]


def test_a_budget_reads_back():
    assert read_budget(" ms=8, bytes=60k,peak_mb=1.5") == Budget(ms=8.0, bytes=60_000.0, peak_mb=1.5)
    assert read_budget(str(read_budget("ms=2.5,bytes=1M"))) == Budget(ms=2.5, bytes=1e6, peak_mb=math.inf)


@pytest.mark.parametrize("text", ["", "bytes=60k", "ms=0", "ms=8,ms=9", "ms=8,watts=3", "ms=-1", "ms=8G", "8"])
def test_what_is_no_budget_is_refused_with_an_example(text):
    with pytest.raises(InputError, match="ms=8,bytes=60k,peak_mb=40"):
        read_budget(text)


@pytest.mark.parametrize("channels", [(24, 8, 16), (8, 8), (32, 24, 24, 16, 8, 8), (16,) * 9])
def test_times_of_networks_never_timed_are_told_from_their_operators(channels):
    network = parse("plain-m5c32x4").with_channels(channels)
    assert operators().predict_ms(channels) == pytest.approx(stairs_ms(network), rel=0.03)


def test_between_widths_more_channels_never_take_less_time():
    found = operators()
    times = [found.predict_ms((width, 16)) for width in range(8, 33)]
    assert times == sorted(times) and times[-1] > times[0]


@pytest.mark.parametrize("name", ["plain-m2c24-16-8x4", "plain-m1c8x3", "plain-m1c16-8x2d2"])
def test_bytes_are_those_of_the_file_and_memory_is_that_of_the_largest_operator(name):
    network = parse(name)
    costs = CostModel(like=network, size_px=SIZE_PX, latency=operators())
    [chunk] = dumps_chunks(random_weights(network), storage="I8")
    assert len(chunk) <= float(costs.smooth_bytes(numbers(network))) <= len(chunk) + 400
    seen: list[int] = []
    trunk = random_trunk(network, (network.depth,))
    for conv in trunk.convolutions().values():
        conv.register_forward_hook(lambda _m, given, made: seen.append(given[0].numel() + made.numel()))
    trunk(torch.zeros(1, 1, SIZE_PX[1], SIZE_PX[0]))
    assert float(costs.smooth_peak_mb(numbers(network))) * 1e6 == pytest.approx(max(seen))


def test_only_the_operator_that_needs_most_memory_feels_that_there_is_too_little():
    network = parse("plain-m3c8-32-32-8x4")
    costs = CostModel(like=network, size_px=SIZE_PX, latency=operators())
    channels = [each.requires_grad_() for each in numbers(network)]
    costs.smooth_peak_mb(channels).backward()
    assert [each.grad is not None and bool(each.grad > 0) for each in channels] == [False, True, True, False]
