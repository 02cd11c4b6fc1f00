"""What HLS playlists are made of: their lines (RFC 8216)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from abr.core.title import AudioTrack, Rendition, SubtitleTrack, Thumbnails, sheet_file
from abr.media.languages import UNKNOWN
from server.ingest.manifests.shown import Shown, peak_bps

THUMBNAILS_FILE = "thumbnails.m3u8"
DESCRIBES_VIDEO = "public.accessibility.describes-video"
DESCRIBES_SOUNDS = "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound"


def master_head(shown: Shown, base: str) -> list[str]:
    """The first lines of a master playlist. base: goes before the URLs of the playlists of sound and subtitles."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for sound, name in zip(shown.audio, names_of(shown.audio), strict=True):
        flags = {"DEFAULT": _yes(sound is shown.audio[0]), "AUTOSELECT": _yes(sound.role != "commentary")}
        more = {"CHARACTERISTICS": DESCRIBES_VIDEO} if sound.role == "description" else {}
        lines.append(_media("AUDIO", sound, name, flags, more | {"CHANNELS": str(sound.channels)}, base))
    for text, name in zip(shown.subtitles, names_of(shown.subtitles), strict=True):
        forced = text.role == "forced-subtitle"
        flags = {"DEFAULT": "NO", "AUTOSELECT": _yes(text.role != "commentary"), "FORCED": _yes(forced)}
        more = {"CHARACTERISTICS": DESCRIBES_SOUNDS} if text.role == "caption" else {}
        lines.append(_media("SUBTITLES", text, name, flags, more, base))
    return lines


def names_of(tracks: Sequence[AudioTrack | SubtitleTrack]) -> list[str]:
    """What viewers read, a name of its own for each (RFC 8216, 4.3.4.1.1)."""
    names: list[str] = []
    for track in tracks:
        name = (track.name or ("" if track.language == UNKNOWN else track.language) or track.id).replace('"', "'")
        alike = sum(each == name or each.startswith(f"{name} (") for each in names)
        names.append(f"{name} ({alike + 1})" if alike else name)
    return names


def _media(
    kind: str,
    track: AudioTrack | SubtitleTrack,
    name: str,
    flags: dict[str, str],
    more: dict[str, str],
    base: str,
) -> str:
    """An EXT-X-MEDIA (RFC 8216, 4.3.4.1)."""
    language = {} if track.language == UNKNOWN else {"LANGUAGE": track.language}
    quoted = {"GROUP-ID": kind.lower(), "NAME": name} | language
    after = more | {"URI": f"{base}{track.id}.m3u8"}
    attributes = [f'{key}="{value}"' for key, value in quoted.items()]
    attributes += [f"{key}={value}" for key, value in flags.items()]
    attributes += [f'{key}="{value}"' for key, value in after.items()]
    return f"#EXT-X-MEDIA:TYPE={kind},{','.join(attributes)}"


def _yes(true: bool) -> str:
    return "YES" if true else "NO"


def variant(shown: Shown, rendition: Rendition, bandwidth_bps: int, uri: str) -> list[str]:
    """The lines of one variant in a master playlist. bandwidth_bps: the most that its pictures take."""
    sound_bps = max((track.bandwidth_bps for track in shown.audio), default=0)
    codecs = ",".join(dict.fromkeys((rendition.codecs, *(track.codecs for track in shown.audio))))
    head = (
        f"#EXT-X-STREAM-INF:BANDWIDTH={bandwidth_bps + sound_bps},"
        f"AVERAGE-BANDWIDTH={rendition.average_bps + sound_bps},"
        f'CODECS="{codecs}",RESOLUTION={rendition.width_px}x{rendition.height_px},'
        f"FRAME-RATE={shown.frame_rate[0] / shown.frame_rate[1]:.3f}"
        + (',AUDIO="audio"' if shown.audio else "")
        + (',SUBTITLES="subtitles"' if shown.subtitles else "")
    )
    return [head, uri]


def target_s(durations_s: Sequence[float]) -> int:
    """EXT-X-TARGETDURATION: the longest segment, to the nearest second (RFC 8216, 4.3.3.1)."""
    return max(1, int(max(durations_s) + 0.5))


def thumbnail_variant(thumbnails: Thumbnails, base: str) -> str:
    """The line that leads to the playlist of thumbnails (Roku's Image Media Playlist Specification 0.4).

    Its resolution is that of one picture.
    """
    return (
        f"#EXT-X-IMAGE-STREAM-INF:BANDWIDTH={peak_bps(thumbnails)},RESOLUTION={_size(thumbnails)},"
        f'CODECS="jpeg",URI="{base}{THUMBNAILS_FILE}"'
    )


def thumbnail_playlist(thumbnails: Thumbnails, duration_s: float) -> bytes:
    """The playlist of thumbnails. Its last sheet shows what is left of the title."""
    layout = f"{thumbnails.columns}x{thumbnails.rows}"
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{math.ceil(min(thumbnails.sheet_s, duration_s))}",
        "#EXT-X-MEDIA-SEQUENCE:1",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-IMAGES-ONLY",
    ]
    for sheet in range(len(thumbnails.sheet_bytes)):
        lasts_s = min(thumbnails.sheet_s, duration_s - sheet * thumbnails.sheet_s)
        lines += [
            f"#EXTINF:{lasts_s:.6f},",
            f"#EXT-X-TILES:RESOLUTION={_size(thumbnails)},LAYOUT={layout},DURATION={thumbnails.every_s:.6f}",
            f"thumbnails/{sheet_file(sheet)}",
        ]
    return ("\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n").encode()


def _size(thumbnails: Thumbnails) -> str:
    return f"{thumbnails.width_px}x{thumbnails.height_px}"
