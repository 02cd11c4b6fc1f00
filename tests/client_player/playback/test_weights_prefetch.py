"""Weights that arrive while the title plays: lower exits serve meanwhile, and playback waits no longer than it can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from faulty import Fault, faulty
from served import serving
from titles import prepared_title
from viewers import EAGER, FAST_MACHINE, Bench, enhanced_library, of_kind, profile

from abr.core.enhancement import Family
from abr.core.events import Decided, Downloaded, Failed, Playing, Shown, Stalled
from abr.simulation.traces import Trace, make
from abr.virtual_time import run_virtual
from client_player.playback import weights_prefetch
from client_player.session.request import PlayRequest
from client_player.session.run import Played, watch


def _play(
    folder: Path, bench: Bench, *faults: Fault, trace: Trace | None = None, silence_max_s: float = 30.0
) -> Played:
    title, _ = prepared_title()
    library = enhanced_library(folder, exits=True)
    request = PlayRequest(
        url="",
        trace=trace,
        profile=profile(title),
        families=(Family.CONTENT,),
        silence_max_s=silence_max_s,
    )

    async def main() -> Played:
        async with serving(str(library), EAGER) as url, faulty(url, *faults) as proxy:
            return await watch(replace(request, url=proxy.url), folder / "shown.y", opener=bench.open)

    return run_virtual(main(), wall_rate=FAST_MACHINE)


def test_a_chunk_that_never_comes_stalls_nothing_and_the_lower_exit_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_prefetch, "STARTUP_WAIT_MAX_S", 0.4)
    bench = Bench()
    played = _play(tmp_path, bench, Fault(path=r"/enhancers/high", kind="silent"))
    assert all(event.enhancer == "content-high" for event in of_kind(played.events, Decided))
    shown = of_kind(played.events, Shown)
    assert sum(event.frames for event in shown) == 132
    assert not of_kind(played.events, Stalled)
    assert of_kind(played.events, Playing)[0].startup_s == pytest.approx(0.4, abs=0.3), "as long as it may wait"
    assert sum(event.enhanced_frames for event in shown) > 100, "by the exit whose chunk is here"
    assert {name.partition("@")[0] for name in bench.opened} == {"test-low"}
    told = [event.detail for event in of_kind(played.events, Failed) if event.what == "weights"]
    assert len(told) == 1 and "1 of 2 chunks" in told[0]


def test_a_chunk_that_comes_late_is_used_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_prefetch, "STARTUP_WAIT_MAX_S", 0.2)
    bench = Bench()
    late = Fault(path=r"/enhancers/high", kind="silent", times=1)
    played = _play(tmp_path, bench, late, silence_max_s=0.5)
    assert not of_kind(played.events, Stalled)
    names = [name.partition("@")[0] for name in bench.opened]
    assert names[0] == "test-low" and "test-high" in names
    weights = [event.name for event in of_kind(played.events, Downloaded) if event.kind == "weights"]
    assert weights == ["enhancers/low.safetensors", "enhancers/high.safetensors"]


def test_weights_over_a_link_that_is_too_slow_for_them_cost_no_stall(tmp_path: Path) -> None:
    """The link carries little more than the lowest rung; the weights of 7.6 kB come as the buffer allows."""
    slow = make("slow", [(2.0, 2e6, 0.05), (600.0, 3.5e5, 0.05)])
    plain = _play(tmp_path / "a", Bench(), Fault(path="/enhancers/", kind="404"), trace=slow)
    played = _play(tmp_path / "b", Bench(), trace=slow)
    stalled = [sum(event.duration_s for event in of_kind(each.events, Stalled)) for each in (plain, played)]
    assert stalled[1] <= stalled[0] + 0.15
