"""Trick play: the key frame of each segment by itself, as a rung for players that run through a film.

It is taken from a rung that is there: nothing is encoded for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path

from abr.core.title import INIT_FILE, TRICK_PLAY, Rendition, segment_file
from abr.files import write_file
from abr.media.video_codecs import codec_of
from server.ingest.encode import EncodedRung, timescale
from server.ingest.ladder import Rung
from server.ingest.mp4.cmaf import standalone_init_file
from server.ingest.mp4.one_sample import first_sample, one_sample_segment

HEIGHT_MAX_PX = 360
"""Who runs through a film looks at small pictures."""


def write_trick_play(folder: Path, rungs: Sequence[Rung], encoded: Sequence[EncodedRung], rate: Fraction) -> Rendition:
    """Write the folder of key frames beside those of the rungs; of the first ladder's largest that is small enough.

    folder: of all rungs. Raises StorageError.
    """
    ladder = [(rung, each) for rung, each in zip(rungs, encoded, strict=True) if rung.codec is rungs[0].codec]
    rung, made = max((pair for pair in ladder if pair[0].height_px <= HEIGHT_MAX_PX), key=_pixels, default=ladder[0])
    source, target, ticks = folder / rung.id, folder / TRICK_PLAY, timescale(rate)
    target.mkdir(exist_ok=True)
    init = (source / standalone_init_file(codec_of(made.codecs))).read_bytes()
    write_file(target / INIT_FILE, init)
    sizes, ends = [], accumulate(made.segment_frames, initial=0)
    for number, (start, end) in enumerate(pairwise(int(frames * ticks / rate) for frames in ends)):
        picture = first_sample((source / segment_file(number)).read_bytes())
        data = one_sample_segment(number + 1, start, end - start, picture)
        write_file(target / segment_file(number), data)
        sizes.append(len(data))
    spans_s = [float(frames / rate) for frames in made.segment_frames]
    return Rendition(
        id=TRICK_PLAY,
        width_px=rung.width_px,
        height_px=rung.height_px,
        codecs=made.codecs,
        bandwidth_bps=int(max(size * 8 / span for size, span in zip(sizes, spans_s, strict=True))) + 1,
        average_bps=int(sum(sizes) * 8 / sum(spans_s)) + 1,
        init_bytes=len(init),
        segment_bytes=tuple(sizes),
    )


def _pixels(pair: tuple[Rung, EncodedRung]) -> int:
    return pair[0].pixels
