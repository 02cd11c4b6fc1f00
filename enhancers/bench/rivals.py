"""Other people's upscalers on the same frames as ours: mpv user shaders, and networks as ONNX.

Shaders run as mpv runs them, by libplacebo over Vulkan: the static ffmpeg has it, and Mesa's lavapipe is a Vulkan
device without a GPU. A doubling shader is run once where the display is up to twice the rung, else twice; libplacebo
brings its picture to the display. Networks run in float32, as imported ones do, on rungs that fit their scale.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np

from abr.core.title import Quality, Rendition
from abr.errors import InputError, ToprungError
from abr.files import write_file
from abr.progress import ShareListener
from abr.quality.ffmpeg_meters import ffmpeg_program
from abr.quality.sampled_panel import join_panels
from abr.quality.segment_figures import lift_judge
from enhancers.bench.rung_results import LiftedFigures, figures_of
from enhancers.interchange.import_network import read_network
from enhancers.measurement.quality import (
    Measured,
    cut_into_blocks,
    join_scores,
    kept_frames,
    mean_by_segment,
    measure_shown,
    read_references,
    scored_frames,
)
from enhancers.networks.catalog import network_scales
from enhancers.networks.imported import ImportedNetwork
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.frames import Frame, frame_of
from enhancers.runtime.loader import open_weights

FAMILY = "rival"
_SHADER, _NETWORK = ".glsl", ".onnx"
_DOUBLED_MAX = 2.0
_LIMIT_S = 600
_SIGNAL = "bt709"
_PREFIX = re.compile(r"^(\[[^]]*\] *)+")
"""What ffmpeg writes before a line of its log."""


class Rival(Protocol):
    """An upscaler of somebody else's."""

    @property
    def name(self) -> str:
        """That of its file."""
        ...

    @property
    def macs_per_output_px(self) -> float | None:
        """Multiplications for each pixel shown; None where they cannot be counted."""
        ...

    def fits(self, scale: float) -> bool:
        """Whether it can lift a rung of this network scale."""
        ...

    def lift(self, frames: Sequence[Frame], display_px: tuple[int, int]) -> list[Frame]:
        """The frames, all of one size, at display size. Raises InputError or ToprungError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ShaderRival:
    """An mpv user shader that doubles luma."""

    path: Path
    macs_per_output_px: float | None = None

    @property
    def name(self) -> str:
        """See Rival."""
        return self.path.stem

    def fits(self, scale: float) -> bool:
        """See Rival."""
        return scale > 1

    def lift(self, frames: Sequence[Frame], display_px: tuple[int, int]) -> list[Frame]:
        """See Rival."""
        if not frames:
            return []
        size_px = frames[0].width_px, frames[0].height_px
        doubled_px = 2 * size_px[0], 2 * size_px[1]
        passes = [display_px] if display_px[1] <= _DOUBLED_MAX * size_px[1] else [doubled_px, display_px]
        with TemporaryDirectory(prefix="toprung-shader-") as folder:
            write_file(Path(folder) / "shader.glsl", self.path.read_bytes())
            data = b"".join(plane.tobytes() for frame in frames for plane in frame.planes())
            return _split(self._run(_command(size_px, passes), Path(folder), data), display_px, len(frames))

    def _run(self, command: Sequence[str], folder: Path, data: bytes) -> bytes:
        try:
            done = subprocess.run(command, cwd=folder, input=data, capture_output=True, timeout=_LIMIT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise ToprungError(f"{self.path.name} did not end within {_LIMIT_S} s.") from error
        said = [_PREFIX.sub("", line) for line in done.stderr.decode(errors="replace").splitlines()]
        if done.returncode or said:  # libplacebo goes on without a shader that it cannot compile
            why = next((line for line in said if "error" in line.lower()), said[-1] if said else "ffmpeg was ended")
            raise InputError(
                f"{self.path.name} cannot be run: {why[:200]}. Shaders need Vulkan; a machine without a GPU has it "
                "from Mesa's lavapipe (mesa-vulkan-drivers on Debian)."
            )
        return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRival:
    """A network as ONNX."""

    name: str
    network: ImportedNetwork

    @property
    def macs_per_output_px(self) -> float | None:
        """See Rival."""
        return round(self.network.macs_per_output_px, 1)

    def fits(self, scale: float) -> bool:
        """See Rival."""
        return scale == self.network.architecture.scale

    def lift(self, frames: Sequence[Frame], display_px: tuple[int, int]) -> list[Frame]:
        """See Rival."""
        if not frames:
            return []
        size_px = frames[0].width_px, frames[0].height_px
        enhancer = open_weights(self.network, self.network.architecture.digest, size_px=size_px, display_px=display_px)
        return [enhancer.enhance(frame) for frame in frames]


def find_rivals(folder: Path) -> list[Rival]:
    """All shaders and networks in a folder, by name. Raises InputError without any, FormatError for a bad network."""
    rivals: list[Rival] = []
    for path in sorted(folder.iterdir()):
        if path.suffix == _SHADER:
            rivals.append(ShaderRival(path=path.absolute()))
        elif path.suffix == _NETWORK:
            rivals.append(NetworkRival(name=path.stem, network=read_network(path)))
    if not rivals:
        raise InputError(f"There is no rival in {folder}: give mpv user shaders (*.glsl) or networks (*.onnx).")
    return rivals


def measure_rivals(
    prepared: PreparedTitle, rivals: Sequence[Rival], every_frames: int, progress: ShareListener
) -> dict[str, dict[str, LiftedFigures]]:
    """By rendition and rival, on the frames on which enhancers are measured. Raises InputError or ToprungError."""
    scales = network_scales(prepared.title)
    parts: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    kept: list[bool] = []
    blocks = cut_into_blocks(prepared, every_frames)
    for number, (block, truth) in enumerate(read_references(prepared, blocks)):
        kept += kept_frames(truth, block)
        for id_, scale in scales.items():
            progress(f"Measuring {len(rivals)} rivals at {id_}", number / len(blocks))
            decoded = scored_frames(prepared, prepared.title.rendition(id_), block)
            low = [frames[-1] for frames in decoded.values()]
            for rival in rivals:
                if rival.fits(scale):
                    shown = dict(zip(decoded, rival.lift(low, prepared.display_px), strict=True))
                    parts[id_, rival.name].append(measure_shown(prepared, block, truth, shown.__getitem__))
    found: dict[str, dict[str, LiftedFigures]] = {id_: {} for id_ in scales}
    for rival in rivals:
        for id_ in scales:
            if measured := parts.get((id_, rival.name)):
                quality = _join(prepared, prepared.title.rendition(id_), measured, kept)
                found[id_][rival.name] = _figures(prepared, rival, quality)
    return found


def _join(prepared: PreparedTitle, rendition: Rendition, parts: Sequence[Measured], kept: Sequence[bool]) -> Quality:
    scores, panel = join_scores([part.scores for part in parts]), join_panels([part.panel for part in parts])
    quality = mean_by_segment(prepared, scores, kept, panel)
    return lift_judge(prepared.title, rendition.id).with_trust(quality)


def _figures(prepared: PreparedTitle, rival: Rival, quality: Quality) -> LiftedFigures:
    return LiftedFigures(
        family=FAMILY,
        tier="",
        architecture=rival.name,
        figures=figures_of(prepared.title, quality),
        weights_bytes=0,
        macs_per_output_px=rival.macs_per_output_px,
    )


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
