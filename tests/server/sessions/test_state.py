"""What a session remembers: little, and what matters."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import device_profile, enhancements, take

from abr.controllers import HORIZON, make_controller
from abr.core.control import DOWNLOADS_MAX, Download
from abr.core.enhancement import Family
from abr.core.pricing import price
from server.sessions.observation import ClientHints
from server.sessions.state import (
    OPTIONS_MAX,
    OWNED_MAX,
    SEGMENTS_KEPT,
    SessionState,
    dumps_state,
    loads_state,
    owned_keys,
    pack_download,
    pack_owned,
    unpack_download,
)


def fresh(**over: object) -> SessionState:
    fields: dict[str, object] = {
        "title": "bbb",
        "controller": "toprung",
        "families": tuple(Family),
        "profile": b"p" * 16,
        "buffer_max_s": 60.0,
        "created_s": 1.7e9,
    }
    return SessionState(**fields | over)


downloads = st.builds(
    Download,
    started_s=st.integers(0, 10**9).map(lambda ms: ms / 1000),
    duration_s=st.integers(0, 10**8).map(lambda ms: ms / 1000),
    latency_s=st.integers(0, 10**6).map(lambda ms: ms / 1000),
    size_bytes=st.integers(0, 1 << 40),
)
steps = st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, OPTIONS_MAX - 2)), max_size=60)


@given(steps)
def test_the_last_choice_for_each_segment_near_the_latest_one_is_remembered(steps):
    state, chosen = fresh(), {}
    for segment, option in steps:
        state = state.with_choice(segment, option)
        chosen[segment] = option
        chosen = {at: each for at, each in chosen.items() if abs(at - segment) < SEGMENTS_KEPT}
        assert state.option(segment) == option
        assert state.last == option
        assert len(state.choices) <= SEGMENTS_KEPT
    for segment in {at for at, _ in steps}:
        assert state.option(segment) in (None, chosen.get(segment))


@given(st.integers(0, 500))
def test_playing_on_from_the_start_keeps_the_latest_choices(count):
    state = fresh()
    for segment in range(count):
        state = state.with_choice(segment, segment % 7)
    for segment in range(count):
        expected = segment % 7 if segment >= count - SEGMENTS_KEPT else None
        assert state.option(segment) == expected
    assert state.option(count) is None
    assert state.option(-1) is None


@given(st.lists(downloads, max_size=30))
def test_the_newest_downloads_are_kept_and_none_is_counted_twice(told):
    state = fresh()
    for download in told:
        state = state.with_download(download).with_download(download)
    kept = [unpack_download(packed) for packed in state.downloads]
    assert len(kept) <= DOWNLOADS_MAX
    assert len(set(kept)) == len(kept)
    if told:
        assert kept[-1] == told[-1] or told[-1] in told[:-1]


@given(downloads)
def test_milliseconds_survive_packing(download):
    assert unpack_download(pack_download(download)) == download


@given(st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=40))
def test_owned_chunks_are_recognised_by_their_first_digits(keys):
    packed = pack_owned(key[:8] for key in keys)
    assert len(packed) <= 4 * OWNED_MAX
    found = owned_keys(packed, keys)
    assert set(keys[:OWNED_MAX]) <= set(found)
    assert owned_keys(packed, ["f" * 8 + "0" * 56]) == () or any(key.startswith("f" * 8) for key in keys)


def test_a_state_is_at_most_a_kibibyte_however_full():
    state = fresh(
        title="t" * 64,
        controller="c" * 32,
        choices_from=10**6,
        choices=bytes([254]) * SEGMENTS_KEPT,
        downloads=tuple((3_600_000_000 + i, 20_000_000, 200_000, 4_000_000) for i in range(DOWNLOADS_MAX)),
        owned=b"abcd" * OWNED_MAX,
        memory=tuple(0.1 * i for i in range(16)),
        decided_s=1234.5678,
        ahead_s=12.345,
        menu=2**32 - 1,
        last=254,
    )
    assert len(dumps_state(state)) <= 1024
    assert len(dumps_state(msgspec.structs.replace(state, arm="a" * 16, visit=b"v" * 8))) <= 1024 + 32
    assert len(dumps_state(msgspec.structs.replace(state, group=b"g" * 8))) <= 1024 + 8
    assert loads_state(dumps_state(state)) == state


def test_a_state_that_an_older_server_saved_is_one_without_a_group():
    saved = msgspec.msgpack.decode(dumps_state(fresh(version="abc", arm="a", visit=b"v" * 8)))
    assert loads_state(msgspec.msgpack.encode(saved[:-1])) == fresh(version="abc", arm="a", visit=b"v" * 8)


@pytest.fixture(scope="module")
def offer(title):
    return title, price(title, enhancements(title), device_profile(title))


def test_deciding_is_pure_and_repeats_itself(offer):
    title, prices = offer
    controller = make_controller("toprung")
    one = take(fresh(), ClientHints(), title, prices, controller, 0, now_s=1.7e9 + 1, horizon=HORIZON)
    other = take(fresh(), ClientHints(), title, prices, controller, 0, now_s=1.7e9 + 1, horizon=HORIZON)
    assert one == other
    again = take(one.state, ClientHints(), title, prices, controller, 0, now_s=1.7e9 + 9, horizon=HORIZON)
    assert (again.rendition, again.enhancer, again.event) == (one.rendition, one.enhancer, None)
    assert again.state == one.state


def test_choices_from_another_option_list_are_forgotten(offer):
    title, prices = offer
    plain = price(title)
    state = take(fresh(), ClientHints(), title, prices, make_controller("fixed"), 0, now_s=1.7e9, horizon=HORIZON).state
    assert state.option(0) is not None
    taken = take(state, ClientHints(), title, plain, make_controller("lowest"), 0, now_s=1.7e9, horizon=HORIZON)
    assert taken.event is not None
    assert (taken.rendition, taken.enhancer) == ("180p", "none")
