"""What knowing the kernel buys: sources of unknown degradation restored with and without it, on films never seen.

    python tests/bench/blind_restoration.py --networks DIR --films FILE@FIRST … --out FILE [--degradations 6]

DIR holds what `enhancers.restoration.train_networks` wrote. FIRST: the excerpt's first frame. Each film is degraded
with kernels that stand still (by seed, H.264 behind them), with kernels that drift, and by the bicubic filter; then
restored by every network. `blind` has the codes that `abr.blur` tells from the degraded pictures; `oracle` is the same
network with the true ones; `front` is what `toprung restore` shows: the generic network where a picture is told to be
sharp. Figures: PSNR of luma, SSIMULACRA 2, VMAF-NEG, flicker error, means over frames.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from abr.blur.estimator import KernelEstimator, loads_weights, shipped_estimator
from abr.blur.kernel import Blur, Code, bicubic_kernel, blur_of, code_distance
from abr.blur.survey import survey_frames
from abr.blur.track import KernelTrack
from abr.quality.picture_meters import FlickerMeter
from abr.quality.pictures import rgb_of
from abr.quality.ssimulacra2 import ssimulacra2
from abr.quality.vmaf import score_pairs
from enhancers.networks.catalog import generic_chunks
from enhancers.networks.checkpoint import loads_chunks
from enhancers.networks.plain_torch import run_collapsed
from enhancers.restoration.conditioned import loads_network
from enhancers.restoration.degradation import Compression, Degradation, Lumas, degrade, draw_blur, drifting_blurs
from enhancers.restoration.films import runs_of, shrunk
from enhancers.restoration.lift import weights_for
from enhancers.restoration.pairs import scaled
from enhancers.restoration.restore import restore
from enhancers.restoration.train_networks import KINDS, UNTOLD

FPS, STATIC_FRAMES, MOVING_FRAMES, HEIGHT_PX = 25, 12, 50, 360
CRFS = (17.0, 20.0, 23.0)
JUDGED_EVERY = 6
Figures = dict[str, float]


def excerpt(spec: str, frames: int, height_px: int = HEIGHT_PX) -> Lumas:
    """`FILE@FIRST`: so many frames, sharp, at most `height_px` high."""
    file, _, first = spec.partition("@")
    start = int(first or 0)
    path = Path(file)
    runs = runs_of(path, frames=frames + start, apart=frames + start, runs_max=1)
    return shrunk(runs[0][start:], min(height_px, runs[0].shape[1]))


def figures_of(source: Lumas, shown: Lumas) -> Figures:
    """Means over the frames."""
    height, width = source.shape[1:]
    errors = ((source.astype(np.float64) - shown) ** 2).mean((1, 2))
    scores = score_pairs(
        zip(source, shown, strict=True), width_px=width, height_px=height, fps=FPS, every_frames=JUDGED_EVERY, threads=1
    )
    flicker = FlickerMeter(1)
    for pair in zip(source, shown, strict=True):
        flicker.feed(*pair)
    grey = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    judged = range(1, len(source), JUDGED_EVERY)
    seen = [ssimulacra2(rgb_of((source[i], grey, grey)), rgb_of((shown[i], grey, grey))) for i in judged]
    return {
        "psnr_y_db": float(np.mean(10 * np.log10(255**2 / errors))),
        "ssimulacra2": fmean(seen),
        "vmaf_neg": float(scores.vmaf_neg.mean()),
        "flicker": fmean(flicker.values[1:]),
    }


class Restorers:
    """The networks of one scale."""

    def __init__(self, folder: Path, scale: int) -> None:
        self.networks = {kind: loads_network((folder / f"{kind}-x{scale}.safetensors").read_bytes()) for kind in KINDS}
        self.scale = scale
        self.plain_network = self.networks["blind"].architecture
        generic = loads_chunks(generic_chunks(self.plain_network))
        self.generic = {name: torch.from_numpy(tensor) for name, tensor in generic.tensors.items()}

    def run(self, kind: str, low: Lumas, codes: Sequence[Code] = (UNTOLD,)) -> Lumas:
        """By one of the networks."""
        return restore(self.networks[kind], low, codes)

    def run_generic(self, low: Lumas) -> Lumas:
        """By the weights that ship for ladders."""
        network = self.plain_network
        plain = scaled(low, self.scale)
        lifted = []
        for luma, base in zip(low, plain, strict=True):
            residual = run_collapsed(network, self.generic, torch.from_numpy(luma.astype(np.float32))[None, None] / 255)
            lifted.append(np.clip(np.rint(base + 255 * residual[0, 0].numpy()), 0, 255).astype(np.uint8))
        return np.stack(lifted)


def codes_of(track: KernelTrack, frames: int) -> list[Code]:
    """One a frame; that of an untouched picture where nothing was told."""
    untouched = (1.0,) * len(UNTOLD)
    return [track.code_at(frame) or untouched for frame in range(frames)]


def judge_static(
    source: Lumas, degradation: Degradation, restorers: Restorers, estimator: KernelEstimator
) -> dict[str, object]:
    """Every way to restore a film whose kernel stands still."""
    low = degrade(source, degradation)
    source = source[:, : low.shape[1] * restorers.scale, : low.shape[2] * restorers.scale]
    track = survey_frames(low, (FPS, 1), estimator, "")
    codes = codes_of(track, len(low))
    shown = {
        "plain": scaled(low, restorers.scale),
        "generic": restorers.run_generic(low),
        "bicubic": restorers.run("bicubic", low),
        "agnostic": restorers.run("agnostic", low),
        "blind": restorers.run("blind", low, codes),
        "oracle": restorers.run("blind", low, degradation.codes),
        "front": restore(restorers.networks["blind"], low, codes, weights_for),
    }
    return {
        "told": blur_of(codes[0]).axes[:2],
        "kernel_l1": code_distance(codes[0], degradation.codes[0]),
        "moves": any(shot.moves for shot in track.shots),
        "figures": {name: figures_of(source, pictures) for name, pictures in shown.items()},
    }


def judge_drifting(
    source: Lumas, degradation: Degradation, restorers: Restorers, estimator: KernelEstimator
) -> dict[str, object]:
    """Every way to choose codes for a film whose kernel drifts."""
    low = degrade(source, degradation)
    source = source[:, : low.shape[1] * restorers.scale, : low.shape[2] * restorers.scale]
    track, truth = survey_frames(low, (FPS, 1), estimator, ""), degradation.codes
    codes = codes_of(track, len(low))
    single = [each.code if (each := estimator.estimate(luma)) else codes[i] for i, luma in enumerate(low)]
    mean = tuple(float(value) for value in np.mean(single, axis=0))
    chosen: Mapping[str, Sequence[Code]] = {
        "blind": codes,
        "oracle": truth,
        "first": [single[0]],
        "mean": [mean],
        "unsmoothed": single,
        "first of truth": [truth[0]],
    }
    shown = {name: restorers.run("blind", low, each) for name, each in chosen.items()}
    shown |= {"plain": scaled(low, restorers.scale), "agnostic": restorers.run("agnostic", low)}
    return {
        "moves": [shot.moves for shot in track.shots],
        "movement": [shot.movement for shot in track.shots],
        "kernel_l1": fmean(code_distance(*pair) for pair in zip(codes, truth, strict=True)),
        "kernel_l1_unsmoothed": fmean(code_distance(*pair) for pair in zip(single, truth, strict=True)),
        "consistency": _consistency(codes),
        "consistency_unsmoothed": _consistency(single),
        "consistency_of_truth": _consistency(truth),
        "figures": {name: figures_of(source, pictures) for name, pictures in shown.items()},
    }


def _consistency(codes: Sequence[Code]) -> float:
    """Mean L1 between kernels of neighbouring frames."""
    return fmean(code_distance(*pair) for pair in pairwise(codes))


def static_degradation(seed: int, scale: int) -> Degradation:
    """Blurred by an unknown kernel, then H.264."""
    random = np.random.default_rng((seed, scale, 3))
    compression = Compression(codec="h264", quality=CRFS[seed % len(CRFS)])
    return Degradation(scale=scale, kernels=(draw_blur(random).kernel(scale),), compression=compression, seed=seed)


def drifting_degradation(seed: int, scale: int) -> Degradation:
    """Likewise, by kernels that drift from one to another."""
    blurs: list[Blur] = drifting_blurs(seed, MOVING_FRAMES)
    compression = Compression(codec="h264", quality=CRFS[seed % len(CRFS)])
    return Degradation(scale=scale, kernels=tuple(b.kernel(scale) for b in blurs), compression=compression, seed=seed)


def summarise(results: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Means over films and seeds, by what was degraded how at which scale."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for key, each in results.items():
        groups.setdefault(" ".join(key.split()[:2]), []).append(each)
    told = ("kernel_l1", "kernel_l1_unsmoothed", "consistency", "consistency_unsmoothed", "consistency_of_truth")
    return {
        name: {
            "measured": len(group),
            **{what: round(fmean(each[what] for each in group), 4) for what in told if what in group[0]},
            "moves": sum(bool(np.any(each["moves"])) for each in group),
            "figures": {
                way: {meter: round(fmean(each["figures"][way][meter] for each in group), 3) for meter in meters}
                for way, meters in group[0]["figures"].items()
            },
        }
        for name, group in groups.items()
    }


def main() -> None:
    """Measure; what is in the file already is not measured again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=Path, required=True)
    parser.add_argument("--films", nargs="+", required=True)
    parser.add_argument("--estimator", type=Path, help="Weights other than those that ship.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--degradations", type=int, default=4)
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 4])
    options = parser.parse_args()
    torch.set_num_threads(1)
    estimator = (
        KernelEstimator(loads_weights(options.estimator.read_bytes())) if options.estimator else shipped_estimator()
    )
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    for scale in options.scales:
        restorers = Restorers(options.networks, scale)
        for number, spec in enumerate(options.films):
            for seed in range(options.degradations):
                own = 1000 * number + seed
                work = {
                    "static": (STATIC_FRAMES, static_degradation(own, scale), judge_static),
                    "drifting": (MOVING_FRAMES, drifting_degradation(own, scale), judge_drifting),
                }
                if seed == 0:
                    ladder = Degradation(
                        scale=scale,
                        kernels=(bicubic_kernel(scale),),
                        compression=Compression(codec="h264", quality=20.0),
                    )
                    work["bicubic"] = (STATIC_FRAMES, ladder, judge_static)
                for what, (frames, degradation, judge) in work.items():
                    key = f"{what} x{scale} {Path(spec).name} {seed}"
                    if key in results:
                        continue
                    results[key] = judge(excerpt(spec, frames), degradation, restorers, estimator)
                    options.out.write_text(json.dumps(results, indent=1))
                    print(
                        key,
                        {name: round(each["psnr_y_db"], 2) for name, each in results[key]["figures"].items()},
                        flush=True,
                    )
    print(json.dumps(summarise(results), indent=1))


if __name__ == "__main__":
    main()
