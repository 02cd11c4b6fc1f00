"""What every controller promises, whatever it thinks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from price_lists import make_prices

from abr.controllers import CONTROLLERS, make_controller
from abr.controllers.fixed import Fixed
from abr.controllers.greedy import Greedy
from abr.controllers.guard import decide, decide_batch
from abr.core.control import Decision, Download, Observation
from abr.core.options import Choice, PriceList, known_cells
from abr.errors import InputError, UnknownNameError
from abr.simulation.simulator import simulate
from abr.simulation.traces import constant, make

PRICES = make_prices()
FINITE = {"allow_nan": False, "allow_infinity": False}


@pytest.fixture(params=list(CONTROLLERS))
def controller(request):
    return make_controller(request.param)


def downloads(count: int, rate_bps: float = 1.5e6) -> tuple[Download, ...]:
    return tuple(
        Download(started_s=2.0 * i, duration_s=0.05 + 3e5 * 8 / rate_bps, latency_s=0.05, size_bytes=300_000)
        for i in range(count)
    )


def seen(prices: PriceList = PRICES, segment: int = 5, **over: object) -> Observation:
    fields: dict[str, object] = {
        "now_s": 12.0,
        "menu": prices.menu(segment, 8),
        "buffer_s": 9.0,
        "buffer_max_s": 30.0,
        "downloads": downloads(5),
        "last": Choice(rendition=1),
        **over,
    }
    return Observation(**fields)  # type: ignore[arg-type]


def holes(prices: PriceList) -> PriceList:
    """The same list with options missing from some segments, and one segment that has the lowest rung only."""
    vmaf, size = prices.quality.copy(), prices.size_bytes.copy()
    vmaf[5, 1:5] = np.nan
    size[6, 3] = np.inf
    vmaf[7, 1:] = np.nan
    return replace(prices, quality=vmaf, size_bytes=size)


def absurd(prices: PriceList) -> PriceList:
    """The same list with numbers that tell nothing, in all segments; its enhancers claim to be ready at once."""
    vmaf, size, compute_s = prices.quality.copy(), prices.size_bytes.copy(), prices.compute_s.copy()
    size[:, 1], size[:, 2] = np.nan, 1e300
    compute_s[:, 4], vmaf[:, 5], vmaf[:, 6] = np.inf, 1e300, -np.inf
    return replace(prices, quality=vmaf, size_bytes=size, compute_s=compute_s, lead_s=np.zeros_like(compute_s))


def one_option(prices: PriceList) -> PriceList:
    return replace(
        prices,
        choices=prices.choices[:1],
        size_bytes=prices.size_bytes[:, :1],
        compute_s=prices.compute_s[:, :1],
        lead_s=prices.lead_s[:, :1],
        quality=prices.quality[:, :1],
        vmaf=prices.vmaf[:, :1],
        weights=prices.weights[:1],
    )


SITUATIONS = {
    "middle": seen(),
    "nothing downloaded": seen(segment=0, downloads=(), buffer_s=0.0, playing=False, last=None, now_s=0.0),
    "started without history": seen(downloads=(), last=None),
    "empty buffer": seen(buffer_s=0.0),
    "full buffer": seen(buffer_s=30.0, downloads=downloads(16, 5e7)),
    "tiny buffer limit": seen(buffer_s=1.0, buffer_max_s=1.0),
    "last segment": seen(segment=19),
    "one option": seen(one_option(PRICES)),
    "holes": seen(holes(PRICES)),
    "absurd numbers": seen(absurd(PRICES), last=PRICES.choices[5]),
    "absurd numbers at the start": seen(
        absurd(PRICES), segment=0, downloads=(), buffer_s=0.0, playing=False, last=None
    ),
    "only the lowest rung": seen(holes(PRICES), segment=7),
    "backlog": seen(backlog_s=8.9),
    "outage": seen(downloads=downloads(4, 8.0)),
    "nothing came": seen(downloads=(Download(started_s=0, duration_s=3.0, latency_s=0.1, size_bytes=0),) * 3),
    "instant downloads": seen(downloads=(Download(started_s=0, duration_s=0.0, latency_s=0.0, size_bytes=1),)),
    "weights": seen(make_prices(weights=True)),
    "bare menu": seen(menu=replace(PRICES.menu(5, 3), prices=None)),
    "foreign last choice": seen(last=Choice(rendition=7, enhancer="gone")),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_answers_every_situation_soundly(controller, situation):
    now = SITUATIONS[situation]
    decision = controller.decide(now)
    assert 0 <= decision.option < len(now.menu.choices)
    assert known_cells(now.menu.quality[0], now.menu.size_bytes[0])[decision.option]
    assert 0 <= decision.wait_s < 60
    assert decision.reason and decision.reason == " ".join(decision.reason.split()) and len(decision.reason) <= 1024
    assert len(decision.memory) <= 16 and np.isfinite(decision.memory).all()
    assert controller.decide(now) == decision, "the same observation must give the same decision"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_never_enhances_what_cannot_be_done_in_time(controller, situation):
    now = SITUATIONS[situation]
    compute_s = now.menu.compute_s[0, controller.decide(now).option]
    assert compute_s == 0 or now.backlog_s + compute_s <= now.buffer_s


SITUATED = st.builds(
    seen,
    prices=st.just(PRICES),
    segment=st.integers(0, 11),
    buffer_s=st.floats(0, 30, **FINITE),
    backlog_s=st.one_of(st.just(0.0), st.floats(0, 20, **FINITE)),
    downloads=st.builds(downloads, st.integers(0, 8), st.floats(1e5, 2e7, **FINITE)),
    last=st.one_of(st.none(), st.sampled_from(PRICES.choices)),
    menu=st.builds(
        lambda prices, segment, owned: prices.menu(segment, 8, owned),
        st.sampled_from((PRICES, holes(PRICES), make_prices(12, weights=True))),
        st.integers(0, 11),
        st.sets(st.sampled_from(("lo", "hi"))),
    ),
)


@settings(max_examples=40, deadline=None)
@given(together=st.lists(SITUATED, min_size=2, max_size=9))
def test_several_at_once_are_told_word_for_word_what_each_would_be_alone(together):
    controllers = [make_controller(name) for name in ("toprung", "bola", "toprung")]
    asked = [(controllers[at % 3], each) for at, each in enumerate(together)]
    assert decide_batch(asked) == [decide(*each) for each in asked]


def test_a_controller_that_fails_for_a_group_decides_one_by_one():
    class Confused(Fixed):
        def decide_batch(self, seen):
            return [Decision(option=99, reason="far out")]

    asked = [(Confused(), seen(segment=number)) for number in (1, 2)] + [(Confused(), seen())]
    one = asked[0][0]
    asked = [(one, each) for _, each in asked]
    assert decide_batch(asked) == [decide(*each) for each in asked]


def test_starts_low_and_plain(controller):
    if isinstance(controller, Fixed | Greedy):
        pytest.skip("a fixed rung stays fixed")
    decision = controller.decide(SITUATIONS["nothing downloaded"])
    assert PRICES.choices[decision.option] == Choice(rendition=0)


@pytest.mark.parametrize("prices", [PRICES, holes(PRICES), make_prices(weights=True), one_option(PRICES)])
def test_plays_whole_titles(controller, prices):
    trace = make("steps", [(7.0, 3e6, 0.05), (5.0, 3e5, 0.1), (3.0, 0.0, 0.1), (9.0, 8e6, 0.02)])
    session = simulate(prices, trace, controller, buffer_max_s=20.0)
    assert len(session.steps) == 20 and np.isfinite(session.quality).all()
    assert not any("controller failed" in step.decision.reason for step in session.steps)
    assert all(step.observation.buffer_s <= 20.0 - 2.0 + 1e-6 for step in session.steps[1:])
    again = simulate(prices, trace, controller, buffer_max_s=20.0)
    assert [s.decision for s in again.steps] == [s.decision for s in session.steps]


def test_a_network_without_limits_is_used(controller):
    if isinstance(getattr(controller, "rung", None), int):
        pytest.skip("a fixed rung stays fixed")
    session = simulate(make_prices(60), constant(1e9, 0.001), controller, buffer_max_s=20.0)
    assert np.mean(session.quality[30:]) > 90 and session.stall_s == 0


class Raises:
    def decide(self, seen: Observation) -> Decision:
        raise RuntimeError("two\nlines")


class Answers:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def decide(self, seen: Observation) -> Decision:
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    "bad",
    [
        Raises(),
        Answers(None),
        Answers(Decision(option=99, reason="x")),
        Answers(Decision(option=-1, reason="x")),
        Answers(Decision(option=0, reason="x", wait_s=float("nan"))),
        Answers(Decision(option=0, reason="x", wait_s=1e9)),
        Answers(Decision(option=0, reason="x", memory=(float("inf"),))),
        Answers(Decision(option=0, reason="x", memory=(0.0,) * 17)),
        Answers(Decision(option="0", reason="x")),  # type: ignore[arg-type]
        Answers(Decision(option=0, reason=None)),  # type: ignore[arg-type]
    ],
)
def test_a_controller_that_fails_plays_the_lowest_rung_and_says_so(bad):
    decision = decide(bad, seen())
    assert decision.option == 0 and "controller failed" in decision.reason and "\n" not in decision.reason
    assert len(simulate(PRICES, constant(1e6), bad).steps) == 20


def test_a_long_reason_is_cut_to_one_line():
    decision = decide(Answers(Decision(option=3, reason="a\nb " * 1000)), seen())
    assert decision.option == 3 and len(decision.reason) == 1024 and "\n" not in decision.reason


def test_a_users_controller_comes_from_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from abr.core.control import Decision\n"
        "class Mine:\n"
        "    def decide(self, seen):\n"
        "        return Decision(option=0, reason='mine')\n"
    )
    assert make_controller(f"{file}:Mine").decide(seen()).reason == "mine"
    with pytest.raises(UnknownNameError, match="Did you mean 'bones'"):
        make_controller("bnoes")
    with pytest.raises(InputError, match="has no 'Yours'"):
        make_controller(f"{file}:Yours")


def test_a_whole_number_of_another_kind_is_an_option_too():
    decision = decide(Answers(Decision(option=np.int64(3), reason="argmax")), seen())  # type: ignore[arg-type]
    assert decision.option == 3 and type(decision.option) is int


class Exits:
    def decide(self, seen: Observation) -> Decision:
        raise SystemExit(3)


def test_a_controller_that_wants_to_end_the_program_does_not():
    assert "controller failed (SystemExit: 3)" in decide(Exits(), seen()).reason


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("class Mine:\n    def __init__(self, needed): pass\n", "cannot be made: TypeError"),
        ("class Mine:\n    def choose(self, seen): pass\n", "has no method decide"),
        ("Mine = 7\n", "cannot be made: TypeError"),
        ("class Mine\n", "fails on import: SyntaxError"),
        ("1 / 0\n", "fails on import: ZeroDivisionError"),
    ],
)
def test_says_what_is_wrong_with_a_users_controller(tmp_path, body, says):
    file = tmp_path / "mine.py"
    file.write_text(body)
    with pytest.raises(InputError, match=says) as caught:
        make_controller(f"{file}:Mine")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_work_without_end_behind_work_without_end_breaks_no_session(controller):
    """Plain playback that computes for ever, then an option that must begin before time did: inf - inf is no number."""
    tables = {name: getattr(PRICES, name).copy() for name in ("compute_s", "lead_s")}
    tables["compute_s"][:10] = np.inf
    tables["lead_s"][10:] = -np.inf
    session = simulate(replace(PRICES, **tables), constant(1.5e6, 0.05), controller, buffer_max_s=20.0)
    assert len(session.steps) == 20
    assert not any("controller failed" in step.decision.reason for step in session.steps)


cells = st.sampled_from([0.0, -1.0, 1e-9, 1e300, np.nan, np.inf, -np.inf])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # inf - inf is what some of these numbers ask for
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_holes_and_absurd_numbers_break_no_session(controller, data):
    """Any cell of any table may hold anything, as long as each segment can be had at the lowest rung."""
    tables = {name: getattr(PRICES, name).copy() for name in ("size_bytes", "compute_s", "lead_s", "quality", "vmaf")}
    for table in tables.values():
        for _ in range(data.draw(st.integers(0, 12))):
            table[data.draw(st.integers(0, 19)), data.draw(st.integers(1, 6))] = data.draw(cells)
    session = simulate(replace(PRICES, **tables), constant(1.5e6, 0.05), controller, buffer_max_s=20.0)
    assert len(session.steps) == 20
    assert not any("controller failed" in step.decision.reason for step in session.steps)
