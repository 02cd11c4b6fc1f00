"""A title called `film` with an enhancer on offer, and a device that measured it: what pages of the docs start from."""

from __future__ import annotations

import shutil
from pathlib import Path

from msgspec.structs import replace
from titles import CLIP, prepared_title, short_library, small_library
from titles import TITLE_ID as BBB

from abr.core.device import DecodeSpeed, Device, DeviceProfile, Measurement
from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, EnhancerEntry, Family, Tier
from abr.core.title import TITLE_FILE, Quality, Title, load_title
from abr.records import dumps_pretty
from enhancers.measurement.device_profile import weights_hash
from enhancers.measurement.publish import generic_offer
from enhancers.networks import catalog

TITLE_ID = "film"
GAIN_VMAF = 9.0


def film_library(folder: Path, clip: Path = CLIP) -> Path:
    """The library: the short clip as the title `film`, its 180p lifted by the generic network of tier low."""
    return _film_of(*prepared_title(clip), folder)


def small_film_library(folder: Path) -> Path:
    """The same at 640x360, where lifting takes a quarter of the time."""
    library = small_library()
    return _film_of(library.title(BBB), library.root / BBB, folder)


def short_film_library(folder: Path) -> Path:
    """The same of two seconds in two segments."""
    library = short_library()
    return _film_of(library.title(BBB), library.root / BBB, folder)


def film_version(library: Path) -> str:
    """The version of its media."""
    return load_title(library / TITLE_ID).version


def _film_of(title: Title, source: Path, folder: Path) -> Path:
    target = folder / "titles" / TITLE_ID
    shutil.copytree(source, target)
    title = replace(title, id=TITLE_ID, source=replace(title.source, name=f"{TITLE_ID}.mp4"))
    (target / TITLE_FILE).write_bytes(dumps_pretty(title))
    plain = title.plain_quality["180p"]
    quality = Quality(
        vmaf=tuple(vmaf + GAIN_VMAF for vmaf in plain.vmaf),
        vmaf_neg=tuple(vmaf + GAIN_VMAF for vmaf in plain.vmaf_neg),
        ssim=plain.ssim,
        psnr_y_db=plain.psnr_y_db,
    )
    scale = title.renditions[-1].height_px / 180
    offer = generic_offer("180p", str(catalog.architecture(scale, Tier.LOW)), quality)
    entry = EnhancerEntry(name="generic-low", family=Family.GENERIC, tier=Tier.LOW, offers=(offer,))
    table = EnhancementTable(title=TITLE_ID, meter=title.meter, enhancers=(entry,))
    (target / ENHANCEMENTS_FILE).write_bytes(dumps_pretty(table))
    return folder / "titles"


def measured_device(cache: Path, times: float = 1.0) -> None:
    """Leaves in a user's cache folder what `toprung profile` would: a device that runs tier low in 8 ms a frame.

    times: as long as that. A node that is told to be quick lifts on a busy machine too.
    """
    (cache / "toprung").mkdir(parents=True)
    (cache / "toprung" / f"device-{weights_hash()[:16]}.json").write_bytes(dumps_pretty(own_device(times)))


def own_device(times: float = 1.0) -> DeviceProfile:
    """The profile of that device. times: as long as it takes for a frame.

    What it says of decoding is of no codec that is known: it is not measured again, and costs nothing.
    """
    speeds = tuple(
        Measurement(
            architecture=str(catalog.architecture(scale, Tier.LOW)),
            width_px=320,
            height_px=180,
            backend="openvino-int8",
            threads=1,
            p50_ms=7.0 * times,
            p95_ms=8.0 * times,
        )
        for scale in (2.0, 4.0)
    )
    device = Device(name="test device", processor="any", cores=2, memory_bytes=4 << 30)
    timed = DecodeSpeed(sample_entry="none", width_px=320, height_px=180, p50_ms=1.0, p95_ms=1.0)
    return DeviceProfile(device=device, measurements=speeds, weights_hash=weights_hash(), decoding=(timed,))
