"""A title prepared from the short test clip, once a test run, for every room's tests."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import msgspec

from abr.core.title import TITLE_FILE, Title
from abr.media.ladders import in_codec
from abr.media.video_codecs import VideoCodec
from abr.records import dumps
from server.ingest.encode_settings import CodecSettings, EncodeSettings
from server.ingest.manifests.title import manifests
from server.ingest.prepare import prepare_title
from server.media.library import Library

CLIP = Path(__file__).parents[2] / "data" / "bbb_720p25_5s.mp4"
SMALL_CLIP = CLIP.with_name("bbb_360p25_5s.mp4")
"""Encoded, lifted and measured in a quarter of the time."""
SHORT_CLIP = CLIP.with_name("bbb_360p25_2s.mp4")
"""Two seconds of that."""
TINY_CLIP = CLIP.with_name("bbb_256p25_2s.mp4")
"""The same two seconds at 456x256."""
MINUTE = Path(__file__).parents[3] / "client_player" / "sample" / "bbb_60s.mp4"
TITLE_ID = "bbb"
RECIPE = EncodeSettings(heights_px=(180, 240, 360, 720), preset="veryfast", crf=27, vmaf_every=12)


MIXED = EncodeSettings(
    heights_px=(90, 180),
    preset="ultrafast",
    crf=30,
    also=(
        CodecSettings(codec=VideoCodec.HEVC, crf=40, preset="ultrafast"),
        CodecSettings(codec=VideoCodec.AV1, crf=45, preset="10"),
    ),
    segment_s=1,
    vmaf_every=60,
    panel_every=0,
)


@cache
def prepared_library(clip: Path = CLIP) -> Library:
    """A library that holds the clip, a short one, as the title `bbb`, with sound.

    Its rungs are 180p, 240p, 360p and 720p; those of the small clip 90p, 120p, 180p and 360p.

    Do not write to it. Kept under the temporary folder between the processes of one test run, and between runs while
    the clip and the code that prepares it are the same.
    """
    heights = (90, 120, 180, 360) if clip == SMALL_CLIP else RECIPE.heights_px
    return _kept_library("title", clip, msgspec.structs.replace(RECIPE, heights_px=heights))


@cache
def mixed_library() -> Library:
    """The same of a small title in three codecs: 90p, 180p, 90p-hevc, 180p-hevc, 90p-av1, 180p-av1."""
    return _kept_library("mixed", SMALL_CLIP, MIXED)


def _kept_library(name: str, clip: Path, recipe: EncodeSettings) -> Library:
    root = Path(tempfile.gettempdir()) / f"toprung-test-{name}-{os.getuid()}-{_fingerprint(clip)}"
    root.mkdir(mode=0o700, exist_ok=True)
    library = Library(root / "library")
    with (root / "lock").open("w") as lock:  # xdist workers take turns; the later ones find it done
        fcntl.flock(lock, fcntl.LOCK_EX)
        prepare_title(clip, library, recipe, title_id=TITLE_ID)
    return library


@cache
def short_library() -> Library:
    """The short clip as the title `bbb` of 180p and 360p in two segments, with sound. Kept as the others."""
    recipe = msgspec.structs.replace(RECIPE, heights_px=(180, 360), segment_s=1, vmaf_every=25)
    return _kept_library("short", SHORT_CLIP, recipe)


@cache
def tiny_library() -> Library:
    """The tiny clip as the title `bbb` of 64p, 86p, 128p and 256p in two segments, with sound. Kept as the others."""
    recipe = msgspec.structs.replace(RECIPE, heights_px=(64, 86, 128, 256), segment_s=1)
    return _kept_library("tiny", TINY_CLIP, recipe)


def copy_tiny_title(root: Path, *rungs: str) -> None:
    """A copy of `tiny_library` below `root`, with these of its rungs alone, or with all."""
    folder, source = root / TITLE_ID, tiny_library()
    shutil.copytree(source.root / TITLE_ID, folder)
    title = source.title(TITLE_ID)
    kept = [rung for rung in title.renditions if not rungs or rung.id in rungs]
    quality = {rung.id: title.plain_quality[rung.id] for rung in kept}
    (folder / TITLE_FILE).write_bytes(
        dumps(msgspec.structs.replace(title, renditions=tuple(kept), plain_quality=quality))
    )


def write_in_codec(codec: VideoCodec, root: Path) -> Library:
    """The ladder of one codec of `mixed_library` as a title of its own, below `root`."""
    mixed = mixed_library()
    title = in_codec(mixed.title(TITLE_ID), codec)
    shutil.copytree(mixed.root / TITLE_ID, root / TITLE_ID)
    for name, data in {**manifests(title), TITLE_FILE: dumps(title)}.items():
        (root / TITLE_ID / name).write_bytes(data)
    return Library(root)


@cache
def small_library() -> Library:
    """The small clip as the title `bbb` of 180p and 360p, with sound. Kept as `prepared_library` is."""
    return _kept_library("small", SMALL_CLIP, msgspec.structs.replace(RECIPE, heights_px=(180, 360), vmaf_every=44))


def prepared_title(clip: Path = CLIP) -> tuple[Title, Path]:
    """The prepared title and its folder."""
    library = prepared_library(clip)
    return library.title(TITLE_ID), library.root / TITLE_ID


def _fingerprint(clip: Path) -> str:
    code = Path(__file__).parents[3]
    made_by = [
        *code.glob("server/ingest/**/*.py"),
        *code.glob("abr/media/*.py"),
        *code.glob("abr/core/title/*.py"),
        code / "abr" / "quality" / "vmaf.py",
        clip,
        Path(__file__),
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(made_by))).hexdigest()[:12]
