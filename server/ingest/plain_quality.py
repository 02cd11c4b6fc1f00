"""Plain playback measured: the quality of every rendition, segment by segment, as shown at display size.

Shown means decoded and upscaled by the player's own display scaler (swscale Lanczos through PyAV); compared with the
source's display frames. VMAF and its like are asked about one frame in some, the panel about one frame in some
segments, both on one pass.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from abr.core.title import INIT_FILE, Quality
from abr.errors import ToprungError
from abr.media.display_filters import PIXEL_FORMAT
from abr.media.planes import luma_of, planes_of
from abr.media.probe import SourceInfo
from abr.media.source_frames import display_frames
from abr.progress import Advance, ProgressBars
from abr.quality.pictures import Planes, crop_planes
from abr.quality.sampled_panel import SampledPanel, judged_frames
from abr.quality.vmaf import Box, Luma, crop, is_black, picture_box, score_pairs, segment_means
from server.ingest.checkpoints import Checkpoints
from server.ingest.encode import EncodedRung
from server.ingest.encode_settings import EncodeSettings
from server.ingest.title_writer import Video

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_BOX_SAMPLES = 24
_SCALER = "LANCZOS"
_METERS_AT_ONCE = 2


def measure_quality(
    source: Path, footage: SourceInfo, video: Video, recipe: EncodeSettings, work: Checkpoints, bars: ProgressBars
) -> dict[str, Quality]:
    """Quality of every rung, two at a time; each is recorded as soon as it is known."""
    stopped = threading.Event()
    sampling = Sampling(box=video.box, every_frames=recipe.vmaf_every, panel_every_segments=recipe.panel_every)

    def price(rung: EncodedRung, advance: Advance) -> Quality:
        def advance_or_stop(frames: float) -> None:
            if stopped.is_set():
                raise ToprungError("Measuring was stopped.")
            advance(frames)

        files = rendition_files(work.title / "video" / rung.id)
        return measure_rendition(source, footage, files, video.segment_frames, sampling, advance=advance_or_stop)

    with (
        bars("measuring quality", sum(video.segment_frames) * len(video.rungs)) as advance,
        ThreadPoolExecutor(_METERS_AT_ONCE) as pool,
    ):
        futures = {
            rung.id: pool.submit(work.run_once, f"price-{rung.id}", Quality, partial(price, rung, advance))
            for rung in video.rungs
        }
        try:
            return {rung_id: future.result() for rung_id, future in futures.items()}
        except BaseException:  # also Ctrl-C: stop the other meters
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class JoinedFiles(io.RawIOBase):
    """Files read one after the other as one stream, for a decoder that takes an init segment and its segments."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = iter(paths)
        self._open: io.BufferedReader | None = None

    def readable(self) -> bool:
        """As a raw stream says it."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read on, from one file into the next; 0 at the end of the last."""
        while True:
            if self._open is None:
                path = next(self._paths, None)
                if path is None:
                    return 0
                self._open = path.open("rb")
            count = self._open.readinto(buffer)
            if count:
                return count
            self._open.close()
            self._open = None


def rendition_files(folder: Path) -> list[Path]:
    """Init segment and media segments of one rendition, in order."""
    return [folder / INIT_FILE, *sorted(folder.glob("seg-*.m4s"))]


class PictureFinder:
    """Finds the picture inside the letterbox borders of display frames, while something else uses them."""

    def __init__(self, frames_expected: int) -> None:
        self._every = max(1, frames_expected // _BOX_SAMPLES)
        self._seen: list[Luma] = []

    def watch(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """Pass the frames on unchanged, and keep a sample of their luma."""
        for index, frame in enumerate(frames):
            if index % self._every == 0:
                self._seen.append(luma_of(frame).copy())
            yield frame

    def box(self) -> Box:
        """The picture at display size. Raises ValueError before any frame was seen."""
        return picture_box(self._seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How much is measured: one frame in so many by VMAF and its like, one segment in so many by the panel (0: none).

    box: the picture inside letterbox borders, at display size.
    """

    box: Box
    every_frames: int
    panel_every_segments: int


def measure_rendition(
    source: Path,
    footage: SourceInfo,
    files: Sequence[Path],
    segment_frames: Sequence[int],
    sampling: Sampling,
    *,
    advance: Callable[[float], None] = lambda _frames: None,
) -> Quality:
    """Score one rendition. Raises ToprungError when its frames are not exactly the source's, or a meter fails."""
    keep = np.ones(sum(segment_frames), dtype=np.bool_)
    _, _, width_px, height_px = sampling.box
    fps = float(footage.rate)
    judged = judged_frames(segment_frames, sampling.panel_every_segments)
    with SampledPanel(width_px, height_px, fps, judged) as panel:
        pairs = _show(panel, _pairs(source, footage, files, len(keep), advance), sampling.box, keep)
        every = sampling.every_frames
        scores = score_pairs(pairs, width_px=width_px, height_px=height_px, fps=fps, every_frames=every, threads=1)
        figures = panel.finish()
    return replace(segment_means(scores, segment_frames, keep), panel=figures)


def _show(
    panel: SampledPanel, pairs: Iterable[tuple[VideoFrame, VideoFrame]], box: Box, keep: npt.NDArray[np.bool_]
) -> Iterator[tuple[Luma, Luma]]:
    """Pass the lumas on, let the panel look at the pictures, and note in `keep` which frames are not black."""
    for index, (source, shown) in enumerate(pairs):
        view = crop(luma_of(source), box)
        keep[index] = not is_black(view)
        panel.watch(index, partial(_planes_of_both, source, shown, box), counts=bool(keep[index]))
        yield view, crop(luma_of(shown), box)


def _planes_of_both(source: VideoFrame, shown: VideoFrame, box: Box) -> tuple[Planes, Planes]:
    return crop_planes(planes_of(source), box), crop_planes(planes_of(shown), box)


def _pairs(
    source: Path,
    footage: SourceInfo,
    files: Sequence[Path],
    frames: int,
    advance: Callable[[float], None],
) -> Iterator[tuple[VideoFrame, VideoFrame]]:
    """Each display frame of the source with the same one of the rendition."""
    shown = _decode_at_display_size(files, footage.display_width_px, footage.display_height_px)
    count = 0
    for pair in islice(zip(display_frames(source, footage), shown, strict=False), frames):
        yield pair
        count += 1
        advance(1)
    if count != frames:
        raise ToprungError(f"Only {count} of {frames} frames of {files[0].parent.name} could be compared.")


def _decode_at_display_size(files: Sequence[Path], width_px: int, height_px: int) -> Iterator[VideoFrame]:
    import av
    from av.video.reformatter import VideoReformatter

    scaler = VideoReformatter()
    with av.open(io.BufferedReader(JoinedFiles(files)), mode="r", format="mp4") as container:
        for frame in container.decode(video=0):
            yield scaler.reformat(frame, width_px, height_px, PIXEL_FORMAT, interpolation=_SCALER, threads=1)
