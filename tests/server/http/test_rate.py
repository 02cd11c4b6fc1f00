"""/rate: closed unless opened, opinions from our own page alone, kept whole, bounded, and without who it was."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace
from opinions import write_pairs

from abr.core.events import AnyEvent, EventBatch, Playing, Shown, Stalled
from abr.core.title import Title
from abr.errors import FormatError
from abr.opinions.collected import read_opinions
from abr.opinions.features import values_of
from abr.opinions.rating_key import KEY_FILE
from abr.records import dumps
from server.app import create_app
from server.errors import RequestError
from server.opinions.opinion_box import OpinionBox
from server.settings import Settings

SITTING = "0123456789abcdef"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pairs(tmp_path)


@pytest.fixture
def settings(library: Path, folder: Path) -> Settings:
    return Settings(library=str(library), rate=str(folder), trusted_peers=("::1",))


async def post(client: TestClient, body: object, **headers: str) -> tuple[int, str]:
    async with client.post("/rate/opinions", data=json.dumps(body), headers=JSON | headers) as answer:
        return answer.status, await answer.text()


def of_clips(a: int = 4, b: int = 2, clips: tuple[str, str] = ("a.mp4", "b.mp4")) -> dict[str, object]:
    return {"sitting": SITTING, "clips": [{"clip": clips[0], "score": a}, {"clip": clips[1], "score": b}]}


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "opinions").glob("*")) if (folder / "opinions").is_dir() else []


async def test_who_is_not_asked_finds_nothing(library: Path):
    async with TestClient(TestServer(create_app(Settings(library=str(library))))) as client:
        for path in ("/rate", "/rate/pairs", "/rate/clips/a.mp4"):
            assert (await client.get(path)).status == 404
        status, text = await post(client, of_clips())
        assert status == 404
        assert "--rate" in text
        async with client.post("/sessions", data=b'{"title": "bbb"}', headers=JSON) as answer:
            assert (await answer.json())["rate_url"] == ""


async def test_clips_are_shown_by_names_that_tell_nothing_and_their_scores_are_kept(client: TestClient, folder: Path):
    page = await client.get("/rate")
    assert page.status == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    pairs = await (await client.get("/rate/pairs")).json()
    assert pairs == {"set": "s", "pairs": [["a.mp4", "b.mp4"]]}, "of c.mp4 nothing could be learnt"
    async with client.get("/rate/clips/a.mp4", headers={"Range": "bytes=2-5"}) as answer:
        assert (answer.status, await answer.read()) == (206, b"clip")
    for name in ("key.json", "c.mp4", "..%2Fkey.json", "none.mp4"):
        assert (await client.get(f"/rate/clips/{name}")).status == 404
    assert await post(client, of_clips()) == (204, "")
    assert await post(client, of_clips(5, 1)) == (204, ""), "a second thought counts in the place of the first"
    (first, second) = kept(folder)
    assert b"127.0.0.1" not in first.read_bytes() + second.read_bytes()
    found = await asyncio.to_thread(read_opinions, folder)
    assert dict(zip(found.files, found.scores[:, 0].tolist(), strict=True)).keys() == {"a.mp4", "b.mp4"}
    assert values_of(found)["quality"].tolist() == [61.5, 48.0]
    assert values_of(found)["enhanced_share"].tolist() == [1.0, 0.0]


WATCHED: tuple[AnyEvent, ...] = (
    Playing(t_s=1.5, startup_s=1.5),
    Shown(
        t_s=3,
        segment=0,
        rendition="180p",
        enhancer="none",
        frames=50,
        enhanced_frames=0,
        plain_frames=50,
        late_frames=0,
        buffer_s=4,
    ),
    Stalled(t_s=4, duration_s=0.5, segment=1),
)


async def test_a_viewer_rates_the_session_that_was_watched_once(client: TestClient, folder: Path, title: Title):
    async with client.post("/sessions", data=b'{"title": "bbb"}', headers=JSON) as answer:
        opened = await answer.json()
    assert opened["rate_url"] == "/rate"
    opinion = {"sitting": SITTING, "sessions": [opened["id"]], "score": 3}
    status, text = await post(client, opinion)
    assert (status, "watch first" in text) == (409, True)
    rung = title.renditions[0].id
    events = [replace(event, rendition=rung) if isinstance(event, Shown) else event for event in WATCHED]
    async with client.post(
        f"/sessions/{opened['id']}/events", data=dumps(EventBatch(events=tuple(events))), headers=JSON
    ) as answer:
        assert answer.status == 204
    assert (await post(client, opinion))[0] == 204
    assert (await post(client, opinion))[0] == 409, "no second opinion"
    (file,) = kept(folder)
    text = file.read_text()
    assert opened["id"] not in text
    assert opened["id"][:10] not in text + file.name
    (item,) = json.loads(text)["items"]
    assert item["features"] == {
        "quality": pytest.approx(title.plain_quality[rung].vmaf[0], abs=1e-3),
        "change": 0.0,
        "stall_s": pytest.approx(60 * 0.5 / title.segment_duration_s[0], abs=1e-3),
        "startup_s": 1.5,
        "enhanced_share": 0.0,
    }
    assert (await post(client, opinion | {"sessions": ["x" * 40]}))[0] == 404


async def test_what_was_watched_in_two_sessions_is_one_film(client: TestClient, folder: Path, title: Title):
    """A player opens another session once its device is measured."""
    opened = []
    for _ in range(2):
        async with client.post("/sessions", data=b'{"title": "bbb"}', headers=JSON) as answer:
            opened.append((await answer.json())["id"])
    rungs = [title.renditions[0].id, title.renditions[-1].id]
    for number, (session, rung) in enumerate(zip(opened, rungs, strict=True)):
        shown = replace(WATCHED[1], rendition=rung, segment=number)
        body = dumps(EventBatch(events=(shown,) if number else (WATCHED[0], shown)))
        async with client.post(f"/sessions/{session}/events", data=body, headers=JSON) as answer:
            assert answer.status == 204
    assert (await post(client, {"sitting": SITTING, "sessions": opened, "score": 2}))[0] == 204
    (item,) = json.loads(kept(folder)[0].read_text())["items"]
    vmaf = [title.plain_quality[rung].vmaf[number] for number, rung in enumerate(rungs)]
    assert item["features"]["quality"] == pytest.approx(sum(vmaf) / 2, abs=1e-3)
    assert item["features"]["change"] == pytest.approx(abs(vmaf[1] - vmaf[0]), abs=1e-3)
    assert item["features"]["startup_s"] == 1.5
    assert (await post(client, {"sitting": SITTING, "sessions": opened[1:], "score": 2}))[0] == 409


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 204),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://other.example"}, 403),
        ({"Origin": "https://other.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_no_other_site_speaks_for_its_visitors(
    client: TestClient, folder: Path, headers: dict[str, str], status: int
):
    assert (await post(client, of_clips(), **headers))[0] == status
    assert len(kept(folder)) == (status == 204)
    async with client.options("/rate/opinions", headers={"Origin": "https://other.example"}) as answer:
        assert "Access-Control-Allow-Methods" not in answer.headers
    page = await client.get("/rate/pairs")
    assert "Access-Control-Allow-Origin" not in page.headers
    assert page.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"sitting": SITTING}, 422),
        ({"sitting": SITTING, "clips": [{"clip": "a.mp4", "score": 3}], "sessions": ["x"], "score": 3}, 422),
        ({"sitting": SITTING, "sessions": ["x"]}, 422),
        ({"sitting": SITTING, "sessions": ["x"] * 9, "score": 3}, 400),
        ({"sitting": SITTING, "clips": [{"clip": "a.mp4", "score": 6}]}, 400),
        ({"sitting": SITTING, "clips": [{"clip": "a.mp4", "score": 2.5}]}, 400),
        ({"sitting": "me@example.com", "clips": [{"clip": "a.mp4", "score": 3}]}, 400),
        ({"sitting": SITTING, "clips": [{"clip": "key.json", "score": 3}]}, 404),
        ({"sitting": SITTING, "clips": [{"clip": "a.mp4", "score": 3}] * 3}, 400),
        ({"sitting": SITTING, "clips": [{"clip": "a.mp4", "score": 3}], "name": "Ann"}, 400),
        ([], 400),
    ],
)
async def test_what_is_no_opinion_is_refused_and_not_kept(client: TestClient, folder: Path, body: object, status: int):
    found, text = await post(client, body)
    assert found == status
    assert json.loads(text)["detail"]
    assert kept(folder) == []


async def test_one_address_hands_in_a_few_at_a_time(client: TestClient, folder: Path):
    statuses = [(await post(client, of_clips()))[0] for _ in range(8)]
    assert statuses[:5] == [204] * 5
    assert statuses[-1] == 429
    assert len(kept(folder)) == statuses.count(204)


def test_a_full_box_takes_no_more(folder: Path):
    for _ in range(2):
        OpinionBox(folder, files_max=3).keep_clips(SITTING, [("a.mp4", 3)])
    box = OpinionBox(folder, files_max=3)
    box.keep_clips(SITTING, [("a.mp4", 3)])
    with pytest.raises(RequestError) as refused:
        box.keep_clips(SITTING, [("a.mp4", 3)])
    assert refused.value.status == 503
    assert len(kept(folder)) == 3
    assert not [file for file in kept(folder) if file.name.endswith(".part")]


async def test_a_folder_whose_key_cannot_be_read_is_told_at_the_start(library: Path, tmp_path: Path):
    (tmp_path / KEY_FILE).write_text("{}")
    with pytest.raises(FormatError, match=r"key\.json"):
        async with TestServer(create_app(Settings(library=str(library), rate=str(tmp_path)))):
            pass


def test_names_that_lead_elsewhere_are_no_clips(tmp_path: Path):
    inner = tmp_path / "box"
    inner.mkdir()
    key = (write_pairs(inner) / KEY_FILE).read_text().replace("a.mp4", "../secret")
    (inner / KEY_FILE).write_text(key)
    assert OpinionBox(inner).pairs == ()
