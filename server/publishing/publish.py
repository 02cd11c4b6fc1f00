"""Publishing one title: what is there already is left, what leads to something comes after it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from abr.progress import ProgressListener
from server.publishing.destinations import Destination
from server.publishing.title_objects import TitleObject

UPLOADS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What publishing a title did."""

    title: str
    objects: int
    """All of the title's."""
    sent: int
    sent_bytes: int
    removed: int
    """Objects of other versions."""


def publish_title(
    title_id: str,
    objects: Sequence[TitleObject],
    destination: Destination,
    *,
    prune: bool = False,
    listener: ProgressListener = lambda *_: None,
) -> Published:
    """Bring a title's objects to a destination. A run that was stopped is gone on with.

    objects: as `objects_of` gives them. prune: afterwards remove all that is there of the title's other versions.
    Raises StorageError; what is there then leads to nothing that is not.
    """
    there = destination.sizes_bytes(f"{title_id}/")
    wanted = [each for each in objects if not each.is_lasting or there.get(each.key) != each.size_bytes]
    total_bytes, sent_bytes = sum(each.size_bytes for each in wanted), 0
    for each in _put_all(wanted, destination):
        sent_bytes += each.size_bytes
        listener(title_id, "publish", total_bytes, sent_bytes)
    outdated = _outdated(title_id, there, objects) if prune else []
    if outdated:
        destination.remove(outdated)
    return Published(
        title=title_id,
        objects=len(objects),
        sent=len(wanted),
        sent_bytes=sent_bytes,
        removed=len(outdated),
    )


def _put_all(wanted: Sequence[TitleObject], destination: Destination) -> Iterator[TitleObject]:
    """Media and weights several at once, then the rest in its order; each is given when it is there."""
    lasting = [each for each in wanted if each.is_lasting]
    pool = ThreadPoolExecutor(UPLOADS_AT_ONCE)
    try:
        for each, _ in zip(lasting, pool.map(destination.put, lasting), strict=True):
            yield each
    finally:
        pool.shutdown(cancel_futures=True)
    for each in wanted:
        if not each.is_lasting:
            destination.put(each)
            yield each


def _outdated(title_id: str, there: Iterable[str], objects: Iterable[TitleObject]) -> list[str]:
    """What is there of versions of the title, and is none of its objects now."""
    of_versions = re.compile(rf"{re.escape(title_id)}/v-[0-9a-f]{{16}}/.+")
    return sorted(set(filter(of_versions.fullmatch, there)) - {each.key for each in objects})
