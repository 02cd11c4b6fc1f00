"""Where viewers fetch media when a CDN sends it: the same paths as below `/titles` here, on another host."""

from __future__ import annotations

from server.media.versions import is_lasting, version_folder


def media_url(media_base: str, title_id: str, version: str, relative: str) -> str:
    """The URL of a title's file at the CDN; nothing without one, or for a file whose bytes may change.

    It is the same for all viewers, so that a cache keeps one copy. media_base: setting of that name.
    """
    if not media_base or not is_lasting(relative, version):
        return ""
    return f"{title_url(media_base, title_id, version)}{relative}"


def title_url(media_base: str, title_id: str, version: str) -> str:
    """The same of the folder of a title's version, with a slash at its end."""
    return f"{media_base.rstrip('/')}/{title_id}/{version_folder(version)}"
