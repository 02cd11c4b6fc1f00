"""Another FFmpeg than the one that encoded: the static program of imageio-ffmpeg, which must decode without a word."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from abr.quality.vmaf import ffmpeg_program


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """times: presentation time of each decoded frame, exactly. warnings: what FFmpeg said at level `warning`."""

    times: list[Fraction]
    durations: list[Fraction]
    warnings: str

    @property
    def end_s(self) -> Fraction:
        return self.times[-1] + self.durations[-1]


def decode(source: Path | bytes, *, kind: str = "v:0") -> Decoded:
    """Decode one stream of a file, a manifest or joined segments to the end; every frame is listed as it comes."""
    given = ["-i", "pipe:0"] if isinstance(source, bytes) else ["-i", str(source)]
    command = [ffmpeg_program(), "-hide_banner", "-v", "warning", "-copyts", *given, "-map", f"0:{kind}"]
    if kind.startswith("v"):
        command += ["-fps_mode", "passthrough", "-enc_time_base", "demux"]
    run = subprocess.run(
        [*command, "-f", "framecrc", "-"],
        input=source if isinstance(source, bytes) else None,
        capture_output=True,
        check=False,
    )
    time_base, rows = Fraction(1), []
    for line in run.stdout.decode().splitlines():
        if line.startswith("#tb 0:"):
            time_base = Fraction(line.split(":")[1].strip())
        elif not line.startswith("#"):
            rows.append([int(cell) for cell in line.split(",")[2:4]])
    return Decoded(
        times=[row[0] * time_base for row in rows],
        durations=[row[1] * time_base for row in rows],
        warnings=run.stderr.decode(),
    )
