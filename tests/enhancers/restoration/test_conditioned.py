"""Networks conditioned on a kernel's code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from abr.blur.estimator import KernelEstimator, loads_weights, log_mean, power_of
from abr.blur.kernel import CODE_FLOATS
from enhancers.networks.plain import PlainArchitecture
from enhancers.networks.plain_torch import run_collapsed
from enhancers.restoration.conditioned import ConditionedWeights, fold
from enhancers.restoration.conditioned_torch import ConditionedTrunk
from enhancers.restoration.estimator_net import EstimatorNet, dumps_weights


def test_a_network_folded_for_a_code_is_a_plain_one_that_gives_the_same_picture() -> None:
    network = PlainArchitecture(depth=2, width=8, scale=2.0, squeeze=2)
    trunk = ConditionedTrunk(network)
    torch.manual_seed(2)
    with torch.no_grad():
        trunk.modulation.last.weight.normal_(0, 0.3)
    y, codes = torch.rand(2, 1, 16, 24), torch.rand(2, CODE_FLOATS)
    conditioned = trunk(y, codes).detach()
    tensors = {name: tensor.numpy() for name, tensor in trunk.tensors().items()}
    weights = ConditionedWeights(architecture=network, tensors=tensors)
    for index, code in enumerate(codes.tolist()):
        plain = {name: torch.from_numpy(tensor) for name, tensor in fold(weights, code).tensors.items()}
        assert torch.allclose(run_collapsed(network, plain, y[index : index + 1])[0], conditioned[index], atol=1e-5)
    assert not torch.allclose(conditioned[0], trunk(y[:1], codes[1:])[0], atol=1e-3)


def test_the_estimator_that_runs_is_the_one_that_was_trained() -> None:
    net = EstimatorNet(seed=4)
    patches = np.random.default_rng(1).integers(0, 255, (6, 32, 32), dtype=np.uint8)
    with torch.no_grad():
        trained = net(torch.from_numpy(log_mean(power_of(patches)))[None])[0]
    assert KernelEstimator(net.tensors()).code(patches) == pytest.approx(trained.tolist(), abs=1e-4)
    assert KernelEstimator(loads_weights(dumps_weights(net.tensors()))).code(patches) == pytest.approx(
        trained.tolist(), abs=0.02
    )
