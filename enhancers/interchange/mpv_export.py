"""A network of ours as an mpv user shader in a file, held against our own runtime where there is Vulkan."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from abr.errors import FormatError
from abr.files import write_file
from enhancers.interchange.mpv_shader import dumps_mpv_shader
from enhancers.interchange.user_shaders import NoVulkanError, run_user_shader
from enhancers.networks.checkpoint import Weights
from enhancers.runtime.loader import open_weights
from enhancers.runtime.sample_pictures import make_pictures

DIFFERENCE_MAX = 2
"""Code values: we round the interpolated picture before the residual is added, the shader the sum."""
_CHECKED_PX = 160, 88
_BLACK, _WHITE = 16, 235
"""Luma of the darkest and the brightest colour: libplacebo cuts what lies beyond."""


def export_mpv(weights: Weights, note: str, output: Path) -> int | None:
    """Write the shader. Returns `measure_difference` of it, None when this machine has no Vulkan to measure it with.

    Raises FormatError when that is more than DIFFERENCE_MAX, StorageError when the disk refuses.
    """
    text = dumps_mpv_shader(weights, note)
    try:
        worst = measure_difference(text, weights)
    except NoVulkanError:
        worst = None
    if worst is not None and worst > DIFFERENCE_MAX:
        raise FormatError(f"The shader's picture is {worst} of 255 away from ours; at most {DIFFERENCE_MAX} is right.")
    write_file(output, text.encode())
    return worst


def measure_difference(text: str, weights: Weights) -> int:
    """The largest difference, in code values of luma, between the shader's picture and that of our float32 runtime.

    Over one picture of noise, which is harder than film. Raises NoVulkanError, StorageError.
    """
    picture = make_pictures(*_CHECKED_PX)[0]
    shown_px = weights.architecture.shown_px(*_CHECKED_PX)
    with TemporaryDirectory(prefix="toprung-export-") as folder:
        path = Path(folder) / "shader.glsl"
        write_file(path, text.encode())
        (theirs,) = run_user_shader(path, [picture], [shown_px])
    ours = open_weights(weights, "", size_px=_CHECKED_PX, display_px=shown_px, backend="torch").enhance(picture)
    return int(np.abs(theirs.y.astype(int) - np.clip(ours.y.astype(int), _BLACK, _WHITE)).max())
