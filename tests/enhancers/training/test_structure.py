"""The structure loss: what it calls lost, and that training by it restores structure."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from titles import CLIP
from torch import Tensor
from torch.nn import functional

from enhancers.runtime.frames import decode_file
from enhancers.training.structure_loss import LEAST_PX, StructureLoss


@pytest.fixture(scope="module")
def picture() -> Tensor:
    luma = next(islice(decode_file(str(CLIP)), 60, None)).y.copy()
    return torch.from_numpy(luma)[None, None].float() / 255


def blurred(picture: Tensor, radius: int) -> Tensor:
    return functional.avg_pool2d(functional.pad(picture, [radius] * 4, mode="reflect"), 2 * radius + 1, 1)


def test_the_same_picture_loses_nothing_nor_does_a_brighter_one(picture: Tensor) -> None:
    assert float(StructureLoss(picture).lost(picture)) == pytest.approx(0, abs=1e-4)
    assert float(StructureLoss(picture).lost(picture + 0.1)) == pytest.approx(0, abs=1e-4)


def test_the_more_is_blurred_the_more_is_lost(picture: Tensor) -> None:
    lost = [float(StructureLoss(picture).lost(blurred(picture, radius))) for radius in (1, 2, 4)]
    assert 0.005 < lost[0] < lost[1] < lost[2] < 1
    assert float(StructureLoss(picture).lost(1 - picture)) > 1, "the opposite of a picture"


def test_too_much_contrast_loses_as_well(picture: Tensor) -> None:
    """Unlike the detail loss, which looks no further than the source's own strength."""
    sharper = 2 * picture - blurred(picture, 2)
    assert float(StructureLoss(picture).lost(sharper)) > 0.005


def test_a_step_down_its_slope_restores_structure(picture: Tensor) -> None:
    target = picture[..., :LEAST_PX, :LEAST_PX] * 0.5 + torch.linspace(0, 0.4, LEAST_PX) ** 2
    shown = blurred(target, 2).requires_grad_()
    before = StructureLoss(target).lost(shown)
    (slope,) = torch.autograd.grad(before, shown)
    with torch.no_grad():
        assert StructureLoss(target).lost(shown - 0.5 * slope) < before
