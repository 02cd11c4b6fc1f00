"""What an experiment is, how it is written, and who gets which arm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.errors import InputError
from server.experiments.experiment import Arm, read_experiment

KNOWN = ("toprung", "bola", "bba", "Mine")


def test_arms_have_names_controllers_and_shares():
    experiment = read_experiment("old=bola:9, new=Mine", KNOWN)
    assert experiment.arms == (Arm(name="old", controller="bola", weight=9), Arm(name="new", controller="Mine"))
    assert [experiment.share(arm) for arm in experiment.arms] == [0.9, 0.1]
    assert read_experiment(experiment.text, KNOWN) == experiment


def test_a_controller_may_be_held_against_itself():
    assert {arm.controller for arm in read_experiment("a=bola,b=bola", KNOWN).arms} == {"bola"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a=toprung", "has 1 arm; it takes 2 to 8, such as a=toprung,b=bola."),
        (",".join(f"a{n}=bola" for n in range(9)), "has 9 arms; it takes 2 to 8"),
        ("a=toprung,a=bola", "names two arms 'a'; give each a name of its own."),
        ("a=toprung,b=bolla", "There is no controller named 'bolla'. Did you mean 'bola'?"),
        ("toprung,bola", "An experiment's arm is 'toprung'; it takes NAME=CONTROLLER, such as a=toprung,b=bola."),
        ("a=toprung,", "An experiment's arm is ''; it takes NAME=CONTROLLER"),
        ("a=,b=bola", "An experiment's arm is 'a='; it takes NAME=CONTROLLER"),
        ("=toprung,b=bola", "An experiment's arm is named ''; names are 1 to 16 letters, digits, - and _."),
        ("a b=toprung,b=bola", "named 'a b'"),
        ("a=toprung:0,b=bola", "Arm 'a' has weight '0'; a weight is a whole number from 1 to 1000."),
        ("a=toprung:,b=bola", "Arm 'a' has weight ''"),
        ("a=toprung:1001,b=bola", "Arm 'a' has weight '1001'"),
        ("a=toprung:٣,b=bola", "Arm 'a' has weight '٣'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(text, sentence):
    with pytest.raises(InputError) as refused:
        read_experiment(text, KNOWN)
    assert sentence in str(refused.value)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=8), st.integers(0, 2**64 - 1))
def test_every_number_has_an_arm_and_arms_get_their_shares(weights, number):
    experiment = read_experiment(",".join(f"{n}=bola:{weight}" for n, weight in enumerate(weights)), KNOWN)
    assert experiment.draw(number) in experiment.arms
    whole = sum(weights)
    for place, arm in enumerate(experiment.arms):
        first = sum(weights[:place])
        middle = (2 * first + weights[place]) * 2**64 // (2 * whole)
        assert experiment.draw(middle) is arm, "the middle of its part of all numbers"


def test_the_key_changes_with_all_that_is_compared():
    keys = {
        read_experiment(text, KNOWN).key(quality)
        for text in ("a=bola,b=bba", "a=bola,b=toprung", "a=bola:2,b=bba", "c=bola,b=bba")
        for quality in ("trusted", "vmaf")
    }
    assert len(keys) == 8
