"""Updates through a whole round of secure aggregation: their weighted mean comes out, and nothing else gets in."""

from __future__ import annotations

import numpy as np
import pytest
from secagg_rounds import run_round

from abr.errors import FormatError, InputError
from abr.federation.judging import is_better
from abr.federation.update import UpdateCodec
from abr.federation.version import ClipScore

VALUES, NORM_MAX, MEMBERS = 500, 0.5, 20


def codec() -> UpdateCodec:
    return UpdateCodec(VALUES, NORM_MAX, MEMBERS)


def updates(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    drawn = random.normal(size=(count, VALUES))
    return 0.3 * drawn / np.linalg.norm(drawn, axis=1, keepdims=True), random.uniform(0.1, 1.0, count)


@pytest.mark.parametrize("stage", ["keys", "shares", "masked", "openings"])
def test_a_round_gives_the_mean_of_those_who_stayed_by_their_weights(stage: str) -> None:
    given, weights = updates(8)
    words = [codec().encode(update, weight) for update, weight in zip(given, weights, strict=True)]
    result = run_round(words, {stage: {1, 4}})
    assert result.total is not None
    mean = codec().decode(result.total, result.round.survivors)
    stayed = list(range(8)) if stage == "openings" else [0, 2, 3, 5, 6, 7]
    assert mean.weight == pytest.approx(weights[stayed].sum(), rel=1e-6)
    assert mean.values == pytest.approx(np.average(given[stayed], axis=0, weights=weights[stayed]), abs=1e-6)


def test_no_word_tells_how_much_one_player_had_to_learn_from() -> None:
    """The weight of one is in the masked vector like all else: what is handed in looks the same for any weight."""
    given, _ = updates(6)
    sent = run_round([codec().encode(update, 0.125) for update in given]).sent
    encoded = codec().encode(given[0], 0.125)
    handed_in = np.frombuffer(sent[0]["masked"], "<u4")
    assert len(handed_in) == VALUES + 1
    assert handed_in[-1] != encoded[-1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_training_that_went_astray_is_not_handed_in(wrong: float) -> None:
    update = np.zeros(VALUES)
    update[7] = wrong
    with pytest.raises(InputError, match="not finite"):
        codec().encode(update, 1.0)


def test_an_update_too_long_counts_as_one_of_the_greatest_length() -> None:
    given, _ = updates(6)
    words = [codec().encode(update, 1.0) for update in given[:5]]
    mean = codec().decode(np.sum([*words, codec().encode(1e6 * given[5], 1.0)], axis=0, dtype=np.uint32), 6)
    longest = given[5] * NORM_MAX / np.linalg.norm(given[5])
    assert mean.values == pytest.approx(np.mean([*given[:5], longest], axis=0), abs=1e-6)


@pytest.mark.parametrize(
    ("poison", "why"),
    [
        (np.full(VALUES + 1, 1 << 30, np.uint32), "norm|weight"),
        (np.append(np.full(VALUES, 1 << 26), 0).astype(np.uint32), "norm"),
        (np.append(np.zeros(VALUES), (1 << 32) - (1 << 28)).astype(np.uint32), "weight"),
        (np.append(np.zeros(VALUES), 1 << 29).astype(np.uint32), "weight"),
    ],
)
def test_a_sum_that_no_clipped_updates_have_is_refused(poison: np.ndarray, why: str) -> None:
    given, weights = updates(5)
    words = [codec().encode(update, weight) for update, weight in zip(given, weights, strict=True)]
    with pytest.raises(FormatError, match=why):
        codec().decode(np.sum([*words, poison], axis=0, dtype=np.uint32), 6)


def scores(*figures: tuple[float, float]) -> list[ClipScore]:
    return [ClipScore(clip=f"{n}", psnr_y_db=db, vmaf_neg=neg) for n, (db, neg) in enumerate(figures)]


def test_a_candidate_is_kept_only_if_it_is_better_on_the_clips() -> None:
    now = scores((30.0, 60.0), (40.0, 80.0))
    assert is_better(scores((29.99, 60.1), (40.0, 80.0)), now, now)
    assert not is_better(now, now, now), "the same is no better"
    assert not is_better(scores((30.0, 60.1), (40.0, 79.8)), now, now), "one clip's gain is another's loss"
    assert not is_better(scores((29.8, 61.0), (40.0, 81.0)), now, now), "bought with PSNR"
    shipped = scores((30.08, 59.0), (40.03, 79.0))
    assert not is_better(scores((29.99, 60.1), (40.0, 80.0)), now, shipped), "bought little by little"
    assert not is_better(scores((31.0, 61.0)), now, now), "other clips tell nothing"
