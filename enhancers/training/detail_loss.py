"""A perceptual training loss: how much of a picture's detail another picture has lost.

After Li, Zhang, Ma and Ngan, "Image Quality Assessment by Separately Evaluating Detail Losses and Additive Impairments"
(IEEE Trans. Multimedia 13(5), 2011), as libvmaf measures it (`adm2`, what VMAF listens to most): wavelet coefficients,
weighted by the eye's contrast sensitivity, pooled by cubes. Detail counts up to the strength that it has in the source
and no further (VMAF-NEG's limit), so sharpening beyond the source gains nothing, and what does not belong there masks
what does.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

_LOW = torch.tensor([1 + 3**0.5, 3 + 3**0.5, 3 - 3**0.5, 1 - 3**0.5]) / (4 * 2**0.5)
_HIGH = torch.stack([_LOW[3], -_LOW[2], _LOW[1], -_LOW[0]])
_SENSITIVITY = torch.tensor(
    [
        [0.017382, 0.017382, 0.005891],
        [0.031985, 0.031985, 0.014299],
        [0.043373, 0.043373, 0.024397],
        [0.045673, 0.045673, 0.031313],
    ]
)
"""Of the eye to vertical, horizontal and diagonal detail in code values, finest first (Watson et al. 1997; libvmaf)."""
_PEAK = 255.0
_FLOOR = 1e-9


class DetailLoss:
    """The detail of a batch of pictures, (B, 1, H, W) in 0–1 with H and W at least 32, and what others lose of it."""

    def __init__(self, target: Tensor) -> None:
        self._bands = [(band, band.abs()) for band in _wavelet_bands(target)]
        self._bound = torch.stack([_pool(strength) for _, strength in self._bands]).sum()

    def lost(self, shown: Tensor) -> Tensor:
        """1 − the share of detail that `shown` has as well: 0 for the same pictures, towards 1 for flat ones."""
        kept = []
        for (band, strength), other in zip(self._bands, _wavelet_bands(shown), strict=True):
            aligned = other * band.sign()
            restored = torch.minimum(aligned.clamp_min(0), strength)
            masking = _masking((aligned - restored).abs())
            kept.append(_pool(functional.relu(restored - masking)))
        return 1 - torch.stack(kept).sum() / self._bound


def _wavelet_bands(picture: Tensor) -> Iterator[Tensor]:
    """Weighted wavelet coefficients of each scale, finest first: (B, 3, H / 2, W / 2), (B, 3, H / 4, W / 4), etc."""
    average = picture[:, 0] * _PEAK
    for sensitivity in _SENSITIVITY.to(picture.device):
        height, width = (size & ~1 for size in average.shape[1:])
        down, across = (_wavelet(size).to(picture.device) for size in (height, width))
        parts = down @ average[:, :height, :width] @ across.T
        upper, lower = slice(height // 2), slice(height // 2, None)
        left, right = slice(width // 2), slice(width // 2, None)
        average = parts[:, upper, left]
        detail = [parts[:, upper, right], parts[:, lower, left], parts[:, lower, right]]
        yield torch.stack(detail, 1) * sensitivity.view(3, 1, 1)


@cache
def _wavelet(size: int) -> Tensor:
    """Daubechies' second wavelet as a matrix (size, size): averages of a line, then details; mirrored at its ends."""
    matrix = torch.zeros(size, size)
    for place in range(size // 2):
        for tap in range(4):
            column = size - 1 - abs(size - 1 - abs(2 * place + tap - 1))
            matrix[place, column] += _LOW[tap]
            matrix[size // 2 + place, column] += _HIGH[tap]
    return matrix


def _masking(added: Tensor) -> Tensor:
    """What impairments around a place hide there, over all directions: (B, 1, H, W)."""
    total = added.sum(1, keepdim=True)
    return (functional.avg_pool2d(total, 3, 1, 1) * 9 + total) / 30


def _pool(strength: Tensor) -> Tensor:
    """Sum over the three directions of the cubic norm of each, and libvmaf's allowance for what is below sight."""
    allowance: float = (strength[:, 0].numel() / 32) ** (1 / 3)
    cubes: Tensor = (strength**3).sum((0, 2, 3)) + _FLOOR
    total: Tensor = cubes.pow(1 / 3).sum()
    return total + 3 * allowance
