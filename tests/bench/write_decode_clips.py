"""Write the clips that `toprung profile` decodes: `python tests/bench/write_decode_clips.py`.

A second of the sample film, 20 s in, in each codec as `prepare` encodes it by its defaults.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from pathlib import Path

from abr.core.title import INIT_FILE
from abr.media.probe import probe
from abr.media.source_frames import display_frames
from enhancers.profiling.decoding import FOLDER, HEIGHTS_PX, clip_file
from server.ingest.codec_options import codec_settings
from server.ingest.encode import encode_ladder
from server.ingest.encode_settings import EncodeSettings
from server.ingest.ladder import Rung, in_each_codec, plan_sizes
from server.ingest.mp4.cmaf import Write

FILM = Path(__file__).parents[2] / "client_player" / "sample" / "bbb_60s.mp4"
FROM_S = 20.0


def main() -> None:
    """Encode all of them."""
    first, *also = codec_settings("h264,hevc,av1", None, None)
    recipe = EncodeSettings(codec=first.codec, crf=first.crf, preset=first.preset, also=tuple(also))
    footage = probe(FILM)
    sizes = plan_sizes(footage.display_width_px, footage.display_height_px, HEIGHTS_PX)
    made: dict[str, dict[str, bytes]] = defaultdict(dict)

    def writer(rung: Rung) -> Write:
        return made[rung.id].__setitem__

    frames = islice(display_frames(FILM, footage, from_s=FROM_S), round(footage.rate))
    rungs = in_each_codec(sizes, recipe.by_codec)
    encode_ladder(frames, rungs, recipe, footage.rate, writer)
    FOLDER.mkdir(exist_ok=True)
    for rung in rungs:
        files = made[rung.id]
        clip_file(rung.codec, rung.height_px).write_bytes(files[INIT_FILE] + files["seg-00001.m4s"])


if __name__ == "__main__":
    main()
