"""Fit what `enhancers.runtime.exit_policy` knows of motion.

    python tests/bench/fit_exit_policy.py CLIP… [--test CLIP…]

Each clip is coded as a rung of 180 lines, and what is left of the generic network's gain after each step is measured.
Prints the constants, and how well they foretell the clips that they were fitted on and the others.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from enhancers.measurement.speed import encode_rung
from enhancers.networks import catalog
from enhancers.planning.kept_gain import measure_kept
from enhancers.runtime.exit_policy import motion_signs
from enhancers.runtime.frames import decode_file, decode_segment
from enhancers.runtime.loader import load_exits, open_network
from enhancers.runtime.motion import MotionFollower

FRAMES = 150
SIZE_PX, DISPLAY_PX = (320, 180), (1280, 720)


def steps_of(clip: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) signs of the steps that can be carried, a one before them; (N,) the logarithm of what is kept."""
    first = next(islice(decode_file(str(clip)), 1))
    size_px = (round(180 * first.width_px / first.height_px / 2) * 2, 180)
    frames = list(decode_segment(encode_rung(clip, size_px, frames=FRAMES), motion=True))
    lightest = load_exits(catalog.generic_chunks(catalog.architecture(4)))[0]
    network = open_network(lightest, "", size_px=size_px, display_px=(size_px[0] * 4, 720))
    kept = measure_kept(frames, network, 4.0)
    follower, rows = MotionFollower(), []
    for frame, share in zip(frames, kept, strict=True):
        motion = follower.motion_to(frame.picture)
        if motion is not None and share > 0:
            rows.append(([1.0, *motion_signs(motion)], np.log(share)))
    print(f"{clip.name:<34}{len(rows):4d} steps, kept {np.exp(np.mean([row[1] for row in rows])):.4f}", flush=True)
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])


def explained(signs: np.ndarray, losses: np.ndarray, weights: np.ndarray) -> str:
    error = losses - signs @ weights
    rms = float(np.sqrt((error**2).mean()))
    return f"R² {1 - error.var() / losses.var():.2f}, error of the mean {error.mean():+.4f}, RMS {rms:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--test", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    fitted = [steps_of(clip) for clip in given.clips]
    signs, losses = (np.concatenate(parts) for parts in zip(*fitted, strict=True))
    weights = np.zeros(signs.shape[1])
    free = np.ones(len(weights), bool)
    while True:  # none may promise that more motion keeps more
        weights[:] = 0
        weights[free] = np.linalg.lstsq(signs[:, free], losses, rcond=None)[0]
        if not (weights > 0).any():
            break
        free &= weights <= 0
    print({name: round(float(-w), 5) for name, w in zip(("step", "new", "pixels", "unlike"), weights, strict=True)})
    print(f"fitted: {explained(signs, losses, weights)}")
    for clip in given.test:
        print(f"{clip.name}: {explained(*steps_of(clip), weights)}")


if __name__ == "__main__":
    main()
