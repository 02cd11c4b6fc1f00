"""The report: everything that matters is on the page, and the page loads nothing from anywhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from served import serving
from titles import CLIP, prepared_title
from viewers import EAGER, Bench, enhanced_library, profile

from abr.clock import run_virtual
from abr.enhancement import Family
from abr.events import Failed, Shown, Stepped
from abr.media import Title
from abr.traces import constant
from client_player.archive import open_archive
from client_player.cli import report as report_command
from client_player.pair import Keepsake, write_pair
from client_player.report import Material, gather, render
from client_player.screen import Job
from client_player.session import Played, Wish, finish, watch
from client_player.summary import summarise
from enhancers.base import PlainScaler
from enhancers.frames import Frame, frame_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of one enhanced and measured session, among them its report."""
    place = tmp_path_factory.mktemp("report")
    title, _ = prepared_title()
    wish = Wish(
        url="",
        trace=constant(6e5, 0.05),
        profile=profile(title),
        families=(Family.CONTENT,),
        source=CLIP,
        out=place / "out",
    )

    async def main() -> Played:
        async with serving(str(enhanced_library(place)), EAGER) as url:
            return await watch(replace(wish, url=url), place / "shown.y", opener=Bench().open)

    finish(wish, run_virtual(main(), wall_rate=0.1), place / "shown.y")
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
    keepsake = Keepsake()
    job = Job(segment=1, data=data, rendition="180p", enhancer="content-high", frames=50, first_frame=50, start_s=2.0)
    keepsake.consider(job, plain_vmaf=40.0, promised_vmaf=55.0)
    keepsake.consider(replace(job, segment=2), plain_vmaf=40.0, promised_vmaf=50.0)
    write_pair(keepsake, enhancer, enhancer.scaler, title.fps, folder)
    return render(open_archive(folder / "session.jsonl", library=None, title_url="", trace=None))


def test_the_pair_shows_where_the_enhancer_changed_most(page_with_pair: str, folder: Path) -> None:
    note = json.loads((folder / "pair.json").read_text())
    assert (note["segment"], note["promised_vmaf"]) == (1, 55.0), "the segment with the greater gain is kept"
    assert note["hot_x"] > 0.9 and note["hot_y"] > 0.9
    assert 2.0 <= note["media_s"] < 4.0
    assert (folder / "before.png").read_bytes() != (folder / "after.png").read_bytes()
    assert "180p + content-high" in page_with_pair


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
    page = render(Material(events=events, title=title, summary=summarise(events, title)))
    references = _References()
    references.feed(page)
    assert "img" not in references.tags
    assert references.tags.count("script") == 2


def test_a_log_of_a_session_that_showed_nothing_still_makes_a_page() -> None:
    title, _ = prepared_title()
    material = Material(events=[], title=title, summary=summarise([], title))
    assert gather(material)["segments"] == []
    assert "played without enhancement" in render(material)
