"""A title whose sounds are there in Opus too, made once a test run."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from many_tracks import write_film

from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library


@cache
def opus_library() -> Path:
    """Five segments of a second each: `film`. Do not write to it."""
    folder = Path(tempfile.mkdtemp(prefix="toprung-opus-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    recipe = EncodeSettings(heights_px=(90,), preset="ultrafast", vmaf_every=125, panel_every=0, segment_s=1, opus=True)
    prepare_title(write_film(folder / "film.mkv"), Library(folder / "library"), recipe, title_id="film")
    return folder / "library"
