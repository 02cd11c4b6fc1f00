"""Where opinions go: a folder with clips to be rated, if there are any, and one small file for each opinion."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from abr.core.enhancement import PLAIN
from abr.opinions.collected import FILES_MAX, CollectedOpinion, RatedItem, count_opinions, keep_opinion
from abr.opinions.rating_key import KEY_FILE, Clip, RatingKey, read_key
from server.errors import RequestError
from server.lru_cache import LruCache

OPINIONS_FOLDER = "opinions"
RATED_MAX = 65_536
"""Sessions of which it is remembered that they have been rated."""


class OpinionBox:
    """The opinions of one server, and what there is to rate. Its methods read and write files: call them in threads."""

    def __init__(self, folder: Path, files_max: int = FILES_MAX) -> None:
        """Raises FormatError or StorageError for a folder whose key cannot be read."""
        self._folder, self._files_max = folder, files_max
        key = read_key(folder) if (folder / KEY_FILE).is_file() else None
        self._clips = _rateable(key) if key else {}
        self._title = key.title if key else ""
        self.set = key.set if key else ""
        self.pairs: tuple[tuple[str, str], ...] = _pairs(key, self._clips) if key else ()
        """Names of clips to be shown together."""
        self._files = count_opinions(folder / OPINIONS_FOLDER)
        self._rated: LruCache[str, bool] = LruCache(RATED_MAX)
        self._lock = Lock()
        """Of the two above."""

    def clip(self, name: str) -> Path:
        """The file of a clip. Raises RequestError 404 for a name that is none's."""
        if name not in self._clips:
            raise RequestError(404, f"There is no clip {name[:64]!r} to rate.")
        return self._folder / name

    def keep_clips(self, sitting: str, scores: Sequence[tuple[str, int]]) -> None:
        """What somebody thinks of one or two clips. Raises RequestError, StorageError."""
        items = []
        for name, score in scores:
            self.clip(name)
            clip = self._clips[name]
            content = f"{self._title} {clip.segment}"
            items.append(RatedItem(file=name, content=content[:128], score=score, features=_clip_features(clip)))
        self._keep(CollectedOpinion(sitting=sitting, items=tuple(items)))

    def keep_film(
        self, keys: Sequence[str], title: str, sitting: str, score: int, features: Mapping[str, float]
    ) -> None:
        """What somebody thinks of a film, once. keys: tell its sessions apart, and are not kept on the disk.

        Raises RequestError 409 for a second opinion, StorageError.
        """
        with self._lock:  # before it is written, so that of two at once one is refused
            if any(self._rated.get(key) for key in keys):
                raise RequestError(409, "You have said so already; thank you.")
            for key in keys:
                self._rated.put(key, True)
        name = f"film {secrets.token_hex(8)}"
        item = RatedItem(file=name, content=title[:128], score=score, features=dict(features))
        try:
            self._keep(CollectedOpinion(sitting=sitting, items=(item,)))
        except Exception:
            with self._lock:
                for key in keys:
                    self._rated.drop(key)
            raise

    def _keep(self, opinion: CollectedOpinion) -> None:
        with self._lock:
            if self._files >= self._files_max:
                raise RequestError(503, "This server has all the opinions that it keeps; thank you all the same.")
            keep_opinion(self._folder / OPINIONS_FOLDER, opinion)
            self._files += 1


def _rateable(key: RatingKey) -> dict[str, Clip]:
    """Clips whose quality is known, by name: of the others nothing could be learnt."""
    return {clip.file: clip for clip in key.clips if clip.quality is not None and "/" not in clip.file}


def _pairs(key: RatingKey, clips: Mapping[str, Clip]) -> tuple[tuple[str, str], ...]:
    return tuple((each.lifted, each.plain) for each in key.comparisons if {each.lifted, each.plain} <= clips.keys())


def _clip_features(clip: Clip) -> dict[str, float]:
    """As of a session of one segment, without waiting."""
    assert clip.quality is not None
    still = {"change": 0.0, "stall_s": 0.0, "startup_s": 0.0}
    return {"quality": clip.quality, "enhanced_share": float(clip.enhancer != PLAIN)} | still
