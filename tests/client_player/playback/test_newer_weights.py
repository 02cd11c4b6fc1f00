"""A live title offers newer weights of an enhancer: the older ones lift until the newer ones are here and open."""

from __future__ import annotations

import asyncio

from networks import random_weights
from titles import prepared_title

from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.core.title import Title
from client_player.playback.enhancer_pool import EnhancerPool
from client_player.playback.weights import WeightsStore
from client_player.session.run import open_offer
from client_player.worker_thread import WorkerThread
from enhancers.measurement.publish import content_offer
from enhancers.networks.checkpoint import dumps_chunks
from enhancers.networks.plain import parse

ARCHITECTURE, RUNG, NAME = "plain-m1c4x4", "180p", "content-low"


def offered(title: Title, body: bytes) -> Offer:
    quality = title.plain_quality[RUNG]
    return content_offer(RUNG, ARCHITECTURE, [body], quality)


def table_of(title: Title, offer: Offer) -> EnhancementTable:
    entry = EnhancerEntry(name=NAME, family=Family.CONTENT, tier=Tier.LOW, offers=(offer,))
    return EnhancementTable(title=title.id, meter=title.meter, enhancers=(entry,))


def device(title: Title) -> DeviceProfile:
    rung = title.rendition(RUNG)
    measured = Measurement(
        architecture=ARCHITECTURE,
        width_px=rung.width_px,
        height_px=rung.height_px,
        backend="torch",
        threads=1,
        p50_ms=1.0,
        p95_ms=2.0,
    )
    return DeviceProfile(device=Device(name="box", processor="p", cores=1, memory_bytes=0), measurements=(measured,))


async def test_the_older_weights_lift_until_the_newer_ones_are_open():
    title, _ = prepared_title()
    bodies = [dumps_chunks(random_weights(parse(ARCHITECTURE), seed=seed))[0] for seed in (1, 2)]
    first, second = (offered(title, body) for body in bodies)
    failures: list[str] = []
    store = WeightsStore(None, "", on_chunk=lambda *_: None, on_failure=failures.append)  # type: ignore[arg-type]
    store._chunks[first.chunks[0].sha256] = bodies[0]
    with WorkerThread("open") as thread:
        pool = EnhancerPool(
            title=title,
            table=table_of(title, first),
            profile=device(title),
            families=(Family.CONTENT,),
            weights=store,
            opener=open_offer,
            compute=thread,
            on_failure=failures.append,
        )
        older = await pool.get_enhancer(NAME, RUNG, 60.0)
        assert older is not None
        pool.take_table(table_of(title, second))
        assert [each.name for each in pool.list_candidates(RUNG, NAME)] == [NAME], "though its newer weights lack"
        assert await pool.get_enhancer(NAME, RUNG, 60.0) is older
        store._chunks[second.chunks[0].sha256] = bodies[1]
        assert await pool.get_enhancer(NAME, RUNG, 60.0) is older, "nothing waits for the newer ones to open"
        async with asyncio.timeout(60):
            await pool._opening[NAME, RUNG].task
        newer = await pool.get_enhancer(NAME, RUNG, 0.0)
        assert newer is not None and newer.descriptor != older.descriptor
        assert await pool.get_enhancer(NAME, RUNG, 0.0) is newer
    assert failures == []
