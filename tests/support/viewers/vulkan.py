"""Vulkan on a machine without a GPU: Mesa's lavapipe, or SwiftShader, which Chromium brings with its loader."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from browser import PROGRAMS

from abr.quality.ffmpeg_meters import ffmpeg_program

DEVICE, LOADER = "vk_swiftshader_icd.json", "libvulkan.so.1"


@pytest.fixture
def vulkan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips the test on a machine without any."""
    for environment in ({}, _swiftshader()):
        if _works(frozenset(environment.items())):
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            return
    pytest.skip("needs Vulkan: apt install chromium or mesa-vulkan-drivers")


def _swiftshader() -> dict[str, str]:
    for program in map(shutil.which, PROGRAMS):
        beside = Path(program).resolve().parent if program else Path()
        for folder in (beside, Path("/usr/lib/chromium")):
            if program and (folder / DEVICE).is_file() and (folder / LOADER).is_file():
                return {"VK_DRIVER_FILES": str(folder / DEVICE), "LD_LIBRARY_PATH": str(folder)}
    return {}


@cache
def _works(environment: frozenset[tuple[str, str]]) -> bool:
    command = [ffmpeg_program(), "-v", "error", "-init_hw_device", "vulkan", "-f", "lavfi", "-i", "nullsrc=s=64x64"]
    whole = [*command, "-frames:v", "1", "-f", "null", "-"]
    return subprocess.run(whole, capture_output=True, env=os.environ | dict(environment)).returncode == 0
