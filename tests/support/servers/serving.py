"""A library with something to choose from, and a device to choose for."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TypeVar

from aiohttp import web
from aiohttp.test_utils import TestClient
from titles import prepared_library

from abr.controllers.guard import decide
from abr.core.control import Controller
from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import ENHANCEMENTS_FILE, Chunk, EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.core.events import loads_log
from abr.core.options import PriceList
from abr.core.title import Quality, Rendition, Title
from abr.records import dumps_pretty
from server.sessions.decisions import PricedTitle, SegmentDecision, fingerprint, record_decision, repeat_decision
from server.sessions.observation import ClientHints, observe
from server.sessions.state import SessionState

CHUNK = bytes(range(256)) * 120
CHUNK_SHA256 = hashlib.sha256(CHUNK).hexdigest()
CHUNK_FILE = f"enhancers/content-180p-1-{CHUNK_SHA256[:12]}.safetensors"


FAST_PATH = os.environ.get("TEST_FAST_PATH", "true") == "true"
"""`TEST_FAST_PATH=false pytest tests/server` runs the tests against servers without the fast path."""

E = TypeVar("E")


def take(
    state: SessionState,
    hints: ClientHints,
    title: Title,
    prices: PriceList,
    by: Controller,
    segment: int,
    *,
    now_s: float,
    horizon: int,
) -> SegmentDecision:
    """One segment decided as the session service does it, by a controller that is asked at once."""
    offer, state = PricedTitle(title, prices), state.with_menu(fingerprint(prices))
    repeated = repeat_decision(state, offer, segment)
    if repeated is not None:
        return repeated
    observed = observe(state, hints, prices, segment, now_s=now_s, horizon=horizon)
    return record_decision(observed, decide(by, observed.observation), offer, segment)


async def logged(client: TestClient[web.Request, web.Application], path: str, kind: type[E]) -> list[E]:
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
