"""Small opinion tests: raters with a bias and a consistency of their own, on contents that are hard or easy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

RATES_KBPS = (375, 750, 1500, 3000, 6000)
HEIGHT_PX = 1080


def opinion_items(contents: int, raters: int, seed: int = 1) -> list[dict[str, object]]:
    """Of each content one item a rate; what people say rises with the rate."""
    random = np.random.default_rng(seed)
    bias, noise = random.normal(0, 0.3, raters), random.uniform(0.2, 0.9, raters)
    items: list[dict[str, object]] = []
    for content in range(contents):
        hardness = random.normal(0, 0.3)
        for rate in RATES_KBPS:
            true = 1.3 + 3.4 * np.log(rate / 375) / np.log(16) - hardness
            scores = np.clip(np.rint(true + bias + noise * random.normal(size=raters)), 1, 5).astype(int)
            name = f"Film{content}_50_{HEIGHT_PX}_{rate}.yuv"
            items.append({"file": name, "content_id": content, "scores": scores.tolist()})
    return items


def write_opinions(path: Path, contents: int = 9, raters: int = 12, seed: int = 1) -> Path:
    """As a file in the form of NFLX_public's."""
    items = opinion_items(contents, raters, seed)
    path.write_text(json.dumps({"name": "small test", "scale": "1-5", "items": items}))
    return path
