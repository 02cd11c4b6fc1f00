"""Meters that run inside the static ffmpeg of the PyPI package imageio-ffmpeg: libvmaf's features and XPSNR.

Frames go to it over two pipes, each written on a thread of its own, and the figures come back when all are written.
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import IO, BinaryIO

from abr.errors import ToprungError
from abr.quality.pictures import Planes

_QUEUED_FRAMES = 16
"""Frames held for each input, since ffmpeg does not read its two inputs in step."""
_STILL_FRAMES = 2
_STILL = f"tpad=start={_STILL_FRAMES}:start_mode=clone"
"""XPSNR looks back at one frame, from 32 fps on at two, and would take black for what came before the first."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReport:
    """What the meters found.

    frames: index of each frame that libvmaf scored. metrics: its figures for each of these, by libvmaf's names.
    xpsnr_y_db: one figure for every frame fed, without limit (inf for identical pictures); empty unless asked for. What
    lies before the first frame counts as still.
    """

    frames: tuple[int, ...]
    metrics: tuple[dict[str, float], ...]
    xpsnr_y_db: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterSettings:
    """models: versions of VMAF by the name that their score gets. features: libvmaf's other features.

    every_frames: libvmaf scores frames 0, every_frames, 2·every_frames, … and looks at the motion of all.
    """

    width_px: int
    height_px: int
    fps: float
    models: dict[str, str]
    features: tuple[str, ...]
    xpsnr: bool = False
    every_frames: int = 1
    threads: int = 2


class FfmpegMeters:
    """A running ffmpeg that compares pairs of pictures. Use it in a with statement: leaving it ends the process."""

    def __init__(self, settings: MeterSettings) -> None:
        read_source, write_source = os.pipe()
        read_shown, write_shown = os.pipe()
        self._xpsnr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, closed in __exit__
        fds = (read_shown, read_source, self._xpsnr.fileno())
        self._process = subprocess.Popen(
            [ffmpeg_program(), "-v", "error", "-nostdin", *_arguments(settings, *fds)],
            pass_fds=fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        os.close(read_source)
        os.close(read_shown)
        self._source = _Feeder(write_source)
        self._shown = _Feeder(write_shown)

    def __enter__(self) -> FfmpegMeters:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._source.close()
        self._shown.close()
        self._process.communicate()
        self._xpsnr.close()

    def feed(self, source: Planes, shown: Planes) -> None:
        """Compare the next pair. Raises ToprungError when the meters have stopped."""
        self._source.put(source)
        self._shown.put(shown)
        if self._source.broken or self._shown.broken:
            self.finish()
            raise ToprungError("The quality meter stopped reading before its frames ended.")

    def finish(self) -> MeterReport:
        """The figures of all pairs. Raises ToprungError, with what ffmpeg says, when it failed."""
        self._source.close()
        self._shown.close()
        out, err = self._process.communicate()
        if self._process.returncode != 0 or not out:
            raise ToprungError(
                f"The quality meter (ffmpeg with libvmaf) failed: {err.decode(errors='replace').strip()}"
            )
        rows = json.loads(out)["frames"]
        self._xpsnr.seek(0)
        return MeterReport(
            frames=tuple(row["frameNum"] for row in rows),
            metrics=tuple(row["metrics"] for row in rows),
            xpsnr_y_db=_xpsnr_values(self._xpsnr.read().decode()),
        )


def _xpsnr_values(text: str) -> tuple[float, ...]:
    found = re.findall(r"^n: +\d+ +XPSNR y: +(\S+)", text, re.MULTILINE)
    return tuple(float(value) for value in found[_STILL_FRAMES:])


def _arguments(settings: MeterSettings, shown_fd: int, source_fd: int, xpsnr_fd: int) -> list[str]:
    raw = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", f"{settings.width_px}x{settings.height_px}")
    inputs = [(*raw, "-framerate", f"{settings.fps:.6f}", "-i", f"/dev/fd/{fd}") for fd in (shown_fd, source_fd)]
    arguments = [part for each in inputs for part in each]
    libvmaf = f"libvmaf={_libvmaf_options(settings)}"
    if not settings.xpsnr:
        return [*arguments, "-lavfi", f"[0:v][1:v]{libvmaf}", "-f", "null", "-"]
    # Unlike libvmaf, xpsnr takes the weights from its first input, which it calls main: that is the source.
    xpsnr = f"xpsnr=stats_file=/dev/fd/{xpsnr_fd}"
    graph = (
        f"[0:v]split[shown1][shown2];[1:v]split[source1][source2];"
        f"[shown1][source1]{libvmaf}[scored1];"
        f"[source2]{_STILL}[source3];[shown2]{_STILL}[shown3];[source3][shown3]{xpsnr}[scored2]"
    )
    sinks = [part for name in ("scored1", "scored2") for part in ("-map", f"[{name}]", "-f", "null", "-")]
    return [*arguments, "-lavfi", graph, *sinks]


def _libvmaf_options(settings: MeterSettings) -> str:
    options: dict[str, object] = {
        "log_fmt": "json",
        "log_path": "/dev/fd/1",
        "n_threads": settings.threads,
        "n_subsample": settings.every_frames,
    }
    if settings.models:
        models = [f"version={version}\\:name={name}" for name, version in settings.models.items()]
        options["model"] = _listed(models)
    if settings.features:
        options["feature"] = _listed([f"name={feature}" for feature in settings.features])
    return ":".join(f"{key}={value}" for key, value in options.items())


def _listed(parts: Sequence[str]) -> str:
    return "|".join(parts).replace("\\", "\\\\")


class _Feeder:
    """Writes frames to one pipe on its own thread: ffmpeg drains one input well before it opens the other."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._frames: queue.Queue[tuple[bytes, ...] | None] = queue.Queue(maxsize=_QUEUED_FRAMES)
        self.broken = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, planes: Planes) -> None:
        self._frames.put(tuple(plane.tobytes() for plane in planes))

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

    def _write(self, pipe: BinaryIO, planes: tuple[bytes, ...]) -> None:
        try:
            if not self.broken:
                for plane in planes:
                    pipe.write(plane)
        except BrokenPipeError:
            self.broken = True  # keep emptying the queue, so that nobody waits for room in it
