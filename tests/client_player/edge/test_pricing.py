"""What a title may take of a node's lifters, while others are watched."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fractions import Fraction

import msgspec
import pytest
from serving import device_profile, enhancements
from titles import prepared_title

from abr.core.enhancement import Currency, Family
from abr.core.pricing import TitleOptions
from abr.core.title import Title
from abr.virtual_time import SessionClock, run_virtual
from client_player.edge.origin.titles import MirroredTitle
from client_player.edge.pricing import LOAD_MAX, TAKEN_S, EdgePricing


@pytest.fixture(scope="module")
def titles() -> list[MirroredTitle]:
    """Three, which differ in their names alone."""
    title = prepared_title()[0]
    options = TitleOptions(title, enhancements(title), Currency.TRUSTED)
    one = MirroredTitle(title=title, table=None, options=options, start_s=(0.0, title.duration_s), first_frame=(0,))
    return [replace(one, title=_named(one, name)) for name in ("first", "second", "third")]


def _named(one: MirroredTitle, name: str) -> Title:
    return msgspec.structs.replace(one.title, id=name)


def test_a_title_has_what_the_others_leave_and_an_equal_part_at_least(titles: list[MirroredTitle]) -> None:
    async def main() -> None:
        pricing = EdgePricing(None, tuple(Family), 2, SessionClock())
        first, second, third = titles
        assert pricing.left_for(first) == pytest.approx(2 * LOAD_MAX), "nothing else is watched"
        pricing.take(first, 0.4)
        assert pricing.left_for(first) == pytest.approx(2 * LOAD_MAX), "it does not compete with itself"
        assert pricing.left_for(second) == pytest.approx(2 * LOAD_MAX - 0.4)
        pricing.take(second, 0.0)
        assert pricing.left_for(third) == pytest.approx(2 * LOAD_MAX - 0.4), "what is not lifted takes nothing"
        pricing.take(second, 1.3)
        assert pricing.left_for(third) == pytest.approx(2 * LOAD_MAX / 3), "an equal part, though they leave less"
        await asyncio.sleep(TAKEN_S)
        assert pricing.left_for(third) == pytest.approx(2 * LOAD_MAX), "nobody watches the others any longer"

    run_virtual(main())


def test_three_titles_are_lifted_where_equal_parts_would_be_too_small_for_any(titles: list[MirroredTitle]) -> None:
    """Each lift takes 0.36 of the one lifter: two of three titles can be lifted all the time, and not none."""
    rate = Fraction(*titles[0].title.frame_rate)
    frame_ms = 0.24 * 1000 / float(rate)

    async def main() -> None:
        pricing = EdgePricing(device_profile(titles[0].title, frame_ms), tuple(Family), 1, SessionClock())
        lifted = []
        for title in titles:
            options = {choice.enhancer for choice in pricing.prices(title).choices} - {"none"}
            lifted.append(bool(options))
            pricing.take(title, 0.36 if options else 0.0)
        assert lifted == [True, True, False]

    run_virtual(main())
