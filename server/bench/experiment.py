"""`toprung bench experiment`: does a server's experiment find what is there, and nothing where nothing is?

Viewers are simulated, the server is real: it draws each into an arm, decides every segment by that arm's controller,
and takes in what the player reports. What is true is known, since every viewer is also simulated in every arm.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import click
import numpy as np

from abr.controllers import CONTROLLERS, make_controller
from abr.core.control import Decision, Observation
from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.core.events import EventBatch
from abr.core.options import PriceList
from abr.core.pricing import price
from abr.core.title import TITLE_FILE, Title
from abr.errors import ToprungError
from abr.finite_range import FiniteRange
from abr.protocols import session_api
from abr.protocols.cmcd import ViewerState, from_viewer, to_headers
from abr.records import dumps, load
from abr.simulation.batch_simulator import simulate_many
from abr.simulation.session_log import log_of
from abr.simulation.simulator import simulate
from abr.simulation.trace_formats import read_traces
from abr.simulation.traces import Trace
from server.bench.peers import HOST, Peer, toprung
from server.bench.title import TITLE_ID, profile, write_library
from server.experiments.experiment import Experiment, read_experiment
from server.experiments.intervals import estimate_difference
from server.experiments.tally import WIDTH, Tally, change_of
from server.experiments.visit import BOUNDS, FIGURES

SEGMENTS = 45
"""What is played of the title: three minutes."""
REDRAWS = 1000
FPS = 25.0
ANSWER_MAX_S = 600.0


class RemoteController:
    """Asks a server for each segment, as a player does, and takes what it sends."""

    def __init__(self, connection: HTTPConnection, path: str, prices: PriceList) -> None:
        self._connection, self._path = connection, path
        names = [(prices.rendition_ids[choice.rendition], choice.enhancer) for choice in prices.choices]
        self._options = {name: option for option, name in enumerate(names)}
        self._weights, self._owned = prices.weights, dict[str, None]()

    def decide(self, observation: Observation) -> Decision:
        """The server's decision. Raises ToprungError when it answers with an error."""
        state = ViewerState(
            buffer_s=observation.buffer_s,
            backlog_s=observation.backlog_s,
            now_s=observation.now_s,
            playing=observation.playing,
            download=observation.downloads[-1] if observation.downloads else None,
            owned=tuple(self._owned),
        )
        path = f"{self._path}/video/{observation.menu.segment + 1}.m4s"
        _, headers, _ = ask(self._connection, "HEAD", path, headers=to_headers(from_viewer(state)))
        option = self._options[headers[session_api.RENDITION], headers[session_api.ENHANCER]]
        self._owned |= dict.fromkeys(self._weights[option])
        return Decision(option=option, wait_s=float(headers[session_api.WAIT_S]), reason=headers[session_api.REASON])


def ask(
    connection: HTTPConnection, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer. Raises ToprungError when it is an error."""
    about = {"Content-Type": "application/json", "Accept": "application/json"} | (headers or {})
    connection.request(method, path, body=body, headers=about)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 400:
        raise ToprungError(f"The server answered {answer.status} to {method} {path[:80]}: {text[:200]!r}.")
    return answer.status, dict(answer.getheaders()), text


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Viewers of one title with one device, each on a network of its own."""

    title: Title
    prices: PriceList
    traces: tuple[Trace, ...]


def draw_crowd(library: Path, traces: Sequence[Trace], viewers: int, seed: int) -> Crowd:
    """Each viewer gets one of the traces, begun somewhere within it."""
    folder, chance = library / TITLE_ID, np.random.default_rng(seed)
    title = load(folder / TITLE_FILE, Title)
    prices = shorten(price(title, load(folder / ENHANCEMENTS_FILE, EnhancementTable), profile()), SEGMENTS)
    picks = [traces[pick] for pick in chance.integers(0, len(traces), viewers)]
    begun = tuple(trace.begun_at(float(chance.uniform(0, trace.length_s))) for trace in picks)
    return Crowd(title=title, prices=prices, traces=begun)


def shorten(prices: PriceList, segments: int) -> PriceList:
    """The list of the first segments alone."""
    names = ("duration_s", "size_bytes", "compute_s", "lead_s", "quality", "vmaf")
    return replace(prices, **{name: getattr(prices, name)[:segments] for name in names})


def truth(crowd: Crowd, experiment: Experiment) -> list[list[float]]:
    """QoE of each viewer in each arm, as visits count it: (arms, viewers)."""
    low, high = BOUNDS[0]
    found = []
    for arm in experiment.arms:
        sessions = simulate_many(crowd.prices, crowd.traces, make_controller(arm.controller))
        found.append([min(max(each.qoe, low), high) for each in sessions.experiences])
    return found


def play(server: Peer, crowd: Crowd, marks: Sequence[int]) -> list[dict[str, Any]]:
    """All viewers, one after the other. Returns what the server said of the experiment at each of the marks."""
    connection, said = HTTPConnection(HOST, server.port, timeout=ANSWER_MAX_S), []
    body = dumps({"title": TITLE_ID, "profile": profile()})
    for number, trace in enumerate(crowd.traces, start=1):
        _, headers, _ = ask(connection, "POST", "/sessions", body)
        path = headers["Location"]
        session = simulate(crowd.prices, trace, RemoteController(connection, path, crowd.prices))
        if session.failures:
            raise ToprungError(f"A viewer could not be played: {session.first_failure}")
        events = log_of(session, title=TITLE_ID, controller="", network=trace.name, fps=FPS)
        ask(connection, "POST", f"{path}/events", dumps(EventBatch(events=tuple(events))))
        if number in marks:
            said.append(json.loads(ask(connection, "GET", "/qoe")[2])["experiment"])
    connection.close()
    return said


def redraw(qoe: Sequence[Sequence[float]], experiment: Experiment, seed: int) -> dict[str, Any]:
    """The same viewers drawn into the first two arms REDRAWS times, watched all the time.

    Shares of the experiments: that ever found a difference, had found it at the end, ever left out the truth.
    """
    chance, viewers = np.random.default_rng(seed), len(qoe[0])
    true = float(np.mean(qoe[1]) - np.mean(qoe[0]))
    shares = np.cumsum([experiment.share(arm) for arm in experiment.arms[:2]])
    ever_found = ever_missed = found_at_end = 0
    for _ in range(REDRAWS):
        order = chance.permutation(viewers)
        arms = np.searchsorted(shares / shares[-1], chance.random(viewers), side="right")
        found = missed = False
        tallies = [Tally(sessions=0, numbers=(0,) * WIDTH)] * 2
        for viewer, arm in zip(order, arms, strict=True):
            change = change_of(None, (qoe[arm][viewer], 0.0, 0.0, 0.0))
            before = tallies[arm].numbers
            tallies[arm] = Tally(sessions=0, numbers=tuple(a + b for a, b in zip(before, change, strict=True)))
            seen = estimate_difference(tallies[1].moments(0), tallies[0].moments(0))
            found = found or seen.leaves_out_zero
            missed = missed or (seen.low is not None and seen.high is not None and not seen.low <= true <= seen.high)
        ever_found, ever_missed = ever_found + found, ever_missed + missed
        found_at_end += seen.leaves_out_zero
    return {
        "experiments": REDRAWS,
        "found": ever_found / REDRAWS,
        "found_at_end": found_at_end / REDRAWS,
        "left_out_the_truth": ever_missed / REDRAWS,
    }


@click.command("experiment")
@click.option(
    "--traces",
    "folder",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Trace file, or a folder of them.",
)
@click.option("--scale", type=FiniteRange(0.01, 100), default=2.0, show_default=True, help="Of their throughput.")
@click.option("--experiment", "text", default="a=toprung,b=bba_greedy", show_default=True, help="As for serve.")
@click.option("--sessions", type=click.IntRange(10, 10_000), default=400, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench_experiment(folder: Path, scale: float, text: str, sessions: int, seed: int, as_json: bool) -> None:
    """Play simulated viewers through a real server's experiment, and hold what it says against what is true."""
    experiment = read_experiment(text, tuple(CONTROLLERS))
    traces = [trace.scaled(scale) for trace in read_traces(folder)]
    with tempfile.TemporaryDirectory(prefix="toprung-experiment-") as name:
        library = Path(name)
        write_library(library)
        crowd = draw_crowd(library, traces, sessions, seed)
        with toprung(library, "--experiment", text, "--log-level", "warning") as server:
            said = play(server, crowd, [*range(50, sessions, 50), sessions])
    qoe = truth(crowd, experiment)
    report = {
        "experiment": text,
        "sessions": sessions,
        "true_qoe": {arm.name: float(np.mean(each)) for arm, each in zip(experiment.arms, qoe, strict=True)},
        "deviation": {arm.name: float(np.std(each, ddof=1)) for arm, each in zip(experiment.arms, qoe, strict=True)},
        "said": said,
        "redrawn": redraw(qoe, experiment, seed),
    }
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    _show(report)


def _show(report: dict[str, Any]) -> None:
    for view in report["said"]:
        visits = sum(arm["visits"] for arm in view["arms"])
        click.echo(f"{visits} visits: " + " ".join(each["verdict"] for each in view["differences"]))
    for arm in report["said"][-1]["arms"]:
        figures = (f"{name} {_words(arm[name])}" for name in FIGURES)
        click.echo(f"arm {arm['name']}, {arm['controller']}: {arm['visits']} visits, " + ", ".join(figures))
    names = list(report["true_qoe"])
    spread = ", ".join(f"{name} {value:.1f}" for name, value in report["deviation"].items())
    true = report["true_qoe"][names[1]] - report["true_qoe"][names[0]]
    click.echo(f"true difference of QoE, {names[1]} less {names[0]}: {true:+.2f}; standard deviations: {spread}")
    again = report["redrawn"]
    click.echo(
        f"the same viewers drawn anew {again['experiments']} times, looked at after every visit: "
        f"a difference found in {again['found']:.1%} ({again['found_at_end']:.1%} at the end), "
        f"the truth left out in {again['left_out_the_truth']:.1%}"
    )


def _words(estimate: dict[str, float | None] | None) -> str:
    if estimate is None or estimate["mean"] is None:
        return "–"
    low, high = estimate["low"], estimate["high"]
    between = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{estimate['mean']:.3g}{between}"
