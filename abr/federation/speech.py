"""wav2vec 2.0 base as a training load: the case of the paper that asks whether devices may train at all.

The configuration is the published one (Baevski et al., "wav2vec 2.0", NeurIPS 2020, section 4.2): seven convolutions
of 512 channels, twelve transformer blocks (768, 3072, 8 heads), 95 M parameters; crops of 250,000 samples, 1.4 M a step
on each of 64 devices; 400 k updates. Gao et al., "Federated Self-supervised Speech Representations: Are We There Yet?"
(arXiv 2204.02804), found such training next to impossible on devices, and foresaw 2027.
"""

from __future__ import annotations

from abr.federation.costs import TrainingLoad

PAPER_YEAR = 2027
"""When the paper expects it to be viable."""
_CHANNELS, _KERNELS, _STRIDES = 512, (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
_BLOCKS, _MODEL, _INNER, _HEADS = 12, 768, 3072, 8
_POSITION_KERNEL, _POSITION_GROUPS = 128, 16
_CODEBOOKS, _ENTRIES, _CODE = 2, 320, 256
_CROP_SAMPLES, _STEP_SAMPLES = 250_000, 1_400_000
_UPDATES, _DEVICES = 400_000, 64
_FLOAT_BYTES = 4
_TENSORS = 2
"""Kept of each layer's result: before and after what follows it (a norm, an activation, a dropout)."""


def wav2vec_base(steps: int) -> TrainingLoad:
    """One round of so many steps. A sample is one crop."""
    lengths, length = [], _CROP_SAMPLES
    for kernel, stride in zip(_KERNELS, _STRIDES, strict=True):
        length = (length - kernel) // stride + 1
        lengths.append(length)
    inputs = (1, *(_CHANNELS for _ in _KERNELS[1:]))
    kernels = [kernel * count * _CHANNELS for kernel, count in zip(_KERNELS, inputs, strict=True)]
    frames = lengths[-1]
    conv_macs = sum(weights * out for weights, out in zip(kernels, lengths, strict=True))
    block_weights = 4 * _MODEL * _MODEL + 2 * _MODEL * _INNER
    attention_macs = 2 * frames * frames * _MODEL
    position_weights = _MODEL * _MODEL // _POSITION_GROUPS * _POSITION_KERNEL
    macs = (
        conv_macs
        + frames * (_CHANNELS * _MODEL + position_weights)
        + _BLOCKS * (frames * block_weights + attention_macs)
    )
    block_numbers = frames * (8 * _MODEL + 2 * _INNER) + 2 * _HEADS * frames * frames
    kept = _TENSORS * _CHANNELS * sum(lengths) + _BLOCKS * block_numbers
    values = count_parameters()
    return TrainingLoad(
        name="wav2vec 2.0 base",
        trained=values,
        values=values,
        macs=macs,
        outputs=0,
        activation_bytes=_FLOAT_BYTES * kept,
        batch=round(_STEP_SAMPLES / _CROP_SAMPLES),
        steps=steps,
    )


def rounds_of(cohort: int, steps: int) -> int:
    """Until players have taken as many steps as the published training."""
    return -(-_UPDATES * _DEVICES // (cohort * steps))


def count_parameters() -> int:
    """95 M: encoder, transformer, quantiser and the two projections of pre-training."""
    convolutions = sum(
        kernel * count * _CHANNELS
        for kernel, count in zip(_KERNELS, (1, *(_CHANNELS for _ in _KERNELS[1:])), strict=True)
    )
    projection = 2 * _CHANNELS + _CHANNELS * _MODEL + _MODEL
    position = _MODEL * _MODEL // _POSITION_GROUPS * _POSITION_KERNEL + _MODEL
    block = 4 * (_MODEL * _MODEL + _MODEL) + 2 * _MODEL * _INNER + _INNER + _MODEL + 4 * _MODEL
    quantiser = _CODEBOOKS * _ENTRIES * _CODE // _CODEBOOKS + (_CHANNELS + 1) * _CODEBOOKS * _ENTRIES
    heads = (_MODEL + 1) * _CODE + (_CODE + 1) * _CODE
    return (
        convolutions + 2 * _CHANNELS + projection + position + _BLOCKS * block + 2 * _MODEL + quantiser + heads + _MODEL
    )
