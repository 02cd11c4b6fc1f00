"""What the encoder of a recipe's codec is told, and what its titles say of it."""

from __future__ import annotations

from abr.media.video_codecs import VideoCodec
from server.ingest.encode_settings import EncodeSettings
from server.ingest.encoders.av1 import svt_av1_options
from server.ingest.encoders.encoder import ENCODERS
from server.ingest.encoders.h264 import x264_options
from server.ingest.encoders.hevc import x265_options
from server.ingest.ladder import Rung


def encoder_options(
    rung: Rung, recipe: EncodeSettings, *, threads: int, low_delay: bool = False, eased: bool = False
) -> dict[str, str]:
    """Options of FFmpeg's encoder for one rung. low_delay, eased: as of x264, which alone encodes live streams."""
    if recipe.codec is VideoCodec.HEVC:
        return x265_options(rung, recipe, threads=threads)
    if recipe.codec is VideoCodec.AV1:
        return svt_av1_options(rung, recipe, threads=threads)
    return x264_options(rung, recipe, threads=threads, low_delay=low_delay, eased=eased)


def describe_encoder(recipe: EncodeSettings) -> str:
    """Encoder, versions and settings: equal words and an equal source make an equal title."""
    import av

    version = ".".join(map(str, av.library_versions["libavcodec"]))
    codecs = dict.fromkeys((*recipe.by_codec, *(each.codec for each in recipe.hdr)))
    libraries = ", ".join(ENCODERS[codec].library for codec in codecs)
    return f"{libraries} and aac by PyAV {av.__version__} (libavcodec {version}); {recipe.describe()}"
