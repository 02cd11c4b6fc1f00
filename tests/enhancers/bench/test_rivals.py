"""Other people's upscalers: run as mpv and ONNX have them, and measured on our frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from titles import TINY_CLIP, TITLE_ID, tiny_library

from abr.core.enhancement import Tier
from abr.errors import InputError
from enhancers.bench.rivals import ShaderRival, find_rivals, measure_rivals
from enhancers.interchange.onnx_export import export_onnx
from enhancers.measurement.offers import list_candidates, measure_candidates
from enhancers.networks import catalog
from enhancers.networks.checkpoint import loads_chunks, weights_digest
from enhancers.prepared_title import PreparedTitle, open_title

DOUBLING = """//!HOOK LUMA
//!BIND HOOKED
//!WIDTH HOOKED.w 2 *
//!HEIGHT HOOKED.h 2 *
vec4 hook() { return vec4(GREY); }
"""


def lowest_rung() -> PreparedTitle:
    """The title with its lowest rung and the one above alone."""
    whole = tiny_library().title(TITLE_ID)
    title = msgspec.structs.replace(whole, renditions=whole.renditions[:2])
    return replace(open_title(tiny_library().root, TITLE_ID, TINY_CLIP), title=title)


def shader(folder: Path, grey: str) -> ShaderRival:
    (folder / "grey.glsl").write_text(DOUBLING.replace("GREY", grey))
    (found,) = find_rivals(folder)
    assert isinstance(found, ShaderRival)
    return found


@pytest.mark.usefixtures("vulkan")
def test_a_shader_makes_the_luma_of_each_frame(tmp_path: Path) -> None:
    prepared = lowest_rung()
    frames = prepared.frames(prepared.title.renditions[0], 0)[:2]
    for grey in ("0.25", "0.5"):
        shown = shader(tmp_path, grey).lift(frames, prepared.display_px)
        assert len(shown) == 2
        for frame in shown:
            assert frame.y.shape == (256, 456) and frame.u.shape == (128, 228)
            assert np.abs(frame.y - 255 * float(grey)).max() <= 2


@pytest.mark.usefixtures("vulkan")
def test_a_shader_that_does_not_compile_is_refused_rather_than_left_out(tmp_path: Path) -> None:
    prepared = lowest_rung()
    frames = prepared.frames(prepared.title.renditions[0], 0)[:1]
    with pytest.raises(InputError, match=r"^grey\.glsl cannot be run: "):
        shader(tmp_path, "nonsense").lift(frames, prepared.display_px)


def test_our_own_network_as_a_rival_has_our_own_figures(tmp_path: Path) -> None:
    prepared = lowest_rung()
    chunks = catalog.generic_chunks(catalog.architecture(4.0, Tier.LOW))
    weights = replace(loads_chunks(chunks), chroma=None)
    export_onnx(weights, weights_digest(chunks), tmp_path / "ours.onnx")
    found = measure_rivals(prepared, find_rivals(tmp_path), 44, lambda *_: None)
    assert list(found["64p"]) == ["ours"] and found["86p"] == {}, "it fits its own scale alone"
    rival = found["64p"]["ours"]
    assert rival.macs_per_output_px == pytest.approx(weights.macs_per_output_px, rel=0.1)
    candidates = [each for each in list_candidates(prepared, {}, (Tier.LOW,)) if each.rendition.id == "64p"]
    (quality,) = measure_candidates(prepared, candidates, 44, tmp_path, lambda *_: None).values()
    assert rival.figures["vmaf"] == pytest.approx(np.mean(quality.vmaf), abs=1.0)


def test_a_folder_without_rivals_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"\*\.glsl"):
        find_rivals(tmp_path)
