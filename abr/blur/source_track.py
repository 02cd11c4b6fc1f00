"""The kernel track of a source file, read as a title is made of it: upright, deinterlaced, on its frame grid."""

from __future__ import annotations

from pathlib import Path

import msgspec

from abr.blur.estimator import shipped_digest, shipped_estimator
from abr.blur.survey import survey_frames
from abr.blur.track import KernelTrack
from abr.errors import InputError
from abr.files import file_sha256
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
    track = survey_frames(lumas, footage.frame_rate, shipped_estimator(), shipped_digest(), advance)
    return msgspec.structs.replace(track, source_sha256=file_sha256(source))


def check_track(track: KernelTrack, source: Path) -> None:
    """Raises InputError for the track of another file."""
    if track.source_sha256 and track.source_sha256 != file_sha256(source):
        raise InputError(
            f"The kernel track is of another file than {source.name}; give that of this file, or none to tell it anew."
        )
