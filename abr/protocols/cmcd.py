"""Common Media Client Data (CTA-5004): what a player tells the server with each request, and our own keys in it.

CMCD is a flat set of keys, sent as four request headers or as one `CMCD` query argument. Custom keys carry a
reverse-DNS prefix and a hyphen (CTA-5004, 3.3). Version 2 (CTA-5004-A) sends some keys as lists with a value for each
kind of object, `bl=(8200;v 9100;a)`: the picture's is kept. It also reports events in bodies of one line each, of
which `loads` reads one. Keys nobody here asks for are passed over, as the standard wants.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import msgspec

from abr.core.control import Download
from abr.errors import FormatError
from abr.protocols.structured_fields import LENGTH_MAX, Cursor, Token, Value, dumps_pair, loads_pair, plain_members

HEADERS = ("CMCD-Object", "CMCD-Request", "CMCD-Session", "CMCD-Status")
QUERY = "CMCD"
KEYS_MAX = 64

T = TypeVar("T")

Cmcd = dict[str, Value]


@dataclass(frozen=True, slots=True)
class _Key:
    header: str
    kind: type
    step: int = 1
    """Integers are rounded to the nearest multiple of this (CTA-5004, table 1)."""
    one_of: tuple[str, ...] = ()
    length_max: int = 1024


_OBJECT, _REQUEST, _SESSION, _STATUS = HEADERS
_KEYS = {
    "br": _Key(_OBJECT, int),
    "d": _Key(_OBJECT, int),
    "ot": _Key(_OBJECT, Token, one_of=("m", "a", "v", "av", "i", "c", "tt", "k", "o")),
    "tb": _Key(_OBJECT, int),
    "bl": _Key(_REQUEST, int, step=100),
    "dl": _Key(_REQUEST, int, step=100),
    "mtp": _Key(_REQUEST, int, step=100),
    "nor": _Key(_REQUEST, str),
    "nrr": _Key(_REQUEST, str),
    "su": _Key(_REQUEST, bool),
    "cid": _Key(_SESSION, str, length_max=64),
    "pr": _Key(_SESSION, float),
    "sf": _Key(_SESSION, Token, one_of=("d", "h", "s", "o")),
    "sid": _Key(_SESSION, str, length_max=64),
    "st": _Key(_SESSION, Token, one_of=("v", "l")),
    "v": _Key(_SESSION, int),
    "bs": _Key(_STATUS, bool),
    "rtp": _Key(_STATUS, int, step=100),
    "sta": _Key(_STATUS, Token),
    "e": _Key(_STATUS, Token),
    "ts": _Key(_STATUS, int),
    "url": _Key(_STATUS, str, length_max=2048),
    "rc": _Key(_STATUS, int),
    "ttfb": _Key(_STATUS, int),
    "ttlb": _Key(_STATUS, int),
}
_LISTED = frozenset(("bl", "br", "mtp", "nor", "tb"))
_PICTURE = frozenset(("v", "av"))
_CUSTOM = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)+-[A-Za-z0-9_.-]+")


def loads(text: str) -> Cmcd:
    """Read `key=value,…` (one header, or the decoded query argument). Raises FormatError."""
    if not text:
        return {}
    keys: Cmcd = {}
    for key, value in _pairs(text.strip(" \t")):
        if key in keys:
            raise FormatError(f"CMCD names {key!r} twice.")
        rule = _KEYS.get(key)
        if value is not None and (rule or _is_custom(key)):
            keys[key] = _checked(key, value, rule) if rule else value
        if len(keys) > KEYS_MAX:
            raise FormatError(f"CMCD has more than {KEYS_MAX} keys.")
    return keys


def _pairs(text: str) -> Iterable[tuple[str, Value | None]]:
    """The members, in order."""
    plain = plain_members(text) if len(text) <= LENGTH_MAX else None
    return _read(Cursor(text, "CMCD")) if plain is None else plain


def _read(cursor: Cursor) -> Iterator[tuple[str, Value | None]]:
    """One after the other: with lists among them, or something wrong, which the cursor tells."""
    while not cursor.done:
        yield _loads_member(cursor)
        cursor.comma()


def _loads_member(cursor: Cursor) -> tuple[str, Value | None]:
    """A key with its value; of a list the item that speaks of the picture, else the first; None when there is none."""
    start = cursor.at
    key = cursor.key()
    items = cursor.inner_list() if cursor.take("=") else None
    if items is None:
        cursor.at = start
        return loads_pair(cursor)
    if key in _KEYS and key not in _LISTED:
        raise FormatError(f"CMCD key {key!r} is a list; it takes {_SPOKEN[_KEYS[key].kind]}.")
    return key, next((value for value, kinds in items if kinds & _PICTURE), items[0][0] if items else None)


def dumps(keys: Mapping[str, Value]) -> str:
    """Write keys sorted, integers rounded as the standard says, false and default values left out."""
    return ",".join(dumps_pair(key, _rounded(key, keys[key])) for key in sorted(keys) if not _implied(key, keys[key]))


def from_headers(headers: Mapping[str, str]) -> Cmcd:
    """All CMCD keys of a request's headers (any mapping; names are looked up as in `HEADERS`). Raises FormatError."""
    keys: Cmcd = {}
    for name in HEADERS:
        text = headers.get(name)
        if not text:
            continue
        pairs = _object_keys(text) if name == _OBJECT else loads(text)
        if not keys.keys().isdisjoint(pairs):
            raise FormatError(f"CMCD names {next(key for key in pairs if key in keys)!r} in two headers.")
        keys.update(pairs)
    return keys


@lru_cache(maxsize=256)
def _object_keys(text: str) -> Cmcd:
    """The same is said of many objects. Not to be changed."""
    return loads(text)


def to_headers(keys: Mapping[str, Value]) -> dict[str, str]:
    """The request headers that carry `keys`, empty ones left out; custom keys travel in CMCD-Request."""
    shards: dict[str, dict[str, Value]] = {name: {} for name in HEADERS}
    for key, value in keys.items():
        shards[_KEYS[key].header if key in _KEYS else _REQUEST][key] = value
    texts = {name: dumps(shard) for name, shard in shards.items()}
    return {name: text for name, text in texts.items() if text}


def from_query(argument: str) -> Cmcd:
    """Keys of the `CMCD` query argument, percent-encoded or already decoded once. Raises FormatError."""
    return loads(argument if any(mark in argument for mark in '",=') else unquote(argument))


def to_query(keys: Mapping[str, Value]) -> str:
    """`CMCD=…`, percent-encoded, ready for a URL."""
    return f"{QUERY}={quote(dumps(keys), safe='')}"


@lru_cache(maxsize=256)
def _is_custom(key: str) -> bool:
    return bool(_CUSTOM.fullmatch(key))


def _checked(key: str, value: Value, rule: _Key) -> Value:
    if rule.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not rule.kind:
        raise FormatError(f"CMCD key {key!r} is {value!r}; it takes {_SPOKEN[rule.kind]}.")
    if isinstance(value, str):
        if rule.one_of and value not in rule.one_of:
            raise FormatError(f"CMCD key {key!r} is {value!r}; it takes one of {' '.join(rule.one_of)}.")
        if len(value) > rule.length_max:
            raise FormatError(f"CMCD key {key!r} is longer than {rule.length_max} characters.")
    elif value < 0:
        raise FormatError(f"CMCD key {key!r} is {value}; it cannot be negative.")
    return value


_SPOKEN = {int: "an integer", float: "a number", bool: "a boolean", str: "a quoted string", Token: "a token"}


def _rounded(key: str, value: Value) -> Value:
    rule = _KEYS.get(key)
    if rule is None and not _is_custom(key):
        raise FormatError(f"{key!r} is no CMCD key; own keys look like com.example-name.")
    if rule is not None and rule.kind is int and isinstance(value, int | float) and not isinstance(value, bool):
        return _checked(key, rule.step * int(value / rule.step + 0.5), rule)
    if rule is None:
        return value
    return _checked(key, Token(value) if rule.kind is Token and isinstance(value, str) else value, rule)


def _implied(key: str, value: Value) -> bool:
    """CTA-5004: false booleans, normal speed and version 1 are not sent."""
    return value is False or (key in ("pr", "v") and value == 1)


class ViewerState(msgspec.Struct, frozen=True, kw_only=True):
    """What a Toprung player tells of itself, in our own keys; None means that it did not say.

    Times are carried to the millisecond. download: the last finished segment download, weights fetched with it
    included. owned: the first 8 hex digits of the sha256 of each weights chunk the device has.
    """

    buffer_s: float | None = None
    backlog_s: float | None = None
    now_s: float | None = None
    playing: bool | None = None
    download: Download | None = None
    owned: tuple[str, ...] | None = None


_PREFIX = "com.toprung-"
_OWNED_MAX = 32
_DOWNLOAD = re.compile(r"(\d{1,12})/(\d{1,9})/(\d{1,9})(?:/(\d{1,12}))?")
_HEX = re.compile(r"[0-9a-f]{8}")
_TIME_MAX_MS = 10**12


def to_viewer(keys: Mapping[str, Value]) -> ViewerState:
    """Our keys out of a request's CMCD. Raises FormatError when one is present but makes no sense."""
    now_s = _seconds(keys, "t")
    return ViewerState(
        buffer_s=_seconds(keys, "b"),
        backlog_s=_seconds(keys, "q"),
        now_s=now_s,
        playing=_own(keys, "p", int, {0: False, 1: True}.get),
        download=_own(keys, "d", str, lambda text: _loads_download(text, now_s)),
        owned=_own(keys, "w", str, _loads_owned),
    )


def from_viewer(state: ViewerState) -> Cmcd:
    """The inverse of `to_viewer`; times are rounded to milliseconds, at most 32 chunks are named."""
    keys: dict[str, Value | None] = {
        "b": _milliseconds(state.buffer_s),
        "q": _milliseconds(state.backlog_s),
        "t": _milliseconds(state.now_s),
        "p": None if state.playing is None else int(state.playing),
        "d": None if state.download is None else _dumps_download(state.download),
        "w": None if state.owned is None else ",".join(key[:8] for key in state.owned[:_OWNED_MAX]),
    }
    return {_PREFIX + key: value for key, value in keys.items() if value is not None}


def _own(keys: Mapping[str, Value], name: str, kind: type, read: Callable[[Any], T | None]) -> T | None:
    """Our key `name` as `read` understands it (None from `read` means: makes no sense), or None when it is absent."""
    value = keys.get(_PREFIX + name)
    if value is None:
        return None
    understood = read(value) if type(value) is kind else None
    if understood is None:
        raise FormatError(f"CMCD key {_PREFIX + name!r} is {value!r}, which makes no sense.")
    return understood


def _seconds(keys: Mapping[str, Value], name: str) -> float | None:
    return _own(keys, name, int, lambda value: value / 1000 if 0 <= value <= _TIME_MAX_MS else None)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _loads_owned(text: str) -> tuple[str, ...] | None:
    parts = tuple(text.split(",")) if text else ()
    return parts if len(parts) <= _OWNED_MAX and all(map(_HEX.fullmatch, parts)) else None


def _loads_download(text: str, now_s: float | None) -> Download | None:
    match = _DOWNLOAD.fullmatch(text)
    if match is None:
        return None
    size, total, latency, started = match.groups()
    total_s, latency_s = int(total) / 1000, int(latency) / 1000
    started_s = max(0.0, (now_s or 0.0) - total_s) if started is None else int(started) / 1000
    return Download(started_s=started_s, duration_s=total_s, latency_s=min(latency_s, total_s), size_bytes=int(size))


def _dumps_download(download: Download) -> str:
    """`bytes/total ms/latency ms/start ms`; the last may be missing when another player wrote it."""
    times = (download.duration_s, download.latency_s, download.started_s)
    return "/".join(str(number) for number in (download.size_bytes, *(round(time_s * 1000) for time_s in times)))
