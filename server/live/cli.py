"""`toprung live`: a source that is running becomes a title that can be watched while it runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from abr.errors import ToprungError
from abr.finite_range import FiniteRange
from abr.time_limit import Duration

if TYPE_CHECKING:
    from types import FrameType

    from server.live.source.reader import LiveSource
    from server.live.stream import Streamed

_LEAVE_S = 1.0
_CHUNK_MIN_S = 0.2
"""Each chunk costs boxes, playlists and requests."""
_PRESETS = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]


@click.command(no_args_is_help=True)
@click.argument("place", metavar="SOURCE")
@click.option("--library", "root", required=True, type=click.Path(path_type=Path, file_okay=False), help="Its folder.")
@click.option("--name", required=True, help="Name of the stream, and of the title that it becomes.")
@click.option("--format", "form", metavar="FORMAT", help="FFmpeg's name of the source's format, such as lavfi.")
@click.option("--pace", is_flag=True, help="Take a file or a test source at its own rate, not as fast as it can be.")
@click.option("--listen", is_flag=True, help="Wait at rtmp://HOST:PORT/app/key for one publisher.")
@click.option("--wait", "wait_s", type=Duration(), default="10m", show_default=True, help="With --listen, for so long.")
@click.option(
    "--silence",
    "silence_s",
    type=Duration(),
    default="10s",
    show_default=True,
    help="Ends after no picture for so long.",
)
@click.option(
    "--reconnect",
    "return_s",
    type=Duration(may_be_zero=True),
    default="30s",
    show_default=True,
    help="A publisher or a camera that comes back within this goes on as the same stream; 0: none does.",
)
@click.option("--window", "window_s", type=Duration(), default="2m", show_default=True, help="The time-shift buffer.")
@click.option("--heights", metavar="H,H,...", help="Rungs, such as 180,360,720; planned for the source otherwise.")
@click.option("--rung", "caps", multiple=True, metavar="H=RATE", help="Cap one rung's bitrate, such as 360=500k.")
@click.option("--crf", type=FiniteRange(0, 51), default=25, show_default=True, help="Quality; lower is better.")
@click.option("--preset", type=click.Choice(_PRESETS), default="superfast", show_default=True, help="x264's effort.")
@click.option("--segment-seconds", type=FiniteRange(0.5, 30), default=2, show_default=True)
@click.option(
    "--chunk",
    "chunk_s",
    type=FiniteRange(0, 5),
    default=0,
    show_default=True,
    help="Low latency: offer segments while they are under way, in chunks of so many seconds, such as 0.5.",
)
@click.option("--audio-bitrate", metavar="RATE", default="128k", show_default=True)
@click.option(
    "--measure-share",
    type=FiniteRange(0, 1),
    default=0.2,
    show_default=True,
    help="Of one core, to measure what its pictures are worth; 0: not.",
)
@click.option(
    "--train-share",
    type=FiniteRange(0, 1),
    default=0,
    show_default=True,
    help="Of one core, for networks that learn the stream while it runs; 0: none.",
)
@click.option(
    "--weights-share",
    type=FiniteRange(0, 1),
    default=0.03,
    show_default=True,
    help="Of the lowest rung's bytes, at most, that such networks may take.",
)
@click.option(
    "--prior",
    metavar="NAME",
    help="With --train-share, go on from what an earlier stream with this prior has learnt, and keep it there.",
)
@click.option("--keep", is_flag=True, help="At the end, measure it and make it an ordinary title.")
@click.option(
    "--recording",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --keep, keep the recording of the source in this file too, to train enhancers from.",
)
@click.option("--vmaf-every", type=click.IntRange(1), default=7, show_default=True, help="Score one frame in so many.")
@click.option("--panel-every", type=click.IntRange(0), default=3, show_default=True, help="As in toprung prepare.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def live(
    place: str,
    root: Path,
    name: str,
    form: str | None,
    pace: bool,
    listen: bool,
    wait_s: float,
    silence_s: float,
    return_s: float,
    window_s: float,
    heights: str | None,
    caps: tuple[str, ...],
    crf: float,
    preset: str,
    segment_seconds: float,
    chunk_s: float,
    audio_bitrate: str,
    measure_share: float,
    train_share: float,
    weights_share: float,
    prior: str | None,
    keep: bool,
    recording: Path | None,
    vmaf_every: int,
    panel_every: int,
    as_json: bool,
) -> None:
    """Take a live SOURCE, and make it a title that toprung serve offers while it runs.

    SOURCE is a file, `-` for the standard input, or an address: udp, rtp, tcp, http, https, rtsp, rtmp. Ctrl-C ends
    the stream in good order. It also ends when the source does, and does not come back. Without --keep what the
    window holds stays, with manifests that say that it has ended, until a stream of the same name begins anew.
    """
    if recording and not keep:
        raise click.UsageError("--recording goes with --keep.")
    if prior and not train_share:
        raise click.UsageError("--prior goes with --train-share.")
    if 0 < chunk_s < _CHUNK_MIN_S:
        raise click.UsageError(f"--chunk takes {_CHUNK_MIN_S} seconds or more, or 0 for none.")
    from abr.progress import bars_reporting_to, show_progress
    from server.ingest.cli import parse_cap, parse_heights, parse_rate
    from server.ingest.encode_settings import EncodeSettings
    from server.live.learning.kept_weights import prior_folder
    from server.live.options import LiveOptions
    from server.live.side_processes import SideProcessOptions
    from server.live.source.address import Address
    from server.live.source.reader import LiveSource
    from server.live.stream import stream_live
    from server.media.library import Library

    recipe = EncodeSettings(
        heights_px=parse_heights(heights),
        caps_bps=tuple(sorted(map(parse_cap, caps))),
        crf=crf,
        preset=preset,
        segment_s=segment_seconds,
        audio_bps=parse_rate(audio_bitrate),
        vmaf_every=vmaf_every,
        panel_every=panel_every,
    )
    address = Address(
        place=place, format=form, listen=listen, pace=pace, silence_s=silence_s, wait_s=wait_s, return_s=return_s
    )
    source = LiveSource(address, told=_tell)
    side_processes = SideProcessOptions(
        measure_share=measure_share,
        train_share=train_share,
        weights_share=weights_share,
        keep_s=window_s,
        prior=prior_folder(root.absolute(), prior) if prior else None,
    )
    options = LiveOptions(
        name=name,
        recipe=recipe,
        window_s=window_s,
        chunk_s=chunk_s,
        side_processes=side_processes,
        keep=keep,
        recording=recording,
    )
    with _leaving(source):
        with _ended_by_signals(source), show_progress(transient=True) as listener:
            bars = bars_reporting_to(partial(listener, ""))
            streamed = stream_live(source, Library(root.absolute()), options, tell=_tell, bars=bars)
        _print(streamed, as_json)


def _tell(sentence: str) -> None:
    click.echo(f"toprung: {sentence}", file=sys.stderr)


@contextmanager
def _leaving(source: LiveSource) -> Iterator[None]:
    """Ends the process as `abr.cli.main` does, but at once where FFmpeg still waits for the network.

    A thread that is in there when the interpreter is taken down may crash it.
    """
    try:
        yield
    except KeyboardInterrupt:
        if source.has_left(_LEAVE_S):
            raise
        click.echo("Stopped.", err=True)
        _exit(130)
    except ToprungError as error:
        if source.has_left(_LEAVE_S):
            raise
        click.echo(f"toprung: {error}", err=True)
        _exit(error.exit_code)
    if not source.has_left(_LEAVE_S):
        _exit(0)


def _exit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _ended_by_signals(source: LiveSource) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the stream in good order, the second one at once."""

    def stop(number: int, _frame: FrameType | None) -> None:
        source.stop()
        _tell("ends in good order; once more ends it at once.")
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(streamed: Streamed, as_json: bool) -> None:
    if as_json:
        told = {
            "title": streamed.folder.name,
            "folder": str(streamed.folder),
            "kept": streamed.title is not None,
            "why": streamed.why,
            "segments": streamed.segments,
            "frames": streamed.frames,
            "duration_s": streamed.duration_s,
            "readiness": streamed.readiness,
        }
        click.echo(msgspec.json.encode(told).decode())
        return
    click.echo(streamed.folder)
    ready = streamed.readiness
    if ready:
        _tell(
            f"segments were ready {ready['p50_s']:.2f} s after their last frame (median), "
            f"{ready['p99_s']:.2f} s (p99), {ready['max_s']:.2f} s (the longest)."
        )
