"""Other people's upscalers on the same frames as ours: mpv user shaders, and networks as ONNX.

Shaders run as mpv runs them (`enhancers.interchange.user_shaders`). A doubling shader is run once where the display is
up to twice the rung, else twice; libplacebo brings its picture to the display. Networks run in float32, as imported
ones do, on rungs that fit their scale.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from abr.core.title import Quality, Rendition
from abr.errors import InputError
from abr.progress import ShareListener
from abr.quality.sampled_panel import join_panels
from abr.quality.segment_figures import lift_judge
from enhancers.bench.rung_results import LiftedFigures, figures_of
from enhancers.interchange.import_network import read_network
from enhancers.interchange.user_shaders import run_user_shader
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
from enhancers.runtime.frames import Frame
from enhancers.runtime.loader import open_weights

FAMILY = "rival"
_SHADER, _NETWORK = ".glsl", ".onnx"
_DOUBLED_MAX = 2.0


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
        return run_user_shader(self.path, frames, passes)


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
