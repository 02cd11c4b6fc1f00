"""The source on the title's grid: frame by frame what prepare encoded from."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest
from clips import make_clip
from titles import CLIP, TITLE_ID, prepared_title

from abr.core.title import Title
from abr.errors import InputError, MediaError, UnknownNameError
from abr.media.display_filters import display_filters
from abr.media.planes import luma_of
from abr.media.probe import probe
from abr.media.source_frames import display_frames
from abr.quality.vmaf import ffmpeg_program
from abr.records import dumps
from enhancers.measurement.quality import check_source, cut_into_blocks, read_references
from enhancers.networks.catalog import network_scales
from enhancers.prepared_title import PreparedTitle, open_title
from enhancers.training.title_pairs import read_title_pairs

HD = {"width_px": 800, "height_px": 600, "frames": 25}
SOURCES: dict[str, Callable[[Path], Path]] = {
    "plain": lambda path: make_clip(path, **HD),
    "broadcast rate": lambda path: make_clip(path, rate=Fraction(30000, 1001), **HD),
    "odd size": lambda path: make_clip(
        path.with_suffix(".mkv"), **HD | {"width_px": 803, "height_px": 601}, codec="ffv1", pixel_format="yuv444p"
    ),
    "on its side": lambda path: make_clip(path, rotation_deg=90, **HD),
    "upside down": lambda path: make_clip(path, rotation_deg=180, **HD),
    "uneven times": lambda path: make_clip(
        path.with_suffix(".mkv"),
        ticks=[n * 40 + (17 if n % 3 == 1 else 0) + (200 if n > 9 else 0) for n in range(20)],
        **HD,
    ),
    "standard definition": lambda path: make_clip(path, width_px=640, height_px=480, frames=25),
    "full range": lambda path: make_clip(path.with_suffix(".avi"), codec="mjpeg", pixel_format="yuvj420p", **HD),
    "television": lambda path: interlaced(path.with_suffix(".mpg")),
    "late start": lambda path: make_clip(path.with_suffix(".mkv"), ticks=[1000 + n * 40 for n in range(20)], **HD),
}


def interlaced(path: Path) -> Path:
    """MPEG-2 in fields."""
    film = make_clip(path.with_suffix(".mkv"), width_px=640, height_px=480, frames=20)
    weave = ["-vf", "setfield=tff", "-c:v", "mpeg2video", "-flags", "+ilme+ildct"]
    subprocess.run([ffmpeg_program(), "-v", "error", "-y", "-i", str(film), *weave, str(path)], check=True)
    return path


def _title_of(source: Path, frames: int) -> PreparedTitle:
    """The part of a title that the grid depends on, as prepare would write it."""
    footage = probe(source)
    title, folder = prepared_title()
    fields = {name: getattr(title, name) for name in title.__struct_fields__}
    fields |= {
        "display_width_px": footage.display_width_px,
        "display_height_px": footage.display_height_px,
        "frame_rate": footage.frame_rate,
        "segment_frames": (frames,),
        "source": msgspec.structs.replace(title.source, filters=tuple(display_filters(footage))),
    }
    return PreparedTitle(folder=folder, title=Title(**fields), source=source)


@pytest.mark.parametrize("kind", SOURCES)
def test_source_frames_are_those_that_prepare_encoded(kind: str, tmp_path: Path) -> None:
    """Whatever prepare had to do: turn, crop, deinterlace, bring to BT.709 and limited range."""
    source = SOURCES[kind](tmp_path / "source.mp4")
    expected = [luma_of(frame).copy() for frame in display_frames(source, probe(source))]
    found = [frame.y for frame in _title_of(source, len(expected)).source_frames()]
    assert len(found) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_source_that_ends_early_is_an_error(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "short.mp4", frames=30)
    with pytest.raises(MediaError, match="ends after"):
        list(_title_of(source, 90).source_frames())


def test_a_source_that_does_not_line_up_is_noticed(tmp_path: Path) -> None:
    title, folder = prepared_title()
    shifted = PreparedTitle(folder=folder, title=title, source=CLIP)
    block, truth = next(read_references(shifted, cut_into_blocks(shifted, title.meter.every_frames)))
    check_source(shifted, block, truth)
    moved = type(truth)(frames={i: np.roll(f, 8, axis=1) for i, f in truth.frames.items()}, total=truth.total)
    with pytest.raises(MediaError, match="does not line up"):
        check_source(shifted, block, moved)


def test_black_frames_do_not_tell_whether_a_source_lines_up() -> None:
    """A fade through black is as good as it can be, and prepare leaves it out of its means."""
    title, folder = prepared_title()
    film = PreparedTitle(folder=folder, title=title, source=CLIP)
    block, truth = next(read_references(film, cut_into_blocks(film, title.meter.every_frames)))
    black = {index: np.full_like(truth.frames[index], 16) for index in block.scored[::2]}
    check_source(film, block, type(truth)(frames={**truth.frames, **black}, total=truth.total))


def test_titles_and_sources_are_found_or_explained(tmp_path: Path) -> None:
    _, folder = prepared_title()
    assert open_title(folder.parent, TITLE_ID, CLIP).title.id == TITLE_ID
    with pytest.raises(UnknownNameError, match="bbb"):
        open_title(folder.parent, "bbc", CLIP)
    with pytest.raises(UnknownNameError, match="none"):
        open_title(tmp_path / "nowhere", "bbb", CLIP)
    with pytest.raises(InputError, match="--source"):
        open_title(folder.parent, TITLE_ID, None)
    with pytest.raises(InputError, match="There is no file"):
        open_title(folder.parent, TITLE_ID, tmp_path / "gone.mp4")


def test_pairs_are_the_same_moment_at_the_networks_size() -> None:
    title, folder = prepared_title()
    prepared = open_title(folder.parent, TITLE_ID, CLIP)
    scales = network_scales(title)
    assert scales == {"180p": 4, "240p": 3, "360p": 2}
    found = read_title_pairs(prepared, scales, frames_max=6)
    for id_, scale in scales.items():
        rendition, pairs = title.rendition(id_), found[id_]
        assert pairs.low.shape == (6, rendition.height_px, rendition.width_px)
        assert pairs.plain.shape == pairs.target.shape == (6, rendition.height_px * scale, rendition.width_px * scale)
        errors = np.abs(pairs.plain.astype(int) - pairs.target).mean(axis=(1, 2))
        others = np.abs(pairs.plain.astype(int) - np.roll(pairs.target, 1, axis=0)).mean(axis=(1, 2))
        assert np.all(errors < others)


def test_a_title_whose_segment_is_cut_short_is_an_error(tmp_path: Path) -> None:
    title, folder = prepared_title()
    place = tmp_path / TITLE_ID / "video" / "180p"
    place.mkdir(parents=True)
    (tmp_path / TITLE_ID / "title.json").write_bytes(dumps(title))
    for name in ("init.mp4", "seg-00001.m4s"):
        data = (folder / "video" / "180p" / name).read_bytes()
        (place / name).write_bytes(data[: -len(data) // 2] if name.startswith("seg") else data)
    with pytest.raises(MediaError):
        open_title(tmp_path, TITLE_ID, CLIP).frames(title.rendition("180p"), 0)
