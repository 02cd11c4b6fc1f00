"""What an option is worth: the same for one viewer and for many, whatever the weights, the backlog and the holes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from price_lists import make_prices

from abr.forecast import Belief, Beliefs
from abr.planning import candidates
from abr.worth import Viewer, gathered, stage_of, viewers, worth

WHOLE = make_prices(40, weights=True)
LISTS = {"whole segments": WHOLE, "frame by frame": replace(WHOLE, lead_s=np.zeros_like(WHOLE.lead_s))}
finite = {"allow_nan": False, "allow_infinity": False}


def lacking(prices, owned):
    return np.array([sum(prices.weights_bytes[key] for key in keys if key not in owned) for keys in prices.weights])


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(LISTS)),
    segment=st.integers(0, 39),
    owned=st.sets(st.sampled_from(sorted(WHOLE.weights_bytes))),
    levels=st.lists(st.floats(9, 20, **finite), min_size=2, max_size=4),
    buffer_s=st.floats(0, 40, **finite),
    backlog_s=st.one_of(st.just(0.0), st.floats(0, 30, **finite)),
)
def test_many_viewers_are_told_what_each_would_be(name, segment, owned, levels, buffer_s, backlog_s):
    prices, count = LISTS[name], len(levels)
    stage = stage_of(prices, segment, lacking(prices, owned), 30.0)
    level = np.array(levels)
    beliefs = Beliefs(level=level, spread=np.linspace(-3, -1, count), mean=level - 0.5, downloads=3)
    told = {"buffer_s": buffer_s, "backlog_s": backlog_s, "latency_s": 0.05, "vmaf_before": 60.0}
    many = worth(stage, viewers(stage, beliefs, **{key: np.full(count, value) for key, value in told.items()}))
    for row, each in enumerate(many):
        belief = Belief(
            level=levels[row], spread=float(beliefs.spread[row]), mean=levels[row] - 0.5, downloads=3, until_s=0.0
        )
        assert worth(stage, gathered(stage, [Viewer(belief=belief, **told)]))[0] == pytest.approx(
            each, rel=1e-6, abs=1e-3
        )


def test_what_a_segment_lacks_is_worth_nothing_and_spoils_nothing_else():
    vmaf = WHOLE.vmaf.copy()
    vmaf[8, 6] = np.nan
    holed = replace(WHOLE, vmaf=vmaf)
    stage = stage_of(holed, 8, lacking(holed, set()), 30.0)
    belief = Belief(level=14.5, spread=-2.0, mean=14.5, downloads=3, until_s=0.0)
    one = Viewer(belief=belief, latency_s=0.1, buffer_s=9.0, backlog_s=0.0, vmaf_before=None)
    values = worth(stage, gathered(stage, [one]))[0]
    missing = [option == 6 for option in candidates(holed).options]
    assert any(missing) and np.isneginf(values).tolist() == missing
