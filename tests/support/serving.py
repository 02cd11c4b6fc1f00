"""A library with something to choose from, and a device to choose for."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import TypeVar

from aiohttp.test_utils import TestClient
from titles import prepared_library

from abr.control import Controller, Decision, Observation
from abr.controllers.guard import decide
from abr.device import Device, DeviceProfile, Measurement
from abr.enhancement import ENHANCEMENTS_FILE, Chunk, EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.events import loads_log
from abr.formats import dumps_pretty
from abr.media import Quality, Rendition, Title
from abr.options import PriceList
from server import decisions
from server.sessions import SessionState
from server.viewers import Heard

CHUNK = bytes(range(256)) * 120
CHUNK_FILE = "enhancers/content-low-180p-1.safetensors"
CHUNK_SHA256 = hashlib.sha256(CHUNK).hexdigest()


E = TypeVar("E")


def take(state: SessionState, heard: Heard, title: Title, prices: PriceList, by: Controller, segment: int, **at):
    """`server.decisions.take` by a controller that is asked at once."""

    async def ask(seen: Observation) -> Decision:
        return decide(by, seen)

    return asyncio.run(decisions.take(state, heard, title, prices, ask, segment, **at))


async def logged(client: TestClient, path: str, kind: type[E]) -> list[E]:
    """The events of one kind in the log of the session at `path`."""
    log = loads_log(await (await client.get(f"{path}/log")).read())
    return [event for event in log if isinstance(event, kind)]


def enhanced_library(folder: Path) -> Path:
    """A copy of the test title, `bbb`, with an enhancement table of measured-looking gains; returns the library."""
    library = prepared_library()
    shutil.copytree(library.root / "bbb", folder / "bbb")
    title = library.title("bbb")
    (folder / "bbb" / "enhancers").mkdir()
    (folder / "bbb" / CHUNK_FILE).write_bytes(CHUNK)
    (folder / "bbb" / ENHANCEMENTS_FILE).write_bytes(dumps_pretty(enhancements(title)))
    return folder


def enhancements(title: Title) -> EnhancementTable:
    """generic-low lifts the two lowest rungs a little, content-low the lowest a lot."""
    low, second = title.renditions[:2]
    chunk = Chunk(file=CHUNK_FILE, size_bytes=len(CHUNK), sha256=CHUNK_SHA256)
    generic = tuple(_offer(title, rendition, 4.0, ()) for rendition in (low, second))
    return EnhancementTable(
        title=title.id,
        meter=title.meter,
        enhancers=(
            EnhancerEntry(name="generic-low", family=Family.GENERIC, tier=Tier.LOW, offers=generic),
            EnhancerEntry(
                name="content-low",
                family=Family.CONTENT,
                tier=Tier.LOW,
                offers=(_offer(title, low, 20.0, (chunk,)),),
            ),
        ),
    )


def _offer(title: Title, rendition: Rendition, gain: float, chunks: tuple[Chunk, ...]) -> Offer:
    plain = title.plain_quality[rendition.id]
    quality = Quality(
        vmaf=tuple(vmaf + gain for vmaf in plain.vmaf),
        vmaf_neg=tuple(vmaf + gain for vmaf in plain.vmaf_neg),
        ssim=plain.ssim,
        psnr_y_db=plain.psnr_y_db,
    )
    return Offer(
        rendition=rendition.id,
        architecture="plain-m4c8x4",
        weights_sha256=CHUNK_SHA256,
        chunks=chunks,
        macs_per_output_px=100.0,
        quality=quality,
    )


def device_profile(title: Title, p95_ms: float = 8.0) -> DeviceProfile:
    """A device that runs the enhancers above at `p95_ms` a frame."""
    measurements = tuple(
        Measurement(
            architecture="plain-m4c8x4",
            width_px=rendition.width_px,
            height_px=rendition.height_px,
            backend="openvino",
            threads=1,
            p50_ms=0.9 * p95_ms,
            p95_ms=p95_ms,
        )
        for rendition in title.renditions[:2]
    )
    device = Device(name="test device", processor="any", cores=2, memory_bytes=4 << 30)
    return DeviceProfile(device=device, measurements=measurements)
