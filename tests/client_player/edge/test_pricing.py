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
from client_player.edge.pricing import LOAD_MAX, TAKEN_S, WORK_MAX, EdgePricing


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
        for _ in range(20):
            pricing.take(second, 1.3)
        assert pricing.left_for(third) == pytest.approx(2 * LOAD_MAX / 3), "an equal part, though they leave less"
        await asyncio.sleep(TAKEN_S)
        assert pricing.left_for(third) == pytest.approx(2 * LOAD_MAX), "nobody watches the others any longer"

    run_virtual(main())


def _offered(pricing: EdgePricing, title: MirroredTitle) -> list[str]:
    return [choice.enhancer for choice in pricing.prices(title).choices if choice.enhancer != "none"]


def test_what_a_title_takes_is_the_mean_of_its_decisions(titles: list[MirroredTitle]) -> None:
    async def main() -> None:
        pricing, (first, second, _) = EdgePricing(None, tuple(Family), 1, SessionClock()), titles
        for lifters in (0.8, 0.0) * 20:  # every second segment is lifted
            pricing.take(first, lifters)
        assert LOAD_MAX - 0.5 <= pricing.left_for(second) <= LOAD_MAX - 0.3

    run_virtual(main())


def test_a_lift_that_takes_longer_than_its_film_is_offered_and_priced_by_what_the_title_may_have(
    titles: list[MirroredTitle],
) -> None:
    """A slow machine lifts some segments, not none. Two films share its lifter."""
    film, other, _ = titles
    profile = device_profile(film.title, 1000 / float(Fraction(*film.title.frame_rate)))

    async def main() -> None:
        pricing = EdgePricing(profile, tuple(Family), 1, SessionClock())
        pricing.take(other, 0.9)
        prices = pricing.prices(film)
        lift = next(option for option, choice in enumerate(prices.choices) if choice.enhancer != "none")
        took_s = 1.5 * prices.duration_s  # as slow as the node takes itself to be at first
        assert prices.lead_s[:, lift] == pytest.approx(took_s, rel=0.05), "one lifter does it all"
        assert prices.compute_s[:, lift] == pytest.approx(took_s / 0.45, rel=0.05), "half of the lifter is this film's"

    run_virtual(main())


def test_of_lifts_that_are_too_slow_for_all_segments_only_the_one_that_gains_most_a_second_is_offered(
    titles: list[MirroredTitle],
) -> None:
    film = titles[0]
    frame_ms = 1000 / float(Fraction(*film.title.frame_rate))

    async def main() -> None:
        quick, slow = (
            EdgePricing(device_profile(film.title, ms), tuple(Family), 1, SessionClock())
            for ms in (0.1 * frame_ms, 1.2 * frame_ms)
        )
        renditions = [choice.rendition for choice in slow.prices(film).choices if choice.enhancer != "none"]
        assert renditions and len(renditions) == len(set(renditions))
        assert len(_offered(quick, film)) > len(renditions)

    run_virtual(main())


def test_a_machine_that_could_lift_next_to_nothing_lifts_nothing(titles: list[MirroredTitle]) -> None:
    async def main() -> None:
        frame_ms = 1000 * WORK_MAX / float(Fraction(*titles[0].title.frame_rate))
        pricing = EdgePricing(device_profile(titles[0].title, frame_ms), tuple(Family), 1, SessionClock())
        assert not _offered(pricing, titles[0])

    run_virtual(main())
