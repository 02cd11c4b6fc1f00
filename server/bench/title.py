"""A library to measure with: titles of eleven minutes, with enhancers on offer, whose files hold noise.

The server neither reads nor cares what is in a segment. Its tables say what a ladder of 180p to 1080p costs, but each
file holds SEGMENT_BYTES, so that every decided segment weighs the same, whatever was decided.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import ENHANCEMENTS_FILE, Chunk, EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.core.title import TITLE_FILE, Meter, Quality, Rendition, Source, Title, segment_file
from abr.records import dumps

TITLE_ID = "bench"
SEGMENTS = 160
SEGMENT_S = 4.0
SEGMENT_BYTES = 200_000
PLAIN_FILES = {"20 kB": 20_000, "200 kB": 200_000, "2 MB": 2_000_000}
PLAIN_COPIES = 16
"""Different files of each size, asked for in turn."""
_BODIES = 16
"""Different bodies behind the segments of the title."""
_SEED = 20261122

_RUNGS = ((320, 180, 0.15, 45), (426, 240, 0.25, 60), (640, 360, 0.5, 75), (1280, 720, 1.6, 92), (1920, 1080, 3.5, 97))
"""Width, height, Mbit/s, VMAF."""
_LIFTED = ("180p", "240p", "360p")
_LIFT = {Tier.LOW: 4.0, Tier.MEDIUM: 6.0, Tier.HIGH: 8.0}
_COST_MS = {Tier.LOW: 4.0, Tier.MEDIUM: 7.0, Tier.HIGH: 12.0}
_METER = Meter(
    vmaf_model="none",
    vmaf_neg_model="none",
    tool="made up for the benchmark",
    scaler="none",
    every_frames=1,
    crop=(0, 0, 1920, 1080),
    black_luma_max=16.0,
)


def write_library(root: Path, titles: int = 1) -> None:
    """Writes the titles below `root`: each about 100 MB of names, all together 40 MB of disk."""
    noise = np.random.default_rng(_SEED)
    bodies = root / TITLE_ID / "bodies"
    bodies.mkdir(parents=True)
    for index in range(_BODIES):
        (bodies / str(index)).write_bytes(noise.bytes(SEGMENT_BYTES))
    for number in range(titles):
        _write_title(root / title_id(number), bodies, noise)
    for name, size_bytes in PLAIN_FILES.items():
        target = root / TITLE_ID / "video" / plain_folder(name)
        target.mkdir()
        for index in range(PLAIN_COPIES):
            (target / segment_file(index)).write_bytes(noise.bytes(size_bytes))


def title_id(number: int) -> str:
    """The id of one of the titles; TITLE_ID is the first."""
    return f"{TITLE_ID}-{number}" if number else TITLE_ID


def _write_title(folder: Path, bodies: Path, noise: np.random.Generator) -> None:
    renditions = [_rendition(*rung, noise) for rung in _RUNGS]
    for rendition in renditions:
        target = folder / "video" / rendition.id
        target.mkdir(parents=True)
        for segment in range(SEGMENTS):
            os.link(bodies / str(segment % _BODIES), target / segment_file(segment))
    title = _title(folder.name, tuple(renditions))
    (folder / ENHANCEMENTS_FILE).write_bytes(dumps(_table(title)))
    (folder / TITLE_FILE).write_bytes(dumps(title))


def plain_folder(name: str) -> str:
    """Where the files of one of PLAIN_FILES lie."""
    return f"plain-{PLAIN_FILES[name]}"


def profile(number: int = 0) -> DeviceProfile:
    """A device that runs every enhancer of the title in real time; any other number: one that measured as it happens.

    Those are from ten times as fast to ten times as slow, each measurement with an error of its own.
    """
    sizes = [(width, height) for width, height, _, _ in _RUNGS if f"{height}p" in _LIFTED]
    chance = np.random.default_rng([_SEED, number])
    usual = float(np.exp(chance.uniform(-np.log(10), np.log(10)))) if number else 1.0
    times = {
        (size, tier): usual * float(np.exp(chance.normal(0, 0.3))) if number else 1.0
        for size in sizes
        for tier in _COST_MS
    }
    return DeviceProfile(
        device=Device(name="bench", processor="bench", cores=4, memory_bytes=8 << 30),
        measurements=tuple(
            Measurement(
                architecture=f"bench-{tier}",
                width_px=width,
                height_px=height,
                backend="bench",
                threads=2,
                p50_ms=0.9 * cost_ms * times[(width, height), tier],
                p95_ms=cost_ms * times[(width, height), tier],
            )
            for width, height in sizes
            for tier, cost_ms in _COST_MS.items()
        ),
    )


def _rendition(width: int, height: int, mbps: float, vmaf: float, noise: np.random.Generator) -> Rendition:
    usual = mbps * 1e6 * SEGMENT_S / 8
    sizes = tuple(int(size) for size in usual * noise.uniform(0.6, 1.5, SEGMENTS))
    return Rendition(
        id=f"{height}p",
        width_px=width,
        height_px=height,
        codecs="avc3.640028",
        bandwidth_bps=int(max(sizes) * 8 / SEGMENT_S),
        average_bps=int(sum(sizes) * 8 / SEGMENT_S / SEGMENTS),
        init_bytes=800,
        segment_bytes=sizes,
    )


def _title(name: str, renditions: tuple[Rendition, ...]) -> Title:
    return Title(
        id=name,
        display_width_px=1920,
        display_height_px=1080,
        frame_rate=(25, 1),
        segment_duration_s=(SEGMENT_S,) * SEGMENTS,
        segment_frames=(int(25 * SEGMENT_S),) * SEGMENTS,
        renditions=renditions,
        audio=(),
        source=Source(name="noise", sha256="0" * 64, width_px=1920, height_px=1080, duration_s=SEGMENTS * SEGMENT_S),
        plain_quality={f"{height}p": _quality(vmaf) for _, height, _, vmaf in _RUNGS},
        meter=_METER,
        encoder="none",
        version="be" * 8,
    )


def _table(title: Title) -> EnhancementTable:
    entries = [_entry(title, family, tier) for family in (Family.GENERIC, Family.CONTENT) for tier in _LIFT]
    return EnhancementTable(title=title.id, meter=title.meter, enhancers=tuple(entries))


def _entry(title: Title, family: Family, tier: Tier) -> EnhancerEntry:
    gain = _LIFT[tier] * (1.0 if family is Family.GENERIC else 1.6)
    offers = []
    for index, rendition in enumerate(_LIFTED):
        key = f"{index}{list(_LIFT).index(tier)}".rjust(64, "a")
        chunk = Chunk(file=f"enhancers/{tier}-{rendition}.safetensors", size_bytes=40_000, sha256=key)
        offers.append(
            Offer(
                rendition=rendition,
                architecture=f"bench-{tier}",
                weights_sha256=key,
                chunks=() if family is Family.GENERIC else (chunk,),
                macs_per_output_px=100.0,
                quality=_quality(title.plain_quality[rendition].vmaf[0] + gain),
            )
        )
    return EnhancerEntry(name=f"{family}-{tier}", family=family, tier=tier, offers=tuple(offers))


def _quality(vmaf: float) -> Quality:
    waves = tuple(float(vmaf + 2 * np.sin(segment / 5)) for segment in range(SEGMENTS))
    return Quality(vmaf=waves, vmaf_neg=waves, ssim=(0.9,) * SEGMENTS, psnr_y_db=(35.0,) * SEGMENTS)
