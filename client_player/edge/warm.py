"""Titles lifted ahead of time: fetched and decided, then lifted by a pool of jobs, here or on a cluster.

The same cache, decisions and lifts as of a node that serves, so that such a node goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

from abr.core.title import INIT_FILE, TRICK_PLAY, Title, segment_file, sheet_file
from abr.errors import InputError
from abr.jobs.local_pool import FinishedJob, JobFailure, JobPool
from abr.records import Record
from client_player.edge.assembly import EdgeRequest, assembled
from client_player.edge.choice import EdgeChoice
from client_player.edge.feed import TitleFeed
from client_player.edge.lifts.lift_process import LiftError
from client_player.edge.lifts.lift_run import LiftRun, lift_run, runs_of
from client_player.edge.lifts.lifting import LiftedSegment, LiftJob
from client_player.edge.manifests import edge_manifest
from client_player.edge.node import Node
from client_player.edge.origin.titles import Titles
from client_player.edge.workshop import Workshop
from client_player.transport.http import DownloadError
from server.errors import RequestError
from server.ingest.manifests.title import MASTER_FILE, MPD_FILE
from server.media.versions import version_folder

AT_ONCE = 8
"""Nobody waits: an enhancer may take as many lifters' time as that."""
_LED_TO = re.compile(r'URI="([^"]+)"')

log = logging.getLogger("toprung.edge")


class Warmed(Record, frozen=True):
    """What came of one title: segments, those that are lifted now, and what it took."""

    title: str
    segments: int
    lifted: int
    failed: int
    cpu_s: float


@dataclass(slots=True)
class _Ahead:
    """In the place of a node's lifters: prices count on it, and it lifts nothing."""

    at_once: int = AT_ONCE

    async def lift(self, job: LiftJob) -> LiftedSegment:
        """Raises LiftError."""
        raise LiftError(f"segment {job.segment} is lifted by a pool of jobs")


async def warm(
    request: EdgeRequest,
    titles: Sequence[str],
    make_pool: Callable[[], JobPool],
    tell: Callable[[Warmed], None] = lambda _warmed: None,
) -> None:
    """Lift these titles into the cache, one after the other; tell hears of each.

    Raises InputError for a title that the origin does not list, OriginAwayError, DownloadError, StorageError.
    """
    async with assembled(request, _Ahead()) as shop:
        known = Titles(shop.mirror, request.currency)
        listed = [line.id for line in await known.list()]
        for title_id in titles:
            if title_id not in listed:
                there = ", ".join(listed) or "none"
                raise InputError(f"The origin has no title {title_id!r} that can be mirrored; it has: {there}.")
        node = Node(shop, known)
        for title_id in titles:
            feed = TitleFeed(await known.get(title_id), shop)
            try:
                tell(await _warm_title(feed, shop, make_pool()))
            finally:
                await feed.close()
            await _fetch_rest(node, feed)
        await shop.mirror.close()


async def _warm_title(feed: TitleFeed, shop: Workshop, pool: JobPool) -> Warmed:
    title, jobs, choices = feed.title.title, list[LiftJob](), dict[int, EdgeChoice]()
    segments, there = len(title.segment_frames), 0
    for segment in range(segments):
        choice = await feed.prepare_ahead(segment)
        if choice.lifts and feed.lifts.key(segment) in shop.cache:
            there += 1
        elif choice.lifts:
            jobs.append(await feed.lifts.job(segment, choice))
            choices[segment] = choice
    cpu_s, lifted, loop = 0.0, 0, asyncio.get_running_loop()

    def work() -> None:
        nonlocal cpu_s, lifted
        for finished in pool.work(lift_run, runs_of(title.id, jobs)):
            kept = asyncio.run_coroutine_threadsafe(_keep(feed, shop, choices, finished), loop).result()
            lifted, cpu_s = lifted + len(kept), cpu_s + sum(each.cpu_s for each in kept)

    if jobs:
        await asyncio.to_thread(work)
    return Warmed(
        title=title.id, segments=segments, lifted=there + lifted, failed=len(jobs) - lifted, cpu_s=round(cpu_s, 2)
    )


async def _keep(
    feed: TitleFeed,
    shop: Workshop,
    choices: Mapping[int, EdgeChoice],
    finished: FinishedJob[LiftRun, tuple[LiftedSegment | str, ...]],
) -> list[LiftedSegment]:
    if isinstance(finished.outcome, JobFailure):
        log.warning("%s; served as it came", finished.outcome.sentence)
        return []
    kept = []
    for job, lifted in zip(finished.job.jobs, finished.outcome, strict=True):
        if isinstance(lifted, str):
            log.warning("%s: segment %d: %s; it is served as it came", finished.job.title, job.segment, lifted)
            continue
        shop.ledger.energy.begin()
        await feed.lifts.keep(job.segment, choices[job.segment], lifted, shop.ledger.energy.end(lifted.cpu_s))
        kept.append(lifted)
    return kept


async def _fetch_rest(node: Node, feed: TitleFeed) -> None:
    """All that players ask for beside the pictures, so that a title plays without its origin, in any language."""
    title = feed.title.title
    here = f"/titles/{title.id}/"
    master = edge_manifest(title, MASTER_FILE).decode()
    led_to = [urljoin(here + MASTER_FILE, uri).removeprefix(here) for uri in _LED_TO.findall(master)]
    for path in (*_tracks(title), *led_to, *_device_manifests(title)):
        try:
            await node.file(title.id, path)
        except (DownloadError, RequestError) as error:
            log.warning("%s: %s is not kept: %s", title.id, path, error)


def _tracks(title: Title) -> Iterator[str]:
    """Files of sounds, subtitles, thumbnails and trick play, and the init segment of the pictures."""
    version = version_folder(title.version)
    segmented = [f"audio/{track.id}" for track in title.audio]
    segmented += [f"subtitles/{track.id}" for track in title.subtitles if track.imsc_bytes]
    segmented += [f"video/{TRICK_PLAY}"] if title.trick_play else []
    yield f"{version}video/{title.renditions[-1].id}/{INIT_FILE}"
    for folder in segmented:
        yield f"{version}{folder}/{INIT_FILE}"
        yield from (f"{version}{folder}/{segment_file(segment)}" for segment in range(len(title.segment_frames)))
    yield from (f"{version}subtitles/{track.id}.vtt" for track in title.subtitles)
    sheets = len(title.thumbnails.sheet_bytes) if title.thumbnails else 0
    yield from (f"{version}thumbnails/{sheet_file(sheet)}" for sheet in range(sheets))


def _device_manifests(title: Title) -> list[str]:
    """Those of the origin that lead to what is in no manifest of the node's."""
    if not title.trick_play:
        return []
    return [MPD_FILE, MASTER_FILE, f"{version_folder(title.version)}{TRICK_PLAY}.m3u8"]
