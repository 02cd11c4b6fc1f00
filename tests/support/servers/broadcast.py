"""A live title that a test publishes segment by segment, on a clock of its own; its media was really encoded."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from clips import make_clip
from live_process import run

from abr.core.title import part_file, segment_file
from abr.media.probe import SourceInfo
from abr.media.tracks import SourceSound
from server.ingest.ladder import Rung
from server.live.clock import WallClock
from server.live.plan import LivePlan
from server.live.publication import Publication, begin_folder
from server.live_edge.growing import read_part
from server.media.live_title import LiveTitle

SEGMENTS = 12
SEGMENT_FRAMES, CHUNK_FRAMES, CHUNKS = 25, 13, 2
RATE = Fraction(25)
SIZE_PX = (192, 108)


@cache
def encoded() -> Path:
    """The folder of a live title of twelve seconds, with sound, all of whose segments are there."""
    home = Path(mkdtemp(prefix="toprung-broadcast-"))
    clip = make_clip(home / "clip.mp4", frames=SEGMENTS * SEGMENT_FRAMES, sound_s=float(SEGMENTS))
    arguments = ("--heights", "64,108", "--preset", "ultrafast", "--segment-seconds", "1", "--window", "60s")
    done = run(home / "library", str(clip), *arguments, "--chunk", "0.5", "--name", "cam")
    assert done.returncode == 0, done.stderr
    return home / "library" / "cam"


class Broadcast:
    """`cam` in a library. `clock` is that of the server that is tested."""

    def __init__(
        self,
        library: Path,
        clock: Callable[[], float],
        *,
        window_s: float = 4.0,
        version: str = "0" * 15 + "1",
        chunk_frames: int = 0,
    ) -> None:
        self.folder, self.media = library / "cam", encoded()
        self.plan = plan = LivePlan(
            name="cam",
            version=version,
            footage=footage(),
            rungs=(
                Rung(id="64p", width_px=114, height_px=64, pixel_aspect=(1, 1), cap_bps=100_000),
                Rung(id="108p", width_px=192, height_px=108, pixel_aspect=(1, 1), cap_bps=300_000),
            ),
            segment_frames=SEGMENT_FRAMES,
            sound_bps=64_000,
            window_s=window_s,
            chunk_frames=chunk_frames,
        )
        waiting = LiveTitle(
            id="cam", state="waiting", version=version, segment_s=1.0, window_s=window_s, updated_s=clock()
        )
        begin_folder(self.folder, waiting)
        self._publication = Publication(self.folder, plan, WallClock(clock()), clock=clock, ticks=clock)
        self._chunk = 0
        self._writers = {part: self._publication.writer(part) for part in plan.parts}
        for part, write in self._writers.items():
            for init in sorted((self.media / part).glob("init*.mp4")):
                write(init.name, init.read_bytes())

    @property
    def publication(self) -> Publication:
        return self._publication

    def send(self, count: int = 1, without: Sequence[str] = ()) -> None:
        """The next segments are there; of a long stream the media comes again from its beginning.

        without: parts, such as video/108p, that are not made of them.
        """
        for _ in range(count):
            segment = self._publication.listed
            for part, write in self._writers.items():
                body = (self.media / part / segment_file(segment % SEGMENTS)).read_bytes()
                write(segment_file(segment), b"" if part in without else body)

    def send_chunk(self, without: Sequence[str] = ()) -> None:
        """The next chunk is there, of CHUNK_FRAMES; with its last one the segment is whole. without: as of `send`."""
        segment, whole = self._publication.listed, False
        for part, write in self._writers.items():
            body = read_part(self.media / part / segment_file(segment % SEGMENTS), self._chunk)
            assert body is not None
            write(part_file(segment, self._chunk), b"" if part in without else body)
            whole = self._chunk == CHUNKS - 1
        if whole:
            self.send(without=without)
        self._chunk = 0 if whole else self._chunk + 1

    def end(self) -> None:
        self._publication.end()

    def remove(self) -> None:
        shutil.rmtree(self.folder)


def footage() -> SourceInfo:
    return SourceInfo(
        video_stream=0,
        coded_width_px=SIZE_PX[0],
        coded_height_px=SIZE_PX[1],
        display_width_px=SIZE_PX[0],
        display_height_px=SIZE_PX[1],
        rotation_deg=0,
        mirrored=False,
        frame_rate=(25, 1),
        start_s=0.0,
        duration_s=0.0,
        interlaced=False,
        matrix="bt709",
        full_range=False,
        pixel_format="yuv420p",
        time_base=(1, 25),
        picture_shifts=(),
        notes=(),
        sounds=(SourceSound(stream=1),),
    )
