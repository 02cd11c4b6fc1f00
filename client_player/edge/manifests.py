"""The manifests that stock players get: one Representation, whose segments are lifted or not.

As of a server-driven session (`server.ingest.manifests.title`): segments bring their own parameter sets (avc3), so
that those of the origin's renditions and the lifted ones may follow each other.
"""

from __future__ import annotations

from abr.core.title import Title
from server.ingest.manifests.title import (
    MASTER_FILE,
    MPD_FILE,
    driven_master_playlist,
    driven_media_playlist,
    driven_mpd,
)
from server.media.versions import lead_elsewhere, version_folder

PLAYLIST_FILE = "video.m3u8"
"""The media playlist that the master playlist names."""
EDGE_FOLDER = "edge"
_DRIVEN_FOLDER = "video/"


def edge_manifest(title: Title, name: str) -> bytes:
    """The manifest called `name`, one of the three, to be served below `/titles/ID/`."""
    if name == MPD_FILE:
        mpd = lead_elsewhere(driven_mpd(title), f'media="{_DRIVEN_FOLDER}', f'media="{_folder(title)}')
        return lead_elsewhere(mpd, f'initialization="{_DRIVEN_FOLDER}', f'initialization="{_folder(title)}')
    if name == MASTER_FILE:
        return driven_master_playlist(title)
    assert name == PLAYLIST_FILE
    return lead_elsewhere(driven_media_playlist(title), _DRIVEN_FOLDER, _folder(title))


def _folder(title: Title) -> str:
    return f"{version_folder(title.version)}{EDGE_FOLDER}/"
