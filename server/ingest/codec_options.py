"""What users say of codecs: `--codec h264,av1 --crf 25,35 --preset faster,7`, for each codec in turn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import click

from abr.errors import InputError
from abr.media.video_codecs import VideoCodec
from server.ingest.encode_settings import CodecSettings
from server.ingest.encoders.encoder import ENCODERS, VideoEncoder

HDR_CODECS = (VideoCodec.HEVC, VideoCodec.AV1)


def codec_settings(codecs: str, crf: str | None, preset: str | None) -> list[CodecSettings]:
    """How each ladder is encoded, in the order of ladders: H.264 first, which all players play.

    Raises click.UsageError for what an encoder does not know, InputError where one is missing.
    """
    names = _parts(codecs)
    if unknown := [name for name in names if name not in list(VideoCodec)]:
        raise click.UsageError(f"--codec {unknown[0]!r} is none of {', '.join(VideoCodec)}.")
    if len(set(names)) < len(names):
        raise click.UsageError(f"--codec {codecs!r} names a codec twice.")
    told = zip(names, _each(crf, names, "--crf"), _each(preset, names, "--preset"), strict=True)
    found = {VideoCodec(name): _settings(ENCODERS[VideoCodec(name)], *more) for name, *more in told}
    return [found[codec] for codec in VideoCodec if codec in found]


def hdr_settings(codecs: str | None, settings: Sequence[CodecSettings]) -> list[CodecSettings]:
    """How each ladder in high dynamic range is encoded: as the one in standard range where that codec has one.

    codecs: `hevc,av1`, or None for no such ladder. Raises click.UsageError and InputError as `codec_settings` does.
    """
    if codecs is None:
        return []
    told = {each.codec: each for each in settings}
    names = _parts(codecs)
    if unknown := [name for name in names if name not in HDR_CODECS]:
        raise click.UsageError(f"--hdr {unknown[0]!r} is none of {', '.join(HDR_CODECS)}, which code ten bits.")
    if len(set(names)) < len(names):
        raise click.UsageError(f"--hdr {codecs!r} names a codec twice.")
    found = {VideoCodec(name): _settings(ENCODERS[VideoCodec(name)], "", "") for name in names}
    return [told.get(codec, found[codec]) for codec in HDR_CODECS if codec in found]


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _each(text: str | None, names: list[str], option: str) -> list[str]:
    """What is told for each codec; empty where the default is meant."""
    values = [""] * len(names) if text is None else _parts(text)
    if len(values) != len(names):
        raise click.UsageError(f"{option} {text} is for {len(values)} codecs, and --codec names {len(names)}.")
    return values


def _settings(encoder: VideoEncoder, crf: str, preset: str) -> CodecSettings:
    from av import codecs_available

    codec = encoder.codec
    if encoder.library not in codecs_available:  # PyAV's wheels bring all of them, other builds may not
        raise InputError(f"This PyAV has no {encoder.library}, which encodes {codec}; the wheel from PyPI has it.")
    quality = _number(crf) if crf else float(encoder.crf)
    if not 0 <= quality <= encoder.crf_max:
        raise click.UsageError(f"--crf {crf} is not what {codec} has: 0 to {encoder.crf_max:g}.")
    if codec is VideoCodec.AV1 and not quality.is_integer():
        raise click.UsageError(f"--crf {crf} is not whole, as SVT-AV1 has it.")
    if preset and preset not in encoder.presets:
        raise click.UsageError(f"--preset {preset!r} is none of {codec}'s: {', '.join(encoder.presets)}.")
    return CodecSettings(codec=codec, crf=quality, preset=preset or encoder.preset)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
