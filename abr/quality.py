"""The quality meter: VMAF, VMAF-NEG, SSIM and PSNR of shown luma against the source, by libvmaf.

libvmaf runs inside the static ffmpeg of the PyPI package imageio-ffmpeg; frames go to it over two pipes. Motion, the
only temporal feature of VMAF, is computed on every frame; the costly features on one in `every_frames`, which leaves
the scores of those frames exactly as they would be without sampling.

Means are taken inside the picture: letterbox borders are cropped before metering and black frames left out, since both
inflate every score.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from abr.errors import ToprungError
from abr.media import Meter, Quality

Luma = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

VMAF_MODEL = "vmaf_v0.6.1"
VMAF_NEG_MODEL = "vmaf_v0.6.1neg"
PLAIN_SCALER = "swscale lanczos"
BLACK_LUMA_MAX = 24.0
"""Mean 8-bit code value under which a frame counts as black; video black is 16."""
_BORDER_LUMA_MAX = 24
_SMALLEST_PICTURE_PX = 64
"""A box narrower than this is no letterbox but a dark film: keep the whole frame."""
_QUEUED_FRAMES = 16
"""Frames held for each input, since ffmpeg does not read its two inputs in step."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Scores of the sampled frames. All arrays have shape (N,).

    frame: int index of the scored frame. vmaf, vmaf_neg: 0–100. ssim: 0–1. psnr_y_db: at most 60.
    """

    frame: npt.NDArray[np.int64]
    vmaf: npt.NDArray[np.float64]
    vmaf_neg: npt.NDArray[np.float64]
    ssim: npt.NDArray[np.float64]
    psnr_y_db: npt.NDArray[np.float64]


@cache
def ffmpeg_program() -> str:
    """Path of the static ffmpeg that has libvmaf."""
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


@cache
def ffmpeg_version() -> str:
    """Version of that ffmpeg, as it says itself."""
    text = subprocess.run([ffmpeg_program(), "-version"], capture_output=True, text=True, check=True).stdout
    return text.split()[2]


def meter_of(*, every_frames: int, crop: Box) -> Meter:
    """Describe a measurement taken by this module, so that its figures name their maker."""
    return Meter(
        vmaf_model=VMAF_MODEL,
        vmaf_neg_model=VMAF_NEG_MODEL,
        tool=f"libvmaf in ffmpeg {ffmpeg_version()}",
        scaler=PLAIN_SCALER,
        every_frames=every_frames,
        crop=crop,
        black_luma_max=BLACK_LUMA_MAX,
    )


def crop(luma: Luma, box: Box) -> Luma:
    """The view of `luma` (H, W) inside `box` = x, y, width, height."""
    x, y, width, height = box
    return luma[y : y + height, x : x + width]


def is_black(luma: Luma) -> bool:
    """Whether a source frame is too dark to judge a scaler by."""
    return float(luma.mean()) < BLACK_LUMA_MAX


def picture_box(frames: Iterable[Luma]) -> Box:
    """The picture inside black borders, over sample frames of one size (H, W), as x, y, width, height (all even).

    A border row or column is dark in every frame. Returns the whole frame when all is dark.
    Raises ValueError on no frames.
    """
    brightest: Luma | None = None
    for frame in frames:
        brightest = frame.copy() if brightest is None else np.maximum(brightest, frame)
    if brightest is None:
        raise ValueError("picture_box needs at least one frame")
    height, width = brightest.shape
    rows = np.flatnonzero(np.percentile(brightest, 95, axis=1) > _BORDER_LUMA_MAX)
    columns = np.flatnonzero(np.percentile(brightest, 95, axis=0) > _BORDER_LUMA_MAX)
    if len(rows) < _SMALLEST_PICTURE_PX or len(columns) < _SMALLEST_PICTURE_PX:
        return (0, 0, width, height)
    x, y = _even_up(int(columns[0])), _even_up(int(rows[0]))
    return (x, y, (int(columns[-1]) + 1 - x) & ~1, (int(rows[-1]) + 1 - y) & ~1)


def _even_up(value: int) -> int:
    return value + (value & 1)


def score_pairs(
    pairs: Iterable[tuple[Luma, Luma]],
    *,
    width_px: int,
    height_px: int,
    fps: float,
    every_frames: int = 1,
    threads: int = 2,
) -> Scores:
    """Score (reference, shown) luma frames, uint8 (height_px, width_px), given for every frame in order.

    Frames 0, every_frames, 2·every_frames, … are scored.
    Raises ToprungError when the meter fails and ValueError on no frames.
    """
    with _meter_process(width_px, height_px, fps, every_frames, threads) as meter:
        count = 0
        for reference, shown in pairs:
            meter.feed(reference, shown)
            count += 1
        if count == 0:
            raise ValueError("score_pairs needs at least one pair of frames")
        return _scores(meter.finish())


def segment_means(scores: Scores, segment_frames: Sequence[int], keep: npt.NDArray[np.bool_]) -> Quality:
    """Mean scores of each segment over its scored frames with `keep` (bool, one a frame of the title).

    A segment without such a frame takes all its scored frames, and without any the scored frame nearest to its middle.
    """
    ends = np.cumsum(segment_frames)
    rows: list[npt.NDArray[np.intp]] = []
    for start, end in zip(ends - np.asarray(segment_frames), ends, strict=True):
        inside = np.flatnonzero((scores.frame >= start) & (scores.frame < end))
        kept = inside[keep[scores.frame[inside]]]
        nearest = np.argmin(np.abs(scores.frame - (start + end) / 2)).reshape(1)
        rows.append(kept if len(kept) else inside if len(inside) else nearest)

    def means(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(round(float(values[row].mean()), 4) for row in rows)

    return Quality(
        vmaf=means(scores.vmaf),
        vmaf_neg=means(scores.vmaf_neg),
        ssim=means(scores.ssim),
        psnr_y_db=means(scores.psnr_y_db),
    )


def _scores(report: dict[str, Any]) -> Scores:
    frames = report["frames"]

    def column(name: str) -> npt.NDArray[np.float64]:
        return np.array([frame["metrics"][name] for frame in frames], dtype=np.float64)

    return Scores(
        frame=np.array([frame["frameNum"] for frame in frames], dtype=np.int64),
        vmaf=column("vmaf"),
        vmaf_neg=column("vmaf_neg"),
        ssim=column("float_ssim"),
        psnr_y_db=column("psnr_y"),
    )


def _meter_process(width_px: int, height_px: int, fps: float, every_frames: int, threads: int) -> _MeterProcess:
    read_reference, write_reference = os.pipe()
    read_shown, write_shown = os.pipe()
    models = f"version={VMAF_MODEL}\\:name=vmaf|version={VMAF_NEG_MODEL}\\:name=vmaf_neg"
    settings = {
        "log_fmt": "json",
        "log_path": "/dev/fd/1",
        "n_threads": threads,
        "n_subsample": every_frames,
        "model": models.replace("\\", "\\\\"),
        "feature": "name=psnr|name=float_ssim",
    }
    graph = "[0:v][1:v]libvmaf=" + ":".join(f"{key}={value}" for key, value in settings.items())
    # Grey input would be taken for full range and stretched, so each frame gets a constant chroma.
    raw = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        "-video_size",
        f"{width_px}x{height_px}",
        "-framerate",
        f"{fps:.6f}",
    ]
    inputs = [part for fd in (read_shown, read_reference) for part in (*raw, "-i", f"/dev/fd/{fd}")]
    process = subprocess.Popen(
        [ffmpeg_program(), "-v", "error", "-nostdin", *inputs, "-lavfi", graph, "-f", "null", "-"],
        pass_fds=(read_reference, read_shown),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    os.close(read_reference)
    os.close(read_shown)
    chroma = b"\x80" * (2 * ((width_px + 1) // 2) * ((height_px + 1) // 2))
    return _MeterProcess(process, _Feeder(write_reference, chroma), _Feeder(write_shown, chroma))


class _Feeder:
    """Writes frames to one pipe on its own thread: ffmpeg drains one input well before it opens the other."""

    def __init__(self, fd: int, chroma: bytes) -> None:
        self._fd = fd
        self._chroma = chroma
        self._frames: queue.Queue[bytes | None] = queue.Queue(maxsize=_QUEUED_FRAMES)
        self.broken = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, luma: Luma) -> None:
        self._frames.put(luma.tobytes())

    def close(self) -> None:
        """Write what is queued and close the pipe. May be called twice."""
        if self._thread.is_alive():
            self._frames.put(None)
            self._thread.join()

    def _run(self) -> None:
        with os.fdopen(self._fd, "wb") as pipe:
            while (frame := self._frames.get()) is not None:
                self._write(pipe, frame)
            with suppress(BrokenPipeError):
                pipe.flush()

    def _write(self, pipe: BinaryIO, frame: bytes) -> None:
        try:
            if not self.broken:
                pipe.write(frame)
                pipe.write(self._chroma)
        except BrokenPipeError:
            self.broken = True  # keep emptying the queue, so that nobody waits for room in it


@dataclass(slots=True)
class _MeterProcess:
    process: subprocess.Popen[bytes]
    reference: _Feeder
    shown: _Feeder

    def __enter__(self) -> _MeterProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.reference.close()
        self.shown.close()
        self.process.communicate()

    def feed(self, reference: Luma, shown: Luma) -> None:
        self.reference.put(reference)
        self.shown.put(shown)
        if self.reference.broken or self.shown.broken:
            self.finish()
            raise ToprungError("The quality meter stopped reading before its frames ended.")

    def finish(self) -> dict[str, Any]:
        self.reference.close()
        self.shown.close()
        out, err = self.process.communicate()
        if self.process.returncode != 0 or not out:
            raise ToprungError(
                f"The quality meter (ffmpeg with libvmaf) failed: {err.decode(errors='replace').strip()}"
            )
        report: dict[str, Any] = json.loads(out)
        return report
