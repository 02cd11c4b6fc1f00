"""What play tests share: a title with enhancers on offer, devices of a chosen speed, and sessions on virtual time."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from eager import Eager
from titles import prepared_title

from abr.core.control import Controller
from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import ENHANCEMENTS_FILE, Chunk, EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.core.events import AnyEvent
from abr.core.title import Quality, Rendition, Title
from abr.records import dumps
from abr.registry import Registry
from abr.virtual_time import VirtualTimeLoop
from enhancers.runtime.enhancer import Enhancer, EnhancerInfo, PlainScaler
from enhancers.runtime.frames import Frame

FAST_MACHINE = 0.01
"""Wall rate of a machine a hundred times as fast: virtual time hardly notices what else runs on this one."""
WEIGHTS = {tier: f"weights of {tier}".encode() * 200 for tier in ("low", "high")}
PROMISED_S = {"low": 0.004, "high": 0.016}
LIFT = {"low": 8.0, "high": 15.0}


def enhanced_library(folder: Path, *, wrong_sha: bool = False, exits: bool = False) -> Path:
    """A library whose title `bbb` offers content-low and content-high for its 180p and 240p.

    exits: high is low and a further chunk, as with networks whose exits are tiers.
    """
    title, source = prepared_title()
    target = folder / "library" / title.id
    shutil.copytree(source, target)
    (target / "enhancers").mkdir()
    for tier, body in WEIGHTS.items():
        (target / "enhancers" / f"{tier}.safetensors").write_bytes(body)
    entries = tuple(
        EnhancerEntry(
            name=f"content-{tier}",
            family=Family.CONTENT,
            tier=Tier(tier),
            offers=tuple(_offer(title, rendition, tier, wrong_sha, exits) for rendition in ("180p", "240p")),
        )
        for tier in WEIGHTS
    )
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=entries)
    (target / ENHANCEMENTS_FILE).write_bytes(dumps(table))
    return folder / "library"


def _offer(title: Title, rendition: str, tier: str, wrong_sha: bool, exits: bool) -> Offer:
    plain = title.plain_quality[rendition]
    names = tuple(WEIGHTS)[: tuple(WEIGHTS).index(tier) + 1] if exits else (tier,)
    chunks = tuple(_chunk(name, wrong_sha) for name in names)
    return Offer(
        rendition=rendition,
        architecture=f"test-{tier}",
        weights_sha256=chunks[-1].sha256,
        chunks=chunks,
        macs_per_output_px=1.0,
        quality=Quality(
            vmaf=tuple(min(99.0, value + LIFT[tier]) for value in plain.vmaf),
            vmaf_neg=plain.vmaf_neg,
            ssim=plain.ssim,
            psnr_y_db=plain.psnr_y_db,
            panel=plain.panel,
        ),
    )


def _chunk(name: str, wrong_sha: bool) -> Chunk:
    sha256 = hashlib.sha256(b"something else" if wrong_sha else WEIGHTS[name]).hexdigest()
    return Chunk(file=f"enhancers/{name}.safetensors", size_bytes=len(WEIGHTS[name]), sha256=sha256)


def profile(title: Title) -> DeviceProfile:
    """A device that measured what PROMISED_S says."""
    return DeviceProfile(
        device=Device(name="test device", processor="test", cores=2, memory_bytes=1 << 30),
        measurements=tuple(
            Measurement(
                architecture=f"test-{tier}",
                width_px=title.rendition(rendition).width_px,
                height_px=title.rendition(rendition).height_px,
                backend="test",
                threads=1,
                p50_ms=seconds * 1000,
                p95_ms=seconds * 1000,
            )
            for rendition in ("180p", "240p")
            for tier, seconds in PROMISED_S.items()
        ),
    )


@dataclass
class Bench:
    """Opens enhancers that upscale plainly and brighten, at a cost in virtual time.

    cost_s: seconds of a frame, from the architecture and the number of frames enhanced before it in the session.
    """

    cost_s: Callable[[str, int], float] = lambda architecture, _count: PROMISED_S[architecture.removeprefix("test-")]
    loop: VirtualTimeLoop | None = None
    """Where the cost is charged; nowhere without."""
    opened: list[str] = field(default_factory=list)
    count: int = 0
    break_at: int = -1

    def open(
        self, offer: Offer, rendition: Rendition, title: Title, measured: Measurement, chunks: Sequence[bytes]
    ) -> Enhancer:
        assert chunks[-1] == WEIGHTS[offer.architecture.removeprefix("test-")]
        self.opened.append(f"{offer.architecture}@{rendition.id}")
        size = (rendition.width_px, rendition.height_px, title.display_width_px, title.display_height_px)
        return _Costly(self, offer.architecture, PlainScaler(*size))


@dataclass
class _Costly:
    bench: Bench
    architecture: str
    scaler: PlainScaler

    @property
    def descriptor(self) -> EnhancerInfo:
        return self.scaler.descriptor

    def enhance(self, frame: Frame) -> Frame:
        self.bench.count += 1
        if self.bench.count == self.bench.break_at:
            raise RuntimeError("the network exploded")
        if self.bench.loop is not None:
            self.bench.loop.charge(self.bench.cost_s(self.architecture, self.bench.count))
        return self.scaler.enhance(frame)


EAGER: Registry[Callable[[], Controller]] = Registry("controller")
EAGER.add("eager", Eager)

E = TypeVar("E")


def of_kind(events: Sequence[AnyEvent], kind: type[E]) -> list[E]:
    """The events of one kind, in order."""
    return [event for event in events if isinstance(event, kind)]
