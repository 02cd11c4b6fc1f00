"""Viewers behind one link, over the wire: told or grouped by address, each decided by its share."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from aiohttp.test_utils import TestClient, TestServer
from serving import device_profile, enhancements, logged

from abr.controllers.toprung.controller import Toprung
from abr.controllers.toprung.plan_library import PlanLibrary
from abr.core.control import Decision, Download, Observation
from abr.core.events import Decided, Ended, EventBatch
from abr.core.options import Choice
from abr.core.pricing import price
from abr.protocols import cmcd
from abr.protocols.cmcd import ViewerState, from_viewer
from abr.records import dumps
from abr.simulation.benchmark_data import classic_prices
from abr.simulation.replay import observation_of, replay
from server.app import create_app
from server.context import CONTEXT
from server.session_service.groups import GroupNames, Links, network_of
from server.sessions.session_ids import SessionIds
from server.sessions.state import SessionState

JSON = {"Content-Type": "application/json"}
SHARE = re.compile(r"; (\d+) kbit/s are its share among (\d+) on the link$")
ROUND_S = 1.0
LAST = "who has asked for its third and last segment leaves the link to the others"


def told(now_s: float, download: Download | None, buffer_s: float = 4.0) -> dict[str, str]:
    """CMCD headers of a Toprung player."""
    state = ViewerState(
        buffer_s=buffer_s, backlog_s=0.0, now_s=now_s, playing=download is not None, download=download, owned=()
    )
    return cmcd.to_headers(from_viewer(state))


async def watch(client: TestClient, clock, paths: Sequence[str], numbers: Sequence[int] = (1, 2, 3)) -> list[float]:
    """All ask for these segments, together, and each takes until the next. The rates of the last round, in kbit/s."""
    sizes = dict.fromkeys(paths, 20_000)
    for number in numbers:
        now_s, last = ROUND_S * (number - 1), dict(sizes)
        for path in paths:
            download = None
            if number > 1:
                began_s = now_s - ROUND_S
                download = Download(started_s=began_s, duration_s=ROUND_S, latency_s=0.0, size_bytes=sizes[path])
            answer = await client.get(f"{path}/video/{number}.m4s", headers=told(now_s, download))
            assert answer.status == 200
            assert answer.headers["Toprung-Reason"].isascii()
            sizes[path] = len(await answer.read())
        clock.now_s += ROUND_S
    return [8e-3 * last[path] / ROUND_S for path in paths]


async def reasons(client: TestClient, path: str) -> list[str]:
    return [event.reason for event in await logged(client, path, Decided)]


async def members(client: TestClient, path: str) -> list[int]:
    """Among how many each decision was taken, 0 where no share was told."""
    found = [SHARE.search(reason) for reason in await reasons(client, path)]
    return [int(each[2]) if each else 0 for each in found]


async def test_viewers_of_one_group_are_decided_by_their_share_of_what_all_of_them_get(client, opened, clock):
    paths = [await opened(group="our flat") for _ in range(3)]
    rates_kbps = await watch(client, clock, paths, (1, 2))
    shares_kbps = [int(SHARE.search((await reasons(client, path))[-1])[1]) for path in paths]
    assert shares_kbps == pytest.approx([sum(rates_kbps) / 3] * 3, rel=0.3), "a third of what came to all"
    await watch(client, clock, paths, (3,))
    assert [await members(client, path) for path in paths] == [[0, 3, 3], [0, 3, 2], [0, 3, 1]], LAST


async def test_viewers_of_another_group_or_of_none_are_not_counted(client, opened, clock):
    one, other, none, empty = [await opened(**over) for over in ({"group": "a"}, {"group": "b"}, {}, {"group": ""})]
    await watch(client, clock, (one, other, none, empty))
    assert [await members(client, path) for path in (one, other)] == [[0, 1, 1]] * 2
    assert [await members(client, path) for path in (none, empty)] == [[0, 0, 0]] * 2


async def test_a_controller_that_expects_nothing_of_a_link_decides_each_viewer_alone(client, opened, clock):
    paths = [await opened(group="a", controller=name) for name in ("bola", "bola", "toprung", "toprung")]
    await watch(client, clock, paths)
    assert [await members(client, path) for path in paths] == [[0, 0, 0]] * 2 + [[0, 2, 2], [0, 2, 1]], LAST


@pytest.mark.parametrize("says", ["ended", "deleted"])
async def test_who_ends_leaves_its_share_to_the_others(client, opened, clock, says):
    one, other = await opened(group="a"), await opened(group="a")
    await watch(client, clock, (one, other), (1, 2))
    if says == "deleted":
        assert (await client.delete(other)).status == 204
    else:
        body = dumps(EventBatch(events=(Ended(t_s=9.0, reason="measured", played_s=2.0),)))
        assert (await client.post(f"{other}/events", data=body, headers=JSON)).status == 204
    await watch(client, clock, (one,), (3,))
    assert await members(client, one) == [0, 2, 1]


async def test_decisions_of_a_group_replay_to_the_same_ones_to_the_word(client, opened, clock, title):
    paths = [await opened(group="a") for _ in range(2)]
    await watch(client, clock, paths)
    prices, controller = price(title, enhancements(title), device_profile(title)), Toprung(plans=PlanLibrary())
    for path in paths:
        log = await logged(client, path, Decided)
        assert replay(log, prices, controller).differences == ()
        for before, event in pairwise(log):
            share = SHARE.search(event.reason)
            assert event.reason.startswith(f"toprung: expects {share[1]} kbit/s"), "its buffer is short"
            last = Choice(rendition=prices.rendition_ids.index(before.rendition), enhancer=before.enhancer)
            again = controller.decide(observation_of(event.seen, event.t_s, event.segment, prices, last))
            assert again.reason + share[0] == event.reason


async def test_how_many_segments_were_decided_by_a_share_is_counted(client, opened, clock):
    await watch(client, clock, [await opened(group="a"), await opened()])
    assert "toprung_shared_decisions_total 2.0" in await (await client.get("/metrics")).text()


async def test_a_group_of_more_than_64_characters_is_refused(client):
    longest = await client.post("/sessions", json={"title": "bbb", "group": "é" * 64})
    assert longest.status == 201
    for group in ("g" * 65, 7, None):
        answer = await client.post("/sessions", json={"title": "bbb", "group": group})
        assert (answer.status, answer.content_type) == (400, "application/problem+json")
        assert "group" in (await answer.json())["detail"]


@pytest.mark.parametrize(
    ("group_by", "trusted", "grouped"),
    [("address", (), True), ("block", (), True), ("", (), False), ("address", ("127.0.0.1",), False)],
)
async def test_a_server_may_group_by_address_but_not_those_behind_a_proxy_that_it_trusts(
    settings, clock, group_by, trusted, grouped
):
    settings = replace(settings, group_by=group_by, trusted_peers=trusted)
    async with TestClient(TestServer(create_app(settings, clock=clock))) as client:
        paths = []
        for group in ("", "", "told"):
            answer = await client.post("/sessions", json={"title": "bbb", "group": group})
            paths.append(answer.headers["Location"])
        await client.app[CONTEXT].sessions.all_planned()
        await watch(client, clock, paths)
        alone = [[0, 1, 1]]
        expected = [[0, 2, 2], [0, 2, 1]] if grouped else [[0, 0, 0]] * 2
        assert [await members(client, path) for path in paths] == expected + alone, LAST


@pytest.mark.parametrize(
    ("group_by", "one", "other", "is_same"),
    [
        ("address", "203.0.113.7", "203.0.113.7", True),
        ("address", "203.0.113.7", "203.0.113.8", False),
        ("address", "203.0.113.7", "::ffff:203.0.113.7", True),
        ("address", "::ffff:203.0.113.7", "::ffff:203.0.113.8", False),
        ("address", "2001:db8:1:2::7", "2001:db8:1:2:ffff::8", True),
        ("address", "2001:db8:1:2::7", "2001:db8:1:3::7", False),
        ("block", "203.0.113.7", "203.0.113.200", True),
        ("block", "203.0.113.7", "203.0.114.7", False),
        ("block", "2001:db8:1:2::7", "2001:db8:1:3::7", True),
        ("block", "2001:db8:1:2::7", "2001:db8:2:2::7", False),
        ("block", "0.0.0.7", "::7", False),
    ],
)
def test_one_network_is_one_group(group_by, one, other, is_same):
    assert (network_of(one, group_by) == network_of(other, group_by)) is is_same
    names = GroupNames(SessionIds("secret"), group_by)
    assert (names.name("", one) == names.name("", other)) is is_same


def test_a_group_is_named_by_a_hash_that_only_the_secrets_owner_can_make():
    names, others = GroupNames(SessionIds("secret"), "address"), GroupNames(SessionIds("another"), "address")
    assert names.name("", "203.0.113.7") != others.name("", "203.0.113.7")
    assert names.name("flat", "203.0.113.7") == names.name("flat", "203.0.113.8") != others.name("flat", "")
    network = network_of("203.0.113.7", "address")
    assert names.name(network, "") != names.name("", "203.0.113.7"), "nobody tells its way into an address's group"
    assert names.name("", "") == names.name("", "no address") == b""


def test_what_a_worker_remembers_of_links_is_bounded_in_bytes(monkeypatch):
    most_bytes = 1 << 20
    monkeypatch.setattr("server.session_service.groups.BYTES_MAX", most_bytes)
    links, menu = Links(), classic_prices(segments=12).menu(2, 8)
    downloads = (Download(started_s=0.0, duration_s=8.0, latency_s=0.0, size_bytes=1_000_000),)
    asked = Observation(now_s=8.0, menu=menu, buffer_s=10.0, buffer_max_s=60.0, downloads=downloads)
    controller = Toprung()

    def ask(group: int, viewer: int) -> str:
        state = SessionState(
            title="t",
            controller="toprung",
            families=(),
            profile=b"",
            buffer_max_s=60.0,
            created_s=0.0,
            group=group.to_bytes(8, "big"),
        )
        turn = links.take_turn(state, f"{group:08}{viewer:08}", controller, asked, 100.0 + viewer)
        turn.conclude(Decision(option=0, reason="any"))
        return turn.told

    tracemalloc.start()
    try:
        for group in range(600):
            ask(group, 0)
        for group in range(600, 608):
            for viewer in range(64):
                ask(group, viewer)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes / 2 < held_bytes < most_bytes
    assert "among 64 on" in ask(607, 63) and "among 1 on" in ask(0, 1), "who was last is remembered, the first is not"
