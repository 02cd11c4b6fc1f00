"""`toprung prepare`: turns video files into titles."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import msgspec

from abr.display_height import DisplayHeight
from abr.errors import InputError
from abr.finite_range import FiniteRange
from abr.media.video_codecs import VideoCodec
from abr.time_limit import Duration
from server.media.cli import library_option

if TYPE_CHECKING:
    from abr.core.title import Rendition, Title
    from server.ingest.jobs import PrepareJob
    from server.ingest.prepare import Prepared

MIN_RATE_BPS = 16_000


@click.command(no_args_is_help=True)
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SOURCE...")
@click.option("--library", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of titles.")
@click.option("--id", "title_id", help="Name of the title; the file's name otherwise.")
@click.option("--heights", metavar="H,H,...", help="Rungs, such as 180,240,360,720; planned for the source otherwise.")
@click.option(
    "--ladder",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PLAN",
    help="Rungs and their qualities as toprung plan-ladder wrote them, instead of --heights and --crf.",
)
@click.option("--display", "display_px", type=DisplayHeight(), help="Lift the source to a larger display, say 1080p.")
@click.option("--rung", "caps", multiple=True, metavar="H=RATE", help="Cap one rung's bitrate, such as 360=500k.")
@click.option(
    "--codec",
    "codecs",
    metavar="CODEC,...",
    default=VideoCodec.H264.value,
    show_default=True,
    help="h264, hevc, av1: a ladder in each. H.264 plays everywhere; AV1 needs the least bits.",
)
@click.option(
    "--crf",
    metavar="CRF,...",
    help="Quality; lower is better. For each codec in turn, which has its own scale.  "
    "[default: h264 25, hevc 27, av1 35]",
)
@click.option(
    "--preset",
    metavar="NAME,...",
    help="The encoder's effort, for each codec in turn: ultrafast to veryslow for h264 and hevc, 10 (least) to 0 for "
    "av1.  [default: faster; av1 7]",
)
@click.option(
    "--hdr",
    metavar="CODEC,...",
    help="hevc, av1: keep HDR10 and HLG in ladders of ten bits too, beside those for ordinary displays.",
)
@click.option("--segment-seconds", type=FiniteRange(0.5, 30), default=2, show_default=True)
@click.option(
    "--subtitles",
    multiple=True,
    metavar="LANG=FILE",
    help="Subtitles beside those of the source: SRT, WebVTT, ASS or TTML, such as de=film.srt. Repeatable.",
)
@click.option("--opus", is_flag=True, help="Sounds in Opus too, beside AAC, for players that decode it.")
@click.option("--imsc", is_flag=True, help="Subtitles as IMSC text in MP4 too, beside WebVTT.")
@click.option("--trick-play", is_flag=True, help="Key frames as a rung of their own, for players that run through.")
@click.option("--audio-bitrate", metavar="RATE", default="128k", show_default=True)
@click.option("--vmaf-every", type=click.IntRange(1), default=7, show_default=True, help="Score one frame in so many.")
@click.option(
    "--panel-every",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Let the panel of quality meters judge one segment in so many; 0: none, so that VMAF alone counts.",
)
@click.option(
    "--kernels",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Tell the blur of the source, shot by shot; auto: where it has one.",
)
@click.option("--force", is_flag=True, help="Replace a title that is there already.")
@click.option("--accept-short", is_flag=True, help="Take a file that ends before its header says so as it is.")
@click.option("--no-enhancement", is_flag=True, help="Its makers do not want its pictures enhanced: offer nothing.")
@click.option(
    "--time-limit",
    "limit_s",
    type=Duration(),
    default="24h",
    show_default=True,
    help="For each SOURCE, from when it has its turn.",
)
@click.option("--jobs", "at_once", type=click.IntRange(1), help="Sources at a time.  [default: 1; a Ray machine each]")
@click.option("--ray", metavar="ADDRESS", help="Spread over a Ray cluster: local, auto or ray://HOST:PORT.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a title.")
def prepare(
    sources: tuple[Path, ...],
    library: Path,
    title_id: str | None,
    heights: str | None,
    ladder: Path | None,
    display_px: int | None,
    caps: tuple[str, ...],
    codecs: str,
    crf: str | None,
    preset: str | None,
    hdr: str | None,
    segment_seconds: float,
    subtitles: tuple[str, ...],
    opus: bool,
    imsc: bool,
    trick_play: bool,
    audio_bitrate: str,
    vmaf_every: int,
    panel_every: int,
    kernels: str,
    force: bool,
    accept_short: bool,
    no_enhancement: bool,
    limit_s: float,
    at_once: int | None,
    ray: str | None,
    as_json: bool,
) -> None:
    """Encode each SOURCE once into a bitrate ladder, measure it, and add it to the library.

    Each is read in a process of its own, whose end harms no other. Interrupted, or over its limit, run the same
    command again: it continues. Prints the folder of each title as it is done. Sources that would have the same name
    are numbered.
    """
    if title_id and len(sources) > 1:
        raise click.UsageError("--id names one title; give one SOURCE with it.")
    if subtitles and len(sources) > 1:
        raise click.UsageError("--subtitles belong to one title; give one SOURCE with them.")
    if ladder and heights:
        raise click.UsageError("Give --ladder or --heights, not both.")
    if display_px and (ladder or hdr):
        raise click.UsageError("--display lifts the source for a ladder of its own; leave out --ladder and --hdr.")
    from server.ingest.codec_options import codec_settings, hdr_settings

    first, *also = codec_settings(codecs, crf, preset)
    if ladder and (also or first.codec is not VideoCodec.H264):
        raise click.UsageError(f"--ladder holds qualities of h264; it cannot be encoded as {codecs}.")
    from server.ingest.encode_settings import EncodeSettings
    from server.ingest.identifiers import identifiers_of
    from server.ingest.jobs import PrepareJob
    from server.ingest.kernels import KernelWish
    from server.ingest.subtitles.tracks import subtitle_file

    recipe = EncodeSettings(
        heights_px=parse_heights(heights),
        caps_bps=tuple(sorted(parse_cap(cap) for cap in caps)),
        codec=first.codec,
        crf=first.crf,
        planned=read_plan(ladder),
        preset=first.preset,
        also=tuple(also),
        segment_s=segment_seconds,
        audio_bps=parse_rate(audio_bitrate),
        vmaf_every=vmaf_every,
        panel_every=panel_every,
        subtitles=tuple(map(subtitle_file, subtitles)),
        opus=opus,
        imsc=imsc,
        trick_play=trick_play,
        hdr=tuple(hdr_settings(hdr, (first, *also))),
        kernels=KernelWish(kernels),
        display_px=display_px,
    )
    library = library.absolute()
    jobs = [
        PrepareJob(
            source=source,
            library=library,
            recipe=recipe,
            title_id=title_id or name,
            force=force,
            accept_short=accept_short,
            no_enhancement=no_enhancement,
        )
        for source, name in identifiers_of(source.absolute() for source in sources).items()
    ]
    sys.exit(_prepare_all(jobs, ray, at_once, limit_s, as_json))


@click.command("set", no_args_is_help=True)
@click.argument("titles", nargs=-1, required=True, metavar="TITLE...")
@library_option
@click.option("--enhancement/--no-enhancement", "permitted", required=True, help="Whether pictures may be enhanced.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a title.")
def set_title(titles: tuple[str, ...], root: Path, permitted: bool, as_json: bool) -> None:
    """Say of each TITLE whether its pictures may be enhanced, without preparing it anew.

    Of one that may not, nothing offers an enhancer, and training and import refuse it. What it was trained with is put
    aside and comes back with --enhancement. A running server sees the change within a second or two.
    """
    from server.ingest.permission import permit_enhancement
    from server.media.library import Library

    for name in dict.fromkeys(titles):
        title = permit_enhancement(Library(root), name, permitted)
        told = {"title": title.id, "enhancement": permitted}
        said = f"{title.id} may{'' if permitted else ' not'} be enhanced."
        click.echo(msgspec.json.encode(told).decode() if as_json else said)


def _prepare_all(
    jobs: Sequence[PrepareJob], ray: str | None, at_once: int | None, limit_s: float, as_json: bool
) -> int:
    """Print each title as it is done; returns the exit code. Raises the error of a job that is the only one."""
    from abr.jobs.local_pool import JobFailure
    from abr.jobs.pool import make_pool
    from abr.progress import show_progress
    from server.ingest.jobs import prepare_job

    exit_code, out = 0, sys.stdout  # bars take over sys.stdout
    try:
        with show_progress() as listener:
            for finished in make_pool(ray, at_once, listener, limit_s=limit_s).work(prepare_job, jobs):
                if not isinstance(finished.outcome, JobFailure):
                    _print_title(finished.outcome, as_json, out)
                    continue
                if len(jobs) == 1:
                    raise finished.outcome.error()
                click.echo(f"toprung: {finished.outcome.sentence}", file=sys.stderr)
                exit_code = max(exit_code, finished.outcome.exit_code)
    except KeyboardInterrupt:
        click.echo("Run the same command again to continue from here.", file=sys.stderr)
        raise
    return exit_code


def parse_heights(text: str | None) -> tuple[int, ...] | None:
    """`180,360` → (180, 360). Raises InputError."""
    if text is None:
        return None
    try:
        return tuple(sorted({int(part.strip().removesuffix("p")) for part in text.split(",")}))
    except ValueError as error:
        raise InputError(f"--heights {text!r} is not a list of heights such as 180,240,360,720.") from error


def read_plan(path: Path | None) -> tuple[tuple[int, float], ...]:
    """(height, CRF) of each rung of a plan file; nothing without a file. Raises FormatError or StorageError."""
    if path is None:
        return ()
    from abr.core.ladder_plan import LadderPlan
    from abr.records import load

    return tuple((rung.height_px, rung.crf) for rung in load(path, LadderPlan).rungs)


def parse_cap(text: str) -> tuple[int, int]:
    """`360=500k` → (360, 500000). Raises InputError."""
    height, _, rate = text.partition("=")
    if not height.removesuffix("p").isdecimal() or not rate:
        raise InputError(f"--rung {text!r} is not a height and a bitrate such as 360=500k.")
    return int(height.removesuffix("p")), parse_rate(rate)


def parse_rate(text: str) -> int:
    """`500k`, `1.5M` or plain bits per second. Raises InputError."""
    unit = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    try:
        bps = round(float(text.rstrip("kKmM")) * unit)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{text!r} is not a bitrate such as 500k or 1.5M.") from error
    if bps < MIN_RATE_BPS:
        raise InputError(f"A bitrate of {text!r} is too low: give at least {MIN_RATE_BPS // 1000}k.")
    return bps


def _print_title(prepared: Prepared, as_json: bool, out: TextIO) -> None:
    from abr.blur.track import KERNELS_FILE

    title = prepared.title
    for note in prepared.notes:
        click.echo(f"toprung: {title.source.name}: {note}.", file=sys.stderr)
    if as_json:
        click.echo(msgspec.json.encode(summary_of(prepared)).decode(), file=out)
        return
    click.echo(prepared.folder, file=out)
    if (prepared.folder / KERNELS_FILE).is_file():
        click.echo(f"The blur of its source, shot by shot: {prepared.folder / KERNELS_FILE}", file=sys.stderr)
    if prepared.already:
        click.echo(f"{title.id} is in the library already, from the same file by the same recipe.", file=sys.stderr)
        return
    origin = "" if title.source.name.startswith(f"{title.id}.") else f" ({title.source.name})"
    click.echo(f"{title.id}{origin}: {title.duration_s:.2f} s in {prepared.took_s:.1f} s", file=sys.stderr)
    for rung in summary_of(prepared)["renditions"]:
        click.echo(
            "  {id:>6} {width_px}x{height_px:<5} {average_kbps:7.0f} kbit/s  VMAF {vmaf:6.2f}  NEG {vmaf_neg:6.2f}"
            "  SSIM {ssim:.4f}  PSNR {psnr_y_db:.2f} dB".format_map(rung),
            file=sys.stderr,
        )
    for rung in summary_of(prepared)["hdr"]:
        click.echo(
            "  {id:>6} {width_px}x{height_px:<5} {average_kbps:7.0f} kbit/s  HDR".format_map(rung), file=sys.stderr
        )


def summary_of(prepared: Prepared) -> dict[str, Any]:
    """What `--json` prints: the title in short, with each rendition's bitrate and mean plain quality."""
    from abr.blur.track import KERNELS_FILE

    title = prepared.title
    return {
        "title": title.id,
        "folder": str(prepared.folder),
        "already": prepared.already,
        "seconds": round(prepared.took_s, 3),
        "duration_s": title.duration_s,
        "segments": len(title.segment_frames),
        "notes": list(prepared.notes),
        "kernels": (prepared.folder / KERNELS_FILE).is_file(),
        "renditions": [_in_short(each) | _mean_quality(title, each.id) for each in title.renditions],
        "hdr": [_in_short(each) for each in (title.hdr.renditions if title.hdr else ())],
    }


def _in_short(rendition: Rendition) -> dict[str, Any]:
    return {
        "id": rendition.id,
        "width_px": rendition.width_px,
        "height_px": rendition.height_px,
        "average_kbps": rendition.average_bps / 1000,
        "bandwidth_kbps": rendition.bandwidth_bps / 1000,
    }


def _mean_quality(title: Title, rendition_id: str) -> dict[str, float]:
    """Means over the title, each segment weighing as long as it lasts."""
    quality, weights = title.plain_quality[rendition_id], title.segment_frames
    columns = {"vmaf": quality.vmaf, "vmaf_neg": quality.vmaf_neg, "ssim": quality.ssim, "psnr_y_db": quality.psnr_y_db}
    return {name: sum(map(mul, values, weights)) / sum(weights) for name, values in columns.items()}
