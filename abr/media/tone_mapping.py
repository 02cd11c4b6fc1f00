"""High dynamic range to standard: what HDR10 and HLG pictures look like on an ordinary display (BT.709, BT.1886).

Light is mapped by the EETF of ITU-R BT.2390-11, section 5.4.1, on the largest of red, green and blue, so that hues
stay. White of the standard display stands for 203 cd/m², the reference white of HDR (ITU-R BT.2408-7, table 1). What is
darker than the knee is not touched. Colours that BT.709 has not are clipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from abr.core.arrays import Floats
from abr.core.title import Chromaticity, HdrColour, MasteringDisplay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from av.sidedata.sidedata import SideData, Type
    from av.video.frame import VideoFrame

Transfer = Literal["sdr", "pq", "hlg"]

FILTER = "tone_map"
"""Ours, in the place of FFmpeg's lut3d with a table of its own: pq:1000, hlg:1000."""
WHITE_NITS = 203.0
PEAK_USUAL_NITS = 1000
"""Of films that do not say how bright they get, and of HLG (ITU-R BT.2100-2, table 5)."""
_PEAKS_NITS = (300, 10_000)
_NODES = 33
"""Of the table along each axis; PQ and HLG codes are nearly even steps to the eye, so few do."""
_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
"""AVColorTransferCharacteristic (ITU-T H.273, table 3)."""
_RATIONAL = np.dtype([("numerator", "<i4"), ("denominator", "<i4")])
_MASTERING_LUMINANCE_AT, _HAS_PRIMARIES_AT, _HAS_LUMINANCE_AT = 72, 80, 84
"""Bytes from the start of FFmpeg's AVMasteringDisplayMetadata, which begins with red, green, blue, white and black."""
CHROMATICITY_STEPS, LUMINANCE_STEPS = 50_000, 10_000
"""To one, and to one cd/m², of a MasteringDisplay."""
_CHROMATICITY_MAX, _LUMINANCE_MAX = (1 << 16) - 1, (1 << 32) - 1
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_TO_709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]
)
"""Linear light, BT.2020 to BT.709 (ITU-R BT.2087-0, section 2)."""


def transfer_of(frame: VideoFrame) -> Transfer:
    """How the codes of a decoded picture stand for light, by what it says of itself."""
    return _TRANSFERS.get(int(frame.color_trc), "sdr")


def peak_nits_of(frame: VideoFrame) -> int:
    """cd/m², the brightest light of a PQ film: its MaxCLL, else what its mastering display could show, else the usual.

    HLG is relative to its display, and has the usual one.
    """
    from av.sidedata.sidedata import Type

    if transfer_of(frame) != "pq":
        return PEAK_USUAL_NITS
    light, mastering = (_told(frame, kind) for kind in (Type.CONTENT_LIGHT_LEVEL, Type.MASTERING_DISPLAY_METADATA))
    brightest = float(np.frombuffer(light[:4], "<u4")[0]) if len(light) >= 4 else 0.0
    if not brightest and len(mastering) > _HAS_LUMINANCE_AT and mastering[_HAS_LUMINANCE_AT]:
        most = np.frombuffer(mastering[_MASTERING_LUMINANCE_AT:], _RATIONAL, count=1)[0]
        brightest = most["numerator"] / most["denominator"] if most["denominator"] else 0.0
    return int(np.clip(brightest or PEAK_USUAL_NITS, *_PEAKS_NITS))


def hdr_colour_of(frame: VideoFrame) -> HdrColour | None:
    """What a decoded picture says of its light; None of one in standard range. What is not told whole is left out."""
    from av.sidedata.sidedata import Type

    transfer = transfer_of(frame)
    if transfer == "sdr":
        return None
    light, mastering = (_told(frame, kind) for kind in (Type.CONTENT_LIGHT_LEVEL, Type.MASTERING_DISPLAY_METADATA))
    max_cll, max_fall = (int(each) for each in np.frombuffer(light[:8].ljust(8, b"\0"), "<u4"))
    return HdrColour(
        transfer=transfer,
        mastering=_mastering_display(mastering),
        max_cll_nits=min(max_cll, _CHROMATICITY_MAX),
        max_fall_nits=min(max_fall, _CHROMATICITY_MAX),
    )


def _mastering_display(told: bytes) -> MasteringDisplay | None:
    if len(told) <= _HAS_LUMINANCE_AT or not (told[_HAS_PRIMARIES_AT] and told[_HAS_LUMINANCE_AT]):
        return None
    ratios = np.frombuffer(told[:_HAS_PRIMARIES_AT], _RATIONAL)
    if not ratios["denominator"].all():
        return None
    values = ratios["numerator"] / ratios["denominator"]
    x_and_y = np.clip(np.rint(values[:8] * CHROMATICITY_STEPS), 0, _CHROMATICITY_MAX).astype(int).reshape(4, 2)
    least, most = np.clip(np.rint(values[8:] * LUMINANCE_STEPS), 0, _LUMINANCE_MAX).astype(int)
    red, green, blue, white = (cast("Chromaticity", tuple(each.tolist())) for each in x_and_y)
    return MasteringDisplay(
        red=red, green=green, blue=blue, white=white, luminance_max=int(most), luminance_min=int(least)
    )


def _told(frame: VideoFrame, kind: Type) -> bytes:
    """What a picture tells beside; nothing where it does not."""
    try:
        return bytes(cast("Mapping[Type, SideData]", frame.side_data)[kind])
    except KeyError:
        return b""


def tone_map_filter(transfer: Transfer, peak_nits: int) -> tuple[str, str]:
    """The filter as a title keeps it."""
    return FILTER, f"{transfer}:{peak_nits}"


@contextmanager
def as_ffmpeg_filter(arguments: str) -> Iterator[tuple[str, str]]:
    """That filter as FFmpeg runs it, on full-range RGB. Its table is a file that is there while the block runs.

    FFmpeg reads it when the filter is made. Raises ValueError for arguments of another kind.
    """
    transfer, _, peak = arguments.partition(":")
    peak_nits = int(peak)
    if transfer not in _TRANSFERS.values() or not _PEAKS_NITS[0] <= peak_nits <= _PEAKS_NITS[1]:
        raise ValueError(arguments)
    with NamedTemporaryFile(prefix="toprung-", suffix=".cube") as file:
        file.write(_table(transfer, peak_nits))
        file.flush()
        name = re.sub(r"([\\':])", r"\\\1", file.name)  # as FFmpeg reads options
        yield "lut3d", f"file={name}:interp=tetrahedral"


def to_standard(codes: Floats, transfer: str, peak_nits: float) -> Floats:
    """(..., 3) R'G'B' codes of BT.2100, 0–1 → codes of BT.709 with the transfer of BT.1886, 0–1."""
    light_nits = _pq_light(codes) if transfer == "pq" else _hlg_light(codes, peak_nits)
    brightest = np.maximum(light_nits.max(axis=-1, keepdims=True), 1e-6)
    mapped = light_nits * (map_brightness(brightest, peak_nits) / brightest)
    shown = np.clip(mapped @ _TO_709.T / WHITE_NITS, 0.0, 1.0)
    return np.asarray(shown ** (1 / 2.4))


def map_brightness(nits: Floats, peak_nits: float) -> Floats:
    """The EETF of BT.2390: cd/m² as mastered → cd/m² on a display whose white is WHITE_NITS; black stays black."""
    peak = _pq_code(np.array(peak_nits))
    source = np.minimum(_pq_code(nits) / peak, 1.0)
    most = float(_pq_code(np.array(WHITE_NITS)) / peak)
    if most >= 1:
        return nits
    knee = 1.5 * most - 0.5
    t = np.clip((source - knee) / (1 - knee), 0.0, 1.0)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return _pq_light(np.where(source < knee, source, spline) * peak)


def _pq_light(codes: Floats) -> Floats:
    """cd/m² (ITU-R BT.2100-2, table 4)."""
    power = np.clip(codes, 0.0, 1.0) ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(power - _C1, 0.0) / (_C2 - _C3 * power)) ** (1 / _M1))


def _pq_code(nits: Floats) -> Floats:
    """The inverse of `_pq_light`."""
    power = np.clip(nits / 10_000, 0.0, 1.0) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _hlg_light(codes: Floats, peak_nits: float) -> Floats:
    """cd/m² on a display of that peak (ITU-R BT.2100-2, table 5; its system gamma after BT.2390, section 6.2)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    codes = np.clip(codes, 0.0, 1.0)
    scene = np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)
    luminance = np.maximum(scene @ np.array([0.2627, 0.6780, 0.0593]), 1e-9)[..., None]
    gamma = 1.2 + 0.42 * np.log10(peak_nits / 1000)
    return np.asarray(peak_nits * luminance ** (gamma - 1) * scene)


@lru_cache(maxsize=4)
def _table(transfer: str, peak_nits: int) -> bytes:
    """The table as FFmpeg reads it (Adobe's Cube LUT specification 1.0): one megabyte."""
    axis = np.linspace(0.0, 1.0, _NODES)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")  # red changes fastest
    codes = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    rows = "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in to_standard(codes, transfer, peak_nits))
    return f"LUT_3D_SIZE {_NODES}\n{rows}\n".encode()
