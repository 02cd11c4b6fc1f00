"""`toprung bench deadline`: half of the processor is taken away in mid-session. Late frames, and what the log says.

A real session in real time: real server, real decoding, real networks on this machine, and of all options the one that
computes most within what the device profile affords. The profile is measured on the very cores of the session.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from abr.core.control import Decision, Observation
from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.core.events import AnyEvent, Decided, Playing, Shown, Stalled, Stepped
from abr.core.title import load_title
from abr.errors import ToprungError
from abr.extras import require
from abr.finite_range import FiniteRange
from abr.records import Record, dumps_pretty, load
from client_player.bench.throttle import METHODS, pin_to_cores
from client_player.cli import FILE, title_folder
from client_player.server_process import build_command, serving

LATE_SHARE_MAX = 0.01


class HeaviestController:
    """A controller that picks the option with the most work, so that there is something to lose."""

    def decide(self, seen: Observation) -> Decision:
        """Choose the option with the most compute."""
        work_s = seen.menu.compute_s[0]
        option = int(work_s.argmax())
        return Decision(option=option, reason=f"the most work: {work_s[option]:.2f} s a segment")


class ReportedStep(Record, frozen=True):
    """What the player stepped down from and to, and why. after_s: seconds since the processor was halved."""

    t_s: float
    after_s: float
    from_enhancer: str
    to_enhancer: str
    reason: str


class Half(Record, frozen=True):
    """The segments that were shown before, or after, the processor was halved."""

    frames: int
    late_frames: int
    late_share: float
    enhanced_share: float
    stall_s: float
    enhance_p50_ms: float


class DeadlineReport(Record, frozen=True):
    """What `--json` prints."""

    title: str
    enhancer: str
    by: str
    cores: int
    throttled_at_s: float
    before: Half
    after: Half
    steps: tuple[ReportedStep, ...]
    within: bool


@click.command(context_settings={"show_default": True})
@title_folder
@click.option("--by", type=click.Choice(list(METHODS)), default="competitor", help="How the processor is halved.")
@click.option("--cores", type=click.IntRange(1), default=1, help="Cores that the session may use.")
@click.option("--at-s", type=FiniteRange(1), default=20.0, help="When, in seconds of playing.")
@click.option("--profile", type=FILE, help="Device profile.  [default: measured on those cores now]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_deadline(folder: Path, by: str, cores: int, at_s: float, profile: Path | None, as_json: bool) -> None:
    """Take half of the processor away in mid-session of a title with enhancers, and count late frames.

    Takes as long as the title.
    """
    require("This benchmark", "player")
    load_title(folder)
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="toprung-") as scratch,
        serving(folder.resolve().parent) as url,
        pin_to_cores(cores),
        METHODS[by]() as throttle,
    ):
        device = load(profile or _measure(Path(scratch) / "device.json", console), DeviceProfile)
        console.print(f"Playing; the processor is halved ({by}) after {at_s:g} s.", highlight=False)
        events = _play(url, folder.name, device, throttle, at_s)
    report = _report(folder.name, by, cores, at_s, events)
    if as_json:
        sys.stdout.write(dumps_pretty(report).decode())
    else:
        _show(report)


def _measure(path: Path, console: Console) -> Path:
    console.print("Measuring how fast these cores enhance …")
    code = subprocess.run(
        build_command("profile", "--quick", "--output", path), stdout=sys.stderr, check=False
    ).returncode
    if code:
        raise ToprungError("`toprung profile` failed; what went wrong is said above.")
    return path


def _play(
    url: str, title: str, profile: DeviceProfile, throttle: Callable[[], None], at_s: float
) -> Sequence[AnyEvent]:
    from client_player.session.request import PlayRequest
    from client_player.session.run import play  # brings the decoder along

    timer = threading.Timer(at_s, throttle)

    def listen(event: AnyEvent) -> None:
        if isinstance(event, Playing):
            timer.start()

    request = PlayRequest(
        url=url,
        title=title,
        profile=profile,
        families=tuple(Family),
        controller=f"{Path(__file__)}:{HeaviestController.__name__}",
        local=True,
        virtual_time=False,
    )
    try:
        return play(request, listener=listen).events
    finally:
        timer.cancel()


def _report(title: str, by: str, cores: int, at_s: float, events: Sequence[AnyEvent]) -> DeadlineReport:
    started_s = next((event.t_s for event in events if isinstance(event, Playing)), 0.0)
    halved_s = started_s + at_s
    after = _half(events, halved_s, float("inf"))
    return DeadlineReport(
        title=title,
        enhancer=Counter(event.enhancer for event in events if isinstance(event, Decided)).most_common(1)[0][0],
        by=by,
        cores=cores,
        throttled_at_s=round(halved_s, 3),
        before=_half(events, 0.0, halved_s),
        after=after,
        steps=tuple(
            ReportedStep(
                t_s=round(event.t_s, 3),
                after_s=round(event.t_s - halved_s, 3),
                from_enhancer=event.from_enhancer,
                to_enhancer=event.to_enhancer,
                reason=event.reason,
            )
            for event in events
            if isinstance(event, Stepped)
        ),
        within=after.late_share < LATE_SHARE_MAX,
    )


def _half(events: Sequence[AnyEvent], from_s: float, until_s: float) -> Half:
    """Segments whose end was shown in that time."""
    shown = [event for event in events if isinstance(event, Shown) and from_s <= event.t_s < until_s]
    frames, late = sum(event.frames for event in shown), sum(event.late_frames for event in shown)
    costs = sorted(event.enhance_p50_ms for event in shown if event.enhance_p50_ms > 0)
    return Half(
        frames=frames,
        late_frames=late,
        late_share=round(late / frames, 5) if frames else 0.0,
        enhanced_share=round(sum(event.enhanced_frames for event in shown) / frames, 4) if frames else 0.0,
        stall_s=round(sum(e.duration_s for e in events if isinstance(e, Stalled) and from_s <= e.t_s < until_s), 3),
        enhance_p50_ms=round(costs[len(costs) // 2], 2) if costs else 0.0,
    )


def _show(report: DeadlineReport) -> None:
    table = Table(title=f"{report.title}, {report.enhancer}, {report.cores} core(s), halved by {report.by}")
    for heading in ("", "frames", "late", "enhanced", "stalls s", "ms a frame"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, half in (("before", report.before), ("after", report.after)):
        late = f"{half.late_frames} ({half.late_share:.2%})"
        cells = (f"{half.enhanced_share:.0%}", f"{half.stall_s:.2f}", f"{half.enhance_p50_ms:.1f}")
        table.add_row(name, str(half.frames), late, *cells)
    console = Console()
    console.print(table)
    for step in report.steps:
        line = f"{step.after_s:+.1f} s: {step.from_enhancer} → {step.to_enhancer}: {step.reason}"
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"Late frames {'under' if report.within else 'NOT under'} {LATE_SHARE_MAX:.0%}.")
