"""A title for a standard manifest that comes without Toprung's tables: sizes and quality are assumed, not measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from abr.core.title import Meter, Quality, Rendition, Source, Title
from abr.errors import FormatError
from client_player.source.mpd import Presentation, Span, Track
from client_player.source.title_checks import check_title

_FPS_ASSUMED = Fraction(25)
_VMAF_LOWEST, _VMAF_HIGHEST = 30.0, 95.0


def assume_title(presentation: Presentation, url: str) -> Title:
    """A title for the manifest at `url`. Raises FormatError when its representations are not cut alike.

    Segments are as large as @bandwidth says. VMAF grows with the logarithm of the bitrate, from 30 at the lowest
    representation to 95 at the highest: it ranks them for controllers and measures nothing.
    """
    tracks = presentation.video
    spans = tracks[0].segments
    _check_tracks(tracks, url)
    largest = max(tracks, key=lambda track: track.width_px * track.height_px)
    rate = next((track.frame_rate for track in tracks if track.frame_rate), _FPS_ASSUMED)
    renditions = tuple(_rendition(number, track, spans) for number, track in enumerate(tracks))
    title = Title(
        id="manifest",
        display_width_px=largest.width_px,
        display_height_px=largest.height_px,
        frame_rate=(rate.numerator, rate.denominator),
        segment_duration_s=tuple(span.duration_s for span in spans),
        segment_frames=tuple(max(1, round(span.duration_s * rate)) for span in spans),
        renditions=renditions,
        audio=(),
        source=Source(
            name=url,
            sha256="",
            width_px=largest.width_px,
            height_px=largest.height_px,
            duration_s=presentation.duration_s,
        ),
        plain_quality={rendition.id: _quality(rendition, renditions, len(spans)) for rendition in renditions},
        meter=_no_meter(largest),
        encoder="unknown",
    )
    check_title(title, url)
    return title


def _check_tracks(tracks: Sequence[Track], url: str) -> None:
    if any(len(track.segments) != len(tracks[0].segments) for track in tracks):
        raise FormatError(f"{url} cuts its representations differently; aligned segments are needed to switch.")
    if any(track.width_px <= 0 or track.height_px <= 0 or track.bandwidth_bps <= 0 for track in tracks):
        raise FormatError(f"{url} does not say the size and bandwidth of each representation.")


def _rendition(number: int, track: Track, spans: Sequence[Span]) -> Rendition:
    return Rendition(
        id=f"{track.height_px}p-{track.bandwidth_bps // 1000}k-{number}",
        width_px=track.width_px,
        height_px=track.height_px,
        codecs=track.codecs,
        bandwidth_bps=track.bandwidth_bps,
        average_bps=track.bandwidth_bps,
        init_bytes=1,
        segment_bytes=tuple(max(1, round(track.bandwidth_bps * span.duration_s / 8)) for span in spans),
    )


def _quality(rendition: Rendition, renditions: Sequence[Rendition], segments: int) -> Quality:
    """The same VMAF for every segment; SSIM and PSNR are 0, since nothing is known of them."""
    lowest_bps, highest_bps = renditions[0].bandwidth_bps, renditions[-1].bandwidth_bps
    vmaf = (_assume_vmaf(rendition.bandwidth_bps, lowest_bps, highest_bps),) * segments
    return Quality(vmaf=vmaf, vmaf_neg=vmaf, ssim=(0.0,) * segments, psnr_y_db=(0.0,) * segments)


def _assume_vmaf(bandwidth_bps: int, lowest_bps: int, highest_bps: int) -> float:
    if highest_bps == lowest_bps:
        return _VMAF_HIGHEST
    share = math.log(bandwidth_bps / lowest_bps) / math.log(highest_bps / lowest_bps)
    return _VMAF_LOWEST + share * (_VMAF_HIGHEST - _VMAF_LOWEST)


def _no_meter(display: Track) -> Meter:
    return Meter(
        vmaf_model="assumed from the bitrate",
        vmaf_neg_model="assumed from the bitrate",
        tool="no meter",
        scaler="swscale lanczos",
        every_frames=8,
        crop=(0, 0, display.width_px, display.height_px),
        black_luma_max=0.0,
    )
