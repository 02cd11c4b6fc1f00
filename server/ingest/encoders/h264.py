"""x264: H.264 in which every segment stands by itself and brings its own parameter sets."""

from __future__ import annotations

from server.ingest.encode_settings import EncodeSettings
from server.ingest.encoders.encoder import rate_cap
from server.ingest.ladder import Rung

LEAST_EFFORT = "ultrafast"
_SETS = {"ultrafast": (1, 0, 0), "faster": (2, 1, 0), "fast": (2, 1, -2), "medium": (3, 2, -2)}
"""Reference frames, weighted prediction and the chroma's QP offset of x264's presets, where they are not 1, 1 and 0."""


def x264_options(
    rung: Rung, recipe: EncodeSettings, *, threads: int | None = None, low_delay: bool = False, eased: bool = False
) -> dict[str, str]:
    """Options for FFmpeg's libx264 encoder; without `threads` x264 chooses their number.

    low_delay: no frame waits for those that follow it, as x264's tune zerolatency has it. eased: with the least effort
    that leaves the parameter sets as they are, so that segments of both kinds fit one init segment.

    No B-frames: decode order is display order, so that every player, with or without support for edit lists and
    signed composition offsets, sees a segment begin exactly where it begins. Parameter sets are repeated in band
    (avc3), so that segments of different rungs may follow one another. Key frames come only where they are forced.
    """
    private = {
        "repeat-headers": "1",
        "scenecut": "0",
        "keyint": "infinite",
        "bframes": "0",
        "open-gop": "0",
        "sar": "{}/{}".format(*rung.pixel_aspect),
        "colorprim": "bt709",
        "transfer": "bt709",
        "colormatrix": "bt709",
        "range": "tv",
    }
    if low_delay:
        private |= {"rc-lookahead": "0", "sync-lookahead": "0", "mbtree": "0", "sliced-threads": "1"}
    if eased:
        private |= _same_sets(recipe.preset)
    options = {
        "preset": LEAST_EFFORT if eased else recipe.preset,
        "crf": f"{recipe.crf if rung.crf is None else rung.crf:g}",
        "profile": "high",
        "threads": "auto" if threads is None else str(threads),
        "forced-idr": "1",
        "x264-params": ":".join(f"{key}={value}" for key, value in private.items()),
    }
    return options | rate_cap(rung)


def _same_sets(preset: str) -> dict[str, str]:
    """What x264's preset of least effort must do as `preset` does: it stands in the parameter sets."""
    refs, weights, chroma = _SETS.get(preset, (1, 1, 0))
    is_less = str(int(preset != LEAST_EFFORT))
    same = {"ref": str(refs), "weightp": str(weights), "chroma-qp-offset": str(chroma)}
    return same | {"cabac": is_less, "8x8dct": is_less}
