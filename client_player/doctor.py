"""`toprung doctor`: is everything here that Toprung needs? Each check that fails says what to do about it."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Literal

import click

from abr.extras import missing, packages_of

_PYTHON_MIN = (3, 11)
_CODECS: tuple[tuple[str, Literal["r", "w"]], ...] = (
    ("libx264", "w"),
    ("aac", "w"),
    ("h264", "r"),
    ("vp9", "r"),
    ("hevc", "r"),
    ("av1", "r"),
    ("libx265", "w"),
    ("libsvtav1", "w"),
)
_DISK_MIN_BYTES = 2 << 30
_PORT = 8080
_SLOW_S = 120
EXTRAS = {
    "player": "enhance while playing, and measure this device",
    "train": "train enhancers",
    "onnx": "import and export networks",
    "state": "keep sessions over restarts of a server",
    "private": "tell and learn what viewers see in sums over cohorts",
    "ray": "prepare and train on several machines",
}
"""What somebody gains by each extra of the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check. advice: what to do, when it is not ok. needed: whether Toprung works at all without it."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    needed: bool = True


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Check that this machine has all that Toprung needs; ends with 1 when something needed is missing."""
    findings = examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(_line(finding))
    if any(finding.needed and not finding.ok for finding in findings):
        sys.exit(1)


def examine() -> list[Finding]:
    """Every check in turn; a check that breaks is a finding too. What is left out on purpose is not checked."""
    checks = (*CHECKS, *(() if missing("player") else PLAYER_CHECKS), *(() if missing("train") else TRAIN_CHECKS))
    return [*map(_safely, checks), *map(extra, EXTRAS)]


def _safely(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 (whatever is wrong with the machine is what is asked for)
        name = check.__name__.strip("_").replace("_", " ")
        return Finding(name=name, ok=False, found=f"{type(error).__name__}: {error}", advice="Run pip install again.")


def _line(finding: Finding) -> str:
    mark = (
        click.style("ok     ", fg="green")
        if finding.ok
        else click.style("missing", fg="red" if finding.needed else "yellow")
    )
    advice = "" if finding.ok else f"\n          → {finding.advice}"
    return f"{mark} {finding.name}: {finding.found}{advice}"


def python() -> Finding:
    """Whether this Python is new enough."""
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        name="Python",
        ok=sys.version_info >= _PYTHON_MIN,
        found=found,
        advice="Install Python 3.11 or newer and make the virtual environment with it.",
    )


def packages() -> Finding:
    """Everything that the base install asks for is there; versions are pip's business."""
    lacking = missing()
    return Finding(
        name="Packages",
        ok=not lacking,
        found=f"missing: {', '.join(lacking)}" if lacking else "all installed",
        advice=f"pip install {' '.join(lacking)}",
    )


def extra(name: str) -> Finding:
    """What an extra brings; not having it is a choice."""
    lacking = missing(name)
    return Finding(
        name=f"Extra {name}",
        ok=not lacking,
        found=f"without {', '.join(lacking)}" if lacking else ", ".join(packages_of(name)),
        advice=f"To {EXTRAS[name]}: pip install 'toprung[{name}]'.",
        needed=False,
    )


def pyav() -> Finding:
    """Whether PyAV has the codecs that preparing and playing need."""
    import av
    from av.codec import Codec

    def has(name: str, mode: Literal["r", "w"]) -> bool:
        try:
            return bool(Codec(name, mode))
        except ValueError:
            return False

    lacking = [name for name, mode in _CODECS if not has(name, mode)]
    return Finding(
        name="PyAV",
        ok=not lacking,
        found=f"{av.__version__}, without {', '.join(lacking)}" if lacking else f"{av.__version__}, all codecs",
        advice="Install the wheel of PyAV from PyPI (pip install --force-reinstall 'av>=18.1,<19'): it brings them.",
    )


def quality_meter() -> Finding:
    """The static ffmpeg with libvmaf."""
    from abr.quality.vmaf import ffmpeg_program

    program = ffmpeg_program()
    answer = subprocess.run([program, "-hide_banner", "-filters"], capture_output=True, text=True, timeout=_SLOW_S)
    return Finding(
        name="Quality meter",
        ok="libvmaf" in answer.stdout,
        found=f"{program} {'with' if 'libvmaf' in answer.stdout else 'without'} libvmaf",
        advice="pip install --force-reinstall imageio-ffmpeg, and unset IMAGEIO_FFMPEG_EXE.",
    )


def openvino() -> Finding:
    """Whether OpenVINO finds the processor."""
    importlib.import_module("enhancers")  # first: it keeps OpenVINO from reporting its import
    module = importlib.import_module("openvino")
    devices = module.Core().available_devices
    return Finding(
        name="OpenVINO",
        ok="CPU" in devices,
        found=f"{module.__version__.split('-')[0]}, devices {', '.join(devices) or 'none'}",
        advice="pip install --force-reinstall openvino.",
    )


def pytorch() -> Finding:
    """A build for CUDA takes gigabytes, and helps only beside NVIDIA's driver."""
    for_cuda = any((found.name or "").startswith("nvidia-") for found in distributions())
    return Finding(
        name="PyTorch",
        ok=not for_cuda or shutil.which("nvidia-smi") is not None,
        found=f"{version('torch')}, built {'with' if for_cuda else 'without'} CUDA",
        advice="There is no NVIDIA driver here: the README tells how to install the CPU build, gigabytes smaller.",
        needed=False,
    )


def generic_enhancers() -> Finding:
    """The weights that ship with the program are there; otherwise this raises, and says which are not."""
    from enhancers.measurement.device_profile import weights_hash

    return Finding(name="Generic enhancers", ok=True, found=f"installed, {weights_hash()[:12]}")


def disk() -> Finding:
    """Whether the working folder has room."""
    free = shutil.disk_usage(Path.cwd()).free
    return Finding(
        name="Disk",
        ok=free >= _DISK_MIN_BYTES,
        found=f"{free / (1 << 30):.1f} GiB free in {Path.cwd()}",
        advice="Free at least 2 GiB, or work in a folder on another disk.",
    )


def temporary_folder() -> Finding:
    """Whether the temporary folder can be written to and has room."""
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(b"toprung")
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return Finding(
        name="Temporary folder",
        ok=free >= _DISK_MIN_BYTES,
        found=f"{free / (1 << 30):.1f} GiB free in {tempfile.gettempdir()}",
        advice="Free at least 2 GiB, or set TMPDIR to a folder on another disk.",
    )


def port() -> Finding:
    """`toprung serve` listens here unless told otherwise."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", _PORT))
            free = True
        except OSError:
            free = False
    return Finding(
        name="Port",
        ok=free,
        found=f"{_PORT} is {'free' if free else 'in use'}",
        advice="Stop what listens there, or give toprung serve another with --port (0 lets the system choose).",
        needed=False,
    )


def device_profile() -> Finding:
    """Whether this device has measured itself."""
    from abr.files import cache_folder
    from enhancers.measurement.device_profile import weights_hash

    path = cache_folder() / f"device-{weights_hash()[:16]}.json"
    return Finding(
        name="Device profile",
        ok=path.is_file(),
        found=str(path) if path.is_file() else "none of this device and these weights",
        advice="Run toprung profile; toprung play measures quickly if there is none.",
        needed=False,
    )


def processor() -> Finding:
    """How many cores there are, and whether they have fast integer instructions."""
    flags = _processor_flags()
    fast = [name for name in ("avx512_vnni", "avx_vnni", "avx2") if name in flags]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding(
        name="Processor",
        ok=bool(fast) or not flags,
        found=f"{cores} cores, {', '.join(fast) or 'no fast integer instructions known'}",
        advice="Enhancement will be slow: int8 networks want AVX2 or better. Plain playback works.",
        needed=False,
    )


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    packages,
    pyav,
    quality_meter,
    processor,
    disk,
    temporary_folder,
    port,
)
PLAYER_CHECKS: tuple[Callable[[], Finding], ...] = (openvino, generic_enhancers, device_profile)
TRAIN_CHECKS: tuple[Callable[[], Finding], ...] = (pytorch,)
