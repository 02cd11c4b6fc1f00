"""A ladder that falls behind: what is left out, what manifests and decisions say of it, and how it comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import m3u8
import numpy as np
import pytest
from av.video.frame import VideoFrame
from broadcast import CHUNK_FRAMES, SEGMENT_FRAMES, Broadcast
from clips import make_clip
from mpegdash.parser import MPEGDASHParser
from oracle import decode

from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.core.options import known_cells
from abr.core.pricing import price
from abr.media.probe import probe
from abr.media.source_frames import display_frames
from abr.records import load
from server.ingest.encode import Break, encode_ladder
from server.ingest.encode_settings import EncodeSettings, LiveEncoding
from server.ingest.encoders.h264 import x264_options
from server.ingest.ladder import Rung
from server.ingest.mp4.cmaf import Write
from server.live.ladder.refilling import fill_left_out
from server.live.ladder.shedding import PATIENCE_MAX_S, PATIENCE_S, WHOLE_LADDER, Ladder, Shedder, steps_of
from server.live.options import LiveOptions
from server.live.source.address import Address
from server.live.source.reader import LiveSource
from server.live.stream import stream_live
from server.live_titles.outlook import list_around, outlook_of, planned_list
from server.media.library import Library
from server.media.live_title import load_live

RUNGS = ("180p", "360p", "720p")
EASED = Ladder(eased=("720p",))
WITHOUT_TOP = Ladder(without=("720p",), eased=("360p",))


def shedder(segment_s: float = 2.0) -> Shedder:
    return Shedder(steps_of(RUNGS, can_ease=True), segment_s)


def feed(it: Shedder, *ready_s: float) -> list[Ladder]:
    """The ladders that follow, one for each change."""
    return [it.ladder for each_s in ready_s if it.note(each_s)]


def test_first_the_top_rung_is_eased_then_rungs_go_from_the_top_and_the_lowest_stays():
    assert steps_of(RUNGS, can_ease=True) == [
        WHOLE_LADDER,
        EASED,
        WITHOUT_TOP,
        Ladder(without=("720p", "360p"), eased=("180p",)),
    ]
    assert steps_of(RUNGS, can_ease=False)[1:] == [Ladder(without=("720p",)), Ladder(without=("720p", "360p"))]
    assert steps_of(RUNGS[:1], can_ease=False) == [WHOLE_LADDER]


def test_a_single_late_segment_or_one_that_catches_up_sheds_nothing():
    assert feed(shedder(), *[0.2, 3.0, 0.2] * 10) == []
    assert feed(shedder(), 0.1, 0.1, 5.0, 4.0, 3.0, 2.0, 1.2, 0.5) == []


def test_segments_that_stay_late_shed_a_step_at_a_time_and_each_step_is_given_time():
    it = shedder()
    assert feed(it, 0.1, 1.5, 1.6) == [EASED]
    assert feed(it, 1.7, 1.8) == [], "these were under way when the step was taken"
    assert feed(it, 1.9) == [WITHOUT_TOP]
    assert feed(it, *[5.0] * 30)[-1].without == ("720p", "360p"), "and never the lowest"


def test_with_room_for_a_while_it_comes_back_a_step_at_a_time_and_each_relapse_doubles_the_while():
    it, calm = shedder(), int(PATIENCE_S / 2)
    feed(it, 0.1, 1.5, 1.6)
    assert feed(it, *[0.2] * (calm - 1)) == [] and feed(it, 0.8, *[0.2] * (calm - 1)) == [], "no room in between"
    assert feed(it, 0.2) == [WHOLE_LADDER]
    for times in (2, 4, 8, 16, 16):
        assert feed(it, 0.2, 1.5, 1.6) == [EASED]
        assert feed(it, *[0.2] * (times * calm - 1)) == [] and feed(it, 0.2) == [WHOLE_LADDER]
    feed(it, *[0.2] * int(PATIENCE_MAX_S), 1.5, 1.6)
    assert it.ladder == EASED and feed(it, *[0.2] * calm) == [WHOLE_LADDER], "relapses are forgotten"


@pytest.fixture
def shed(tmp_path: Path) -> Broadcast:
    """Four segments of both rungs, three without the top one, which is back in the last two."""
    now = SimpleNamespace(s=1_800_000_000.0)
    sent = Broadcast(tmp_path, lambda: now.s, window_s=60.0)
    sent.send(4)
    sent.publication.change_ladder(4, 4 * SEGMENT_FRAMES, Ladder(without=("108p",), eased=("64p",)))
    sent.send(3, without=("video/108p",))
    return sent


def come_back(sent: Broadcast) -> None:
    sent.publication.change_ladder(7, 7 * SEGMENT_FRAMES, WHOLE_LADDER)
    sent.send(2)


def test_the_mpd_has_a_period_without_the_rung_that_goes_on_from_the_one_before(shed: Broadcast):
    come_back(shed)
    mpd = MPEGDASHParser.parse((shed.folder / "manifest.mpd").read_text())
    assert [(period.id, period.start, period.duration) for period in mpd.periods] == [
        ("0", "PT0S", "PT4.000000S"),
        ("1", "PT4.000000S", "PT3.000000S"),
        ("2", "PT7.000000S", None),
    ]
    named = [[each.id for each in period.adaptation_sets[0].representations] for period in mpd.periods]
    assert named == [["64p", "108p"], ["64p"], ["64p", "108p"]]
    for number, period in enumerate(mpd.periods):
        for adaptation_set in period.adaptation_sets:
            before = [each.value for each in adaptation_set.supplemental_properties or ()]
            assert before == ([str(number - 1)] if number else [])
    driven = MPEGDASHParser.parse((shed.folder / "driven.mpd").read_text())
    assert [(period.id, period.start) for period in driven.periods] == [("0", "PT0S")]


def test_hls_has_gaps_in_its_playlist_and_no_variant_of_it(shed: Broadcast):
    assert [each.uri for each in m3u8.load(str(shed.folder / "master.m3u8")).playlists] == ["64p.m3u8"]
    come_back(shed)
    low, top = (m3u8.load(str(shed.folder / f"{rung}.m3u8")).segments for rung in ("64p", "108p"))
    assert [bool(each.gap_tag) for each in top] == [False] * 4 + [True] * 3 + [False] * 2
    assert not any(each.gap_tag or each.discontinuity for each in low)
    assert [each.program_date_time for each in low] == [each.program_date_time for each in top]
    assert len(m3u8.load(str(shed.folder / "master.m3u8")).playlists) == 2


def test_what_is_not_made_is_offered_to_nobody(shed: Broadcast):
    tables = load(shed.folder / TABLES_FILE, LiveTables)
    tables.check("tables")
    assert tables.shed == ("108p",) and tables.eased == ("64p",) and tables.sizes["108p"][4:] == (0, 0, 0)
    told = load_live(shed.folder)
    assert told.shed == ("108p",) and "running, without 108p" in told.describe(told.updated_s)
    outlook = outlook_of(tables)
    typical = price(tables.typical)
    prices = list_around(outlook, 3, typical, planned_list(typical, outlook.planned))
    prices.check()
    offered = known_cells(prices.size_bytes)
    assert offered[:, 0].all() and offered[:2, 1].all() and not offered[2:, 1].any()
    come_back(shed)
    again = outlook_of(load(shed.folder / TABLES_FILE, LiveTables), outlook)
    assert np.isfinite(again.planned).all() and np.isfinite(again.forecast).all()
    assert outlook_of(load(shed.folder / TABLES_FILE, LiveTables), again).planned is again.planned


def test_a_rung_that_was_shed_for_longer_than_the_window_is_still_known(tmp_path: Path):
    sent = Broadcast(tmp_path, lambda: 1_800_000_000.0)
    sent.send(2)
    sent.publication.change_ladder(2, 2 * SEGMENT_FRAMES, Ladder(without=("108p",)))
    sent.send(12, without=("video/108p",))
    tables = load(sent.folder / TABLES_FILE, LiveTables)
    tables.check("tables")
    assert not any(tables.sizes["108p"]) and [span.without for span in tables.spans] == [("108p",)]
    outlook = outlook_of(tables)
    assert np.isnan(outlook.forecast[1]) and np.isfinite(outlook.forecast[0])
    price(tables.typical).check()


def test_what_was_announced_is_still_made_before_a_rung_is_left_out(tmp_path: Path):
    now_s = 1_800_000_000.0
    sent = Broadcast(tmp_path, lambda: now_s, window_s=60.0, chunk_frames=CHUNK_FRAMES)
    sent.send(4)
    told = announced((sent.folder / "manifest.mpd").read_text())
    assert ("108p", 6) in told, "two segments ahead"
    eased = Ladder(eased=("108p",))
    assert sent.publication.change_ladder(4, 4 * SEGMENT_FRAMES, eased) == 4, "nobody is told of less effort"
    without = Ladder(without=("108p",), eased=("64p",))
    assert sent.publication.change_ladder(5, 5 * SEGMENT_FRAMES, without) == 6
    sent.send(2)
    sent.send(2, without=("video/108p",))
    assert told <= announced((sent.folder / "manifest.mpd").read_text())
    mpd = MPEGDASHParser.parse((sent.folder / "manifest.mpd").read_text())
    assert [(period.id, period.start) for period in mpd.periods] == [("0", "PT0S"), ("1", "PT6.000000S")]
    gaps = [bool(each.gap_tag) for each in m3u8.load(str(sent.folder / "108p.m3u8")).segments]
    assert gaps == [False] * 6 + [True] * 2


def test_a_source_that_goes_before_a_rung_is_left_out_comes_back_without_it(tmp_path: Path):
    now_s = 1_800_000_000.0
    sent = Broadcast(tmp_path, lambda: now_s, window_s=60.0, chunk_frames=CHUNK_FRAMES)
    sent.send(4)
    assert sent.publication.change_ladder(4, 4 * SEGMENT_FRAMES, Ladder(without=("108p",))) == 6
    sent.send()
    sent.publication.close_span(5, 5 * SEGMENT_FRAMES, waits_s=30.0)
    sent.publication.resume(now_s + 9)
    sent.send(2, without=("video/108p",))
    tables = load(sent.folder / TABLES_FILE, LiveTables)
    tables.check("tables")
    assert [(span.first_segment, span.without) for span in tables.spans] == [(0, ()), (5, ("108p",))]
    assert ("108p", 5) in announced((sent.folder / "manifest.mpd").read_text()) and ("108p", 6) not in announced(
        (sent.folder / "manifest.mpd").read_text()
    )


def announced(mpd: str) -> set[tuple[str, int]]:
    """All segments of pictures that it names, by their rungs and their numbers."""
    named: set[tuple[str, int]] = set()
    for period in MPEGDASHParser.parse(mpd).periods:
        pictures = period.adaptation_sets[0]
        template = pictures.segment_templates[0]
        count = sum(1 + (each.r or 0) for each in template.segment_timelines[0].Ss)
        numbers = range(template.start_number, template.start_number + count)
        named |= {(rung.id, number) for rung in pictures.representations for number in numbers}
    return named


class Lagging:
    """A monotonic clock by which segments were ready so much later. It keeps the MPD whenever it is asked."""

    def __init__(self, lag_s: float, folder: Path) -> None:
        self.lag_s, self._folder = lag_s, folder
        self.manifests: set[str] = set()

    def __call__(self) -> float:
        with suppress(FileNotFoundError):
            self.manifests.add((self._folder / "manifest.mpd").read_text())
        return time.monotonic() + self.lag_s


def test_a_stream_that_falls_behind_sheds_says_so_and_comes_back(tmp_path: Path):
    """By its clock all is late until the lowest rung is alone; then it is in time."""
    ticks, said = Lagging(1000.0, tmp_path / "cam"), []

    def tell(sentence: str) -> None:
        said.append(sentence)
        if "without 108p" in sentence:
            ticks.lag_s = 0.0

    place = "testsrc2=size=192x108:rate=10:duration=64[out0];sine=duration=64[out1]"
    recipe = EncodeSettings(heights_px=(64, 108), preset="superfast", segment_s=1.0, audio_bps=64_000)
    options = LiveOptions(name="cam", recipe=recipe, window_s=200.0, chunk_s=0.5)
    source = LiveSource(Address(place=place, format="lavfi"))
    folder = stream_live(source, Library(tmp_path), options, tell=tell, ticks=ticks).folder
    steps = [sentence.partition(": ")[2] for sentence in said if "effort" in sentence or "whole again" in sentence]
    assert steps[:2] == [
        "it falls behind: 108p is encoded with less effort.",
        "it falls behind: it goes on without 108p, and 64p is encoded with less effort.",
    ]
    assert steps[-2:] == [
        "there is room: 108p is encoded with less effort.",
        "there is room: its ladder is whole again.",
    ]
    gaps = [bool(each.gap_tag) for each in m3u8.load(str(folder / "108p.m3u8")).segments]
    there = [(folder / "video" / "108p" / f"seg-{number:05d}.m4s").is_file() for number in range(1, 65)]
    assert any(gaps) and gaps == [not each for each in there]
    kept = {number for number, is_there in enumerate(there, 1) if is_there}
    told = set().union(*map(announced, ticks.manifests))
    assert {number for rung, number in told if rung == "108p" and number <= 64} <= kept
    for rung in ("64p", "108p"):
        pictures = decode(joined(folder / "video" / rung))
        assert pictures.warnings == ""
        is_made = [rung == "64p" or each for each in there]
        assert pictures.times == [Fraction(index, 10) for index in range(640) if is_made[index // 10]]


def joined(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in (folder / "init.mp4", *sorted(folder.glob("seg-*.m4s"))))


@pytest.mark.parametrize("preset", ["superfast", "medium"])
def test_less_effort_leaves_the_init_segment_and_breaks_cost_no_frame(tmp_path: Path, preset: str):
    """A break after 30 frames, then less effort; from 55 on one rung is left out, and made afterwards."""
    clip, rate = make_clip(tmp_path / "clip.mp4", frames=100), Fraction(25)
    footage, recipe = probe(clip), EncodeSettings(preset=preset, segment_s=1.0)
    rungs = [
        Rung(id=f"{height}p", width_px=width, height_px=height, pixel_aspect=(1, 1), cap_bps=0)
        for width, height in ((96, 54), (192, 108))
    ]

    def writer(rung: Rung) -> Write:
        folder = tmp_path / rung.id
        folder.mkdir(exist_ok=True)

        def write(name: str, data: bytes) -> None:
            if data:
                (folder / name).write_bytes(data)

        return write

    def frames() -> Iterator[VideoFrame | Break]:
        for index, frame in enumerate(display_frames(clip, footage)):
            if index == 30:
                yield Break(eased=frozenset({"54p", "108p"}))
            if index == 55:
                yield Break(without=frozenset({"108p"}))
            yield frame

    encoded = encode_ladder(frames(), rungs, recipe, rate, writer, live=LiveEncoding())
    assert [each.segment_frames for each in encoded] == [(25, 5, 25, 25, 20)] * 2
    assert all(encoded[0].segment_bytes) and encoded[1].segment_bytes[3:] == (0, 0)
    whole = fill_left_out(tmp_path / "108p", clip, footage, rungs[1], encoded[1], recipe, lambda _frames: None)
    assert whole.segment_bytes[:3] == encoded[1].segment_bytes[:3] and all(whole.segment_bytes)
    for rung in ("54p", "108p"):
        pictures = decode(joined(tmp_path / rung))
        assert pictures.warnings == "" and pictures.times == [index / rate for index in range(100)]


@pytest.mark.parametrize("preset", ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"])
def test_less_effort_leaves_the_parameter_sets_as_they_are(preset: str):
    rung = Rung(id="108p", width_px=192, height_px=108, pixel_aspect=(1, 1), cap_bps=300_000)
    recipe = EncodeSettings(preset=preset, segment_s=1.0)
    eased, usual = (
        x264_sets(x264_options(rung, recipe, low_delay=True, threads=1, eased=eased)) for eased in (True, False)
    )
    assert eased == usual != b""


def x264_sets(options: dict[str, str]) -> bytes:
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 192, 108, "yuv420p", Fraction(1, 25)
    codec.options = options
    codec.flags |= av.codec.context.Flags.global_header
    codec.open()
    sets = bytes(codec.extradata or b"")
    return sets[: sets.index(b"x264 - core") if b"x264 - core" in sets else None]
