"""An edge node over real sockets: a real origin behind it, viewers who fetch as stock players do before it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import av
import m3u8
import pytest
from edge_nodes import EAGER as EAGER_FILE
from edge_nodes import Edge, StockViewer, edge
from faulty import Fault, faulty
from film import film_version, own_device, small_film_library
from mpegdash.parser import MPEGDASHParser
from served import serving
from viewers import FAST_MACHINE, of_kind

from abr.core.enhancement import Family
from abr.core.events import Decided
from abr.simulation.traces import constant
from abr.virtual_time import run_virtual
from client_player.session.request import PlayRequest
from client_player.session.run import watch
from client_player.session.summary import summarise
from server.open_files import raise_limit

FILM = "film"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_film_library(tmp_path_factory.mktemp("film")))


def timed(main: Coroutine[Any, Any, None]) -> None:
    run_virtual(main, wall_rate=FAST_MACHINE)


def pictures(film: bytes, folder: Path) -> list[tuple[int, int, int]]:
    """(presentation time in frames, width, height) of each decoded picture."""
    path = folder / "film.mp4"
    path.write_bytes(film)
    with av.open(str(path)) as container:
        ticks = container.streams.video[0].time_base
        assert ticks is not None
        return [(round(frame.pts * ticks * 25), frame.width, frame.height) for frame in container.decode(video=0)]


def test_a_stock_viewer_is_shown_lifted_pictures_that_fit_between_those_that_are_not(
    library: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with serving(library) as origin, edge(origin, tmp_path, backhaul=constant(4e6, 0.02)) as node:
            viewer = await StockViewer(node, FILM).play()
            assert viewer.enhancers == ["none", "generic-low", "generic-low"], "at the start nothing may be waited for"
            assert viewer.stalled_s == 0.0
            shown = pictures(viewer.film, tmp_path)
            assert [time for time, *_ in shown] == list(range(132))
            assert all((width, height) == ((320, 180) if time < 50 else (640, 360)) for time, width, height in shown)
            assert await node.metric("toprung_edge_lifts_total") == 2
            assert await node.metric("toprung_edge_gained_point_seconds_total") == pytest.approx(9.0 * 3.28)

    timed(main())


def test_its_manifests_are_read_by_other_parsers(library: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(library) as origin, edge(origin, tmp_path) as node:
            titles = json.loads((await node.get("titles")).body)["titles"]
            assert [title["id"] for title in titles] == [FILM]
            mpd = MPEGDASHParser.parse((await node.get(titles[0]["manifest_url"][1:])).body.decode())
            video, sound, *_ = mpd.periods[0].adaptation_sets
            assert (video.mime_type, sound.mime_type) == ("video/mp4", "audio/mp4")
            assert [each.codecs[:5] for each in video.representations] == ["avc3."]
            master = m3u8.loads((await node.get(titles[0]["hls_url"][1:])).body.decode())
            assert len(master.playlists) == 1
            base = f"titles/{FILM}/"
            playlist = m3u8.loads((await node.get(base + master.playlists[0].uri)).body.decode())
            sounds = m3u8.loads((await node.get(base + master.media[0].uri)).body.decode())
            assert len(playlist.segments) == len(sounds.segments) == 3
            for uri in (playlist.segment_map[0].uri, playlist.segments[1].uri):
                assert (await node.get(base + uri)).status == 200

    timed(main())


def test_forty_viewers_at_once_cost_one_download_and_one_lift_of_each_segment(library: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(library) as origin, faulty(origin) as proxy, edge(proxy.url, tmp_path) as node:
            viewers = [StockViewer(node, FILM, name=f"player {number}") for number in range(40)]
            await asyncio.gather(*(viewer.play() for viewer in viewers))
            lifted = [sum(enhancer == "generic-low" for enhancer in viewer.enhancers) for viewer in viewers]
            assert min(lifted) >= 1
            lifts = [job.segment for job in node.lifters.jobs]
            assert len(lifts) == len(set(lifts)) and {1, 2} <= set(lifts)
            media = {path: count for path, count in proxy.requests.items() if path.endswith((".m4s", ".mp4"))}
            assert len(media) >= 7 and set(media.values()) == {1}

    timed(main())


def test_a_lift_that_is_late_is_not_waited_for_and_those_who_come_later_get_it(library: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(library) as origin, edge(origin, tmp_path, held=True) as node:
            first = await StockViewer(node, FILM).play()
            assert first.enhancers == ["none"] * 3 and first.stalled_s == 0.0
            assert await node.metric("toprung_edge_deadline_misses_total") == 3
            assert await node.metric("toprung_edge_lift_queue_length") == 2
            node.lifters.may.set()
            while await node.metric("toprung_edge_lift_queue_length"):
                pass
            second = await StockViewer(node, FILM).play()
            assert second.enhancers[1:] == ["generic-low"] * 2
            assert len(node.lifters.jobs) == 2

    timed(main())


def test_without_its_origin_a_node_plays_what_it_has_and_says_what_it_lacks(library: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(library) as origin, faulty(origin) as proxy:
            async with edge(proxy.url, tmp_path) as node:
                seen = await StockViewer(node, FILM).play()
            proxy.faults.append(Fault(path=".*", kind="503"))
            async with edge(proxy.url, tmp_path) as node:  # restarted, while its origin is away
                again = await StockViewer(node, FILM).play()
                assert again.bodies == seen.bodies and again.enhancers == seen.enhancers
                missing = await node.get(f"titles/{FILM}/{version(library)}video/360p/seg-00001.m4s")
                assert (missing.status, missing.headers["Content-Type"]) == (504, "application/problem+json")
                assert json.loads(missing.body)["status"] == 504 and int(missing.headers["Retry-After"]) > 0
                assert (await node.get("titles/another/manifest.mpd")).status == 504
                assert await node.metric("toprung_edge_origin_up") == 0
                proxy.faults.clear()
                await asyncio.sleep(int(missing.headers["Retry-After"]) + 0.1)
                assert (await node.get(f"titles/{FILM}/{version(library)}video/360p/seg-00001.m4s")).status == 200
                assert await node.metric("toprung_edge_origin_up") == 1

    timed(main())


def version(library: str) -> str:
    return f"v-{film_version(Path(library))}/"


@pytest.mark.parametrize("kind", ["cut", "corrupt"])
def test_what_is_damaged_on_the_disk_or_on_the_way_is_never_sent(library: str, tmp_path: Path, kind: str) -> None:
    plain = [path.read_bytes() for path in sorted(Path(library).glob(f"{FILM}/video/180p/seg-*.m4s"))]

    async def main() -> None:
        async with serving(library) as origin:
            async with edge(origin, tmp_path) as node:
                whole = await StockViewer(node, FILM).play()
            for path in (tmp_path / "files" / FILM).rglob("*.m4s"):
                data = bytearray(path.read_bytes())
                data[-1] ^= 1
                path.write_bytes(data if kind == "corrupt" else data[: len(data) // 2])
            async with edge(origin, tmp_path) as node:
                again = await StockViewer(node, FILM).play()
                await StockViewer(node, FILM).play()
                assert await node.metric('toprung_edge_cache_faults{fault="damaged"}') >= 5
            for number, body in enumerate(again.bodies):
                is_known = body in (whole.bodies[number], plain[number])
                assert is_known or len(pictures(whole.init + body, tmp_path)) == (50, 50, 32)[number]

    timed(main())


def test_a_segment_cut_short_by_the_origin_is_not_kept(library: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(library) as origin, faulty(origin) as proxy, edge(proxy.url, tmp_path) as node:
            proxy.faults.append(Fault(path="180p/seg-00001", kind="cut"))
            assert (await node.get(f"titles/{FILM}/{version(library)}edge/1.m4s")).status == 504
            assert not list((tmp_path / "files" / FILM).rglob("video/*/seg-*.m4s"))

    timed(main())


def test_a_device_that_lifts_by_itself_gets_what_the_origin_has(library: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(library) as origin, edge(origin, tmp_path) as node:
            for file in ("manifest.mpd", "title.json", f"{version(library)}video/180p/seg-00002.m4s"):
                from_edge = await node.get(f"titles/{FILM}/device/{file}")
                from_origin = await Edge(origin, node.lifters).get(f"titles/{FILM}/{file}")
                assert from_edge.body == from_origin.body and from_edge.status == 200
            url = f"{node.url}titles/{FILM}/device/manifest.mpd"
            request = PlayRequest(
                url=url, local=True, controller=EAGER_FILE, profile=own_device(), families=tuple(Family)
            )
            played = await watch(request, tmp_path / "shown.y")
            assert {event.enhancer for event in of_kind(played.events, Decided)} == {"generic-low"}
            assert not node.lifters.jobs, "nothing is encoded again for who lifts by itself"

    timed(main())


def test_our_own_player_plays_it_as_any_other_player_would(library: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(library) as origin, edge(origin, tmp_path) as node:
            url = f"{node.url}titles/{FILM}/manifest.mpd"
            request = PlayRequest(url=url, local=True, controller="bola", families=())
            summary = summarise((played := await watch(request, tmp_path / "shown.y")).events, played.title)
            assert (summary.ended, summary.frames, summary.stalls, summary.failures) == ("finished", 132, 0, 0)
            assert node.lifters.jobs

    timed(main())


def test_what_no_title_has_is_a_problem(library: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(library) as origin, edge(origin, tmp_path) as node:
            for path, status in (
                (f"titles/{FILM}/{version(library)}edge/4.m4s", 404),
                (f"titles/{FILM}/{version(library)}edge/0.m4s", 404),
                ("titles/other/manifest.mpd", 404),
                (f"titles/{FILM}/{version(library)}video/..%2f..%2fsecret", 404),
                (f"titles/{FILM}/live.json", 404),
                ("nothing", 404),
            ):
                answer = await node.get(path)
                assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), path

    timed(main())


def test_ranges_and_conditions_work_as_usual(library: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(library) as origin, edge(origin, tmp_path) as node:
            url = f"titles/{FILM}/{version(library)}video/180p/seg-00001.m4s"
            whole = await node.get(url)
            part = await node.get(url, Range="bytes=10-19")
            assert (part.status, part.body) == (206, whole.body[10:20])
            assert (await node.get(url, If_None_Match=whole.headers["ETag"])).status == 304
            assert (await node.get(url, Range="bytes=99999999-")).status == 416

    timed(main())


def test_weights_that_are_not_what_the_table_says_leave_the_film_as_it_came(library: str, tmp_path: Path) -> None:
    shutil.copytree(library, tmp_path / "titles")
    path = tmp_path / "titles" / FILM / "enhancements.json"
    table = json.loads(path.read_text())
    (path.parent / "enhancers").mkdir()
    (path.parent / "enhancers" / "low.safetensors").write_bytes(bytes(4096))
    chunk = {"file": "enhancers/low.safetensors", "size_bytes": 4096, "sha256": "0" * 64}
    table["enhancers"][0]["offers"][0]["chunks"] = [chunk]
    path.write_text(json.dumps(table))

    async def main() -> None:
        async with serving(str(tmp_path / "titles")) as origin, edge(origin, tmp_path / "cache") as node:
            viewer = await StockViewer(node, FILM).play()
            assert viewer.enhancers == ["none"] * 3 and viewer.stalled_s == 0.0
            assert not node.lifters.jobs
            hoped_for = await node.metric("toprung_edge_deadline_misses_total")
            await StockViewer(node, FILM).play()
            misses = await node.metric("toprung_edge_deadline_misses_total")
            assert misses == hoped_for, "nothing is late that never comes"

    timed(main())


def test_what_was_sent_plain_in_a_hurry_is_lifted_for_those_who_come_after(library: str, tmp_path: Path) -> None:
    """A classic controller never asks for a lift; yet its bytes are here, and computing costs no line."""

    async def main() -> None:
        async with serving(library) as origin, edge(origin, tmp_path, controller="lowest") as node:
            first = await StockViewer(node, FILM).play()
            assert first.enhancers == ["none"] * 3
            for _ in range(2):
                await StockViewer(node, FILM).play()
            while await node.metric("toprung_edge_lift_queue_length"):
                pass
            assert (await StockViewer(node, FILM).play()).enhancers == ["generic-low"] * 3
            assert await node.metric('toprung_edge_backhaul_bytes_total{kind="video"}') < 120_000

    timed(main())


def test_a_thousand_viewers_at_once_get_the_right_bytes(library: str, tmp_path: Path) -> None:
    raise_limit()
    plain = (Path(library) / FILM / "video" / "180p" / "seg-00003.m4s").read_bytes()

    async def ask(port: int, number: int) -> tuple[bytes, bytes]:
        """Status line and body. Sockets alone: a client of aiohttp takes longer than the node."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        path = f"/titles/{FILM}/{version(library)}edge/3.m4s"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: {number}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return head.partition(b"\r\n")[0], body

    async def main() -> None:
        async with serving(library) as origin, faulty(origin) as proxy, edge(proxy.url, tmp_path) as node:
            port = int(node.url.rstrip("/").rpartition(":")[2])
            answers = await asyncio.gather(*(ask(port, number) for number in range(1000)))
            assert set(answers) == {(b"HTTP/1.1 200 OK", plain)}
            assert proxy.requests[f"/titles/{FILM}/{version(library)}video/180p/seg-00003.m4s"] == 1

    timed(main())


def test_a_title_that_may_not_be_enhanced_is_mirrored_as_it_is(library: str, tmp_path: Path) -> None:
    shutil.copytree(library, tmp_path / "titles")
    path = tmp_path / "titles" / FILM / "title.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"no_enhancement": True}))

    async def main() -> None:
        async with serving(str(tmp_path / "titles")) as origin, edge(origin, tmp_path / "cache") as node:
            assert (await StockViewer(node, FILM).play()).enhancers == ["none"] * 3
            assert await node.metric("toprung_edge_deadline_misses_total") == 0

    timed(main())
