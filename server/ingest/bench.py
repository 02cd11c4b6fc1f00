"""`toprung bench prepare`: our ladder encode against the ffmpeg command line, both doing the same rungs.

The peer is one ffmpeg command: one decode, a split, one scaler and one x264 a rung, with the same x264 settings and the
same forced key frames, writing fragmented MP4. It runs once with FFmpeg's own choice of threads and once with one
thread an encoder, and the faster of the two counts.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import click

from abr.errors import ToprungError
from abr.files import write_file
from abr.media.display_filters import display_filters
from abr.media.probe import SourceInfo, probe
from abr.media.source_frames import display_frames
from abr.quality.vmaf import ffmpeg_program, ffmpeg_version
from server.ingest.cli import parse_heights
from server.ingest.encode import encode_ladder
from server.ingest.encode_settings import EncodeSettings, segment_length
from server.ingest.encoders.h264 import x264_options
from server.ingest.ladder import Rung
from server.ingest.mp4.cmaf import Write
from server.ingest.prepare import plan_ladder


@click.command("prepare")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--pairs", type=click.IntRange(3), default=3, show_default=True, help="Runs of each, in turn.")
@click.option("--heights", metavar="H,H,...", help="Rungs; planned for the source otherwise.")
@click.option("--preset", default="faster", show_default=True, help="x264's effort, the same for both.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_prepare(source: Path, pairs: int, heights: str | None, preset: str, as_json: bool) -> None:
    """Encode SOURCE's ladder with Toprung and with the ffmpeg command line, in turn, and compare the times.

    Video only, without quality measurement; a ratio above 1 means that Toprung is faster.
    """
    result = compare(source, EncodeSettings(heights_px=parse_heights(heights), preset=preset), pairs)
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(f"Toprung {result['toprung_s']:.2f} s, ffmpeg {result['ffmpeg_s']:.2f} s (medians of {pairs})")
    click.echo(f"CPU seconds: {result['ratio_cpu_vs_ffmpeg']:.2f} × fewer")
    click.echo(
        f"{result['ratio_vs_ffmpeg']:.2f} × the speed of ffmpeg {result['ffmpeg']} ({result['ffmpeg_threads']} threads)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeCost:
    """What one run took: wall-clock seconds, and CPU seconds of all cores together."""

    wall_s: float
    cpu_s: float


def compare(source: Path, recipe: EncodeSettings, pairs: int) -> dict[str, Any]:
    """Time both, `pairs` times in turn. Raises InputError for a source that cannot be used, ToprungError for ffmpeg.

    ratio_vs_ffmpeg: median over the pairs of ffmpeg's wall seconds over ours; ratio_cpu_vs_ffmpeg: the same of CPU
    seconds, which say more on a machine that others use. ffmpeg is the variant with the smaller median.
    """
    footage = probe(source)
    rungs = plan_ladder(source, footage, recipe)
    version = ffmpeg_version()  # also loads the program into the page cache, as ours is loaded by now
    ours: list[EncodeCost] = []
    variants: dict[str, int | None] = {"auto": None, "1": 1}
    peers: dict[str, list[EncodeCost]] = {name: [] for name in variants}
    with tempfile.TemporaryDirectory(prefix="toprung-bench-") as folder:
        home = Path(folder)
        commands = {name: peer_command(source, footage, rungs, recipe, home, n) for name, n in variants.items()}
        for turn in range(pairs):
            runs = [(ours, partial(_encode, source, footage, rungs, recipe, home / f"ours-{turn}"))]
            runs += [(costs, partial(_run_peer, commands[name])) for name, costs in peers.items()]
            for costs, run in runs if turn % 2 == 0 else reversed(runs):  # neither always comes first
                costs.append(_cost_of(run))
        bytes_ours = sum(file.stat().st_size for file in (home / "ours-0").rglob("*.m*"))
        bytes_peer = sum(file.stat().st_size for file in home.glob("peer-*.mp4"))
    best = min(peers, key=lambda threads: statistics.median(cost.wall_s for cost in peers[threads]))
    together = list(zip(peers[best], ours, strict=True))
    return {
        "ratio_vs_ffmpeg": round(statistics.median(peer.wall_s / our.wall_s for peer, our in together), 4),
        "ratio_cpu_vs_ffmpeg": round(statistics.median(peer.cpu_s / our.cpu_s for peer, our in together), 4),
        "toprung_s": statistics.median(cost.wall_s for cost in ours),
        "ffmpeg_s": statistics.median(cost.wall_s for cost in peers[best]),
        "toprung_runs": [asdict(cost) for cost in ours],
        "ffmpeg_runs": {threads: [asdict(cost) for cost in costs] for threads, costs in peers.items()},
        "ffmpeg": version,
        "ffmpeg_threads": best,
        "toprung_bytes": bytes_ours,
        "ffmpeg_bytes": bytes_peer,
        "rungs": [f"{rung.width_px}x{rung.height_px}" for rung in rungs],
        "recipe": recipe.describe(),
        "cores": os.cpu_count(),
    }


def peer_command(
    source: Path, footage: SourceInfo, rungs: Sequence[Rung], recipe: EncodeSettings, folder: Path, threads: int | None
) -> list[str]:
    """The ffmpeg command that does what `encode_ladder` does. threads: for each encoder, or x264's own choice."""
    labels = [f"v{index}" for index in range(len(rungs))]
    same = "".join(f"{name}={arguments}," for name, arguments in display_filters(footage))
    graph = f"[0:{footage.video_stream}]{same}split={len(rungs)}" + "".join(f"[s{label}]" for label in labels)
    for label, rung in zip(labels, rungs, strict=True):
        graph += f";[s{label}]scale={rung.width_px}:{rung.height_px}:flags=bicubic,format=yuv420p[{label}]"
    length = segment_length(recipe, footage.rate)
    command = [ffmpeg_program(), "-v", "error", "-nostdin", "-y", "-i", f"file:{source}", "-filter_complex", graph]
    for label, rung in zip(labels, rungs, strict=True):
        options = x264_options(rung, recipe, threads=threads)
        command += ["-map", f"[{label}]", "-c:v", "libx264", "-force_key_frames", f"expr:eq(mod(n,{length}),0)"]
        command += chain.from_iterable((f"-{name}", value) for name, value in options.items())
        command += ["-movflags", "+cmaf+empty_moov+default_base_moof+frag_keyframe", str(folder / f"peer-{label}.mp4")]
    return command


def _encode(source: Path, footage: SourceInfo, rungs: Sequence[Rung], recipe: EncodeSettings, folder: Path) -> None:
    def into(rung: Rung) -> Write:
        home = folder / rung.id
        home.mkdir(parents=True)
        return lambda name, data: write_file(home / name, data)

    encode_ladder(display_frames(source, footage), rungs, recipe, footage.rate, into)


def _run_peer(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToprungError(f"The ffmpeg command failed: {done.stderr.strip()}")


def _cost_of(run: Callable[[], None]) -> EncodeCost:
    cpu_s, started_s = _cpu_s(), time.perf_counter()
    run()
    return EncodeCost(wall_s=round(time.perf_counter() - started_s, 4), cpu_s=round(_cpu_s() - cpu_s, 4))


def _cpu_s() -> float:
    """CPU seconds of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
