"""The session report and the demo's page of three reports in a real Chromium, on a desktop and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser, Watched, chromium
from titles import prepared_title

from abr.core.events import AnyEvent, Decided, Failed, Shown, Started, Stepped
from client_player.demo import KEYS, OVERVIEW_FILE, VIEWERS, render_overview
from client_player.session.report import ReportData, render
from client_player.session.summary import summarise

LONG = "A" * 150
"""As long as a session id; no space to break at."""


def report() -> str:
    """A report whose names are as long as they come."""
    title, _ = prepared_title()
    events: list[AnyEvent] = [
        Started(
            t_s=0, session=LONG, title=title.id, controller=LONG, device=LONG[:128], network=LONG, software=LONG[:64]
        ),
        Stepped(t_s=1.0, segment=0, from_enhancer="content-high", to_enhancer="none", reason=LONG),
        Failed(t_s=1.5, what="player", detail=LONG),
    ]
    for segment in range(3):
        decided = Decided(
            t_s=2.0 * segment,
            segment=segment,
            rendition="180p",
            enhancer="none",
            promised_vmaf=40.0,
            reason=LONG,
            wait_s=0.0,
            size_bytes=1000,
        )
        shown = Shown(
            t_s=2.0 * segment + 1,
            segment=segment,
            rendition="180p",
            enhancer="none",
            frames=50,
            enhanced_frames=0,
            plain_frames=50,
            late_frames=0,
            buffer_s=1.0,
        )
        events += [decided, shown]
    return render(ReportData(events=events, title=title, summary=summarise(events, title)))


async def fits(page: Watched, *, opened: bool = False) -> None:
    if opened:
        await page.tab.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    wide = await page.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, "the page scrolls sideways"


async def test_a_report_fits_a_phone_whatever_the_names_in_it(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(report())
    async with chromium() as browser:
        page = await opened(browser, tmp_path / "report.html", phone=True)
        await fits(page)
        await fits(page, opened=True)
        box = await page.tab.evaluate("[document.querySelector('.wide').scrollWidth, innerWidth]")
        assert box[0] > box[1], "the table scrolls in a box of its own"
        await page.tab.locator("footer").scroll_into_view_if_needed()
        panel = await page.tab.evaluate("document.getElementById('detail').getBoundingClientRect().bottom")
        assert panel <= 0, "what tells of a segment stays with the charts, and covers nothing below them"
        await page.tab.focus(".wide")
        assert await page.tab.evaluate("document.activeElement.className") == "wide", "which the keyboard can reach"
        await page.screenshot("phone-report")
    assert page.complaints == []


@pytest.mark.parametrize("phone", [False, True])
async def test_the_demo_s_page_sets_the_three_reports_side_by_side(tmp_path: Path, phone: bool) -> None:
    panel = {"ssimulacra2": 31.25, "psnr_hvs_db": 30.5, "ms_ssim": 0.95, "erqa": 0.4}
    figures = dict.fromkeys(KEYS, 10) | {"enhanced_share": 0.5, "panel_seen": panel, "panel_plain": None}
    viewers = {each.key: figures | {"quality_seen": 50.0 + order} for order, each in enumerate(VIEWERS)}
    summary = {"viewers": viewers, "title": "film", "trace": "3g.json", "trace_start_s": 345.0, "seconds": 300.0}
    (tmp_path / OVERVIEW_FILE).write_text(render_overview(summary))
    for viewer in VIEWERS:
        (tmp_path / viewer.key).mkdir()
        (tmp_path / viewer.key / "report.html").write_text(report())
    async with chromium() as browser:
        page = await opened(browser, tmp_path / OVERVIEW_FILE, phone=phone)
        await fits(page)
        rows = await page.tab.locator("tbody tr").all_inner_texts()
        assert [row.split("\t")[:2] for row in rows] == [[v.label, f"{50 + o}.0"] for o, v in enumerate(VIEWERS)]
        assert await page.tab.inner_text("td.best") == "52.0"
        assert all("0.9500" in row and "0.400" in row for row in rows), "what the panel says of the frames shown"
        await page.screenshot("phone-demo" if phone else "demo")
        if not phone:
            frames = [frame for frame in page.tab.frames if frame.url.endswith("report.html")]
            tops = await page.tab.evaluate("[...document.querySelectorAll('iframe')].map((each) => each.offsetTop)")
            assert len(frames) == 3 and len(set(tops)) == 1, "side by side"
            for frame in frames:
                await frame.wait_for_selector(".charts svg")
        await page.tab.click("tbody a >> nth=1")
        await page.tab.wait_for_selector(".charts svg")
        assert page.tab.url.endswith("generic/report.html")
    assert page.complaints == []


async def opened(browser: Browser, path: Path, *, phone: bool) -> Watched:
    """The page at a file, as a phone or a desktop sees it."""
    width_px, height_px = (360, 740) if phone else (1280, 800)
    return await browser.open(path.as_uri(), width_px=width_px, height_px=height_px, dark=phone)
