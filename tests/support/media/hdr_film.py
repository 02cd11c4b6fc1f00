"""Films in high dynamic range, HDR10 and HLG, made by the static ffmpeg."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import numpy as np

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
WIDTH_PX, HEIGHT_PX = 320, 180
TO_LIGHT = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=gbr:range=pc,zscale=t=linear:npl=203"
X265 = {
    "smpte2084": "transfer=smpte2084:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    "L(10000000,1):max-cll=1000,200:hdr10=1",
    "arib-std-b67": "transfer=arib-std-b67",
}


def run(*arguments: str) -> bytes:
    """What the static ffmpeg writes to stdout."""
    return subprocess.run([FFMPEG, "-v", "error", "-y", *arguments], check=True, capture_output=True).stdout


@cache
def film(folder: Path, transfer: str, brighter: float = 1.0, grey: bool = False) -> Path:
    """Bars and motion, mastered as HDR. brighter: how many times the light of an ordinary display.

    transfer: FFmpeg's name of PQ or HLG.
    """
    path = folder / f"{transfer}-{brighter}.mp4"
    light = f"format=gbrp16le,{TO_LIGHT},format=gbrpf32le,exposure={np.log2(brighter)}"
    master = f"zscale=p=bt2020:t={transfer}:npl=203:m=bt2020nc:r=limited,format=yuv420p10le"
    settings = f"log-level=error:colorprim=bt2020:colormatrix=bt2020nc:{X265[transfer]}"
    pictures = f"testsrc2=s={WIDTH_PX}x{HEIGHT_PX}:r=25:d=1" + ",hue=s=0" * grey
    run("-f", "lavfi", "-i", pictures, "-vf", f"{light},{master}", "-c:v", "libx265", "-preset", "ultrafast", "-crf",
        "6", "-x265-params", settings, "-tag:v", "hvc1", str(path))  # fmt: skip
    return path
