"""x265: HEVC in which every segment stands by itself and brings its own parameter sets."""

from __future__ import annotations

from server.ingest.encode_settings import EncodeSettings
from server.ingest.encoders.encoder import rate_cap
from server.ingest.ladder import Rung


def x265_options(rung: Rung, recipe: EncodeSettings, *, threads: int) -> dict[str, str]:
    """Options for FFmpeg's libx265 encoder, to the same ends as x264's (`server.ingest.encoders.h264`).

    x265 is not to the bit the same with other numbers of threads.
    """
    private = {
        "repeat-headers": "1",
        "scenecut": "0",
        "keyint": "-1",
        "bframes": "0",
        "open-gop": "0",
        "sar": "{}:{}".format(*rung.pixel_aspect).replace(":", "\\:"),
        "colorprim": "bt709",
        "transfer": "bt709",
        "colormatrix": "bt709",
        "range": "limited",
        "info": "0",
        "pools": str(threads),
        "frame-threads": "1",
        "log-level": "error",
    }
    options = {
        "preset": recipe.preset,
        "crf": f"{recipe.crf:g}",
        "forced-idr": "1",
        "x265-params": ":".join(f"{key}={value}" for key, value in private.items()),
    }
    return options | rate_cap(rung)
