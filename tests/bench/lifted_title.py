"""What a title whose display is above its source's size shows, beside the same source prepared as it is.

    python tests/bench/lifted_title.py --films FILE@FIRST … --out FILE [--degradations 2]

Each film is brought to 720p, blurred by an unknown kernel and shrunk to 360p, and written as H.264: that is the source.
It is prepared as it is and with `--display 720p`, both with a rung of 360p. Compared with the film before the blur: the
rungs played plainly and lifted by the generic network of tier medium, and the lifted source itself. The rungs'
bits are told too. Luma alone; figures as `blind_restoration` has them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from blind_restoration import FPS, Figures, excerpt, figures_of, static_degradation
from msgspec.structs import replace

from abr.blur.kernel import blur_of
from abr.blur.track import KERNELS_FILE, KernelTrack
from abr.core.enhancement import Tier
from abr.core.title import LIFTED_FILE
from abr.media.planes import luma_of
from abr.records import load
from enhancers.networks.catalog import architecture, generic_chunks
from enhancers.networks.checkpoint import loads_chunks
from enhancers.prepared_title import TitleFolder, find_title
from enhancers.restoration.degradation import Lumas, degrade
from enhancers.restoration.lift import BACKEND
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import decode_file
from enhancers.runtime.loader import open_weights
from server.ingest.encode_settings import EncodeSettings
from server.ingest.kernels import KernelWish
from server.ingest.prepare import prepare_title
from server.media.library import Library

SCALE, FRAMES, HEIGHT_PX = 2, 24, 720
RECIPE = EncodeSettings(panel_every=0, vmaf_every=60, kernels=KernelWish.NEVER)


def write_source(path: Path, low: Lumas) -> None:
    """As H.264 with grey chroma."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=FPS, options={"crf": "17", "preset": "veryfast"})
        video.height, video.width = low.shape[1:]
        video.pix_fmt = "yuv420p"
        for index, luma in enumerate(low):
            grey = np.full((len(luma) // 2, luma.shape[1]), 128, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.concatenate([luma, grey]), format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))


def played(folder: TitleFolder, display_px: tuple[int, int], *, lifted: bool) -> Lumas:
    """The rung of a title at a display."""
    (rung,) = folder.title.renditions
    size_px = rung.width_px, rung.height_px
    frames = [frame for segment in range(len(folder.title.segment_frames)) for frame in folder.frames(rung, segment)]
    if lifted:
        weights = loads_chunks(generic_chunks(architecture(float(SCALE), Tier.MEDIUM)))
        enhancer = open_weights(weights, "", size_px=size_px, display_px=display_px, backend=BACKEND)
        return np.stack([luma_of(enhancer.enhance(frame).picture).copy() for frame in frames])
    scaler = PlainScaler(*size_px, *display_px)
    return np.stack([luma_of(scaler.scale(frame.picture, "yuv420p")).copy() for frame in frames])


def judge(film: Lumas, seed: int, work: Path) -> dict[str, object]:
    """One film under one kernel."""
    degradation = static_degradation(seed, SCALE)
    low = degrade(film, degradation)
    truth = film[:, : low.shape[1] * SCALE, : low.shape[2] * SCALE]
    display_px = truth.shape[2], truth.shape[1]
    source, library = work / "film.mp4", Library(work / "titles")
    write_source(source, low)
    own = replace(RECIPE, heights_px=(low.shape[1],))
    prepare_title(source, library, own, title_id="own")
    prepare_title(source, library, replace(own, display_px=display_px[1]), title_id="large")
    folders = {name: find_title(library.root, name) for name in ("own", "large")}
    lifted = folders["large"].folder / LIFTED_FILE
    shown = {"own, plain": played(folders["own"], display_px, lifted=False)}
    shown["own, generic"] = played(folders["own"], display_px, lifted=True)
    shown["large, plain"] = played(folders["large"], display_px, lifted=False)
    shown["large, generic"] = played(folders["large"], display_px, lifted=True)
    shown["lifted source"] = np.stack([luma_of(frame.picture).copy() for frame in decode_file(str(lifted))])
    track = load(folders["large"].folder / KERNELS_FILE, KernelTrack)
    figures: dict[str, Figures] = {name: figures_of(truth, pictures) for name, pictures in shown.items()}
    return {
        "told_px": blur_of(track.mean_code or degradation.codes[0]).axes[:2],
        "bps": {name: each.title.renditions[0].average_bps for name, each in folders.items()},
        "figures": figures,
    }


def films_of(specs: Sequence[str]) -> Iterator[tuple[str, Lumas]]:
    """Excerpts by their names."""
    for spec in specs:
        yield Path(spec.partition("@")[0]).stem, excerpt(spec, FRAMES, HEIGHT_PX)


def main() -> None:
    """Measure; print each, write all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--degradations", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for number, (name, film) in enumerate(films_of(options.films)):
        for seed in range(options.degradations):
            with tempfile.TemporaryDirectory() as work:
                results[f"{name} {seed}"] = judge(film, 1000 * number + seed, Path(work))
            print(f"{name} {seed}", json.dumps(results[f"{name} {seed}"]), flush=True)
            options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
