"""What can go wrong on the way: whatever it is, the session neither hangs nor crashes, and its log tells."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner
from faulty import Fault, Proxy, faulty
from served import serving
from titles import prepared_library, prepared_title
from viewers import EAGER, FAST_MACHINE, Bench, enhanced_library, of_kind, profile

from abr.core.enhancement import Family
from abr.core.events import Ended, Failed, Shown
from abr.errors import FormatError, ToprungError
from abr.simulation.traces import constant
from abr.virtual_time import run_virtual
from client_player.cli import report
from client_player.session.request import PlayRequest
from client_player.session.run import Played, watch
from client_player.session.summary import summarise
from client_player.transport.http import DownloadError

T = TypeVar("T")

VIDEO = r"/sessions/[^/]+/video/2\.m4s"
ANY_VIDEO = r"/sessions/[^/]+/video/\d+\.m4s"


def _run(main: Coroutine[Any, Any, T]) -> T:
    return run_virtual(main, wall_rate=FAST_MACHINE)


async def _play(library: Path, folder: Path, *faults: Fault, enhanced: bool = False) -> tuple[Played, Proxy]:
    title, _ = prepared_title()
    request = PlayRequest(
        url="",
        trace=constant(4e6, 0.02),
        profile=profile(title) if enhanced else None,
        families=(Family.CONTENT,) if enhanced else (),
        out=folder / "out",
        silence_max_s=0.3,
    )
    async with serving(str(library), EAGER) as url, faulty(url, *faults) as proxy:
        played = await watch(replace(request, url=proxy.url), folder / "shown.y", opener=Bench().open)
    return played, proxy


@pytest.mark.parametrize("kind", ["404", "500", "503", "429", "cut", "short", "silent"])
def test_a_passing_trouble_costs_time_and_nothing_else(kind: str, tmp_path: Path) -> None:
    played, proxy = _run(_play(prepared_library().root, tmp_path, Fault(path=VIDEO, kind=kind, times=2)))
    summary = summarise(played.events, played.title)
    assert summary.frames == 132 and summary.ended == "finished"
    assert summary.late_frames <= 1
    assert proxy.hits.total() == 2
    assert len([event for event in of_kind(played.events, Failed) if event.what == "download"]) >= 2


@pytest.mark.parametrize("kind", ["500", "cut", "short", "endless"])
def test_a_segment_that_never_comes_is_frozen_over(kind: str, tmp_path: Path) -> None:
    played, _ = _run(_play(prepared_library().root, tmp_path, Fault(path=VIDEO, kind=kind)))
    shown = of_kind(played.events, Shown)
    assert [event.segment for event in shown] == [0, 1, 2]
    assert shown[1].late_frames == shown[1].frames, "frames of a lost segment count as late"
    assert shown[0].late_frames <= 1 and shown[2].late_frames <= 1
    assert any("lost" in event.detail for event in of_kind(played.events, Failed))


def test_when_all_segments_fail_the_session_ends_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ToprungError, match="Gave up after losing 3 segments"):
        _run(_play(prepared_library().root, tmp_path, Fault(path=ANY_VIDEO, kind="500")))
    log = (tmp_path / "out" / "session.jsonl").read_text()
    assert '"event":"ended"' in log and "Gave up" in log
    page = tmp_path / "broken.html"
    result = CliRunner().invoke(report, [str(tmp_path / "out" / "session.jsonl"), "-o", str(page)])
    assert result.exit_code == 0 and "Gave up" in page.read_text(), "what broke can be reported"


def test_three_segments_in_a_row_that_cannot_be_decoded_are_no_finished_session(tmp_path: Path) -> None:
    with pytest.raises(ToprungError, match="3 segments in a row without a picture"):
        _run(_play(prepared_library().root, tmp_path, Fault(path=ANY_VIDEO, kind="scrambled")))
    log = (tmp_path / "out" / "session.jsonl").read_text()
    assert '"reason":"finished"' not in log and "without a picture" in log


def test_lost_and_undecodable_segments_count_together(tmp_path: Path) -> None:
    faults = (Fault(path=VIDEO, kind="500"), Fault(path=ANY_VIDEO, kind="scrambled"))
    with pytest.raises(ToprungError, match="3 segments in a row without a picture"):
        _run(_play(prepared_library().root, tmp_path, *faults))


def test_a_corrupted_segment_keeps_the_last_good_frame(tmp_path: Path) -> None:
    played, _ = _run(_play(prepared_library().root, tmp_path, Fault(path=VIDEO, kind="corrupt", times=1)))
    summary = summarise(played.events, played.title)
    assert summary.frames == 132 and summary.ended == "finished"
    assert of_kind(played.events, Failed)


@pytest.mark.parametrize("kind", ["404", "corrupt", "cut"])
def test_lost_sound_is_silence(kind: str, tmp_path: Path) -> None:
    fault = Fault(path=r"/audio/.*seg-00002", kind=kind)
    played, _ = _run(_play(prepared_library().root, tmp_path, fault))
    assert of_kind(played.events, Ended)[0].reason == "finished"
    assert any(event.what == "audio" for event in of_kind(played.events, Failed))


@pytest.mark.parametrize("kind", ["404", "corrupt", "short", "endless", "silent"])
def test_weights_that_cannot_be_trusted_or_had_leave_the_picture_plain(kind: str, tmp_path: Path) -> None:
    fault = Fault(path=r"/enhancers/high", kind=kind)
    played, _ = _run(_play(enhanced_library(tmp_path), tmp_path, fault, enhanced=True))
    summary = summarise(played.events, played.title)
    assert summary.frames == 132 and summary.enhanced_share == 0
    assert summary.late_frames <= 1
    assert any(event.what == "weights" for event in of_kind(played.events, Failed))


def test_weights_of_another_hash_than_the_table_says_are_not_used(tmp_path: Path) -> None:
    played, _ = _run(_play(enhanced_library(tmp_path, wrong_sha=True), tmp_path, enhanced=True))
    assert summarise(played.events, played.title).enhanced_share == 0
    assert any("sha256" in event.detail for event in of_kind(played.events, Failed))


def test_a_server_that_forgot_the_session_is_asked_for_another(tmp_path: Path) -> None:
    """Sessions are gone after a restart: the first one's segments are 404 for ever."""

    async def main() -> Played:
        async with serving(str(prepared_library().root), EAGER) as url, faulty(url) as proxy:
            request = PlayRequest(url=proxy.url, trace=constant(4e6, 0.02), families=())
            first: list[str] = []

            def note(event: object) -> None:
                if not first and hasattr(event, "session"):
                    first.append(event.session)
                    faults.append(Fault(path=f"/sessions/{first[0]}/video/[23]", kind="404"))

            faults = proxy.faults
            return await watch(request, tmp_path / "shown.y", listener=note)

    played = _run(main())
    assert summarise(played.events, played.title).frames == 132
    assert of_kind(played.events, Ended)[0].reason == "finished"
    assert all(event.late_frames <= 1 for event in of_kind(played.events, Shown))


@pytest.mark.parametrize(
    ("path", "kind", "error"),
    [
        (r"/manifest\.mpd", "short", FormatError),
        (r"/manifest\.mpd", "500", DownloadError),
        (r"/title\.json", "short", FormatError),
        (r"/video/init\.mp4", "404", DownloadError),
        (r"/sessions$", "503", DownloadError),
    ],
)
def test_what_nothing_can_begin_without_fails_with_a_sentence(
    path: str, kind: str, error: type[ToprungError], tmp_path: Path
) -> None:
    with pytest.raises(error, match=r"\."):
        _run(_play(prepared_library().root, tmp_path, Fault(path=path, kind=kind)))
