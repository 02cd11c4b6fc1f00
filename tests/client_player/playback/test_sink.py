"""What sinks write is what other programs read."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from titles import CLIP, prepared_title

from abr.errors import InputError, StorageError
from abr.quality.vmaf import ffmpeg_program
from client_player.playback.sink import RawSink, open_sink, png
from client_player.session.seen_quality import source_luma
from enhancers.runtime.frames import decode_file


def _decoded(path: Path, pixel_format: str) -> bytes:
    command = [ffmpeg_program(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", pixel_format, "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_a_y4m_file_holds_the_frames_exactly(tmp_path: Path) -> None:
    frames = [frame for _, frame in zip(range(5), decode_file(str(CLIP)), strict=False)]
    sink = RawSink(tmp_path / "out.y4m", frame_rate=Fraction(25))
    for number, frame in enumerate(frames):
        sink.show(number, frame)
    sink.close()
    expected = b"".join(plane.tobytes() for frame in frames for plane in frame.planes())
    assert _decoded(tmp_path / "out.y4m", "yuv420p") == expected


def test_a_png_has_the_colours_that_ffmpeg_gives_the_frame(tmp_path: Path) -> None:
    frame = next(iter(decode_file(str(CLIP))))
    (tmp_path / "frame.png").write_bytes(png(frame))
    ours = np.frombuffer(_decoded(tmp_path / "frame.png", "rgb24"), np.uint8).astype(int)
    raw = tmp_path / "frame.yuv"
    raw.write_bytes(b"".join(plane.tobytes() for plane in frame.planes()))
    size = f"{frame.width_px}x{frame.height_px}"
    command = [ffmpeg_program(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-i", str(raw)]
    command += ["-vf", "scale=in_color_matrix=bt709:in_range=tv:out_range=pc,format=rgb24", "-f", "rawvideo", "-"]
    theirs = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8).astype(int)
    assert np.abs(ours - theirs).mean() < 1.5


@pytest.mark.parametrize("text", ["", "y4m:", "png:", "tape", "null:x"])
def test_unknown_sinks_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="null, y4m:PATH or png:FOLDER"):
        open_sink(text, frame_rate=Fraction(25), every=1)


def test_a_sink_that_cannot_be_written_says_so() -> None:
    with pytest.raises(StorageError, match="/proc"):
        open_sink("y4m:/proc/nothing/out.y4m", frame_rate=Fraction(25), every=1)


def test_the_source_is_read_on_the_titles_frame_grid() -> None:
    title, _ = prepared_title()
    lumas = [luma[0, 0] for luma in source_luma(CLIP, title)]
    assert len(lumas) == sum(title.segment_frames)
