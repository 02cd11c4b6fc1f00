"""Plans come from another process: the same as made here, again after it has died, and it ends with the server."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from abr.controllers.toprung.candidates import option_sets
from abr.controllers.toprung.plan_library import WINDOW, PlanLibrary, make_plan
from abr.core.options import PriceList
from abr.core.pricing import price
from abr.errors import ToprungError
from server.bench import title as bench_title
from server.bench.title import TITLE_ID, profile, write_library
from server.media.library import Library
from server.sessions.plan_process import planning


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> PriceList:
    """Of a title of one window of plans, and of a short second one, which is quickly planned."""
    root = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_title, "SEGMENTS", WINDOW + 8)
        write_library(root)
    library = Library(root)
    return price(library.title(TITLE_ID), library.enhancements(TITLE_ID), profile())


def test_its_plans_are_those_made_here(prices):
    options = option_sets(prices, prices.menu(0, 1).weights_bytes)[0]
    here = make_plan(prices, options, 1, 60.0)
    with planning() as process:
        there = process.make(prices, options, 1, 60.0)
    assert there.first == here.first
    for ours, theirs in zip(here.arrays, there.arrays, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_process_that_was_killed_costs_one_plan(prices):
    lacking = prices.menu(WINDOW, 1).weights_bytes
    with planning() as process:
        library = PlanLibrary(make=process.make)
        library.plan(prices, WINDOW, lacking, 20.0)
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        with pytest.raises(ToprungError, match="died"):
            library.plan(prices, WINDOW, lacking, 60.0)
        assert not library.is_planned(prices, WINDOW, lacking, 60.0)
        library.plan(prices, WINDOW, lacking, 60.0)
        assert library.is_planned(prices, WINDOW, lacking, 60.0)
    assert not multiprocessing.active_children()


def test_a_plan_that_cannot_be_made_is_told_of_and_costs_no_other(prices):
    options = option_sets(prices, prices.menu(0, 1).weights_bytes)[0]
    with planning() as process:
        with pytest.raises(ToprungError, match="Error"):
            process.make(prices, options, 10_000, 60.0)
        (child,) = multiprocessing.active_children()
        process.make(prices, options, 1, 60.0)
        assert multiprocessing.active_children() == [child]


def test_what_a_terminal_sends_is_for_the_server_to_answer(prices):
    options = option_sets(prices, prices.menu(0, 1).weights_bytes)[0]
    with planning() as process:
        process.make(prices, options, 1, 60.0)
        (child,) = multiprocessing.active_children()
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(child.pid, number)
        process.make(prices, options, 1, 60.0)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19


def test_it_ends_with_the_server_though_more_is_asked_for(prices):
    options = option_sets(prices, prices.menu(0, 1).weights_bytes)[0]
    with planning() as process, ThreadPoolExecutor(1) as thread:
        process.make(prices, options, 1, 60.0)
        making = [thread.submit(process.make, prices, options, window, 60.0) for window in (0, 1, 0, 1)]
        process.close()
        assert isinstance(making[-1].exception(), ToprungError)
        assert not multiprocessing.active_children()
