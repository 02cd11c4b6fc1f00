"""What the server remembers of a session: small enough to fetch and put back with every decision."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from abr.core.control import DOWNLOADS_MAX, Download
from abr.core.device import DeviceProfile
from abr.core.enhancement import Family
from abr.records import dumps

SEGMENTS_KEPT = 192
"""Decisions are remembered for this many neighbouring segments around the one decided last."""
OPTIONS_MAX = 255
OWNED_MAX = 32
_PREFIX_BYTES = 4

PackedDownload: TypeAlias = tuple[int, int, int, int]
"""Microseconds of start, duration and latency; bytes."""


class SessionState(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One viewer watching one title. At most 1 KiB as MessagePack, which is how stores keep it.

    In an experiment it is 32 bytes more, in a group 8.

    Session time is seconds since `created_s`, which is read from the server's clock. `choices[i]` is 0 while segment
    `choices_from + i` is undecided, else one more than the option that was chosen for it.
    """

    title: str
    controller: str
    families: tuple[Family, ...]
    profile: bytes
    """Key of the device profile in the store; empty without one."""
    buffer_max_s: float
    created_s: float
    menu: int = 0
    """Fingerprint of the option list that the indices below refer to; 0 before the first decision."""
    last: int = -1
    choices_from: int = 0
    choices: bytes = b""
    downloads: tuple[PackedDownload, ...] = ()
    owned: bytes = b""
    """First four bytes of the sha256 of each weights chunk that the device has."""
    memory: tuple[float, ...] = ()
    decided_s: float = 0.0
    """Session time of the last decision."""
    ahead_s: float = 0.0
    """Media seconds that the viewer had, or was being sent, at that time."""
    reports: bool = False
    """Whether the downloads are those that the viewer itself reported (server.sessions.cmcd_reports)."""
    segment: int = -1
    """The segment decided last."""
    fullest_s: float = 0.0
    """The fullest buffer that the viewer has told of."""
    version: str = ""
    """Of the title's media, which stays the one that the session began with; empty where it is not known."""
    arm: str = ""
    """Of the experiment, which the viewer was drawn into; empty outside of one (server.experiments)."""
    visit: bytes = b""
    """Names the visit that the session is part of, for an experiment; lost with the store, as are the visits in it."""
    group: bytes = b""
    """Names the group of viewers behind one link (server.session_service.groups); empty: decided alone. Lost with the
    store: the session is then decided alone."""
    live: bool = False
    """Whether the title was a live one when the session began: its segments are decided while it runs."""
    codec: str = ""
    """Of all its pictures; empty of sessions that an older server opened: the title's first."""

    def option(self, segment: int) -> int | None:
        """The option already chosen for `segment`, if it is remembered."""
        index = segment - self.choices_from
        return self.choices[index] - 1 if 0 <= index < len(self.choices) and self.choices[index] else None

    def with_menu(self, menu: int) -> SessionState:
        """Forgets the choices made from another option list: a title may be trained again while it is watched."""
        if self.menu == menu:
            return self
        return msgspec.structs.replace(self, menu=menu, last=-1, choices_from=0, choices=b"", memory=())

    def with_choice(self, segment: int, option: int) -> SessionState:
        """Remembers a choice, and forgets those more than SEGMENTS_KEPT segments away from it."""
        choices_from, choices = self._choices_with(segment, option)
        return msgspec.structs.replace(self, choices_from=choices_from, choices=choices, last=option)

    def with_decision(
        self, segment: int, option: int, *, sent: int, memory: tuple[float, ...], decided_s: float, ahead_s: float
    ) -> SessionState:
        """Remembers that `option` was decided and option `sent` is sent, at session time `decided_s`."""
        choices_from, choices = self._choices_with(segment, option)
        return msgspec.structs.replace(
            self,
            choices_from=choices_from,
            choices=choices,
            last=sent,
            memory=memory,
            segment=segment,
            decided_s=decided_s,
            ahead_s=ahead_s,
        )

    def _choices_with(self, segment: int, option: int) -> tuple[int, bytes]:
        """`choices_from` and `choices` with one more choice among them."""
        if segment == self.choices_from + len(self.choices):  # the next one, as nearly always
            kept = (self.choices + bytes((option + 1,)))[-SEGMENTS_KEPT:]
            return segment + 1 - len(kept), kept
        first = min(self.choices_from, segment) if self.choices else segment
        end = max(self.choices_from + len(self.choices), segment + 1)
        if end - first > SEGMENTS_KEPT:
            first = max(first, segment + 1 - SEGMENTS_KEPT)
            end = min(end, first + SEGMENTS_KEPT)
        window = bytearray(end - first)
        for index, choice in enumerate(self.choices, start=self.choices_from):
            if first <= index < end:
                window[index - first] = choice
        window[segment - first] = option + 1
        return first, bytes(window)

    def with_download(self, download: Download) -> SessionState:
        """Remembers one more download, dropping the oldest; the same one is not counted twice."""
        packed = pack_download(download)
        if packed in self.downloads:
            return self
        return msgspec.structs.replace(self, downloads=(*self.downloads, packed)[-DOWNLOADS_MAX:])

    def with_viewer(
        self, download: Download | None, buffer_s: float | None, owned: Sequence[str] | None
    ) -> SessionState:
        """Remembers what the viewer tells; None for what it does not.

        buffer_s: CMCD's `bl`. owned: the weights chunks that it has, eight hex digits of each.
        """
        state = self if download is None else self.with_download(download)
        if buffer_s is not None and buffer_s > state.fullest_s:
            state = msgspec.structs.replace(state, fullest_s=buffer_s)
        return state if owned is None else msgspec.structs.replace(state, owned=pack_owned(owned))

    def recent_downloads(self) -> tuple[Download, ...]:
        """At most DOWNLOADS_MAX, oldest first."""
        return tuple(map(unpack_download, self.downloads))

    def throughput_bps(self) -> float | None:
        """Of the downloads remembered, bytes over time; None before the first."""
        downloads = self.recent_downloads()
        total_s = sum(download.duration_s for download in downloads)
        return 8 * sum(download.size_bytes for download in downloads) / total_s if total_s else None


def pack_download(download: Download) -> PackedDownload:
    """To whole microseconds."""
    times_s = (download.started_s, download.duration_s, download.latency_s)
    started_us, duration_us, latency_us = (round(time_s * 1e6) for time_s in times_s)
    return started_us, duration_us, latency_us, download.size_bytes


def unpack_download(packed: PackedDownload) -> Download:
    """The inverse of `pack_download`."""
    started_us, duration_us, latency_us, size_bytes = packed
    return Download(
        started_s=started_us / 1e6, duration_s=duration_us / 1e6, latency_s=latency_us / 1e6, size_bytes=size_bytes
    )


def pack_owned(prefixes: Iterable[str]) -> bytes:
    """Eight hex digits of each chunk's sha256 → four bytes each, at most OWNED_MAX of them."""
    return b"".join(bytes.fromhex(prefix) for prefix in list(prefixes)[:OWNED_MAX])


def owned_keys(owned: bytes, keys: Iterable[str]) -> tuple[str, ...]:
    """Those of the title's chunk keys (sha256 in hex) that the device has, in the title's order."""
    if not owned:
        return ()
    prefixes = {owned[at : at + _PREFIX_BYTES].hex() for at in range(0, len(owned), _PREFIX_BYTES)}
    return tuple(key for key in keys if key[: 2 * _PREFIX_BYTES] in prefixes)


def profile_key(profile: DeviceProfile) -> bytes:
    """Equal profiles share one key."""
    return hashlib.sha256(dumps(profile)).digest()[:16]


def dumps_state(state: SessionState) -> bytes:
    """MessagePack, the inverse of `loads_state`."""
    return _encode(state)


def loads_state(data: bytes) -> SessionState:
    """Raises msgspec.DecodeError when `data` is something else."""
    return _decode(data)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SessionState).decode
