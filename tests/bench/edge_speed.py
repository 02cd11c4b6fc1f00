"""How fast an edge node lifts and encodes, what that costs, and what encoding once more takes of the lifted picture.

    python tests/bench/edge_speed.py LIBRARY TITLE SOURCE [--lifters 1] [--segments 8] [--only generic-high] [--json]

Each lift is that of a running node: a process that decodes, enhances by each enhancer that the title offers for each
rung, and encodes. Speed is media seconds over seconds. The picture is measured before and after it is encoded.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from statistics import fmean

import click
import msgspec
from rich.console import Console
from rich.table import Table
from seen_segments import score, shown

from abr.core.device import DeviceProfile
from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.title import INIT_FILE, Title, load_title, segment_file
from abr.media.planes import luma_of
from abr.quality.vmaf import Luma
from abr.records import Record, dumps, load
from client_player.cli import own_profile
from client_player.edge.lifts import lifting as edge_lifting
from client_player.edge.lifts.lift_process import LiftProcesses, lifting
from client_player.edge.lifts.lifting import LiftedSegment, LiftJob, lift_frames, open_for


class Speed(Record, frozen=True):
    """One enhancer on one rung. vmaf: as it came, lifted, and lifted and encoded. Rates in kbit/s."""

    rendition: str
    enhancer: str
    backend: str
    threads: int
    times_real_time: float
    cpu_s_per_media_s: float
    plain_kbps: float
    lifted_kbps: float
    crf: float
    vmaf: tuple[float, float, float]
    load: float


def jobs_of(folder: Path, title: Title, profile: DeviceProfile, segments: int) -> Iterator[tuple[str, list[LiftJob]]]:
    """For each tier and rung that the title offers, and this machine has measured: its name, and some segments."""
    table = load(folder / ENHANCEMENTS_FILE, EnhancementTable)
    for entry in table.enhancers:
        for offer in entry.offers:
            rendition = title.rendition(offer.rendition)
            measured = profile.best(offer.architecture, rendition.width_px, rendition.height_px)
            if measured is None:
                continue
            video = folder / "video" / rendition.id
            init = (video / INIT_FILE).read_bytes()
            yield (
                entry.name,
                [
                    LiftJob(
                        segment=segment,
                        data=init + (video / segment_file(segment)).read_bytes(),
                        first_frame=sum(title.segment_frames[:segment]),
                        frames=title.segment_frames[segment],
                        rate=Fraction(*title.frame_rate),
                        size_px=(rendition.width_px, rendition.height_px),
                        display_px=(title.display_width_px, title.display_height_px),
                        offer=offer,
                        plan=None,
                        plan_frames=(),
                        chunks=tuple((folder / chunk.file).read_bytes() for chunk in offer.chunks),
                        backend=measured.backend,
                        threads=measured.threads,
                        cap_bps=max(each.bandwidth_bps for each in title.renditions),
                    )
                    for segment in range(min(segments, len(title.segment_frames)))
                ],
            )


async def lift_all(jobs: list[LiftJob], processes: LiftProcesses) -> tuple[list[LiftedSegment], float]:
    """Once through beforehand, so that enhancers are open. Returns the lifted segments, and how long it took."""
    await asyncio.gather(*(processes.lift(job) for job in jobs[: processes.at_once]))
    began_s = time.perf_counter()
    lifted = await asyncio.gather(*(processes.lift(job) for job in jobs))
    return lifted, time.perf_counter() - began_s


def lifted_lumas(jobs: list[LiftJob]) -> Iterator[Luma]:
    """Before they are encoded."""
    enhancer = open_for(jobs[0])
    for job in jobs:
        for frame in lift_frames(job, enhancer):
            yield luma_of(frame.picture)


def measure(name: str, jobs: list[LiftJob], folder: Path, title: Title, source: Path, lifters: int) -> Speed:
    """Of the first segments."""
    few = _first(title, len(jobs))

    async def main() -> tuple[list[LiftedSegment], float]:
        async with lifting(lifters) as processes:
            return await lift_all(jobs, processes)

    lifted, took_s = asyncio.run(main())
    load_1, *_ = os.getloadavg()
    init = (folder / "video" / title.renditions[-1].id / INIT_FILE).read_bytes()
    films = (shown(few, (job.data for job in jobs)), lifted_lumas(jobs), shown(few, (init + s.body for s in lifted)))
    before, between, after = (fmean(score(few, source, film).vmaf) for film in films)
    plain_bytes = sum(title.rendition(jobs[0].offer.rendition).segment_bytes[: len(jobs)])
    return Speed(
        rendition=jobs[0].offer.rendition,
        enhancer=name,
        backend=jobs[0].backend,
        threads=jobs[0].threads,
        times_real_time=round(few.duration_s / took_s, 2),
        cpu_s_per_media_s=round(sum(each.cpu_s for each in lifted) / few.duration_s, 3),
        plain_kbps=round(plain_bytes * 8e-3 / few.duration_s, 1),
        lifted_kbps=round(sum(len(each.body) for each in lifted) * 8e-3 / few.duration_s, 1),
        crf=edge_lifting.CRF,
        vmaf=(round(before, 2), round(between, 2), round(after, 2)),
        load=round(load_1, 1),
    )


def _first(title: Title, segments: int) -> Title:
    return msgspec.structs.replace(
        title,
        segment_frames=title.segment_frames[:segments],
        segment_duration_s=title.segment_duration_s[:segments],
    )


@click.command(context_settings={"show_default": True})
@click.argument("library", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("title_id", metavar="TITLE")
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--lifters", type=click.IntRange(1, 64), default=1, help="Processes that lift.")
@click.option("--segments", type=click.IntRange(1), default=8, help="How many of the title's.")
@click.option("--only", default="", help="Only this enhancer, such as generic-high.")
@click.option("--rungs", default="", help="Only these renditions, such as 180p,360p.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(
    library: Path, title_id: str, source: Path, lifters: int, segments: int, only: str, rungs: str, as_json: bool
) -> None:
    """Measure one title's lifts on this machine."""
    folder, profile = library / title_id, own_profile(None)
    title = load_title(folder)
    assert profile is not None
    table = Table(*Speed.__struct_fields__, title=f"{title_id}: lifted by {lifters} process(es)")
    for name, jobs in jobs_of(folder, title, profile, segments):
        if (only and name != only) or (rungs and jobs[0].offer.rendition not in rungs.split(",")):
            continue
        found = measure(name, jobs, folder, title, source, lifters)
        if as_json:
            click.echo(dumps(found))
        table.add_row(*(str(getattr(found, field)) for field in Speed.__struct_fields__))
        sys.stdout.flush()
    if not as_json:
        Console(width=200).print(table)


if __name__ == "__main__":
    main()
