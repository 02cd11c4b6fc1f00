"""Opinion tests as files: what is read, and what is refused with a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opinions import write_opinions

from abr.errors import FormatError, InputError, StorageError
from abr.opinions.collected import read_opinions
from abr.opinions.dataset import FILE_BYTES_MAX, join, parse_opinions
from abr.opinions.features import design_of, values_of


def parse(items: object):
    return parse_opinions(json.dumps({"name": "t", "items": items}).encode(), what="t.json")


def item(scores: object, file: str = "a.yuv", content: object = 0, **more: object) -> dict[str, object]:
    return {"file": file, "content_id": content, "scores": scores, **more}


def test_lists_and_objects_of_scores_are_the_same_opinions():
    listed = parse([item([1, None, 5]), item([2, 3, 4], content="x")])
    named = parse([item({"b": 5, "a": 1}), item({"a": 2, "c": 4}, content="x")])
    np.testing.assert_array_equal(listed.scores, [[1, np.nan, 5], [2, 3, 4]])
    np.testing.assert_array_equal(named.scores, [[1, 5, np.nan], [2, np.nan, 4]])
    assert listed.contents.tolist() == named.contents.tolist()
    assert len(set(listed.contents.tolist())) == 2


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        ([], "length >= 1"),
        ([item([6])], "the score 6"),
        ([item([2.5])], "whole numbers from 1 to 5"),
        ([item([-3])], "the score -3"),
        ([item([1, 2]), item([1])], "lists of 1 and of 2"),
        ([item([1]), item({"a": 1})], "as lists and as objects"),
        ([item([None])], "no score of"),
        ([{"file": "a", "content_id": 0}], "scores"),
        ([item([1], file="a" * 300)], "length"),
        ("x", "array"),
    ],
)
def test_what_is_no_opinion_test_is_refused_with_its_reason(items: object, sentence: str):
    with pytest.raises(FormatError, match=sentence):
        parse(items)


def test_files_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(StorageError, match="Cannot read"):
        read_opinions(tmp_path / "none.json")
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    with pytest.raises(FormatError, match="33,554,432 bytes"):
        read_opinions(huge)


@settings(max_examples=40)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_bytes_come_are_opinions_or_a_format_error(data: bytes):
    try:
        assert parse_opinions(data, what="bytes").files
    except FormatError as error:
        assert len(str(error)) < 1000


@given(st.lists(st.lists(st.none() | st.integers(1, 5), min_size=3, max_size=3), min_size=1, max_size=8))
def test_scores_are_read_as_they_were_written(rows: list[list[int | None]]):
    rows = [row if any(row) else [1, None, None] for row in rows]
    found = parse([item(row, content=number) for number, row in enumerate(rows)])
    again = [[None if np.isnan(score) else int(score) for score in row] for row in found.scores]
    assert again == rows


def test_several_tests_are_one_in_which_nobody_took_part_twice(tmp_path):
    sets = [read_opinions(write_opinions(tmp_path / f"{seed}.json", 2, 3, seed)) for seed in (1, 2)]
    both = join(sets)
    assert both.scores.shape == (20, 6)
    assert np.isnan(both.scores[:10, 3:]).all()
    assert np.isnan(both.scores[10:, :3]).all()
    assert sorted(set(both.contents.tolist())) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="at least one file"):
        join([])


def test_file_names_of_public_tests_tell_features():
    nflx = parse([item([1], "Film_20_288_375.yuv"), item([5], "Film_25fps.yuv")])
    assert {name: column.tolist() for name, column in values_of(nflx).items()} == {
        "height_px": [288, np.inf],
        "rate_kbps": [375, np.inf],
    }
    assert list(values_of(nflx, expert=True)) == ["expert"]
    agh = parse([item([1], "14_scene_000_4000_100.mp4"), item([5], "14_scene_000_ref.mp4")])
    assert {name: column.tolist() for name, column in values_of(agh).items()} == {
        "level": [4000, np.inf],
        "variation": [100, 0],
    }
    vqeg = parse([item([1], "hd3_src01_hrc16_cut.avi"), item([5], "hd3_src01_hrc00_cut.avi")])
    assert {name: column.tolist() for name, column in values_of(vqeg).items()} == {
        "condition hrc00": [0, 1],
        "condition hrc16": [1, 0],
    }
    with pytest.raises(InputError, match="Nothing is known"):
        values_of(parse([item([1], "a.yuv")]))


def test_features_that_a_file_tells_count_and_unknown_ones_are_named():
    told = parse([item([1], features={"quality": 20, "stall_s": 3}), item([5], features={"quality": 90})])
    assert list(values_of(told)) == ["quality"]
    with pytest.raises(InputError, match="no feature 'vmaff'"):
        values_of(parse([item([1], features={"vmaff": 20})]))
    with pytest.raises(InputError, match="must be above 0"):
        design_of(values_of(parse([item([1], features={"rate_kbps": 0}), item([2], features={"rate_kbps": 5})])))
    with pytest.raises(InputError, match="nothing to learn"):
        design_of(values_of(parse([item([1], features={"quality": 20})] * 2)))
