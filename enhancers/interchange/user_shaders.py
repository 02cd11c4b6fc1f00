"""mpv user shaders, run as mpv runs them: by libplacebo over Vulkan.

The static ffmpeg has libplacebo. A machine without a GPU has Vulkan from Mesa's lavapipe, or from Chromium, which
brings SwiftShader.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from abr.errors import InputError, ToprungError
from abr.files import write_file
from abr.quality.ffmpeg_meters import ffmpeg_program
from enhancers.runtime.frames import Frame, frame_of

_LIMIT_S = 600
_SIGNAL = "bt709"
_PREFIX = re.compile(r"^(\[[^]]*\] *)+")
"""What ffmpeg writes before a line of its log."""
_NO_DEVICE = "Device creation failed"
_CHATTER = "swiftshader/src"
"""Chromium's Vulkan device tells of extensions that it does not know."""


class NoVulkanError(InputError):
    """This machine has no Vulkan device."""


def run_user_shader(path: Path, frames: Sequence[Frame], passes_px: Sequence[tuple[int, int]]) -> list[Frame]:
    """The frames, all of one size, brought to each of the sizes in turn, by the shader in `path`.

    Raises NoVulkanError when nothing of the kind can be run here, InputError when this one cannot, ToprungError when it
    takes too long.
    """
    if not frames:
        return []
    size_px = frames[0].width_px, frames[0].height_px
    with TemporaryDirectory(prefix="toprung-shader-") as folder:
        write_file(Path(folder) / "shader.glsl", path.read_bytes())
        data = b"".join(plane.tobytes() for frame in frames for plane in frame.planes())
        return _split(_run(path.name, _command(size_px, passes_px), Path(folder), data), passes_px[-1], len(frames))


def _run(name: str, command: Sequence[str], folder: Path, data: bytes) -> bytes:
    try:
        done = subprocess.run(command, cwd=folder, input=data, capture_output=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToprungError(f"{name} did not end within {_LIMIT_S} s.") from error
    lines = done.stderr.decode(errors="replace").splitlines()
    said = [_PREFIX.sub("", line) for line in lines if _CHATTER not in line]
    if any(line.startswith(_NO_DEVICE) for line in said):
        raise NoVulkanError(
            f"{name} cannot be run: {said[0][:200]}. Shaders need Vulkan; a machine without a GPU has it from Mesa's "
            "lavapipe (mesa-vulkan-drivers on Debian)."
        )
    if done.returncode or said:  # libplacebo goes on without a shader that it cannot compile
        why = next((line for line in said if "error" in line.lower()), said[-1] if said else "ffmpeg was ended")
        raise InputError(f"{name} cannot be run: {why[:200]}.")
    return done.stdout


def _command(size_px: tuple[int, int], passes: Sequence[tuple[int, int]]) -> list[str]:
    """Raw pictures in, raw pictures out. All signal properties are named, so that nothing is guessed from sizes."""
    named = f"colorspace={_SIGNAL}:color_primaries={_SIGNAL}:color_trc={_SIGNAL}:range=tv"
    scaled = [
        f"libplacebo=w={width}:h={height}:custom_shader_path=shader.glsl:upscaler=lanczos:dithering=none:"
        f"format=yuv420p:{named}"
        for width, height in passes
    ]
    filters = ",".join([f"setparams={named}:chroma_location=left", *scaled])
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p"]
    given = [*raw, "-video_size", f"{size_px[0]}x{size_px[1]}", "-i", "pipe:0"]
    return [
        *(ffmpeg_program(), "-v", "error", "-nostdin", "-init_hw_device", "vulkan"),
        *(*given, "-vf", filters, *raw, "pipe:1"),
    ]


def _split(data: bytes, size_px: tuple[int, int], count: int) -> list[Frame]:
    """Raw yuv420p pictures as frames. Raises ToprungError when there are more or fewer."""
    width, height = size_px
    half = (height + 1) // 2, (width + 1) // 2
    frame_bytes = height * width + 2 * half[0] * half[1]
    if len(data) != count * frame_bytes:
        raise ToprungError(f"ffmpeg gave {len(data)} bytes for {count} pictures of {width}x{height}.")
    pictures = np.frombuffer(data, np.uint8).reshape(count, frame_bytes)
    ends = height * width, height * width + half[0] * half[1]
    return [
        frame_of(
            picture[: ends[0]].reshape(height, width),
            picture[ends[0] : ends[1]].reshape(half),
            picture[ends[1] :].reshape(half),
        )
        for picture in pictures
    ]
