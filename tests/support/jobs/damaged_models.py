"""Damaged copies of model files, the same for the same seed: bytes changed, cut off, or put in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np


def damaged_copies(models: Mapping[str, bytes], count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of `count` copies, taking turns among `models`. What is damaged is often near the beginning."""
    random = np.random.default_rng(seed)
    names = sorted(models)
    for number in range(count):
        name = names[number % len(names)]
        data = bytearray(models[name])
        reach = len(data) if number % 2 else min(len(data), 2048)
        kind = number // len(names) % 4
        if kind == 0:
            del data[int(random.integers(8, len(data))) :]
        elif kind == 1:
            for at in random.integers(0, reach, 1 + number % 40):
                data[at] ^= int(random.integers(1, 256))
        elif kind == 2:
            at = int(random.integers(0, reach))
            data[at : at + 8] = b"\xff" * 8
        else:
            at = int(random.integers(0, reach))
            data[at:at] = random.bytes(1 + number % 64)
        stem, _, ending = name.rpartition(".")
        yield f"{stem}-{number}.{ending}", bytes(data)
