"""How consistent kernels of real video are: change between neighbouring frames against motion (arXiv 2108.08305, 3).

    python tests/bench/kernel_consistency.py --films FILE… --out consistency.json --plot consistency.svg

Of each film's first frames: mean L1 between the kernels of neighbouring frames as told, the same of the estimator's own
noise (kernels of two halves of one frame's patches), and motion, the mean length of the codec's vectors in pixels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean

import av
import numpy as np

from abr.blur.estimator import Estimate, shipped_estimator
from abr.blur.kernel import code_distance
from abr.media.planes import luma_of

FRAMES = 72
_SIZE, _LEFT, _BOTTOM = 420, 50, 40


def measure(film: Path) -> dict[str, float]:
    """Change, noise and motion of one film."""
    told: list[Estimate] = []
    motion: list[float] = []
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for frame in islice(container.decode(stream), FRAMES):
            estimate = shipped_estimator().estimate(luma_of(frame))
            vectors = frame.side_data.get("MOTION_VECTORS")
            if estimate:
                told.append(estimate)
            if vectors is not None:
                moved = vectors.to_ndarray()
                motion.append(float(np.hypot(moved["motion_x"] / 4, moved["motion_y"] / 4).mean()))
    return {
        "frames": len(told),
        "change": fmean(code_distance(one.code, other.code) for one, other in pairwise(told)),
        "noise": fmean(code_distance(*each.halves) for each in told),
        "motion_px": fmean(motion) if motion else 0.0,
    }


def scatter(results: Mapping[str, Mapping[str, float]]) -> str:
    """Change against motion, one point a film. An SVG document."""
    across, up = (max(each[name] for each in results.values()) * 1.1 for name in ("motion_px", "change"))
    inner = _SIZE - _LEFT - _BOTTOM
    parts = []
    for name, each in results.items():
        x, y = _LEFT + inner * each["motion_px"] / across, 20 + inner * (1 - each["change"] / up)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#0b6e4f"/>')
        parts.append(f'<text x="{x + 7:.1f}" y="{y + 4:.1f}">{name}</text>')
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<text x="{_LEFT + inner * share:.0f}" y="{35 + inner}">{share * across:.1f}</text>')
        parts.append(f'<text x="8" y="{24 + inner * (1 - share):.0f}">{share * up:.3f}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE + 160} {_SIZE}" '
        'font-family="system-ui,sans-serif" font-size="11" fill="#222"><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(parts)}"
        f'<text x="{_LEFT}" y="{_SIZE - 12}">across: motion, pixels a frame; up: L1 between neighbouring kernels</text>'
        "</svg>\n"
    )


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path, required=True)
    options = parser.parse_args()
    results = {film.stem: measure(film) for film in options.films}
    options.out.write_text(json.dumps(results, indent=1))
    options.plot.write_text(scatter(results))


if __name__ == "__main__":
    main()
