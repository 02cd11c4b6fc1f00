"""A recording of the frames that were encoded, without loss: what a kept stream's quality is measured against."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

from abr.errors import StorageError
from abr.media.display_filters import PIXEL_FORMAT

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

RECORDING_FILE = "recording.nut"
_QUEUE_FRAMES = 24
_COLOURS = "colorprim=bt709:transfer=bt709:colormatrix=bt709:range=tv"
_OPTIONS = {"preset": "ultrafast", "qp": "0", "x264-params": _COLOURS}


class Recording:
    """Writes frames to a file in a thread of its own: H.264 without loss, in NUT, whose time base is exact.

    Use as a context manager: it is whole when the block has ended without an error.
    """

    def __init__(self, path: Path, size_px: tuple[int, int], rate: Fraction) -> None:
        self.path = path
        self.frames = 0
        self._size_px, self._rate = size_px, rate
        self._error: Exception | None = None
        self._queue: Queue[VideoFrame | None] = Queue(_QUEUE_FRAMES)
        self._thread = threading.Thread(target=self._run, name="live-recording", daemon=True)

    def __enter__(self) -> Recording:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()
        if kind is None:
            self._check()

    def add(self, frame: VideoFrame) -> None:
        """Take a frame on the grid. Raises StorageError when one before could not be written."""
        self._check()
        self._queue.put(frame)
        self.frames += 1

    def _check(self) -> None:
        if self._error is not None:
            raise StorageError(f"Cannot write {self.path}: {self._error}; free some space.") from self._error

    def _run(self) -> None:
        import av

        try:
            self._write()
        except (av.error.FFmpegError, OSError) as error:
            self._error = error
            while self._queue.get() is not None:
                pass

    def _write(self) -> None:
        import av

        with av.open(str(self.path), "w", format="nut") as container:
            stream = container.add_stream("libx264", rate=self._rate, options=_OPTIONS)
            stream.width, stream.height = self._size_px
            stream.pix_fmt = PIXEL_FORMAT
            stream.codec_context.time_base = 1 / self._rate
            while (frame := self._queue.get()) is not None:
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
