"""A training loss of structure: how little a picture varies along with another one, around each place, at three scales.

The contrast and structure part of SSIM (Wang et al. 2004) with its Gaussian window, over scales as in MS-SSIM (Wang,
Simoncelli and Bovik 2003), three of its five: patches are small. Luminance is left to the L1 loss.
"""

from __future__ import annotations

from functools import cache

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


class StructureLoss:
    """How much of the structure of `target` other pictures lack: (B, 1, H, W) in 0–1, H and W LEAST_PX or more."""

    def __init__(self, target: Tensor) -> None:
        self._scales = []
        """At each scale: the target, its local means, its local variances."""
        for scale in range(len(_SHARES)):
            target = functional.avg_pool2d(target, 2) if scale else target
            mean, squared = _around(target, target * target)
            self._scales.append((target, mean, squared - mean**2))

    def lost(self, shown: Tensor) -> Tensor:
        """0 for the target itself, to 2 for its opposite."""
        lost = []
        for scale, (target, mean, variance) in enumerate(self._scales):
            shown = functional.avg_pool2d(shown, 2) if scale else shown
            shown_mean, squared, together = _around(shown, shown * shown, target * shown)
            varies = variance + squared - shown_mean**2
            agreement = (2 * (together - mean * shown_mean) + _FLOOR) / (varies + _FLOOR)
            lost.append(1 - agreement.mean())
        return torch.stack([share * part for share, part in zip(_SHARES, lost, strict=True)]).sum()


def _around(*pictures: Tensor) -> tuple[Tensor, ...]:
    """Means of each under a Gaussian window at each place where it fits whole.

    As products of matrices: a processor takes a seventh of the time that convolutions of one channel take.
    """
    height, width = pictures[0].shape[-2:]
    rows, columns = (_windows(length, pictures[0].device) for length in (height, width))
    return (rows @ torch.cat(pictures) @ columns.T).chunk(len(pictures))


@cache
def _windows(length: int, device: torch.device) -> Tensor:
    """(length - _WINDOW_PX + 1, length): a window in each row."""
    places = torch.arange(_WINDOW_PX, dtype=torch.float32) - (_WINDOW_PX - 1) / 2
    window = torch.exp(-(places**2) / (2 * _DEVIATION_PX**2))
    windows = torch.zeros(length - _WINDOW_PX + 1, length)
    for place, row in enumerate(windows):
        row[place : place + _WINDOW_PX] = window / window.sum()
    return windows.to(device)
