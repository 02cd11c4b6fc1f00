"""The report: everything that matters is on the page, and the page loads nothing from anywhere."""

from __future__ import annotations

import asyncio
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from served import serving
from titles import CLIP, prepared_title
from viewers import EAGER, FAST_MACHINE, Bench, enhanced_library, profile

from abr.core.enhancement import EnhancementTable, EnhancerEntry, Family, Tier
from abr.core.events import Failed, Shown, Stepped
from abr.core.title import Title
from abr.simulation.traces import constant
from abr.virtual_time import run_virtual
from client_player.cli import report as report_command
from client_player.playback.before_after import BeforeAfterRecorder, Candidate, Pair, choose_pair, find_pair, write_pair
from client_player.playback.presenter import FrameJob
from client_player.session.archive import open_archive
from client_player.session.report import ReportData, gather, render
from client_player.session.request import PlayRequest
from client_player.session.run import Played, finish, watch
from client_player.session.summary import summarise
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import Frame, frame_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of one enhanced and measured session, among them its report."""
    place = tmp_path_factory.mktemp("report")
    title, _ = prepared_title()
    request = PlayRequest(
        url="",
        trace=constant(6e5, 0.05),
        profile=profile(title),
        families=(Family.CONTENT,),
        source_file=CLIP,
        out=place / "out",
    )

    async def main() -> Played:
        async with serving(str(enhanced_library(place)), EAGER) as url:
            return await watch(replace(request, url=url), place / "shown.y", opener=Bench().open)

    finish(request, run_virtual(main(), wall_rate=FAST_MACHINE), place / "shown.y")
    return place / "out"


def _data(page: str) -> dict[str, object]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    found: dict[str, object] = json.loads(match[1])
    return found


class _References(HTMLParser):
    """Collects every place from which a browser would load something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


class _Sharper:
    """Leaves a mark in one corner of each frame."""

    def __init__(self, title: Title) -> None:
        rung = title.renditions[0]
        self.scaler = PlainScaler(rung.width_px, rung.height_px, title.display_width_px, title.display_height_px)
        self.descriptor = self.scaler.descriptor

    def enhance(self, frame: Frame) -> Frame:
        shown = self.scaler.enhance(frame)
        y = shown.y.copy()
        y[-80:, -80:] = 255 - y[-80:, -80:]
        return frame_of(y, shown.u, shown.v)


@pytest.fixture(scope="module")
def page_with_pair(folder: Path) -> str:
    """The same session's page with a pair whose frames differ at the bottom right."""
    title, place = prepared_title()
    video = place / "video" / "180p"
    data = (video / "init.mp4").read_bytes() + (video / "seg-00002.m4s").read_bytes()
    enhancer = _Sharper(title)
    recorder = BeforeAfterRecorder()
    job = FrameJob(
        segment=1, data=data, rendition="180p", enhancer="content-high", frames=50, first_frame=50, start_s=2.0
    )
    recorder.consider(job, plain_vmaf=40.0, promised_vmaf=55.0)
    recorder.consider(replace(job, segment=2), plain_vmaf=40.0, promised_vmaf=50.0)
    pair = find_pair(recorder.candidates[0], enhancer, enhancer.scaler)
    assert pair is not None
    write_pair(pair, title.fps, folder)
    return render(open_archive(folder / "session.jsonl", library=None, title_url="", trace=None))


def test_the_pair_shows_where_the_enhancer_changed_most(page_with_pair: str, folder: Path) -> None:
    note = json.loads((folder / "pair.json").read_text())
    assert (note["segment"], note["promised_vmaf"]) == (1, 55.0), "the segment with the greater gain is kept"
    assert note["hot_x"] > 0.9 and note["hot_y"] > 0.9
    assert 2.0 <= note["media_s"] < 4.0
    assert (folder / "before.png").read_bytes() != (folder / "after.png").read_bytes()
    assert "180p + content-high" in page_with_pair


def _film(brightness: list[float]) -> bytes:
    """180p, a frame for each number: a pattern of so much light, 0 for black."""
    file = io.BytesIO()
    rows, columns = np.mgrid[0:180, 0:320]
    pattern = (rows * 7 + columns * 5) % 160
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "20", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for light in brightness:
            y = (16 + light * (40 + pattern)).astype(np.uint8)
            yuv = np.concatenate([y, np.full((90, 320), 128, np.uint8)])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(yuv, "yuv420p")))
        container.mux(stream.encode())
    return file.getvalue()


def _job(segment: int, brightness: list[float]) -> FrameJob:
    return FrameJob(
        segment=segment,
        data=_film(brightness),
        rendition="180p",
        enhancer="content-high",
        frames=len(brightness),
        first_frame=0,
        start_s=2.0 * segment,
    )


def _found(recorder: BeforeAfterRecorder) -> Pair:
    enhancer = _Sharper(prepared_title()[0])

    async def find(candidate: Candidate) -> Pair | None:
        return find_pair(candidate, enhancer, enhancer.scaler)

    pair = asyncio.run(choose_pair(recorder.candidates, find))
    assert pair is not None
    return pair


def test_the_pair_is_of_a_frame_with_light_and_detail_not_of_a_black_one() -> None:
    recorder = BeforeAfterRecorder()
    fading = [0.0] * 24 + [1.0] * 24
    recorder.consider(_job(0, fading), plain_vmaf=40.0, promised_vmaf=80.0)
    pair = _found(recorder)
    assert pair.frame >= 24 and float(pair.before.y.mean()) > 60


def test_the_pair_is_of_a_segment_with_light_even_where_black_ones_gain_more() -> None:
    recorder = BeforeAfterRecorder()
    for segment in range(5):
        recorder.consider(_job(segment, [0.0] * 12), plain_vmaf=40.0, promised_vmaf=90.0 - segment)
    recorder.consider(_job(7, [1.0] * 12), plain_vmaf=40.0, promised_vmaf=60.0)
    assert _found(recorder).candidate.job.segment == 7


def test_a_film_of_nothing_but_darkness_still_has_a_pair() -> None:
    recorder = BeforeAfterRecorder()
    recorder.consider(_job(3, [0.0] * 12), plain_vmaf=40.0, promised_vmaf=60.0)
    assert _found(recorder).candidate.job.segment == 3


@pytest.mark.parametrize(
    ("enhancer", "frames", "credited"),
    [("content-low", 50, ["content"]), ("generic-low", 50, ["generic"]), ("none", 0, []), ("content-low", 0, [])],
)
def test_only_weights_that_lifted_frames_are_credited(enhancer: str, frames: int, credited: list[str]) -> None:
    title, _ = prepared_title()
    entries = tuple(
        EnhancerEntry(name=f"{family}-low", family=family, tier=Tier.LOW, offers=())
        for family in (Family.CONTENT, Family.GENERIC)
    )
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=entries, note="trained on this film for 60 s")
    shown = Shown(
        t_s=2.0,
        segment=0,
        rendition="180p",
        enhancer=enhancer,
        frames=50,
        enhanced_frames=frames,
        plain_frames=50 - frames,
        late_frames=0,
        buffer_s=0.0,
    )
    page = render(ReportData(events=[shown], title=title, summary=summarise([shown], title), table=table))
    assert ("trained on this film for 60 s" in page) is ("content" in credited)
    assert ("never saw this title" in page) is ("generic" in credited)


def test_a_shared_report_does_not_let_its_readers_use_the_session() -> None:
    title, _ = prepared_title()
    session_id = "A" * 16 + "b" * 80
    failed = Failed(t_s=1.0, what="download", detail=f"http://host/tv/sessions/{session_id}/video/3.m4s: reset")
    page = render(ReportData(events=[failed], title=title, summary=summarise([failed], title)))
    assert "A" * 16 in page
    assert "bb" not in page.partition("A" * 16)[2][:40]
    assert session_id not in page


def test_the_page_loads_nothing_from_anywhere(page_with_pair: str) -> None:
    page = page_with_pair
    references = _References()
    references.feed(page)
    assert len(references.found) == 2 and all(value.startswith("data:image/png;base64,") for value in references.found)
    assert not {"link", "iframe", "object", "embed"} & set(references.tags)
    assert not re.search(r"https?://", page)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page)


def test_each_decision_is_there_with_its_reason_and_what_came_of_it(folder: Path) -> None:
    data = _data((folder / "report.html").read_text())
    segments = data["segments"]
    assert isinstance(segments, list) and len(segments) == 3
    for segment in segments:
        assert segment["reason"].startswith("eager")
        assert segment["promised"] > segment["plain"] > 0
        assert segment["seen"] is not None
        assert segment["enhanced"] > 0.5 * segment["frames"]
        assert segment["down"][0] < segment["down"][1] <= segment["shown"][1]
    assert data["weights"]
    network = data["network_kbps"]
    assert isinstance(network, list) and all(kbps == pytest.approx(600.0) for _, kbps in network)


def test_the_buffer_drawn_ends_empty_and_is_never_negative(folder: Path) -> None:
    buffer = _data((folder / "report.html").read_text())["buffer"]
    assert isinstance(buffer, list)
    assert all(level >= 0 for _, level in buffer)
    assert buffer[-1][1] == pytest.approx(0.0, abs=0.1)
    assert max(level for _, level in buffer) >= 2.0
    assert [at_s for at_s, _ in buffer] == sorted(at_s for at_s, _ in buffer)


def test_what_was_seen_is_measured_on_the_frames_shown(folder: Path) -> None:
    """The test enhancer only upscales plainly, so what was seen must be what the title says of plain playback."""
    summary = json.loads((folder / "summary.json").read_text())
    title, _ = prepared_title()
    plain = title.plain_quality["180p"].vmaf
    expected = sum(v * n for v, n in zip(plain, title.segment_frames, strict=True)) / sum(title.segment_frames)
    assert summary["vmaf_seen"] == pytest.approx(expected, abs=0.3)
    assert summary["vmaf_promised"] > summary["vmaf_seen"] + 5


def test_the_report_can_be_made_again_from_the_log(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.html"
    result = CliRunner().invoke(report_command, [str(folder / "session.jsonl"), "-o", str(again)])
    assert result.exit_code == 0, result.output
    assert _data(again.read_text()) == _data((folder / "report.html").read_text())


def test_hostile_words_in_a_log_stay_words() -> None:
    title, _ = prepared_title()
    evil = '</script><img src=x onerror="alert(1)">'
    events = [
        Stepped(t_s=1.0, segment=0, from_enhancer=evil, to_enhancer="none", reason=evil),
        Failed(t_s=1.0, what=evil, detail=evil),
        Shown(
            t_s=2.0,
            segment=0,
            rendition="180p",
            enhancer=evil,
            frames=50,
            enhanced_frames=50,
            plain_frames=0,
            late_frames=0,
            buffer_s=0.0,
        ),
    ]
    page = render(ReportData(events=events, title=title, summary=summarise(events, title)))
    references = _References()
    references.feed(page)
    assert "img" not in references.tags
    assert references.tags.count("script") == 2


def test_a_log_of_a_session_that_showed_nothing_still_makes_a_page() -> None:
    title, _ = prepared_title()
    material = ReportData(events=[], title=title, summary=summarise([], title))
    assert gather(material)["segments"] == []
    assert "played without enhancement" in render(material)
