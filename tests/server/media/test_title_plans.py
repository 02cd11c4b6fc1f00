"""Plans that lie with a title: small, shared, and used only as long as they fit the title."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from serving import device_profile, enhancements

from abr.controllers.toprung.candidates import candidates_of
from abr.controllers.toprung.controller import Toprung
from abr.controllers.toprung.device_classes import class_of
from abr.controllers.toprung.plan_file import PLANS_FILE, PlanFile
from abr.controllers.toprung.plan_library import PlanLibrary
from abr.controllers.toprung.title_plans import plans_of, write_plans
from abr.core.pricing import price
from abr.errors import FormatError
from abr.records import dumps
from server.bench.title import TITLE_ID, profile, write_library
from server.media.library import Library
from server.media.title_plans import read_plans


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    root = tmp_path_factory.mktemp("library")
    write_library(root)
    library = Library(root)
    title, table = library.title(TITLE_ID), library.enhancements(TITLE_ID)
    return root / TITLE_ID, title, table, plans_of(title, table)


def test_plans_are_a_small_part_of_the_title(bench):
    _, title, _, data = bench
    assert len(data) <= 0.005 * sum(sum(rendition.segment_bytes) for rendition in title.renditions)


@pytest.fixture
def stored(bench, tmp_path):
    """The path of a file with the plans."""
    (tmp_path / PLANS_FILE).write_bytes(bench[3])
    return tmp_path / PLANS_FILE


def test_with_them_a_new_viewer_is_decided_by_its_own_plan_at_once(bench, stored):
    _, title, table, _ = bench
    prices, library = price(title, table, profile()), PlanLibrary()
    lacking = prices.menu(0, 1).weights_bytes
    assert not library.is_planned(prices, 0, lacking, 60.0)
    library.offer(PlanFile(stored))
    for segment in (0, 80, len(prices.duration_s) - 1):
        library.plan(prices, segment, lacking, 60.0, only_read=True)
        assert library.is_planned(prices, segment, lacking, 60.0)
    library.plan(prices, 0, lacking, 15.0, only_read=True)
    assert not library.is_planned(prices, 0, lacking, 15.0), "they are for a buffer of a minute"


def test_what_the_file_holds_is_what_was_planned(bench, stored):
    _, title, table, _ = bench
    prices, (read, made) = price(title, table), (PlanLibrary(), PlanLibrary())
    read.offer(PlanFile(stored))
    device = class_of(prices, candidates_of(prices).options)
    assert device.key in PlanFile(stored).classes
    seen = {}
    for name, library in (("stored", read), ("made", made)):
        library.plan(prices, 120, np.zeros(len(prices.choices)), 60.0)
        seen[name] = Toprung(plans=library)._simulated_table(prices.menu(130, 1), np.zeros(len(prices.choices)), 60.0)
    a, b = (table.values[0][0] for table in (seen["stored"], seen["made"]))
    whole = [values.hat @ (values.network @ values.core @ values.after).reshape(-1, 10, 39) for values in (a, b)]
    assert np.sqrt(((whole[0] - whole[1]) ** 2).mean()) < 0.02 * whole[0].std()


@pytest.mark.parametrize("damage", [lambda d: d[:100], lambda d: b"no plans at all" + d, lambda d: d[: len(d) // 2]])
def test_a_damaged_file_is_refused_with_a_sentence(stored, damage):
    stored.write_bytes(damage(stored.read_bytes()))
    with pytest.raises(FormatError, match="plans"):
        PlanFile(stored)


def test_what_was_replaced_since_it_was_opened_is_not_mixed_up(bench, stored):
    _, title, _, _ = bench
    file = PlanFile(stored)
    key = next(iter(file.classes))
    assert file.plan(key, 0) is not None and file.plan(key, 99) is None
    stored.write_bytes(plans_of(title, None))
    assert file.plan(key, 0) is None


def test_plans_of_a_title_that_has_changed_since_are_not_used(bench, caplog):
    folder, title, table, data = bench
    assert read_plans(folder, title, table) == [] and not caplog.text
    (folder / PLANS_FILE).write_bytes(data)
    assert len(read_plans(folder, title, table)) == 1
    assert read_plans(folder, title, None) == []
    assert read_plans(folder, msgspec.structs.replace(title, encoder="another"), table) == []
    assert "changed since" in caplog.text
    (folder / PLANS_FILE).write_bytes(b"")
    assert read_plans(folder, title, table) == [] and "made anew" in caplog.text


def test_a_title_too_short_for_them_has_none_and_loses_old_ones(title, tmp_path):
    (tmp_path / PLANS_FILE).write_bytes(b"of a longer title")
    write_plans(tmp_path, title, None)
    assert list(tmp_path.iterdir()) == []


async def test_a_server_decides_by_the_plans_that_lie_with_a_title(client, library, title):
    table = enhancements(title)
    (library / "bbb" / PLANS_FILE).write_bytes(plans_of(title, table, bytes_share=10))
    body = dumps({"title": "bbb", "profile": device_profile(title)})
    opened = await client.post("/sessions", data=body, headers={"Content-Type": "application/json"})
    path = opened.headers["Location"]
    mtp = {"CMCD-Request": "mtp=3000,bl=4000"}
    answers = [await client.get(f"{path}/video/{number}.m4s", headers=mtp) for number in (1, 2)]
    assert "no plan yet" not in answers[1].headers["Toprung-Reason"]
