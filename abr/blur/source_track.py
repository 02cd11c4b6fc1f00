"""The kernel track of a source file, read as a title is made of it: upright, deinterlaced, on its frame grid."""

from __future__ import annotations

from pathlib import Path

from abr.blur.estimator import shipped_digest, shipped_estimator
from abr.blur.survey import survey_frames
from abr.blur.track import KernelTrack
from abr.media.planes import luma_of
from abr.media.probe import SourceInfo, probe
from abr.media.source_frames import display_frames
from abr.progress import Advance, ProgressBars


def track_of(source: Path, bars: ProgressBars, *, accept_short: bool = False) -> KernelTrack:
    """Told by the estimator that ships. Raises InputError (MediaError) for a source that cannot be used."""
    footage = probe(source, accept_short=accept_short)
    with bars("reading kernels", footage.frames_expected) as advance:
        return survey_source(source, footage, advance)


def survey_source(source: Path, footage: SourceInfo, advance: Advance) -> KernelTrack:
    """Likewise, of a source that was looked at."""
    lumas = (luma_of(frame) for frame in display_frames(source, footage))
    return survey_frames(lumas, footage.frame_rate, shipped_estimator(), shipped_digest(), advance)
