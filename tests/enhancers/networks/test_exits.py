"""Exits of the weights that ship: each is bit for bit the network cut off there, and a deeper one never looks worse."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from abr.quality.vmaf import score_pairs
from enhancers.networks import catalog
from enhancers.networks.checkpoint import loads_chunks
from enhancers.runtime.encode import compress
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.runtime.frames import Frame, decode_file, decode_segment
from enhancers.runtime.loader import open_weights

SAMPLE = Path(__file__).parents[3] / "client_player" / "sample"
DISPLAY_PX = (1280, 720)
SIZES_PX = {"180p": (320, 180), "240p": (426, 240), "360p": (640, 360)}
KINDS = [(family, rung) for family in ("content", "generic") for rung in SIZES_PX]
SCORED_EVERY = 5
TOLERANCE = 0.01
"""Share of what the lightest exit gains."""


@cache
def source() -> list[Frame]:
    """A second of the sample clip with much going on."""
    return list(islice(decode_file(str(SAMPLE / "bbb_60s.mp4")), 200, 220))


@cache
def decoded(rung: str) -> list[Frame]:
    """The same second as a viewer of a low rung decodes it."""
    shrink = PlainScaler(*DISPLAY_PX, *SIZES_PX[rung])
    segment = compress([shrink.enhance(frame) for frame in source()], 25, preset="faster", b_frames=0)
    return list(decode_segment(segment))


def chunks(family: str, rung: str) -> list[bytes]:
    if family == "content":
        return [path.read_bytes() for path in sorted((SAMPLE / "weights").glob(f"{rung}-?.safetensors"))]
    scale = catalog.scale_for(SIZES_PX[rung][1], DISPLAY_PX[1])
    assert scale is not None
    return list(catalog.generic_chunks(catalog.architecture(scale)))


@pytest.mark.parametrize(
    ("family", "rung", "backend"),
    [*((*kind, "openvino-int8") for kind in KINDS), ("content", "180p", "torch"), ("generic", "360p", "torch")],
)
def test_an_exit_shows_what_the_chunks_up_to_it_show(family: str, rung: str, backend: str) -> None:
    """Whoever holds all chunks and leaves early, and whoever has only the first ones yet, see the same bytes."""
    held = chunks(family, rung)
    whole = loads_chunks(held)
    frame = decoded(rung)[7]
    sizes = {"size_px": SIZES_PX[rung], "display_px": DISPLAY_PX, "backend": backend}
    shown = []
    for count, depth in enumerate(whole.exits, start=1):
        left = open_weights(replace(whole, architecture=whole.architecture.at_exit(depth)), "", **sizes)
        sliced = open_weights(loads_chunks(held[:count]), "", **sizes)
        shown.append(left.enhance(frame).y.copy())
        assert np.array_equal(shown[-1], sliced.enhance(frame).y), f"exit {depth}"
    assert not any(np.array_equal(a, b) for a, b in pairwise(shown)), "exits differ"


@pytest.mark.parametrize(("family", "rung"), KINDS)
def test_quality_does_not_fall_with_depth(family: str, rung: str) -> None:
    held = chunks(family, rung)
    enhancers = [PlainScaler(*SIZES_PX[rung], *DISPLAY_PX)] + [
        open_weights(loads_chunks(held[:count]), "", size_px=SIZES_PX[rung], display_px=DISPLAY_PX)
        for count in range(1, len(held) + 1)
    ]
    seen = np.array([scores(each, rung) for each in enhancers])
    assert (seen[1] > seen[0] + 0.2).all(), "the lightest exit is better than plain playback"
    assert (np.diff(seen[1:], axis=0) > -TOLERANCE * (seen[1] - seen[0])).all(), seen


def scores(enhancer: Enhancer, rung: str) -> tuple[float, float]:
    """VMAF and VMAF-NEG of the second as the enhancer shows it."""
    pairs = ((truth.y, enhancer.enhance(low).y) for low, truth in zip(decoded(rung), source(), strict=True))
    found = score_pairs(pairs, width_px=DISPLAY_PX[0], height_px=DISPLAY_PX[1], fps=24, every_frames=SCORED_EVERY)
    return float(found.vmaf.mean()), float(found.vmaf_neg.mean())
