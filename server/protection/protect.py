"""Protect a title: encrypt its pictures and sound, and write its manifests anew. It is complete or absent."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import UNSET

from abr.controllers.toprung.title_plans import write_plans
from abr.core.title import (
    INIT_FILE,
    TITLE_FILE,
    TRICK_PLAY,
    AudioTrack,
    Hdr,
    Protection,
    Rendition,
    Title,
    segment_file,
)
from abr.errors import InputError, StorageError
from abr.files import lock_folder, write_file
from abr.media.content_keys import KEY_BYTES, ContentKey
from abr.media.video_codecs import codec_of
from abr.progress import Advance, ProgressBars, no_bars
from abr.records import dumps_pretty
from server.ingest.manifests.title import manifests
from server.ingest.mp4.cmaf import as_standalone, standalone_init_file
from server.media.kept_versions import drop, kept_folders
from server.media.library import Library
from server.media.live_title import load_live
from server.media.versions import media_version
from server.protection.init_segments import as_protected
from server.protection.packager import Kind, encrypt

BATCH_SEGMENTS = 16
"""Encrypted in one run of the packager."""
_CLEAR_FOLDERS = ("subtitles", "thumbnails")
"""Players read them as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What every track is encrypted by. title: as it was."""

    title: Title
    source: Path
    target: Path
    key: ContentKey
    protection: Protection
    iv: str
    advance: Advance


def protect_title(
    library: Library,
    title_id: str,
    key: ContentKey,
    protection: Protection,
    *,
    new_id: str = "",
    bars: ProgressBars = no_bars,
) -> Title:
    """Encrypt a title of the library, in its place or as another title `new_id`; returns it.

    In its place, all its clear versions are removed at once. Enhancers stay behind: nobody could read the frames for
    them. Raises as `check_protectable` does, and StorageError, ToprungError.
    """
    check_protectable(library, title_id, new_id)
    name, title, source = new_id or title_id, library.title(title_id), library.folder(title_id)
    folder = library.protecting(name)
    with lock_folder(folder, busy=f"{name} is being protected by another process; wait for it."):
        try:
            return _protect(library, name, title, source, folder, key, protection, bars)
        except OSError as error:
            raise StorageError(f"Cannot write to {folder}: {error.strerror}.") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def check_protectable(library: Library, title_id: str, new_id: str = "") -> None:
    """Raises UnknownNameError, InputError and FormatError where `protect_title` would refuse before it begins."""
    if library.has_live(title_id):
        state = load_live(library.root / title_id).describe(time.time())
        raise InputError(f"{state} It can be protected once it is kept (--keep).")
    title = library.title(title_id)
    if title.protection:
        raise InputError(f"{title_id} is protected already, with key {title.protection.key_id}.")
    if new_id and (library.has_title(new_id) or library.has_live(new_id)):
        raise InputError(f"The library already has {new_id!r}; remove it first or choose another --id.")
    library.check_place(new_id or title_id)


def _protect(
    library: Library,
    name: str,
    title: Title,
    source: Path,
    folder: Path,
    key: ContentKey,
    protection: Protection,
    bars: ProgressBars,
) -> Title:
    target = folder / "title"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    tracks = len(title.files) + len(title.audio)
    with bars(f"encrypting {tracks} tracks", tracks * title.duration_s) as advance:
        work = _Work(
            title=title,
            source=source,
            target=target,
            key=key,
            protection=protection,
            iv=secrets.token_hex(KEY_BYTES),
            advance=advance,
        )
        made = msgspec.structs.replace(
            title,
            id=name,
            protection=protection,
            renditions=tuple(_encrypt_rendition(work, each) for each in title.renditions),
            hdr=_encrypt_hdr(work, title.hdr) if title.hdr else UNSET,
            trick_play=_encrypt_rendition(work, title.trick_play) if title.trick_play else UNSET,
            audio=tuple(_encrypt_sound(work, each) for each in title.audio),
        )
    for clear in _CLEAR_FOLDERS:
        if (source / clear).is_dir():
            shutil.copytree(source / clear, target / clear)
    made = msgspec.structs.replace(made, version=media_version(target))
    for file, data in {**manifests(made), TITLE_FILE: dumps_pretty(made)}.items():
        write_file(target / file, data)
    write_plans(target, made, None)
    if name == title.id:
        for before in kept_folders(library.root, name):
            drop(before)
    library.publish(name, target, keeps_replaced=False)
    return made


def _encrypt_rendition(work: _Work, rendition: Rendition) -> Rendition:
    codec, folder = codec_of(rendition.codecs), work.target / "video" / rendition.id
    init, sizes = _encrypt_track(work, "video", f"video/{rendition.id}", rendition.segment_bytes)
    if codec.standalone_entry != codec.in_band_entry and rendition.id != TRICK_PLAY:
        write_file(folder / standalone_init_file(codec), as_standalone(init, codec))
    rates = [size * 8 / lasts_s for size, lasts_s in zip(sizes, work.title.segment_duration_s, strict=True)]
    return msgspec.structs.replace(
        rendition,
        init_bytes=len(init),
        segment_bytes=sizes,
        bandwidth_bps=int(max(rates)) + 1,
        average_bps=int(sum(sizes) * 8 / work.title.duration_s) + 1,
    )


def _encrypt_hdr(work: _Work, hdr: Hdr) -> Hdr:
    return msgspec.structs.replace(hdr, renditions=tuple(_encrypt_rendition(work, each) for each in hdr.renditions))


def _encrypt_sound(work: _Work, track: AudioTrack) -> AudioTrack:
    init, sizes = _encrypt_track(work, "audio", f"audio/{track.id}", track.segment_bytes)
    grown = max(after / before for before, after in zip(track.segment_bytes, sizes, strict=True))
    return msgspec.structs.replace(
        track, init_bytes=len(init), segment_bytes=sizes, bandwidth_bps=int(track.bandwidth_bps * grown) + 1
    )


def _encrypt_track(work: _Work, kind: Kind, relative: str, sizes: Sequence[int]) -> tuple[bytes, tuple[int, ...]]:
    """Write one folder of segments, encrypted; gives its init segment and the bytes of each segment."""
    source, target = work.source / relative, work.target / relative
    target.mkdir(parents=True)
    clear, init, made = (source / INIT_FILE).read_bytes(), b"", list[int]()
    for batch in _batches(len(sizes)):
        segments = [clear + (source / segment_file(number)).read_bytes() for number in batch]
        with tempfile.TemporaryDirectory(dir=work.target.parent) as scratch:
            encrypted = encrypt(Path(scratch), kind, segments, work.key, work.protection, work.iv)
        if not init:
            init = as_protected(clear, kind, encrypted[0].init)
            write_file(target / INIT_FILE, init)
        for number, each in zip(batch, encrypted, strict=True):
            write_file(target / segment_file(number), each.media)
            made.append(len(each.media))
            work.advance(work.title.segment_duration_s[number])
    return init, tuple(made)


def _batches(count: int) -> Iterator[range]:
    return (range(first, min(count, first + BATCH_SEGMENTS)) for first in range(0, count, BATCH_SEGMENTS))
