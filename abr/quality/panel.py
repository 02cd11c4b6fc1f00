"""The panel: full-reference meters that are looked at together, since each alone can be pleased for the wrong reason.

VMAF counts restored detail for more than other judges do, pixel fidelity for less, and neither sees colour or flicker.
Every member compares shown pictures with their source at display size. `score_panel` asks all of them in one pass;
`abr.quality.trusted` says what the answers are worth together.

What a scored pair of 1280x720 costs in milliseconds of one core (Xeon with AVX-512; ffmpeg 9, libvmaf):

    VMAF 36 · VMAF-NEG 22 beside it · SSIM 17 · PSNR of Y, U and V 2 · PSNR-HVS 23 · XPSNR 3 · flicker 1.4
    MS-SSIM 160 · SSIMULACRA 2 125 · ERQA 160 · RGB for these two 35 · CIEDE2000 115

XPSNR costs as much for pairs that are not scored, and VMAF's motion with the pipes 15. Sampling bounds all the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from abr.errors import InputError, UnknownNameError
from abr.quality.ffmpeg_meters import FfmpegMeters, MeterReport, MeterSettings
from abr.quality.picture_meters import PictureMeters
from abr.quality.pictures import Planes
from abr.quality.vmaf import VMAF_MODEL, VMAF_NEG_MODEL

DECIBELS_MAX = 60.0
"""Where figures in decibels end, so that means stay finite: libvmaf's limit of PSNR at 8 bits."""


class Role(StrEnum):
    """What a member looks at.

    Fidelity members undervalue restored detail, which is never the source's own to the pixel. Detail members overvalue
    it: they look for edges and contrast and hardly ask whether these are where they were.
    """

    OVERALL = "overall"
    FIDELITY = "fidelity"
    DETAIL = "detail"
    COLOUR = "colour"
    TEMPORAL = "temporal"


class Maker(StrEnum):
    """The program that computes a member."""

    LIBVMAF_MODEL = "VMAF model of libvmaf"
    LIBVMAF = "feature of libvmaf"
    XPSNR = "filter xpsnr of FFmpeg"
    PICTURE = "module of this package"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One meter of the panel.

    tolerance: its own noise. Twice the most that its mean over five frames moved when the plain scaler rounded in
    another way, on three clips at 180p and 360p, rounded up. invisible: a fall by as much can hardly be seen (below).
    masked_from: what there is already beyond this hides more. smallest_px: least width and height that it can judge.
    """

    name: str
    label: str
    unit: str
    role: Role
    maker: Maker
    tolerance: float
    invisible: float
    higher_is_better: bool = True
    masked_from: float | None = None
    smallest_px: int = 32

    def gain(self, before: float, after: float) -> float:
        """By how much `after` is better than `before`, in the member's unit; negative when it is worse."""
        return after - before if self.higher_is_better else before - after

    def hardly_visible(self, before: float) -> float:
        """A fall from `before` by as much can hardly be seen."""
        masked = before / self.masked_from if self.masked_from else 0.0
        return float(self.invisible * max(1.0, masked) ** _MASKING)


_MASKING = 0.6
"""How thresholds grow with what they are seen on: ΔC ∝ C^0.6 (Legge and Foley, JOSA 1980)."""
_QUARTER = 0.25
_JND_VMAF = 6.0
_JND_DB = 0.5
_JND_SSIMULACRA2 = 5.0
_JND_CIEDE2000 = 1.0
_JND_FLICKER = 0.23
"""Just noticeable differences, which 75 of 100 viewers tell rightly who have to choose one of two. A quarter of one
(d′ 0.24) is told rightly by 57 of 100, where guessing gives 50: so much may be lost unseen. Where they come from:

    VMAF        6 points (Netflix, in Ozer, Finding the Just Noticeable Difference with Netflix VMAF, 2017)
    decibels    0.5 dB of error, MPEG's measure for whether a coding tool is worth it (Salomon, Data Compression, 4.2.2)
    SSIMULACRA 2 5 points, between what is seen side by side (80), in place (85) and in a flicker test (90) (its README)
    CIEDE2000   1 ΔE, as the formula is scaled (CIE 142-2001)

SSIM and MS-SSIM: 0.125 dB of their distance from 1 at 0.98, stricter below. ERQA: nobody has measured one, so its noise
on a single frame. Flicker: a contrast of 0.5 %, the least that the eye sees at its best frequency (Robson, JOSA 1966),
is 0.23 code values at mid grey of BT.1886; a quarter of it. More than that is masked by the change that plain pictures
lack or have too much of already: detail that moves in the source.
"""

PANEL: tuple[Member, ...] = (
    Member(
        name="vmaf",
        label="VMAF",
        unit="",
        role=Role.OVERALL,
        maker=Maker.LIBVMAF_MODEL,
        tolerance=0.1,
        invisible=_QUARTER * _JND_VMAF,
    ),
    Member(
        name="vmaf_neg",
        label="VMAF-NEG",
        unit="",
        role=Role.DETAIL,
        maker=Maker.LIBVMAF_MODEL,
        tolerance=0.05,
        invisible=_QUARTER * _JND_VMAF,
    ),
    Member(
        name="ssim", label="SSIM", unit="", role=Role.FIDELITY, maker=Maker.LIBVMAF, tolerance=0.0001, invisible=0.0005
    ),
    Member(
        name="psnr_y_db",
        label="PSNR-Y",
        unit="dB",
        role=Role.FIDELITY,
        maker=Maker.LIBVMAF,
        tolerance=0.03,
        invisible=_QUARTER * _JND_DB,
    ),
    Member(
        name="ms_ssim",
        label="MS-SSIM",
        unit="",
        role=Role.FIDELITY,
        maker=Maker.LIBVMAF,
        tolerance=0.0001,
        invisible=0.0005,
        smallest_px=176,
    ),
    Member(
        name="psnr_hvs_db",
        label="PSNR-HVS",
        unit="dB",
        role=Role.FIDELITY,
        maker=Maker.LIBVMAF,
        tolerance=0.03,
        invisible=_QUARTER * _JND_DB,
    ),
    Member(
        name="xpsnr_y_db",
        label="XPSNR",
        unit="dB",
        role=Role.FIDELITY,
        maker=Maker.XPSNR,
        tolerance=0.03,
        invisible=_QUARTER * _JND_DB,
    ),
    Member(
        name="ssimulacra2",
        label="SSIMULACRA 2",
        unit="",
        role=Role.FIDELITY,
        maker=Maker.PICTURE,
        tolerance=0.05,
        invisible=_QUARTER * _JND_SSIMULACRA2,
    ),
    Member(name="erqa", label="ERQA", unit="", role=Role.DETAIL, maker=Maker.PICTURE, tolerance=0.01, invisible=0.0225),
    Member(
        name="ciede2000",
        label="CIEDE2000",
        unit="ΔE",
        role=Role.COLOUR,
        maker=Maker.PICTURE,
        tolerance=0.01,
        invisible=_QUARTER * _JND_CIEDE2000,
        higher_is_better=False,
    ),
    Member(
        name="psnr_u_db",
        label="PSNR-U",
        unit="dB",
        role=Role.COLOUR,
        maker=Maker.LIBVMAF,
        tolerance=0.02,
        invisible=_QUARTER * _JND_DB,
    ),
    Member(
        name="psnr_v_db",
        label="PSNR-V",
        unit="dB",
        role=Role.COLOUR,
        maker=Maker.LIBVMAF,
        tolerance=0.02,
        invisible=_QUARTER * _JND_DB,
    ),
    Member(
        name="flicker",
        label="Flicker error",
        unit="code values",
        role=Role.TEMPORAL,
        maker=Maker.PICTURE,
        tolerance=0.01,
        invisible=_QUARTER * _JND_FLICKER,
        higher_is_better=False,
        masked_from=_JND_FLICKER,
    ),
)
"""Every member, in the order of tables. Names carry their unit where it is one of their figures' scale."""

_BY_NAME = {member.name: member for member in PANEL}
_MODELS = {"vmaf": VMAF_MODEL, "vmaf_neg": VMAF_NEG_MODEL}
_FEATURES = {
    "ssim": ("float_ssim", "float_ssim"),
    "psnr_y_db": ("psnr", "psnr_y"),
    "psnr_u_db": ("psnr", "psnr_cb"),
    "psnr_v_db": ("psnr", "psnr_cr"),
    "ms_ssim": ("float_ms_ssim", "float_ms_ssim"),
    "psnr_hvs_db": ("psnr_hvs", "psnr_hvs_y"),
}
"""Member: the feature of libvmaf that computes it, and the name that libvmaf gives the figure."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PanelScores:
    """Scores of the sampled frames.

    frame: int64 (N,), index of each scored frame among those given. values: float64 (N,) for each member's name.
    """

    frame: npt.NDArray[np.int64]
    values: Mapping[str, npt.NDArray[np.float64]]

    def means(self, rows: npt.NDArray[np.intp] | None = None) -> dict[str, float]:
        """Each member's mean over the scored frames, or over those at the indices `rows` of the arrays."""
        return {name: float((column if rows is None else column[rows]).mean()) for name, column in self.values.items()}


def members_named(names: Iterable[str]) -> tuple[Member, ...]:
    """The members called so. Raises UnknownNameError, which lists those there are."""
    wanted = tuple(names)
    for name in wanted:
        if name not in _BY_NAME:
            raise UnknownNameError("panel member", name, _BY_NAME)
    return tuple(_BY_NAME[name] for name in wanted)


def members_for(width_px: int, height_px: int) -> tuple[Member, ...]:
    """The members that can judge pictures of this size."""
    return tuple(member for member in PANEL if member.smallest_px <= min(width_px, height_px))


def score_panel(
    pairs: Iterable[tuple[Planes, Planes]],
    *,
    width_px: int,
    height_px: int,
    fps: float,
    every_frames: int = 1,
    members: Sequence[Member] = PANEL,
    threads: int = 2,
) -> PanelScores:
    """Ask every member about (source, shown) pictures, given for every frame in order, each only once.

    Frames 0, every_frames, 2·every_frames, … are scored. Of the others only what members with a memory need counts:
    of all the source's luma (VMAF's motion, XPSNR's weights), and of the frame before a scored one, and frame 1, the
    shown luma too (flicker). Pictures are held for no longer than until ffmpeg has taken them.

    threads: of libvmaf; the members that are modules of this package run on the caller's thread.
    Raises InputError when a member cannot judge pictures this small, ToprungError when ffmpeg fails, and ValueError on
    no frames.
    """
    settings = meter_settings(members, width_px, height_px, fps, every_frames=every_frames, threads=threads)
    pictures = PictureMeters(picture_names(members), every_frames)
    with FfmpegMeters(settings) as ffmpeg:
        count = 0
        for source, shown in pairs:
            ffmpeg.feed(source, shown)
            pictures.feed(source, shown)
            count += 1
        if count == 0:
            raise ValueError("score_panel needs at least one pair of frames")
        own = pictures.finish()
        report = ffmpeg.finish()
    columns = {each.name: own[each.name] if each.name in own else column_of(report, each.name) for each in members}
    return PanelScores(frame=np.array(report.frames, dtype=np.int64), values=columns)


def picture_names(members: Sequence[Member]) -> list[str]:
    """Names of the members that are modules of this package."""
    return [member.name for member in members if member.maker is Maker.PICTURE]


def meter_settings(
    members: Sequence[Member], width_px: int, height_px: int, fps: float, *, every_frames: int, threads: int
) -> MeterSettings:
    """What ffmpeg is to compute for these members. Raises InputError when one cannot judge pictures this small."""
    _check_size(members, width_px, height_px)
    names = [member.name for member in members]
    return MeterSettings(
        width_px=width_px,
        height_px=height_px,
        fps=fps,
        models={name: model for name, model in _MODELS.items() if name in names},
        features=tuple(dict.fromkeys(_FEATURES[name][0] for name in names if name in _FEATURES)),
        xpsnr="xpsnr_y_db" in names,
        every_frames=every_frames,
        threads=threads,
    )


def _check_size(members: Sequence[Member], width_px: int, height_px: int) -> None:
    for member in members:
        if member.smallest_px > min(width_px, height_px):
            raise InputError(
                f"{member.label} judges pictures from {member.smallest_px} pixels on, not {width_px}x{height_px}: "
                "leave it out, or ask members_for() which members can."
            )


def column_of(report: MeterReport, name: str) -> npt.NDArray[np.float64]:
    """A member's figures of the frames that ffmpeg scored, all finite."""
    if name == "xpsnr_y_db":
        unlimited = np.array([report.xpsnr_y_db[frame] for frame in report.frames], dtype=np.float64)
        return np.minimum(unlimited, DECIBELS_MAX)
    key = name if name in _MODELS else _FEATURES[name][1]
    # libvmaf writes null for what is no finite number.
    figures = np.array([metrics[key] for metrics in report.metrics], dtype=np.float64)
    if name.endswith("_db"):
        return np.minimum(np.nan_to_num(figures, nan=DECIBELS_MAX), DECIBELS_MAX)
    # A product of contrasts below 0 has no root: MS-SSIM of pictures that are each other's opposite.
    return np.nan_to_num(figures, nan=0.0)
