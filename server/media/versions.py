"""Content versions in URLs: what a cache keeps under such a URL stays right when the title is prepared anew.

A title's files stand below `/titles/ID/` and, once more, below `/titles/ID/v-VERSION/`. Media is for ever the same
there, so caches may keep it; the manifests below `/titles/ID/` lead to it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath

MEDIA_FOLDERS = ("video", "audio", "thumbnails", "subtitles")
_MEDIA = tuple(f"{folder}/" for folder in MEDIA_FOLDERS)
_VERSION_DIGITS = 16
_VERSIONED = re.compile(r"v-([0-9a-f]{16})/(.+)", re.DOTALL)
_NAMED_BY_CONTENT = re.compile(r"enhancers/(?:.+-)?[0-9a-f]{12}\.[a-z]+")
_HLS_ATTRIBUTE = re.compile(rb'(URI=")(?=[^"/:]+(?:/[^"]*)?")')
_HLS_LINE = re.compile(rb"^(?=[^#\s/:]+(?:/|$))", re.MULTILINE)
_MPD_HEAD = re.compile(rb"<MPD\b(?:[^>]*[^/>])?>(?:\s*<ProgramInformation\b.*?</ProgramInformation>)?", re.DOTALL)
_MPD_BASE = re.compile(_MPD_HEAD.pattern + rb"\s*<BaseURL", re.DOTALL)
_DRIVEN = "driven"
_MANIFESTS = (".mpd", ".m3u8")
LADDER_MANIFESTS = ("manifest.mpd", "driven.mpd", "master.m3u8", "driven.m3u8")
"""Those that tell of all renditions. A title in several codecs has each of them for each ladder too."""


def media_version(folder: Path) -> str:
    """The version of the media in a title folder: any byte of a segment, a sheet of thumbnails or a cue changes it."""
    digest = hashlib.sha256()
    for part in MEDIA_FOLDERS:
        for path in sorted((folder / part).rglob("*.[mjv]*")):
            digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:_VERSION_DIGITS]


def version_folder(version: str) -> str:
    """What goes before a file's path in versioned URLs; nothing for a title whose version is not known."""
    return f"v-{version}/" if version else ""


def split_version(relative: str) -> tuple[str, str]:
    """A path below `/titles/ID/` → the version that it names, if any, and the file."""
    found = _VERSIONED.fullmatch(relative)
    return (found[1], found[2]) if found else ("", relative)


def is_lasting(relative: str, version: str) -> bool:
    """Whether the bytes at a URL never change: media of a named version, and weights, which are named by content."""
    return _NAMED_BY_CONTENT.fullmatch(relative) is not None or bool(version and relative.startswith(_MEDIA))


def leads_to_version(relative: str) -> bool:
    """Whether a file is a manifest for any player. Those of sessions lead to the version as they are."""
    path = PurePosixPath(relative)
    return len(path.parts) == 1 and path.suffix in _MANIFESTS and not relative.startswith(_DRIVEN)


def is_of_session(relative: str) -> bool:
    """Whether a file is one of a session's manifests, which lead to the title's sound by the title's name."""
    return "/" not in relative and relative.startswith(_DRIVEN)


def ladder_file(relative: str, codec: str) -> str:
    """The manifest of one ladder: driven.mpd → driven-av1.mpd. Other files are the same for all ladders."""
    path = PurePosixPath(relative)
    return f"{path.stem}-{codec}{path.suffix}" if relative in LADDER_MANIFESTS else relative


def session_title_base(title_id: str, version: str) -> str:
    """From a session's manifests to the title's files."""
    return f"../../titles/{title_id}/{version_folder(version)}"


def lead_elsewhere(body: bytes, before: str, after: str) -> bytes:
    """A session's manifest `body`, whose URLs of the title's files begin with `before`, with `after` in its place."""
    return body.replace(before.encode(), after.encode())


def lead_to_version(relative: str, body: bytes, version: str) -> bytes:
    """The manifest `body` with its relative URLs below the version's folder. An MPD with a BaseURL of its own stays."""
    below = version_folder(version).encode()
    if relative.endswith(".mpd"):
        if _MPD_BASE.search(body):
            return body
        return _MPD_HEAD.sub(lambda head: head[0] + b"\n  <BaseURL>" + below + b"</BaseURL>", body, count=1)
    return _HLS_LINE.sub(below, _HLS_ATTRIBUTE.sub(rb"\1" + below, body))


def cdn_media_url(media_base: str, title_id: str, version: str, relative: str) -> str:
    """The URL of a title's file at the CDN; nothing without one, or for a file whose bytes may change.

    It is the same for all viewers, so that a cache keeps one copy. media_base: setting of that name.
    """
    if not media_base or not is_lasting(relative, version):
        return ""
    return f"{cdn_title_url(media_base, title_id, version)}{relative}"


def cdn_title_url(media_base: str, title_id: str, version: str) -> str:
    """The same of the folder of a title's version, with a slash at its end."""
    return f"{media_base.rstrip('/')}/{title_id}/{version_folder(version)}"
