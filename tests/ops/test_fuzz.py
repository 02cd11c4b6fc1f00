"""Thousands of CMCD strings, events and manifests that are almost right, none of which breaks anything."""

from __future__ import annotations

import json
import string
import time

import pytest
from damage import damaged_bytes, damaged_json
from hypothesis import given
from hypothesis import strategies as st
from serving import device_profile, enhancements, take
from titles import prepared_title

from abr.controllers import CONTROLLERS
from abr.core.events import Downloaded, EventBatch
from abr.core.pricing import price
from abr.errors import FormatError
from abr.protocols.cmcd import HEADERS
from abr.records import dumps, loads
from client_player.source.mpd import SEGMENTS_ALL_MAX, TRACKS_MAX, URL_MAX_CHARS, loads_mpd
from server.monitoring.metrics import Metrics
from server.monitoring.shown_quality import quality_shown
from server.sessions.observation import read_hints
from server.sessions.state import SessionState

TITLE, FOLDER = prepared_title()
PRICES = price(TITLE, enhancements(TITLE), device_profile(TITLE))
URL = "http://localhost/titles/bbb/manifest.mpd"

KEYS = ("bl", "mtp", "su", "sid", "d", "br", "ot", "sf", "st", "tb", "nor", "nrr", "pr", "v", "bs", "cid", "dl", "rtp")
OURS = tuple(f"com.toprung-{letter}" for letter in "bqdtpw")
VALUES = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(repr),
    st.sampled_from(
        ('"1/2/3/4"', '"100000/500/20/1000"', '"9999999999999999999/1/1/1"', '"-1/0/0/0"', '"////"', '"0/0/0/0"')
    ),
    st.sampled_from(('"deadbeef,00000000"', '"xyz"', "?0", "?1", "v", "i", "", '"', '"\\\\"', "nan", "inf", "1e400")),
    st.text(string.printable, max_size=30).map(lambda text: f'"{text}"'),
    st.text(max_size=20),
)
ITEM = st.tuples(st.sampled_from(KEYS + OURS) | st.text(max_size=12), VALUES).map("=".join) | st.sampled_from(
    ("bs", "su")
)
CMCD = st.lists(ITEM, max_size=12).map(",".join) | st.text(max_size=200)


class Request:
    """What `read_hints` reads of a request."""

    def __init__(self, headers: dict[str, str], query: dict[str, str]) -> None:
        self.headers, self.query = headers, query


@given(query=CMCD, header=CMCD, name=st.sampled_from(HEADERS), segment=st.integers(0, 2))
def test_whatever_cmcd_says_a_segment_is_decided(query, header, name, segment):
    heard = read_hints(Request({name: header}, {"CMCD": query}))
    state = SessionState(
        title="bbb", controller="bola", families=(), profile=b"", buffer_max_s=60.0, created_s=1.7e9, downloads=()
    )
    taken = take(state, heard, TITLE, PRICES, BOLA, segment, now_s=1.7e9 + 5, horizon=5)
    assert taken.rendition in PRICES.rendition_ids
    assert not taken.failed
    dumps(taken.event)
    loads(dumps(taken.event), type(taken.event), what="what goes into the log")
    assert len(taken.state.owned) <= 128


BOLA = CONTROLLERS.get("bola")()

BATCH = {
    "events": [
        {"event": "started", "t_s": 0.0, "session": "s", "title": "bbb", "controller": "c"},
        {
            "event": "downloaded",
            "t_s": 1.0,
            "kind": "video",
            "started_s": 0.0,
            "latency_s": 0.1,
            "duration_s": 0.5,
            "size_bytes": 1000,
        },
        {"event": "playing", "t_s": 1.0, "startup_s": 1.0},
        {
            "event": "shown",
            "t_s": 3.0,
            "segment": 0,
            "rendition": "180p",
            "enhancer": "content-low",
            "frames": 50,
            "enhanced_frames": 40,
            "plain_frames": 10,
            "late_frames": 0,
            "buffer_s": 2.0,
            "enhance_p95_ms": 9.0,
        },
        {"event": "stalled", "t_s": 4.0, "duration_s": 0.5, "segment": 1},
        {"event": "stepped", "t_s": 4.0, "segment": 1, "from_enhancer": "a", "to_enhancer": "b", "reason": "r"},
        {"event": "failed", "t_s": 4.0, "what": "x", "detail": "y"},
        {"event": "ended", "t_s": 5.0, "reason": "finished", "played_s": 5.0},
    ]
}
TELEMETRY = Metrics(time.time, "test")


@given(batch=damaged_json(BATCH))
def test_events_are_refused_or_counted(batch):
    check_events(json.dumps(batch).encode())


@given(body=damaged_bytes(json.dumps(BATCH).encode()) | st.binary(max_size=300))
def test_bytes_that_were_events_are_refused_or_counted(body):
    check_events(body)


def check_events(body: bytes) -> None:
    try:
        events = loads(body, EventBatch, what="events").events
    except FormatError as error:
        assert len(str(error)) < 400
        return
    TELEMETRY.viewers.observe(events, "session", lambda event: quality_shown(event, PRICES))


def test_a_rate_beyond_measure_does_not_spoil_the_sum():
    got = Downloaded(t_s=1, kind="video", started_s=0, latency_s=0, duration_s=1e-308, size_bytes=1 << 40)
    check_events(dumps(EventBatch(events=(got,))))


def test_what_was_counted_of_fuzzed_events_can_still_be_scraped():
    body, _ = TELEMETRY.exposition("application/openmetrics-text; version=1.0.0")
    lines = [line.split("# {")[0].split()[1] for line in body.decode().splitlines() if not line.startswith("#")]
    assert all(float(value) < float("inf") for value in lines)


MANIFEST = (FOLDER / "manifest.mpd").read_bytes()
DRIVEN = (FOLDER / "driven.mpd").read_bytes()


@given(document=damaged_bytes(MANIFEST) | damaged_bytes(DRIVEN) | st.binary(max_size=300))
def test_manifests_are_refused_or_bounded(document):
    check_manifest(document)


NUMBERS = st.sampled_from(
    ("0", "-1", "1", "999999999999999999", "18446744073709551616", "٣", "1e9", "", "NaN", "PT9e9S")
)


@given(number=NUMBERS, place=st.integers(0, MANIFEST.count(b'="') - 1))
def test_attributes_of_manifests_may_be_anything(number, place):
    parts = MANIFEST.decode().split('="')
    _, quote, rest = parts[place + 1].partition('"')
    parts[place + 1] = number + quote + rest
    check_manifest('="'.join(parts).encode())


def check_manifest(document: bytes) -> None:
    try:
        found = loads_mpd(document, URL)
    except FormatError as error:
        assert "\n" not in str(error)
        return
    tracks = (*found.video, *found.audio)
    assert 0 < len(tracks) <= TRACKS_MAX
    assert sum(len(track.segments) for track in tracks) <= SEGMENTS_ALL_MAX
    for span in (span for track in tracks for span in track.segments[:100]):
        assert span.url.startswith(("http://", "https://"))
        assert len(span.url) <= URL_MAX_CHARS


LAUGHS = '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
REPRESENTATION = (
    '<Representation id="{}" bandwidth="1">'
    '<SegmentTemplate media="$Number$" duration="1" timescale="1000"/></Representation>'
)
MPD = (
    '<MPD mediaPresentationDuration="PT{}S"><Period>'
    '<AdaptationSet contentType="video">{}</AdaptationSet></Period></MPD>'
)
FAR = f"<Period><BaseURL>{'x' * 3_000_000}</BaseURL>"
BOMBS = {
    "a billion laughs": LAUGHS + "]><MPD>&i;</MPD>",
    "an external entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><MPD>&e;</MPD>',
    "a document type in UTF-16": (LAUGHS + "]><MPD>&i;</MPD>").replace("?>", ' encoding="utf-16"?>').encode("utf-16"),
    "a billion repeats": MPD.format(9, REPRESENTATION.format(1)).replace(
        "/></Rep", '><SegmentTimeline><S d="1" r="999999999"/></SegmentTimeline></SegmentTemplate></Rep'
    ),
    "segments without end": MPD.format(999999, REPRESENTATION.format(1)),
    "many long tracks": MPD.format(30, "".join(map(REPRESENTATION.format, range(64)))),
    "a deep tree": "<a>" * 300_000,
    "a deep tree that ends": "<MPD>" + "<a>" * 200_000 + "</a>" * 200_000 + "</MPD>",
    "a long address": MPD.format(49, REPRESENTATION.format("x" * 3_000_000).replace("$Number$", "$RepresentationID$")),
    "a long base": MPD.format(49, REPRESENTATION.format(1)).replace("<Period>", FAR),
    "too large": b"<MPD>" + b" " * (5 << 20) + b"</MPD>",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_manifest_bombs_do_not_go_off(bomb):
    document = BOMBS[bomb]
    started_s = time.process_time()
    with pytest.raises(FormatError):
        loads_mpd(document if isinstance(document, bytes) else document.encode(), URL)
    assert time.process_time() - started_s < 30, "no figure to be proud of: it is about minutes, hours and gigabytes"
