"""How much of what a network adds is shown: as much as the panel finds best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
from titles import TINY_CLIP, TITLE_ID, tiny_library

from abr.core.enhancement import Tier
from enhancers.measurement.offers import OfferCandidate, list_candidates
from enhancers.measurement.strengths import STRENGTHS, choose_strengths
from enhancers.networks.checkpoint import dumps_chunks, loads_chunks, weaken
from enhancers.prepared_title import PreparedTitle, open_title


def prepared() -> PreparedTitle:
    return open_title(tiny_library().root, TITLE_ID, TINY_CLIP)


def generic(title: PreparedTitle, times: float) -> OfferCandidate:
    """The generic network of the lowest rung, made to add `times` as much as it was trained to."""
    found = next(each for each in list_candidates(title, {}, (Tier.LOW,)) if each.rendition.id == "64p")
    loud = dumps_chunks(weaken(loads_chunks(found.chunks), times))
    return replace(found, chunks=tuple(loud))


def test_a_network_that_adds_twice_too_much_is_halved(tmp_path: Path) -> None:
    title = prepared()
    once, twice = (
        choose_strengths(title, [generic(title, times)], tmp_path, lambda *_: None)[0].strength for times in (1.0, 2.0)
    )
    assert {once, twice} <= set(STRENGTHS)
    assert twice == min(STRENGTHS) < 1.0 and twice <= once


def test_all_tiers_of_a_family_have_the_strength_of_the_deepest(tmp_path: Path) -> None:
    title = prepared()
    both = [each for each in list_candidates(title, {}, (Tier.LOW, Tier.HIGH)) if each.rendition.id == "64p"]
    chosen = choose_strengths(title, both, tmp_path, lambda *_: None)
    assert [each.tier for each in chosen] == [each.tier for each in both]
    assert len({each.strength for each in chosen}) == 1


def test_without_a_panel_networks_are_shown_as_they_are(tmp_path: Path) -> None:
    title = prepared()
    meter = msgspec.structs.replace(title.title.meter, panel_every_segments=0)
    old = replace(title, title=msgspec.structs.replace(title.title, meter=meter))
    assert choose_strengths(old, [generic(old, 2.0)], tmp_path, lambda *_: None)[0].strength == 1.0
