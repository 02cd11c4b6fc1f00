"""Titles protected with one key, once a test run: `cbcs`, `cenc`, `licensed`, which tells where to ask; and `clear`."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import imageio_ffmpeg

from abr.core.title import Protection
from abr.media.content_keys import ContentKey
from server.ingest.encode_settings import EncodeSettings
from server.ingest.prepare import prepare_title
from server.media.library import Library
from server.protection.protect import protect_title

KEY = ContentKey(key_id="00112233445566778899aabbccddeeff", key="0f0e0d0c0b0a09080706050403020100")
RECIPE = EncodeSettings(heights_px=(90, 180), preset="veryfast", vmaf_every=100, panel_every=0, segment_s=1)
"""With B-frames, whose times the packager must keep."""


@cache
def protected_library() -> Path:
    """Two seconds each, with sound. Do not write to it."""
    folder = Path(tempfile.mkdtemp(prefix="toprung-protected-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    film, library = folder / "film.mp4", Library(folder / "library")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2"]
    command += ["-f", "lavfi", "-i", "sine=440:d=2:r=48000", "-c:v", "libx264", "-preset", "ultrafast", str(film)]
    subprocess.run(command, check=True)
    prepare_title(film, library, RECIPE, title_id="clear")
    for name, protection in (
        ("cbcs", Protection(scheme="cbcs", key_id=KEY.key_id)),
        ("cenc", Protection(scheme="cenc", key_id=KEY.key_id)),
        ("licensed", Protection(scheme="cbcs", key_id=KEY.key_id, licence_url="https://licences.example/clearkey")),
    ):
        protect_title(library, "clear", KEY, protection, new_id=name)
    return library.root
