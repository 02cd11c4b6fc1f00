"""Quality seen: the shown frames, kept in files while playing, scored against the source.

The meters are the title's own, on the same frames, so that the scores compare with the title's tables: VMAF, VMAF-NEG,
SSIM and PSNR by luma, and the panel by luma and colour. Colour is kept of the few frames that the panel looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from abr.core.title import Quality, Title
from abr.media.planes import luma_of, planes_of
from abr.media.source_frames import reference_frames
from abr.quality.pictures import Planes, crop_planes
from abr.quality.sampled_panel import SampledPanel, fed_frames, judged_frames
from abr.quality.vmaf import Luma, crop, is_black, score_pairs, segment_means

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


def measure_seen_quality(
    shown: Path,
    source: Path,
    title: Title,
    *,
    threads: int = 2,
    advance: Callable[[int], None] = lambda _frames: None,
) -> Quality | None:
    """Score the frames in `shown` (raw luma at display size, all frames of the title from its first on).

    One entry for each segment that was shown whole; None when there was none. The means have the weights of the
    title's own tables, so the two can be compared. Raises MediaError when `source` is damaged or has fewer frames.
    """
    size = title.display_width_px * title.display_height_px
    frames = shown.stat().st_size // size
    whole = np.flatnonzero(np.cumsum(title.segment_frames) <= frames)
    if not len(whole):
        return None
    segment_frames = title.segment_frames[: len(whole)]
    keep = np.ones(sum(segment_frames), dtype=np.bool_)
    _, _, width_px, height_px = title.meter.crop
    with SampledPanel(width_px, height_px, title.fps, _judged(title)) as panel:
        scores = score_pairs(
            _pairs(panel, shown, source, title, keep, advance),
            width_px=width_px,
            height_px=height_px,
            fps=title.fps,
            every_frames=title.meter.every_frames,
            threads=threads,
        )
        return msgspec.structs.replace(segment_means(scores, segment_frames, keep), panel=panel.finish())


def _judged(title: Title) -> dict[int, int]:
    return judged_frames(title.segment_frames, title.meter.panel_every_segments)


def looked_at(title: Title) -> frozenset[int]:
    """The frames of the title, counted from 0, that the panel looks at."""
    return frozenset(index for frame in _judged(title).values() for index in fed_frames(frame))


def chroma_file(luma: Path) -> Path:
    """Where the colour of those frames is kept, beside the luma of all."""
    return luma.with_suffix(".uv")


def source_luma(source: Path, title: Title) -> Iterator[Luma]:
    """The luma of the frames that the title was encoded from: uint8 (H, W) at display size. Raises MediaError."""
    return map(luma_of, reference_frames(source, title))


def _pairs(
    panel: SampledPanel,
    shown: Path,
    source: Path,
    title: Title,
    keep: npt.NDArray[np.bool_],
    advance: Callable[[int], None],
) -> Iterator[tuple[Luma, Luma]]:
    """The lumas of source and shown frames. The panel is shown the pictures that it looks at."""
    size = title.display_height_px, title.display_width_px
    half = (size[0] + 1) // 2, (size[1] + 1) // 2
    box = title.meter.crop
    with shown.open("rb") as lumas, chroma_file(shown).open("rb") as chroma:
        for index, reference in zip(range(len(keep)), reference_frames(source, title), strict=False):
            view, picture = crop(luma_of(reference), box), _plane(lumas, size)
            keep[index] = not is_black(view)

            def both(reference: VideoFrame = reference, picture: Luma = picture) -> tuple[Planes, Planes]:
                lifted = picture, _plane(chroma, half), _plane(chroma, half)
                return crop_planes(planes_of(reference), box), crop_planes(lifted, box)

            panel.watch(index, both, counts=bool(keep[index]))
            yield view, crop(picture, box)
            advance(1)


def _plane(file: BinaryIO, shape: tuple[int, int]) -> Luma:
    return np.frombuffer(file.read(shape[0] * shape[1]), np.uint8).reshape(shape)
