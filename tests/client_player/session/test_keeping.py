"""What came is kept for tuning: low rungs alone, within bounds, and as `federate join` reads it."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace
from titles import prepared_library

from abr.core.control import Download
from abr.core.events import Decided
from abr.core.title import Title, load_title
from client_player.federation.came import read_came
from client_player.session.keeping import CameKeeper
from client_player.source.base import ServedSegment

FOLDER = prepared_library().root / "bbb"


def served(rung: str, segment: int, size_bytes: int = 0) -> ServedSegment:
    """A segment of the prepared title; or one of so many bytes of nothing."""
    folder = FOLDER / "video" / rung
    body = bytes(size_bytes) or (folder / f"seg-{segment + 1:05d}.m4s").read_bytes()
    decided = Decided(
        t_s=0.0,
        segment=segment,
        rendition=rung,
        enhancer="none",
        wait_s=0.0,
        reason="",
        promised_vmaf=50.0,
        size_bytes=len(body),
    )
    timing = Download(started_s=0.0, latency_s=0.0, duration_s=0.1, size_bytes=len(body))
    return ServedSegment(
        decided=decided, body=body, init=(folder / "init.mp4").read_bytes(), timing=timing, not_before_s=0.0
    )


def title() -> Title:
    return load_title(FOLDER)


def test_what_came_of_a_low_rung_is_learnt_from(tmp_path: Path) -> None:
    low = title().renditions[0]
    keeper = CameKeeper(tmp_path, title())
    keeper.keep(served(low.id, 1))
    (pairs,) = read_came([tmp_path / "bbb" / "video" / low.id], 1.5, None)
    assert len(pairs.low) > 0


def test_what_is_as_large_as_the_display_is_not_kept_nor_anything_protected(tmp_path: Path) -> None:
    low = title().renditions[0]
    CameKeeper(tmp_path, replace(title(), display_height_px=low.height_px)).keep(served(low.id, 0))
    assert list(tmp_path.iterdir()) == []


def test_the_folder_keeps_the_newest_within_its_bytes(tmp_path: Path) -> None:
    low = title().renditions[0].id
    keeper = CameKeeper(tmp_path, title(), bytes_max=2500)
    for segment in range(5):
        keeper.keep(served(low, segment, 1000))
    kept = sorted(path.name for path in tmp_path.rglob("seg-*.m4s"))
    assert kept == ["seg-00004.m4s", "seg-00005.m4s"]


def test_segments_of_another_title_by_that_name_are_not_mixed_in(tmp_path: Path) -> None:
    low = title().renditions[0].id
    keeper = CameKeeper(tmp_path, title())
    keeper.keep(served(low, 0))
    keeper.keep(replace_init(served(low, 1)))
    assert [path.name for path in tmp_path.rglob("seg-*.m4s")] == ["seg-00002.m4s"]


def replace_init(segment: ServedSegment) -> ServedSegment:
    from dataclasses import replace as replace_field

    return replace_field(segment, init=segment.init + b"x")
