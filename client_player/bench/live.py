"""`toprung bench live`: real sessions of the real player and server, held against the simulator's forecast of each.

The forecast is made of what is known before the session: the title's tables, the device profile, the trace, and the
same controller. The session then really downloads, decodes and enhances, on virtual time.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.table import Table

from abr.controllers import make_controller
from abr.core.device import DeviceProfile
from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, Family
from abr.core.events import Decided
from abr.core.options import PriceList
from abr.core.pricing import price
from abr.core.title import TITLE_FILE, Title, load_title
from abr.extras import require
from abr.finite_range import FiniteRange
from abr.records import Record, dumps_pretty, load
from abr.simulation.simulated_player import Session
from abr.simulation.simulator import simulate
from abr.simulation.trace_formats import read_trace
from abr.simulation.traces import Trace
from client_player.cli import FILE, allowed_families, title_folder
from client_player.server_process import serving

if TYPE_CHECKING:
    from client_player.session.run import SessionOutcome

WITHIN_QOE = 3.0
"""How far a session may land from its forecast."""
_DRIVEN_FILE = "driven.mpd"


class SessionFigures(Record, frozen=True):
    """One session, lived or forecast. qoe, quality and stall_s as in abr.core.qoe.experience."""

    qoe: float
    quality: float
    stall_s: float
    startup_s: float
    mbytes: float


class SessionComparison(Record, frozen=True):
    """One trace. difference: lived less forecast QoE. alike: share of segments for which both chose the same."""

    trace: str
    start_s: float
    live: SessionFigures
    forecast: SessionFigures
    difference: float
    alike: float
    late_share: float
    measured: bool


class LiveReport(Record, frozen=True):
    """What `--json` prints. worst: the largest difference, whatever its sign."""

    title: str
    controller: str
    device: str
    lines: tuple[SessionComparison, ...]
    worst: float
    mean: float
    within: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCase:
    """What all sessions of one run share."""

    folder: Path
    title: Title
    table: EnhancementTable | None
    profile: DeviceProfile | None
    controller: str
    families: tuple[Family, ...]
    buffer_max_s: float
    source: Path | None

    @property
    def prices(self) -> PriceList:
        """What the title offers this device."""
        return price(self.title, self.table, self.profile, families=self.families)


@click.command(context_settings={"show_default": True})
@title_folder
@click.option("--traces", "traces", required=True, multiple=True, type=FILE, help="Network trace; may be repeated.")
@click.option(
    "--windows", type=click.IntRange(1, 100), default=1, help="Sessions a trace, begun evenly spread over it."
)
@click.option("--profile", type=FILE, help="Device profile.  [default: plain playback]")
@click.option("--controller", default="toprung", help="Who decides, by its name on the server.")
@click.option("--families", default="content,generic", help="Enhancers to allow: none, or of generic and content.")
@click.option("--buffer-max-s", type=FiniteRange(4, 3600), default=30.0, help="Most media to hold.")
@click.option("--source", type=FILE, help="The title's source: score the frames truly shown, not the tables.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_live(
    folder: Path,
    traces: Sequence[Path],
    windows: int,
    profile: Path | None,
    controller: str,
    families: str,
    buffer_max_s: float,
    source: Path | None,
    as_json: bool,
) -> None:
    """Play a title over traces with the real player and server, and compare with the simulator's forecasts."""
    if profile is not None:
        require("Playing with a device profile", "player")
    case = _case(folder, profile, controller, allowed_families(families), buffer_max_s, source)
    console = Console(stderr=True)
    lines = []
    with serving(folder.resolve().parent) as url:
        for trace, start_s in _windows(traces, windows):
            line = compare(case, url, trace, start_s)
            console.print(f"{trace.name} from {start_s:.0f} s: {line.difference:+.2f} QoE", highlight=False)
            lines.append(line)
    worst = max((line.difference for line in lines), key=abs)
    report = LiveReport(
        title=case.title.id,
        controller=controller,
        device=case.profile.device.name if case.profile else "",
        lines=tuple(lines),
        worst=worst,
        mean=sum(line.difference for line in lines) / len(lines),
        within=abs(worst) <= WITHIN_QOE,
    )
    if as_json:
        sys.stdout.write(dumps_pretty(report).decode())
    else:
        _show(report)


def compare(case: SessionCase, url: str, trace: Trace, start_s: float = 0.0) -> SessionComparison:
    """One session over `trace`, lived and forecast. `start_s` only says where the trace was cut."""
    from client_player.session.request import PlayRequest
    from client_player.session.run import play  # brings the decoder along

    forecast = forecast_session(case, trace)
    outcome = play(
        PlayRequest(
            url=url,
            title=case.title.id,
            trace=trace,
            profile=case.profile,
            families=case.families,
            controller=case.controller,
            buffer_max_s=case.buffer_max_s,
            source_file=case.source,
        )
    )
    live, predicted = _live_figures(outcome), _forecast_figures(forecast)
    return SessionComparison(
        trace=trace.name,
        start_s=start_s,
        live=live,
        forecast=predicted,
        difference=round(live.qoe - predicted.qoe, 3),
        alike=_share_alike(outcome, forecast),
        late_share=outcome.summary.late_share,
        measured=outcome.seen is not None,
    )


def forecast_session(case: SessionCase, trace: Trace) -> Session:
    """The simulator's session."""
    return simulate(
        case.prices,
        trace,
        make_controller(case.controller),
        buffer_max_s=case.buffer_max_s,
        begin_s=_opening_time_s(case, trace),
    )


def _opening_time_s(case: SessionCase, trace: Trace) -> float:
    """Manifest and tables travel packed and at once; the init segment is asked for when the manifest is there."""
    names = (_DRIVEN_FILE, TITLE_FILE, *([ENHANCEMENTS_FILE] if case.table and case.profile else []))
    documents = [len(gzip.compress((case.folder / name).read_bytes(), mtime=0)) for name in names]
    manifest_s, all_s = trace.fetch_s(0.0, documents[0]), trace.fetch_s(0.0, sum(documents))
    return max(all_s, manifest_s + trace.latency_at(manifest_s))


def _case(
    folder: Path,
    profile: Path | None,
    controller: str,
    families: tuple[Family, ...],
    buffer_max_s: float,
    source: Path | None,
) -> SessionCase:
    make_controller(controller)
    table = folder / ENHANCEMENTS_FILE
    return SessionCase(
        folder=folder,
        title=load_title(folder),
        table=load(table, EnhancementTable) if table.is_file() and families else None,
        profile=load(profile, DeviceProfile) if profile else None,
        controller=controller,
        families=families,
        buffer_max_s=buffer_max_s,
        source=source,
    )


def _windows(paths: Sequence[Path], windows: int) -> Iterator[tuple[Trace, float]]:
    for path in paths:
        trace = read_trace(path)
        for window in range(windows):
            start_s = trace.length_s * window / windows
            yield trace.begun_at(start_s), start_s


def _live_figures(outcome: SessionOutcome) -> SessionFigures:
    summary = outcome.summary
    return SessionFigures(
        qoe=summary.qoe,
        quality=summary.quality_seen if summary.quality_seen is not None else summary.quality_promised,
        stall_s=summary.stall_s,
        startup_s=summary.startup_s,
        mbytes=summary.mbytes,
    )


def _forecast_figures(session: Session) -> SessionFigures:
    experience = session.experience
    return SessionFigures(
        qoe=round(experience.qoe, 3),
        quality=round(experience.quality, 3),
        stall_s=round(experience.stall_s, 3),
        startup_s=round(session.startup_s, 3),
        mbytes=round(session.size_bytes / 1e6, 4),
    )


def _share_alike(outcome: SessionOutcome, forecast: Session) -> float:
    live = [(e.rendition, e.enhancer) for e in outcome.events if isinstance(e, Decided)]
    choices = [forecast.prices.choices[step.decision.option] for step in forecast.steps]
    predicted = [(forecast.prices.rendition_ids[choice.rendition], choice.enhancer) for choice in choices]
    return sum(a == b for a, b in zip(live, predicted, strict=False)) / len(predicted)


def _show(report: LiveReport) -> None:
    table = Table(title=f"{report.title}, {report.controller}: lived (forecast)")
    for heading in ("trace", "from s", "QoE", "less", "quality", "stalls s", "start-up s", "MB", "alike"):
        table.add_column(heading, justify="left" if heading == "trace" else "right")
    for line in report.lines:
        live, forecast = msgspec.structs.asdict(line.live), msgspec.structs.asdict(line.forecast)
        cells = {name: f"{live[name]:.2f} ({forecast[name]:.2f})" for name in live}
        table.add_row(
            line.trace.partition("@")[0],
            f"{line.start_s:.0f}",
            cells["qoe"],
            f"{line.difference:+.2f}",
            cells["quality"],
            cells["stall_s"],
            cells["startup_s"],
            cells["mbytes"],
            f"{line.alike:.0%}",
        )
    console = Console()
    console.print(table)
    verdict = "within" if report.within else "NOT within"
    console.print(f"Worst difference {report.worst:+.2f} QoE: {verdict} {WITHIN_QOE:g}.")
