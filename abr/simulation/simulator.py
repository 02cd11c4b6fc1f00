"""A whole session in virtual time: a price list, a trace and a controller, over the same playback model as live."""

from __future__ import annotations

from msgspec.structs import replace

from abr.controllers import HORIZON
from abr.controllers.guard import decide, is_failure, reconsider
from abr.controllers.ladder import step_down
from abr.core.control import AbandoningController, Controller, Decision, Download, DownloadInFlight, Observation
from abr.core.options import PriceList
from abr.simulation.simulated_player import Session, SimulatedPlayer, SimulatedSegment
from abr.simulation.traces import Trace

PROGRESS_S = 0.05
PROGRESS_BYTES = 1500
"""How often a controller may reconsider: as in Sabre and the BONES simulator (50 ms and 12 kbit)."""
RECONSIDER_MAX = 10_000
"""How many times at most for one segment, so that every session ends; then the download goes on."""


def simulate(
    prices: PriceList,
    trace: Trace,
    controller: Controller,
    *,
    buffer_max_s: float = 60.0,
    horizon: int = HORIZON,
    start_lowest: bool = False,
    begin_s: float = 0.0,
) -> Session:
    """Play the whole title. Deterministic.

    begin_s: what the network needs for manifests and tables, before the first decision.
    start_lowest: fetch segment 0 at the lowest rung without asking the controller, as published benchmarks do.
    A controller that fails is overruled, never fatal (see abr.controllers.guard). Raises FormatError for a list in
    which a segment cannot be had at all.
    """
    player = SimulatedPlayer(prices, buffer_max_s, horizon)
    monitor = controller if isinstance(controller, AbandoningController) else None
    player.pass_time(begin_s)
    segments: list[SimulatedSegment] = []
    for segment in range(len(prices.duration_s)):
        observation = player.observe(segment)
        if start_lowest and segment == 0:
            decision = Decision(option=step_down(observation.menu, 0), reason="start-up")
            segments.append(_play(player, trace, observation, decision, None))
        else:
            decision = decide(controller, observation)
            if is_failure(decision):
                player.count_failure(decision.reason)
            segments.append(_play(player, trace, observation, decision, monitor))
    return player.session(segments)


def _play(
    player: SimulatedPlayer,
    trace: Trace,
    observation: Observation,
    decision: Decision,
    monitor: AbandoningController | None,
) -> SimulatedSegment:
    """Wait as decided, fetch the segment and hand it to the player."""
    stalled_s = player.playback.stall_s
    player.pass_time(decision.wait_s)
    option, download = _fetch(player, trace, observation, decision.option, monitor)
    return player.receive(observation, decision, option, download, stalled_s)


def _fetch(
    player: SimulatedPlayer, trace: Trace, observation: Observation, option: int, monitor: AbandoningController | None
) -> tuple[int, Download]:
    """Let a segment come; the option that came, after however many changes of mind, and the download as a whole.

    A monitor is asked after each PROGRESS_S and PROGRESS_BYTES. Each new request costs a latency.
    """
    began_s, wasted_bytes, asked = player.now_s, 0.0, 0
    first_latency_s = trace.latency_at(began_s)
    while True:
        size_bytes = player.size_bytes(observation, option)
        at_s = flows_s = player.now_s + trace.latency_at(player.now_s)
        end_s, other = trace.finish_s(flows_s, size_bytes), None
        while monitor is not None and other is None and asked < RECONSIDER_MAX:
            asked += 1
            at_s = max(at_s + PROGRESS_S, trace.finish_s(at_s, PROGRESS_BYTES))
            if at_s >= end_s:
                break
            player.pass_time(at_s - player.now_s)
            flight = DownloadInFlight(
                option=option,
                elapsed_s=player.now_s - began_s,
                done_bytes=trace.bytes_between(flows_s, player.now_s),
                size_bytes=size_bytes,
            )
            other = _reconsider(player, monitor, observation, flight)
        if other is None:
            break
        wasted_bytes += trace.bytes_between(flows_s, player.now_s)
        option = other
    return option, player.finish_download(began_s, end_s, first_latency_s, size_bytes + int(wasted_bytes))


def _reconsider(
    player: SimulatedPlayer, monitor: AbandoningController, observation: Observation, flight: DownloadInFlight
) -> int | None:
    playback = player.playback
    buffers_s = {"buffer_s": playback.buffer_s, "backlog_s": playback.backlog_s}
    return reconsider(monitor, replace(observation, now_s=player.now_s, **buffers_s), flight, player.count_failure)
