"""What a prepared title is: renditions, segments, audio, and the quality of each when played plainly.

A title has a bitrate ladder for each codec that it comes in; nearly all have one. Whoever watches it keeps to one.

Index conventions: a ladder is lowest rung first; `segment` is 0-based everywhere in code. On the wire a
segment's `$Number$` is 1-based, DASH's default startNumber (ISO/IEC 23009-1, 5.3.9.5.3): number = segment + 1.

A title folder holds:

    title.json                         Title
    manifest.mpd  driven.mpd           standard and server-driven DASH manifests
    master.m3u8  <rendition>.m3u8 …    HLS playlists over the same files
    manifest-av1.mpd  driven-av1.mpd … of a title in several codecs or in HDR: the same of one ladder each
    manifest-imsc.mpd                  manifest.mpd with subtitles in IMSC text, where they are there
    video/trick-play/…                 the key frame of each segment alone, where asked for
    video/<rendition id>/init.mp4      video/<rendition id>/seg-00001.m4s …
    video/<rendition id>/init-avc1.mp4 the same as avc1, for standard manifests (init-hvc1.mp4 of HEVC, none of AV1)
    audio/<track id>/init.mp4          audio/<track id>/seg-00001.m4s …
    subtitles/<track id>.vtt           all cues of one track, WebVTT
    subtitles/<track id>/init.mp4      subtitles/<track id>/seg-00001.m4s …: the same as IMSC text, where asked for
    kernels.json  kernels.svg          the kernel track, where one was made, and a plot of it
    .lifted.mkv                        the source lifted to a display above its own size, where asked for: never served
    chapters.json                      the chapters, as HLS has them, where there are any
    thumbnails/sheet-00001.jpg …       small pictures for the seek bar, many in one file
    plans.bin                          plans for common devices (see abr.controllers.toprung.plan_file)
    enhancements.json                  EnhancementTable, once trained or priced (see abr.core.enhancement)
    enhancers/…                        the weights chunks that the table names
    .enhancements.json                 the table of a title that may not be enhanced: kept, and never served
"""

from abr.core.title.fields import (
    AudioRole,
    Chromaticity,
    Count,
    Identifier,
    Language,
    Positive,
    Seconds,
    SubtitleRole,
    TrackName,
    Version,
)
from abr.core.title.figures import (
    Meter,
    PanelFigures,
    Quality,
)
from abr.core.title.title import (
    CHAPTERS_FILE,
    INIT_FILE,
    LIFTED_FILE,
    TITLE_FILE,
    TRICK_PLAY,
    Source,
    Title,
    load_title,
    part_file,
    segment_file,
    sheet_file,
)
from abr.core.title.tracks import (
    LICENCE_URL,
    AudioTrack,
    Chapter,
    Hdr,
    HdrColour,
    MasteringDisplay,
    Protection,
    Rendition,
    SubtitleTrack,
    Thumbnails,
)

__all__ = [
    "CHAPTERS_FILE",
    "INIT_FILE",
    "LICENCE_URL",
    "LIFTED_FILE",
    "TITLE_FILE",
    "TRICK_PLAY",
    "AudioRole",
    "AudioTrack",
    "Chapter",
    "Chromaticity",
    "Count",
    "Hdr",
    "HdrColour",
    "Identifier",
    "Language",
    "MasteringDisplay",
    "Meter",
    "PanelFigures",
    "Positive",
    "Protection",
    "Quality",
    "Rendition",
    "Seconds",
    "Source",
    "SubtitleRole",
    "SubtitleTrack",
    "Thumbnails",
    "Title",
    "TrackName",
    "Version",
    "load_title",
    "part_file",
    "segment_file",
    "sheet_file",
]
