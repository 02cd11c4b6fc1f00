"""Small opinion tests: raters with a bias and a consistency of their own, on contents that are hard or easy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from abr.opinions.rating_key import KEY_FILE, Clip, Comparison, RatingKey
from abr.records import dumps

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


def write_pairs(folder: Path, name: str = "a.mp4", data: bytes = b"a clip") -> Path:
    """A folder as `toprung bench pairs` writes it: two clips, and a third of unknown quality."""

    def clip(file: str, enhancer: str, quality: float | None) -> Clip:
        return Clip(file=file, segment=3, rendition="90p", enhancer=enhancer, rate_bps=1e5, quality=quality)

    clips = clip(name, "content-low", 61.5), clip("b.mp4", "none", 48.0), clip("c.mp4", "none", None)
    comparisons = (
        Comparison(lifted=name, plain="b.mp4", against="same rung"),
        Comparison(lifted=name, plain="c.mp4", against="equal bits"),
    )
    key = RatingKey(set="s", title="bbb", source_sha256="0", clips=clips, comparisons=comparisons)
    (folder / KEY_FILE).write_bytes(dumps(key))
    for each in clips:
        (folder / each.file).write_bytes(data)
    return folder
