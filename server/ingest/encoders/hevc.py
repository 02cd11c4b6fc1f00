"""x265: HEVC in which every segment stands by itself and brings its own parameter sets."""

from __future__ import annotations

from abr.core.title import HdrColour
from server.ingest.encode_settings import EncodeSettings
from server.ingest.encoders.colours import colour_of
from server.ingest.encoders.encoder import rate_cap
from server.ingest.ladder import Rung


def x265_options(rung: Rung, recipe: EncodeSettings, *, threads: int) -> dict[str, str]:
    """Options for FFmpeg's libx265 encoder, to the same ends as x264's (`server.ingest.encoders.h264`).

    x265 is not to the bit the same with other numbers of threads.
    """
    colour = colour_of(rung)
    private = {
        "repeat-headers": "1",
        "scenecut": "0",
        "keyint": "-1",
        "bframes": "0",
        "open-gop": "0",
        "sar": "{}:{}".format(*rung.pixel_aspect).replace(":", "\\:"),
        "colorprim": colour.primaries_name,
        "transfer": colour.transfer_name,
        "colormatrix": colour.matrix_name,
        "range": "limited",
        "info": "0",
        "pools": str(threads),
        "frame-threads": "1",
        "log-level": "error",
    }
    if rung.hdr:
        private |= _light(rung.hdr)
    options = {
        "preset": recipe.preset,
        "crf": f"{recipe.crf:g}",
        "forced-idr": "1",
        "x265-params": ":".join(f"{key}={value}" for key, value in private.items()),
    }
    return options | rate_cap(rung)


def _light(colour: HdrColour) -> dict[str, str]:
    """Told with every key frame, by SEI messages (ITU-T H.265, D.3.28 and D.3.35)."""
    told = {"hdr10": "1"}
    if display := colour.mastering:
        points = zip(["G", "B", "R", "WP"], (display.green, display.blue, display.red, display.white), strict=True)
        places = "".join(f"{name}({x},{y})" for name, (x, y) in points)
        told["master-display"] = f"{places}L({display.luminance_max},{display.luminance_min})"
    if colour.max_cll_nits or colour.max_fall_nits:
        told["max-cll"] = f"{colour.max_cll_nits},{colour.max_fall_nits}"
    return told
