"""A training loss of structure: how little a picture varies along with another one, around each place, at three scales.

The contrast and structure part of SSIM (Wang et al. 2004) with its Gaussian window, over scales as in MS-SSIM (Wang,
Simoncelli and Bovik 2003), three of its five: patches are small. Luminance is left to the L1 loss.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SHARES = (0.2, 0.35, 0.45)
"""Of each scale, finest first. MS-SSIM gives the finest less than the next two as well."""
_WINDOW_PX, _DEVIATION_PX = 11, 1.5
_FLOOR = 0.03**2
"""SSIM's constant for contrast, of a range of 0–1."""
LEAST_PX = _WINDOW_PX * 4
"""The least height and width of a picture: its coarsest scale holds one window."""


def structure_lost(target: Tensor, shown: Tensor) -> Tensor:
    """How much of the structure of `target` is not in `shown`, (B, 1, H, W) in 0–1: 0 for the same, to 2 for opposites.

    H and W: LEAST_PX or more.
    """
    lost = []
    for scale in range(len(_SHARES)):
        if scale:
            target, shown = functional.avg_pool2d(target, 2), functional.avg_pool2d(shown, 2)
        lost.append(1 - _agreement(target, shown).mean())
    return torch.stack([share * part for share, part in zip(_SHARES, lost, strict=True)]).sum()


def _agreement(a: Tensor, b: Tensor) -> Tensor:
    mean_a, mean_b = _around(a), _around(b)
    varies = _around(a * a) - mean_a**2 + _around(b * b) - mean_b**2
    together: Tensor = _around(a * b) - mean_a * mean_b
    return (2 * together + _FLOOR) / (varies + _FLOOR)


def _around(picture: Tensor) -> Tensor:
    """Means under a Gaussian window at each place where it fits whole."""
    places = torch.arange(_WINDOW_PX, device=picture.device) - (_WINDOW_PX - 1) / 2
    window = torch.exp(-(places**2) / (2 * _DEVIATION_PX**2))
    window = window / window.sum()
    return functional.conv2d(functional.conv2d(picture, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))
