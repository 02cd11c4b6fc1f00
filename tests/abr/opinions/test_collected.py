"""Opinions that a server collected: read as one test, bounded, and without what would tell people apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from abr.cli import root
from abr.errors import FormatError, InputError
from abr.opinions.collected import (
    FILE_BYTES_MAX,
    SUFFIX,
    CollectedOpinion,
    RatedItem,
    as_set,
    count_opinions,
    keep_opinion,
    read_opinions,
)
from abr.opinions.fitted import load_qoe
from abr.opinions.scales import scale_of
from abr.records import dumps, loads


def opinion(sitting: int, *scores: tuple[str, int], quality: float = 50.0) -> CollectedOpinion:
    items = tuple(
        RatedItem(file=file, content=file[0], score=score, features={"quality": quality}) for file, score in scores
    )
    return CollectedOpinion(sitting=f"{sitting:016x}", items=items)


sittings = st.integers(0, 2**64 - 1)
opinions = st.builds(
    lambda sitting, scores: opinion(sitting, *scores),
    sittings,
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 5)), min_size=1, max_size=2),
)


@given(opinions)
def test_an_opinion_is_read_as_it_was_written_and_small(kept: CollectedOpinion):
    assert loads(dumps(kept), CollectedOpinion, what="opinion") == kept
    assert len(dumps(kept)) < FILE_BYTES_MAX


@given(st.lists(opinions, min_size=1, max_size=30))
def test_every_score_is_in_the_test_once(several: list[CollectedOpinion]):
    last = {(item.file, each.sitting): item.score for each in several for item in each.items}
    found = as_set("t", several)
    told = sorted(
        (file, score) for file, row in zip(found.files, found.scores, strict=True) for score in row if score == score
    )
    assert told == sorted((file, score) for (file, _), score in last.items())


def test_who_scored_much_has_a_column_and_the_others_share_theirs():
    many = [opinion(1, (file, 3)) for file in "abcdef"]
    few = [opinion(10 + number, (file, 5)) for number, file in enumerate("aabbc")]
    found = as_set("t", [*many, *few])
    assert found.scores.shape == (6, 3)
    np.testing.assert_array_equal(found.scores[:, 0], [3] * 6)
    assert np.nansum(found.scores[:, 1:]) == 25


def test_a_folder_is_fitted_like_any_test(tmp_path: Path):
    random = np.random.default_rng(1)
    for number in range(120):
        quality = float(random.uniform(10, 100))
        score = int(np.clip(round(1 + quality / 25 + random.normal(0, 0.5)), 1, 5))
        keep_opinion(tmp_path / "opinions", opinion(number, (f"{number % 6}-{number}", score), quality=quality))
    assert count_opinions(tmp_path / "opinions") == 120
    out = tmp_path / "qoe.json"
    done = CliRunner().invoke(root, ["qoe", "fit", str(tmp_path), "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    low, high = scale_of(load_qoe(out), []).of(np.array([25.0, 90.0]))
    assert low < 40
    assert high > 70


def test_what_is_no_opinion_is_told(tmp_path: Path):
    with pytest.raises(InputError, match="no opinions"):
        read_opinions(tmp_path)
    (tmp_path / f"x{SUFFIX}").write_bytes(b" " * (FILE_BYTES_MAX + 1))
    with pytest.raises(FormatError, match="more than 4,096 bytes"):
        read_opinions(tmp_path)
    (tmp_path / f"x{SUFFIX}").write_bytes(dumps(opinion(1, ("a", 1))).replace(b'"score":1', b'"score":9'))
    with pytest.raises(FormatError, match="score"):
        read_opinions(tmp_path)
