"""Where a viewer's pictures are enhanced: the rule, the question over a real socket, and our player that asks it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from edge_nodes import edge
from film import own_device, small_film_library
from served import serving
from viewers import EAGER, FAST_MACHINE

from abr.core.device import Wish
from abr.core.enhancement import Family
from abr.protocols.edge_api import EnhanceAt, EnhanceAtReply, EnhanceAtRequest, find_link, link_to
from abr.records import dumps, loads
from abr.virtual_time import run_virtual
from client_player.edge import run as edge_run
from client_player.edge.enhance_at import BACKLOG_MAX_S, Place, choose_place
from client_player.session.request import PlayRequest
from client_player.session.run import watch
from server.connection import accepting
from server.settings import Settings

ABLE = Place(device_gain=9.0, edge_gain=9.0, last_hop_bps=0.0, lifted_bps=3e6, backlog_s=0.0, wish=Wish.QUALITY)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_film_library(tmp_path_factory.mktemp("film")))


@pytest.mark.parametrize(
    ("known", "place", "why"),
    [
        ({}, "device", "encoded once"),
        ({"device_gain": 0.9}, "edge", "less than a point"),
        ({"device_gain": 0.0, "edge_gain": 0.0}, "edge", "less than a point"),
        ({"device_gain": 3.0}, "edge", "6.0 points more"),
        ({"device_gain": 3.0, "edge_gain": 0.0}, "device", "lifts nothing"),
        ({"device_gain": 3.0, "last_hop_bps": 3.7e6}, "device", "3700 kbit/s, and lifted pictures take 3000"),
        ({"device_gain": 3.0, "last_hop_bps": 3.8e6}, "edge", "points more"),
        ({"device_gain": 3.0, "backlog_s": BACKLOG_MAX_S + 1}, "device", "11 s of work"),
        ({"wish": Wish.SAVER}, "edge", "energy"),
        ({"wish": Wish.BALANCED, "last_hop_bps": 1e6}, "device", "1000 kbit/s"),
    ],
)
def test_the_rule(known: dict[str, Any], place: str, why: str) -> None:
    found, reason = choose_place(replace(ABLE, **known))
    assert (found, why in reason) == (place, True), reason


def test_a_link_is_read_as_it_is_written_and_others_are_passed_over() -> None:
    assert find_link(link_to("/titles/film/enhance-at")) == "/titles/film/enhance-at"
    assert find_link(f'</next>; rel="next", {link_to("/here")}') == "/here"
    assert find_link('</next>; rel="next"') is None


def test_a_device_that_can_lift_is_led_to_the_low_rung_and_others_to_lifted_pictures(
    library: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with (
            serving(library) as origin,
            edge(origin, tmp_path) as node,
            aiohttp.ClientSession() as pool,
        ):
            manifest = await node.get("titles/film/manifest.mpd")
            assert find_link(manifest.headers["Link"]) == "/titles/film/enhance-at"

            async def ask(body: bytes) -> tuple[int, bytes]:
                async with pool.post(f"{node.url}titles/film/enhance-at", data=body) as answer:
                    return answer.status, await answer.read()

            for profile, place, path in (
                (own_device(), EnhanceAt.DEVICE, "/titles/film/device/manifest.mpd"),
                (own_device(125.0), EnhanceAt.EDGE, "/titles/film/manifest.mpd"),
            ):
                status, body = await ask(dumps(EnhanceAtRequest(profile=profile)))
                reply = loads(body, EnhanceAtReply, what="the answer")
                assert (status, reply.enhance_at, reply.manifest_url) == (200, place, path)
                assert await node.metric(f'toprung_edge_enhance_at_total{{at="{place}"}}') == 1
                assert (await node.get(path[1:])).status == 200
            status, body = await ask(b'{"profile": "fast"}')
            assert status == 422 and "profile" in json.loads(body)["detail"]
            assert (await ask(bytes(300 << 10)))[0] == 413
            async with pool.options(f"{node.url}titles/film/enhance-at") as answer:
                assert answer.status == 204 and "POST" in answer.headers["Access-Control-Allow-Methods"]

    run_virtual(main(), wall_rate=FAST_MACHINE)


@pytest.mark.parametrize(("able", "place"), [(True, "device"), (False, "edge")])
def test_our_player_asks_where_to_lift_and_an_able_one_gets_no_picture_encoded_twice(
    library: str, tmp_path: Path, able: bool, place: str
) -> None:
    async def main() -> None:
        families = tuple(Family) if able else ()  # a node that lifts nothing is quicker, and leads it nowhere else
        async with serving(library, EAGER) as origin, edge(origin, tmp_path, families=families) as node:
            profile = own_device() if able else own_device(125.0)
            request = PlayRequest(url=f"{node.url}titles/film/manifest.mpd", local=True, profile=profile)
            await watch(request, tmp_path / "shown.y")
            assert await node.metric("toprung_edge_segments_total") == (3 if place == "edge" else 0)
            assert await node.metric(f'toprung_edge_enhance_at_total{{at="{place}"}}') == 1

    run_virtual(main(), wall_rate=FAST_MACHINE)


async def test_who_says_nothing_is_hung_up_on_and_others_are_served(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = partial(Settings, header_timeout_s=0.2, keepalive_timeout_s=0.4, shutdown_timeout_s=0.1)
    monkeypatch.setattr(edge_run, "Settings", impatient)
    monkeypatch.setattr(accepting, "SWEEP_S", 0.05)
    async with serving(library) as origin, edge(origin, tmp_path) as node:
        whole = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        port = int(node.url.rstrip("/").rpartition(":")[2])
        for said, answered in (
            (b"", b""),
            (b"GET /healthz HT", b"408 "),
            (whole, b"200 "),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            assert answered in (await reader.read())[:40], said
            writer.close()
        assert (await node.get("healthz")).status == 200


async def test_one_address_may_ask_only_so_often(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_run, "Settings", partial(Settings, peer_requests_per_s=0.001, trusted_peers=()))
    async with serving(library) as origin, edge(origin, tmp_path) as node:
        assert [(await node.get("healthz")).status for _ in range(2)] == [200, 429]
