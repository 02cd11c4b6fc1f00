"""Files kept on the disk, bounded in bytes. Each is checked against its SHA-256 before it is given out.

When there is no more room the least valuable of those that were not used for longest goes: value is what a file is
worth at each request, times its requests, over its bytes.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO
from weakref import WeakValueDictionary

from abr.errors import FormatError, InputError, StorageError
from abr.files import lock_folder, write_atomically
from client_player.edge.cache.cached_file import Label, pack, read_label, unpack
from server.lru_cache import LruCache

MEMORY_BYTES_MAX = 64 << 20
"""Checked files that are kept in memory too, so that a thousand viewers of one segment read it once."""
_CONSIDERED = 32
"""Of the files that were not used for longest, how many are compared when one has to go."""
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_FILES, _PART = "files", ".part"

log = logging.getLogger("toprung.edge")


@dataclass(slots=True)
class _Entry:
    size_bytes: int
    """On the disk."""
    worth: float
    requests: int = 0

    @property
    def value(self) -> float:
        return self.worth * (1 + self.requests) / self.size_bytes


class DiskCache:
    """The files of one folder, which no other process may use. Make it with `open_cache`.

    damaged, evicted, refused: files that were found damaged, that had to go, and that the disk would not take.
    """

    def __init__(self, folder: Path, bytes_max: int, lock: IO[bytes]) -> None:
        self._root, self._bytes_max, self._lock = folder / _FILES, bytes_max, lock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._memory = LruCache[str, bytes](MEMORY_BYTES_MAX)
        self._turns = WeakValueDictionary[str, asyncio.Lock]()
        """Of keys that are being written: one after the other, or each would take the other's half file for its own."""
        self.size_bytes = 0
        self.damaged = self.evicted = self.refused = 0

    def __contains__(self, key: str) -> bool:
        """Whether it is there, damaged or not; what the disk refused is, for as long as it is in memory."""
        return key in self._entries or self._memory.get(key) is not None

    def scan(self) -> None:
        """Take in what an earlier process left, oldest first. What is not a whole file goes."""
        found: list[tuple[float, str, _Entry]] = []
        for path in self._root.rglob("*"):
            with suppress(OSError):
                if not path.is_file():
                    continue
                if (entry := _find_entry(path, self._key_of(path))) is None:
                    path.unlink()
                    continue
                found.append((path.stat().st_mtime, self._key_of(path), entry))
        for _, key, entry in sorted(found, key=lambda each: each[0]):
            self._entries[key] = entry
            self.size_bytes += entry.size_bytes

    async def get(self, key: str) -> bytes | None:
        """The body, whole and checked; None when it is not there, or was damaged, and then is no longer."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.requests += 1
            self._entries.move_to_end(key)
        if (body := self._memory.get(key)) is not None or entry is None:
            return body
        try:
            body = await asyncio.to_thread(self._read, key)
        except (OSError, FormatError) as error:
            log.warning("%s; it is fetched or made anew", error)
            if self._entries.get(key) is entry:
                self.damaged += 1
                self.drop(key)
            return None
        self._memory.put(key, body, len(body))
        return body

    async def packed(self, key: str) -> bytes | None:
        """The whole file as it lies on the disk, its digest before it; None when it is not there."""
        if (body := await self.get(key)) is None:
            return None
        entry = self._entries.get(key)
        return await asyncio.to_thread(pack, Label(key=key, worth=entry.worth if entry else 0.0), body)

    def keys(self) -> list[str]:
        """Of all files on the disk."""
        return list(self._entries)

    async def put(self, key: str, body: bytes, worth: float) -> None:
        """Keep a file. What the disk refuses stays in memory for a while, and is fetched or made anew after that.

        Raises ValueError for a key that is no relative path of plain names.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} cannot be the name of a cached file")
        turn = self._turns.get(key) or asyncio.Lock()
        self._turns[key] = turn
        async with turn:
            await self._put(key, body, worth)

    async def _put(self, key: str, body: bytes, worth: float) -> None:
        data = pack(Label(key=key, worth=worth), body)
        self.drop(key, delete=False)
        self._memory.put(key, body, len(body))
        if len(data) > self._bytes_max:
            return
        await self._make_room(len(data))
        try:
            await asyncio.to_thread(write_atomically, self._root / key, data, durable=False)
        except StorageError as error:
            self.refused += 1
            log.error("%s The node goes on without keeping it.", error)
            return
        self._entries[key] = _Entry(size_bytes=len(data), worth=worth)
        self.size_bytes += len(data)

    def drop(self, key: str, *, delete: bool = True) -> None:
        """Forget a file, and delete it."""
        self._memory.drop(key)
        if (entry := self._entries.pop(key, None)) is not None:
            self.size_bytes -= entry.size_bytes
        if delete:
            with suppress(OSError):
                (self._root / key).unlink(missing_ok=True)

    def close(self) -> None:
        """Let other processes have the folder."""
        self._lock.close()

    async def _make_room(self, size_bytes: int) -> None:
        while self._entries and self.size_bytes + size_bytes > self._bytes_max:
            key = min(islice(self._entries, _CONSIDERED), key=lambda each: self._entries[each].value)
            self.evicted += 1
            self.drop(key)

    def _read(self, key: str) -> bytes:
        return unpack((self._root / key).read_bytes(), key)

    def _key_of(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _find_entry(path: Path, key: str) -> _Entry | None:
    """None for what a killed process left of a file, and for what is none of ours."""
    if path.name.endswith(_PART):
        return None
    try:
        label = read_label(path)
    except FormatError:
        return None
    return _Entry(size_bytes=path.stat().st_size, worth=label.worth) if label.key == key else None


def open_cache(folder: Path, bytes_max: int) -> DiskCache:
    """The cache in `folder`, with what is there. Raises InputError while another process has it, StorageError."""
    busy = f"Another edge node uses the cache {folder}; give each node a folder of its own."
    cache = DiskCache(folder, bytes_max, lock_folder(folder, busy=busy))
    cache.scan()
    return cache


def check_folder(folder: Path) -> None:
    """Raises InputError for a folder that holds something else than a cache."""
    if folder.is_dir() and any(each.name not in (_FILES, "lock") for each in folder.iterdir()):
        raise InputError(f"{folder} holds other files; give the edge node a folder of its own for its cache.")
