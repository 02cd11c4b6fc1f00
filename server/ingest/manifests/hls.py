"""What HLS playlists are made of: their lines (RFC 8216)."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from itertools import product

import msgspec
from msgspec import UNSET, UnsetType

from abr.core.title import (
    CHAPTERS_FILE,
    AudioTrack,
    Chapter,
    Protection,
    Rendition,
    SubtitleTrack,
    Thumbnails,
    sheet_file,
)
from abr.media.languages import UNKNOWN
from server.ingest.audio import CHANNELS as STEREO
from server.ingest.audio import SURROUND_NAME, surround_id
from server.ingest.encoders.sound import OPUS, sound_codec
from server.ingest.manifests.shown import Shown, peak_bps
from server.ingest.subtitles.imsc import CODECS as IMSC_CODECS

IMSC_GROUP = "subtitles-imsc"
THUMBNAILS_FILE = "thumbnails.m3u8"
DESCRIBES_VIDEO = "public.accessibility.describes-video"
DESCRIBES_SOUNDS = "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound"


def sound_groups(sounds: Sequence[AudioTrack], *, by_form: bool = False) -> dict[str, tuple[AudioTrack, ...]]:
    """By GROUP-ID: all sounds.

    by_form: a group for each codec; where some are in 5.1 too, one in stereo and one in the most channels that each
    has. Groups have the same members (RFC 8216, 4.3.4.1.1), and players choose one with the variant; some by bandwidth
    alone (hls.js).
    """
    if not by_form:
        return {"audio": tuple(sounds)} if sounds else {}
    groups: dict[str, tuple[AudioTrack, ...]] = {}
    for codec in dict.fromkeys(sound_codec(each.codecs) for each in sounds):
        ours = [each for each in sounds if sound_codec(each.codecs) is codec]
        stereo = tuple(each for each in ours if each.channels <= STEREO)
        surround = {each.id.removesuffix(codec.suffix): each for each in ours if each.channels > STEREO}
        groups[f"audio{codec.suffix}"] = stereo if surround else tuple(ours)
        if surround:
            best = (surround.get(surround_id(each.id.removesuffix(codec.suffix)), each) for each in stereo)
            groups[f"audio-5.1{codec.suffix}"] = tuple(best)
    return groups


def master_head(shown: Shown, base: str, *, by_form: bool = False) -> list[str]:
    """The first lines of a master playlist. base: goes before the URLs of the playlists of sound and subtitles.

    by_form: as of `sound_groups`.
    """
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for group, sounds in sound_groups(shown.audio, by_form=by_form).items():
        for sound, name in zip(sounds, names_of(sounds), strict=True):
            chosen_unasked = sound.role != "commentary" and (sound.channels <= STEREO or by_form)
            flags = {"DEFAULT": _yes(sound is sounds[0]), "AUTOSELECT": _yes(chosen_unasked)}
            more = {"CHARACTERISTICS": DESCRIBES_VIDEO} if sound.role == "description" else {}
            lines.append(_media("AUDIO", group, sound, name, flags, more | {"CHANNELS": str(sound.channels)}, base))
    for group, texts in text_groups(shown.subtitles).items():
        for text, name in zip(texts, names_of(texts), strict=True):
            forced = text.role == "forced-subtitle"
            flags = {"DEFAULT": "NO", "AUTOSELECT": _yes(text.role != "commentary"), "FORCED": _yes(forced)}
            more = {"CHARACTERISTICS": DESCRIBES_SOUNDS} if text.role == "caption" else {}
            lines.append(_media("SUBTITLES", group, text, name, flags, more, base))
    return lines


def text_groups(tracks: Sequence[SubtitleTrack]) -> dict[str, tuple[SubtitleTrack, ...]]:
    """By GROUP-ID: the tracks as WebVTT, and those that are there as IMSC text too. A group has one format."""
    groups = {"subtitles": tuple(tracks), IMSC_GROUP: tuple(map(as_imsc, filter(_has_imsc, tracks)))}
    return {name: members for name, members in groups.items() if members}


def as_imsc(track: SubtitleTrack) -> SubtitleTrack:
    """By the name that its playlist in IMSC has."""
    return msgspec.structs.replace(track, id=f"{track.id}-imsc")


def _has_imsc(track: SubtitleTrack) -> bool:
    return bool(track.imsc_bytes)


def names_of(tracks: Sequence[AudioTrack | SubtitleTrack]) -> list[str]:
    """What viewers read, a name of its own for each (RFC 8216, 4.3.4.1.1)."""
    names: list[str] = []
    for track in tracks:
        of_all_forms = track.id.removesuffix(OPUS.suffix).removesuffix(f"-{SURROUND_NAME}")
        name = (track.name or ("" if track.language == UNKNOWN else track.language) or of_all_forms).replace('"', "'")
        alike = sum(each == name or each.startswith(f"{name} (") for each in names)
        is_surround = isinstance(track, AudioTrack) and track.channels > STEREO
        names.append(f"{name} ({SURROUND_NAME if is_surround else alike + 1})" if alike else name)
    return names


def _media(
    kind: str,
    group: str,
    track: AudioTrack | SubtitleTrack,
    name: str,
    flags: dict[str, str],
    more: dict[str, str],
    base: str,
) -> str:
    """An EXT-X-MEDIA (RFC 8216, 4.3.4.1)."""
    language = {} if track.language == UNKNOWN else {"LANGUAGE": track.language}
    quoted = {"GROUP-ID": group, "NAME": name} | language
    after = more | {"URI": f"{base}{track.id}.m3u8"}
    attributes = [f'{key}="{value}"' for key, value in quoted.items()]
    attributes += [f"{key}={value}" for key, value in flags.items()]
    attributes += [f'{key}="{value}"' for key, value in after.items()]
    return f"#EXT-X-MEDIA:TYPE={kind},{','.join(attributes)}"


def _yes(true: bool) -> str:
    return "YES" if true else "NO"


def variant(
    shown: Shown, rendition: Rendition, bandwidth_bps: int, uri: str, *, by_form: bool = False, light: str = ""
) -> list[str]:
    """The lines of one rendition's variants in a master playlist, with each group of sounds and of subtitles.

    bandwidth_bps: the most that its pictures take. by_form: as of `sound_groups`. light: its VIDEO-RANGE, where
    not all are in standard range.
    """
    lines: list[str] = []
    sounds_by_group = sound_groups(shown.audio, by_form=by_form) or {"": ()}
    for (group, sounds), text in product(sounds_by_group.items(), text_groups(shown.subtitles) or [""]):
        sound_bps = max((track.bandwidth_bps for track in sounds), default=0)
        text_codecs = [IMSC_CODECS] if text == IMSC_GROUP else []
        codecs = ",".join(dict.fromkeys((rendition.codecs, *(track.codecs for track in sounds), *text_codecs)))
        head = (
            f"#EXT-X-STREAM-INF:BANDWIDTH={bandwidth_bps + sound_bps},"
            f"AVERAGE-BANDWIDTH={rendition.average_bps + sound_bps},"
            f'CODECS="{codecs}",RESOLUTION={rendition.width_px}x{rendition.height_px},'
            f"FRAME-RATE={shown.frame_rate[0] / shown.frame_rate[1]:.3f}"
            + (f",VIDEO-RANGE={light}" if light else "")
            + (f',AUDIO="{group}"' if group else "")
            + (f',SUBTITLES="{text}"' if text else "")
        )
        lines += [head, uri]
    return lines


def key_lines(protection: Protection) -> list[str]:
    """How the segments of a media playlist are encrypted (RFC 8216, 4.3.2.4). The URI holds the key's id.

    hls.js knows ClearKey by its name. Shaka Player knows it as `identity`, by which hls.js would take SAMPLE-AES for
    that of MPEG-TS: so Shaka plays cbcs by DASH.
    """
    method = {"cbcs": "SAMPLE-AES", "cenc": "SAMPLE-AES-CTR"}[protection.scheme]
    formats = {"cbcs": ("org.w3.clearkey",), "cenc": ("org.w3.clearkey", "identity")}[protection.scheme]
    uri = f"data:text/plain;base64,{b64encode(bytes.fromhex(protection.key_id)).decode()}"
    key = f'#EXT-X-KEY:METHOD={method},URI="{uri}",KEYID=0x{protection.key_id.upper()}'
    return [f'{key},KEYFORMAT="{each}",KEYFORMATVERSIONS="1"' for each in formats]


def write_media_playlist(
    init_uri: str,
    durations_s: Sequence[float],
    uris: Sequence[str],
    protection: Protection | UnsetType = UNSET,
    *,
    key_frames: bool = False,
) -> bytes:
    """A media playlist of a whole title. init_uri: empty for segments that need none."""
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{target_s(durations_s)}",
        "#EXT-X-MEDIA-SEQUENCE:1",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-I-FRAMES-ONLY" if key_frames else "#EXT-X-INDEPENDENT-SEGMENTS",
        *(key_lines(protection) if protection else []),
        *([f'#EXT-X-MAP:URI="{init_uri}"'] if init_uri else []),
    ]
    for duration_s, uri in zip(durations_s, uris, strict=True):
        lines += [f"#EXTINF:{duration_s:.6f},", uri]
    return ("\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n").encode()


def target_s(durations_s: Sequence[float]) -> int:
    """EXT-X-TARGETDURATION: the longest segment, to the nearest second (RFC 8216, 4.3.3.1)."""
    return max(1, int(max(durations_s) + 0.5))


def trick_variant(trick: Rendition) -> str:
    """The line that leads to the playlist of key frames (RFC 8216, 4.3.4.3)."""
    return (
        f"#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={trick.bandwidth_bps},AVERAGE-BANDWIDTH={trick.average_bps},"
        f'CODECS="{trick.codecs}",RESOLUTION={trick.width_px}x{trick.height_px},URI="{trick.id}.m3u8"'
    )


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


def chapters_line(base: str) -> str:
    """The line of a master playlist that leads to the chapters (RFC 8216, 4.3.4.4)."""
    return f'#EXT-X-SESSION-DATA:DATA-ID="com.apple.hls.chapters",URI="{base}{CHAPTERS_FILE}"'


def chapters_json(chapters: Sequence[Chapter], duration_s: float) -> bytes:
    """The chapters as Apple's JSON Chapters have them. Sources do not tell the language of a chapter's name."""
    ends_s = [*(each.start_s for each in chapters[1:]), duration_s]
    return msgspec.json.encode(
        [
            {
                "chapter": number,
                "start-time": each.start_s,
                "duration": round(end_s - each.start_s, 3),
                "titles": [{"language": UNKNOWN, "title": each.name or f"Chapter {number}"}],
            }
            for number, (each, end_s) in enumerate(zip(chapters, ends_s, strict=True), 1)
        ]
    )


def _size(thumbnails: Thumbnails) -> str:
    return f"{thumbnails.width_px}x{thumbnails.height_px}"
