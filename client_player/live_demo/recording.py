"""A live title as it was at each moment, to be watched again: what its tables said, when, and all of its files."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from abr.core.live.tables import TABLES_FILE
from abr.files import write_atomically

_LIVE_FILE = "live.json"
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """at_s: of time.time. Contents of the two files that change."""

    at_s: float
    tables: bytes
    live: bytes


@dataclass(slots=True)
class Recording:
    """folder: of the live title, which must keep all of its files."""

    folder: Path
    moments: list[Moment] = field(default_factory=list)

    def look(self) -> None:
        """Note what changed."""
        try:
            tables, live = ((self.folder / name).read_bytes() for name in (TABLES_FILE, _LIVE_FILE))
        except FileNotFoundError:
            return
        if not self.moments or self.moments[-1].tables != tables:
            self.moments.append(Moment(at_s=time.time(), tables=tables, live=live))


class Watching(threading.Thread):
    """Looks until `stop`."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(daemon=True)
        self._recording, self._over = recording, threading.Event()

    def run(self) -> None:
        """See Thread."""
        while not self._over.wait(_LOOK_EVERY_S):
            self._recording.look()

    def stop(self) -> None:
        """And look once more."""
        self._over.set()
        self.join()
        self._recording.look()


class Replay(threading.Thread):
    """The recording as a live title in `library`, from its first moment on, as if it were now."""

    def __init__(self, recording: Recording, library: Path) -> None:
        super().__init__(daemon=True)
        self._moments, self._folder = recording.moments, library / recording.folder.name
        library.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        changing = shutil.ignore_patterns("*.json", "*.mpd", "*.m3u8")
        shutil.copytree(recording.folder, self._folder, copy_function=os.link, ignore=changing)
        self._later_s = time.time() - self._moments[0].at_s
        self._write(self._moments[0])

    def run(self) -> None:
        """See Thread."""
        for moment in self._moments[1:]:
            time.sleep(max(0.0, moment.at_s + self._later_s - time.time()))
            self._write(moment)

    def _write(self, moment: Moment) -> None:
        for name, body in ((TABLES_FILE, moment.tables), (_LIVE_FILE, moment.live)):
            write_atomically(self._folder / name, _moved(body, self._later_s), durable=False)


def _moved(body: bytes, later_s: float) -> bytes:
    """The same, with every moment of the wall clock so much later."""
    told = json.loads(body)
    moments = [(told, "updated_s"), (told.get("learning") or {}, "published_s")]
    for part, name in (*moments, *((span, "begun_s") for span in told.get("spans", ()))):
        if part.get(name):
            part[name] += later_s
    return json.dumps(told).encode()
