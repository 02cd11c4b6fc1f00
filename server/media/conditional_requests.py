"""Conditional and range requests, decided purely: RFC 9110, sections 13 and 14."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.IGNORECASE)
_ETAG = re.compile(r'(W/)?"([^"\x00-\x20\x7f]*)"')

_REFUSED = re.compile(r"q\s*=\s*0(\.0*)?\s*$")


@dataclass(frozen=True, slots=True)
class Validators:
    """What identifies one version of a file: a strong entity tag without its quotes, and whole seconds since 1970."""

    etag: str
    modified_s: int

    @property
    def last_modified(self) -> str:
        """As HTTP writes dates (RFC 9110, 5.6.7)."""
        return format_datetime(datetime.fromtimestamp(self.modified_s, UTC), usegmt=True)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The status to answer with (200, 206, 304, 412 or 416) and the bytes that go with it."""

    status: int
    offset: int
    count: int


def evaluate(
    headers: Mapping[str, str], validators: Validators, size_bytes: int, *, in_parts: bool = True
) -> Evaluation:
    """In the order of RFC 9110, 13.2.2. `headers` finds names whatever their case.

    in_parts: whether the method knows ranges, as GET alone does (14.2).
    """
    if (tags := headers.get("If-Match")) is not None:
        if not _matches(tags, validators.etag, weakly=False):
            return Evaluation(412, 0, 0)
    elif (since_s := _date(headers.get("If-Unmodified-Since"))) is not None and validators.modified_s > since_s:
        return Evaluation(412, 0, 0)
    if (tags := headers.get("If-None-Match")) is not None:
        if _matches(tags, validators.etag, weakly=True):
            return Evaluation(304, 0, 0)
    elif (since_s := _date(headers.get("If-Modified-Since"))) is not None and validators.modified_s <= since_s:
        return Evaluation(304, 0, 0)
    asked = headers.get("Range")
    if asked is None or not in_parts or not _same(headers.get("If-Range"), validators):
        return Evaluation(200, 0, size_bytes)
    return _ranged(asked, size_bytes)


def takes_gzip(headers: Mapping[str, str]) -> bool:
    """Whether a gzip form may be sent: it is accepted (RFC 9110, 12.5.3), and no part of the plain one is asked for."""
    codings = [each.partition(";") for each in headers.get("Accept-Encoding", "").lower().split(",")]
    taken = any(name.strip() in ("gzip", "x-gzip") and not _REFUSED.search(weight) for name, _, weight in codings)
    return taken and "Range" not in headers


def _ranged(asked: str, size_bytes: int) -> Evaluation:
    """Several ranges, other units and nonsense are ignored, as 14.2 allows: the whole file is a right answer."""
    match = _RANGE.fullmatch(asked)
    first, last = match.groups() if match else ("", "")
    if not first and not last:
        return Evaluation(200, 0, size_bytes)
    if not first:
        count = min(int(last), size_bytes)
        return Evaluation(206, size_bytes - count, count) if count else Evaluation(416, 0, 0)
    start, end = int(first), min(int(last), size_bytes - 1) if last else size_bytes - 1
    if last and int(last) < start:
        return Evaluation(200, 0, size_bytes)
    return Evaluation(206, start, end - start + 1) if start < size_bytes else Evaluation(416, 0, 0)


def _matches(tags: str, etag: str, *, weakly: bool) -> bool:
    if tags.strip() == "*":
        return True
    return any(value == etag and (weakly or not weak) for weak, value in _ETAG.findall(tags))


def _same(condition: str | None, validators: Validators) -> bool:
    """If-Range (13.1.5): an absent condition holds, a weak tag never does."""
    if condition is None:
        return True
    if match := _ETAG.fullmatch(condition.strip()):
        return not match[1] and match[2] == validators.etag
    return _date(condition) == validators.modified_s


def _date(text: str | None) -> int | None:
    """Seconds since 1970 of an HTTP date; None when absent or not a date, which is then ignored."""
    if text is None:
        return None
    try:
        date = parsedate_to_datetime(text)
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
