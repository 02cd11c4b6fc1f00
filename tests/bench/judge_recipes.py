"""What content-aware training buys by its weights of detail and of structure, by every member of the panel.

    python tests/bench/judge_recipes.py --excerpts film=FILE@FIRST … --recipes 0.1/0 0.03/0.03 --steps 250 --out FILE

A recipe is DETAIL/STRUCTURE. A network is trained on each excerpt at each scale, from the generic weights, and judged
on that excerpt as `judge_weights.py` judges. Only what the file of --out does not have yet is trained.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from judge_weights import CRF, FRAMES, HEIGHT_MAX_PX, Figures, above, judge, judge_lift, rates, source_of

from abr.core.enhancement import Tier
from enhancers.runtime.loader import open_weights
from enhancers.training.degrade import make_rung_pairs
from enhancers.training.title_weights import collapse_and_calibrate, train_rendition
from enhancers.training.trainer import TrainingSettings

TIERS = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)
SHOWN = (
    "trusted",
    "panel mean",
    "vmaf",
    "vmaf_neg",
    "ssimulacra2",
    "ms_ssim",
    "psnr_hvs_db",
    "xpsnr_y_db",
    "psnr_y_db",
)


def train(excerpt: str, scale: float, recipe: str, steps: int) -> Figures:
    """Train on the excerpt, then judge tier high on it."""
    detail, structure = map(float, recipe.split("/"))
    film = source_of(excerpt)
    pairs = make_rung_pairs(film, scale, CRF, height_max_px=HEIGHT_MAX_PX, keep=FRAMES)
    settings = TrainingSettings(steps=steps, detail_weight=detail, structure_weight=structure)
    trained = train_rendition(pairs, TIERS, settings, seed=1)
    weights = collapse_and_calibrate(trained, TIERS, pairs, source_sha256="0" * 64)
    size_px, display_px = (pairs.low.shape[2], pairs.low.shape[1]), (film[0].width_px, film[0].height_px)
    return judge_lift(excerpt, scale, open_weights(weights, "", size_px=size_px, display_px=display_px))


def main() -> None:
    """A line for each scale, excerpt and recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--excerpts", nargs="+", required=True)
    parser.add_argument("--recipes", nargs="+", required=True)
    parser.add_argument("--scales", default="4,3,2")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    figures: dict[str, Figures] = json.loads(options.out.read_text()) if options.out.exists() else {}

    def known(key: str, make: Callable[..., Figures], *given: object) -> Figures:
        if key not in figures:
            figures[key] = make(*given)
            options.out.write_text(json.dumps(figures, indent=1) + "\n")
        return figures[key]

    for scale in map(float, options.scales.split(",")):
        for name, place in (each.split("=", 1) for each in options.excerpts):
            plain, next_rung = (
                known(f"plain {each:g} {name}", judge, place, each, "", 0) for each in (scale, above(scale))
            )
            for recipe in options.recipes:
                key = f"{recipe} {options.steps} {scale:g} {name}"
                found = rates(plain, known(key, train, place, scale, recipe, options.steps), next_rung)
                print(f"×{scale:g} {name} {recipe}", *(f"{each} {found[each]:+.1f}" for each in SHOWN), flush=True)


if __name__ == "__main__":
    main()
