"""What generic weights buy on excerpts, by every member of the panel: percent of rate at equal quality.

    python tests/bench/judge_weights.py --excerpts film=FILE@FIRST … --weights old=DIR new=DIR@0.75 … --out FILE

FIRST: the excerpt's first frame. A number after a folder is the strength that its networks are shown at; --exit 1
judges the cheapest tier. Each excerpt is brought to 720p at most and compressed at every scale as a ladder does. Three
frames of it are judged, each after the one before it, through the int8 runtime. A lift counts by the slope of the plain
ladder from its rung to the next one: minus is better. Flicker is in percent of that of the plain picture. Only what the
file of --out does not have yet is judged.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import fmean

import numpy as np

from abr.errors import UnknownNameError
from abr.quality.panel import Member, members_named
from abr.quality.pictures import Planes
from abr.quality.sampled_panel import SampledPanel, fed_frames
from abr.quality.trusted import trusted_quality
from enhancers.networks import catalog
from enhancers.networks.checkpoint import loads_chunks, weaken
from enhancers.runtime.encode import compress
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.runtime.frames import Frame, decode_file, decode_segment
from enhancers.runtime.loader import open_weights

SCALES = (4.0, 3.0, 2.0, 1.5, 1.0)
"""From the lowest rung up; the last one is the source's own size."""
FRAMES, JUDGED, FPS, CRF, HEIGHT_MAX_PX = 54, (15, 33, 51), 25.0, 25.0, 720
MEAN_OF = ("ssimulacra2", "ms_ssim", "psnr_hvs_db", "xpsnr_y_db")

Figures = dict[str, float]


def above(scale: float) -> float:
    """The scale of the next rung."""
    return SCALES[SCALES.index(scale) + 1]


@cache
def source_of(excerpt: str) -> list[Frame]:
    file, first = excerpt.rsplit("@", 1)
    film = list(islice(decode_file(file), int(first), int(first) + FRAMES))
    height = min(HEIGHT_MAX_PX, film[0].height_px)
    fit = PlainScaler(film[0].width_px, film[0].height_px, film[0].width_px * height // film[0].height_px, height)
    return [fit.enhance(frame) for frame in film]


@cache
def rung_of(excerpt: str, scale: float) -> tuple[list[Frame], int]:
    """Decoded frames, and the bytes of all."""
    film = source_of(excerpt)
    width, height = film[0].width_px, film[0].height_px
    shrink = PlainScaler(width, height, int(width / scale) & ~1, int(height / scale) & ~1)
    data = compress([shrink.enhance(frame) for frame in film], CRF)
    return list(decode_segment(data)), len(data)


def judge(excerpt: str, scale: float, folder: str, exit_: int) -> Figures:
    """As shown by the weights in `folder`; by the plain scaler when it is empty."""
    (low, *_), _ = rung_of(excerpt, scale)
    return judge_lift(excerpt, scale, open_folder(folder, scale, exit_, low, source_of(excerpt)[0]))


def judge_lift(excerpt: str, scale: float, enhancer: Enhancer) -> Figures:
    """Means of the judged frames, and the bytes of the rung."""
    film, (low, size_bytes) = source_of(excerpt), rung_of(excerpt, scale)
    with SampledPanel(film[0].width_px, film[0].height_px, FPS, tabled=True) as panel:
        for number, frame in enumerate(JUDGED):
            sources = [film[index].planes() for index in fed_frames(frame)]
            shown: list[Planes] = [enhancer.enhance(low[index]).planes() for index in fed_frames(frame)[1:]]
            panel.judge(number, list(zip(sources, [sources[0], *shown], strict=True)))
        told = panel.finish()
    assert told is not None
    return {"bytes": size_bytes} | {name: float(np.mean(values)) for name, values in told.figures.items()}


def open_folder(folder: str, scale: float, exit_: int, low: Frame, shown: Frame) -> Enhancer:
    display = shown.width_px, shown.height_px
    if not folder:
        return PlainScaler(low.width_px, low.height_px, *display)
    place, _, strength = folder.partition("@")
    chunks = [(Path(place) / catalog.generic_file(scale, number)).read_bytes() for number in range(1, exit_ + 1)]
    weights = loads_chunks(chunks)
    weights = weaken(weights, float(strength)) if strength else weights
    return open_weights(weights, "", size_px=(low.width_px, low.height_px), display_px=display)


def rates(plain: Figures, lifted: Figures, next_rung: Figures) -> Figures:
    """Percent of rate at equal quality, by member; of trusted quality by VMAF's slope."""
    found = {}
    step = float(np.log(next_rung["bytes"] / plain["bytes"]))
    for name in (*plain, "trusted"):
        try:
            member: Member = members_named(["vmaf" if name == "trusted" else name])[0]
        except UnknownNameError:  # bytes
            continue
        if name == "flicker":
            found[name] = 100 * (lifted[name] / plain[name] - 1)
            continue
        told = trusted_quality(plain, lifted, next_rung) if name == "trusted" else lifted[name]
        gain = member.gain(plain[member.name], told) / member.gain(plain[member.name], next_rung[member.name])
        found[name] = float(100 * np.expm1(-gain * step))
    return found | {"panel mean": fmean(found[name] for name in MEAN_OF)}


def main() -> None:
    """Judge what is missing, then print a table."""
    options = _parse()
    excerpts = dict(each.split("=", 1) for each in options.excerpts)
    weights = {"plain": ""} | dict(each.split("=", 1) for each in options.weights)
    scales = [float(text) for text in options.scales.split(",")]
    figures: dict[str, Figures] = json.loads(options.out.read_text()) if options.out.exists() else {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for found in pool.map(_judge_excerpt, *zip(*_jobs(excerpts, weights, scales, figures, options), strict=True)):
            figures |= found
            options.out.write_text(json.dumps(figures, indent=1) + "\n")
    for scale in scales:
        _print_scale(scale, figures, list(excerpts), [name for name in weights if name != "plain"])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--excerpts", nargs="+", required=True)
    parser.add_argument("--weights", nargs="+", default=[])
    parser.add_argument("--scales", default="4,3,2,1.5")
    parser.add_argument("--exit", type=int, default=len(catalog.EXITS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


Job = tuple[str, str, list[tuple[str, float, str, int]]]


def _jobs(
    excerpts: dict[str, str],
    weights: dict[str, str],
    scales: Sequence[float],
    figures: dict[str, Figures],
    options: argparse.Namespace,
) -> list[Job]:
    """Of each excerpt: its name, where it is, and what is to be judged: key, scale, folder, exit."""
    jobs: list[Job] = []
    rungs = sorted({*scales, *(above(scale) for scale in scales)}, reverse=True)
    for excerpt, place in excerpts.items():
        wanted = [
            (f"{name} {scale:g} {excerpt}", scale, folder, options.exit)
            for name, folder in weights.items()
            for scale in (rungs if name == "plain" else scales)
        ]
        jobs.append((excerpt, place, [each for each in wanted if each[0] not in figures]))
    return jobs


def _judge_excerpt(_name: str, place: str, wanted: list[tuple[str, float, str, int]]) -> dict[str, Figures]:
    return {key: judge(place, scale, folder, exit_) for key, scale, folder, exit_ in wanted}


def _print_scale(scale: float, figures: dict[str, Figures], excerpts: Sequence[str], weights: Sequence[str]) -> None:
    for name in weights:
        rows = {
            each: rates(
                *(
                    figures[f"{key} {each}"]
                    for key in (f"plain {scale:g}", f"{name} {scale:g}", f"plain {above(scale):g}")
                )
            )
            for each in excerpts
        }
        print(f"\n×{scale:g} {name}")
        print("\n".join(_lines(rows)))


def _lines(rows: dict[str, Figures]) -> Iterator[str]:
    names = list(next(iter(rows.values())))
    yield f"{'':<12}" + "".join(f"{name[:11]:>12}" for name in names)
    for excerpt, row in rows.items():
        yield f"{excerpt:<12}" + "".join(f"{row[name]:12.1f}" for name in names)
    yield f"{'mean':<12}" + "".join(f"{fmean(row[name] for row in rows.values()):12.1f}" for name in names)
    yield f"{'worst':<12}" + "".join(f"{max(row[name] for row in rows.values()):12.1f}" for name in names)


if __name__ == "__main__":
    main()
