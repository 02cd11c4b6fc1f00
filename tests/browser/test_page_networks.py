"""The pages' networks against the Python enhancer in float32, on the very frame that Chromium decoded."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from browser import chromium
from lifted import network
from served import serving
from titles import prepared_library

from enhancers.checkpoint import Weights, dumps_chunks, loads_chunks
from enhancers.frames import decode_segment
from enhancers.runtime import open_weights

TRAINED = Path(__file__).parents[2] / "client_player" / "sample" / "weights" / "180p-1.safetensors"
LARGEST_DIFFERENCE = 2

RUN = """async ([kind, rung, chunks]) => {
  const { openWebGpu } = await import("/web/network/webgpu.js");
  const { openWebGl2 } = await import("/web/network/webgl2.js");
  const { readChunks } = await import("/web/network/weights.js");
  const { planes } = await import("/web/network/picture.js");
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const text = (data) => {
    let letters = "";
    for (let at = 0; at < data.length; at += 8192) letters += String.fromCharCode(...data.subarray(at, at + 8192));
    return btoa(letters);
  };
  const parts = await Promise.all(["init.mp4", "seg-00001.m4s"].map(
    async (name) => (await fetch(`/titles/bbb/video/${rung}/${name}`)).blob()));
  const video = document.createElement("video");
  const happens = (name) => new Promise((resolve) => video.addEventListener(name, resolve, { once: true }));
  const loaded = happens("loadeddata");
  video.src = URL.createObjectURL(new Blob(parts, { type: "video/mp4" }));
  await loaded;
  const sought = happens("seeked");
  video.currentTime = 0.5;
  await sought;
  const frame = new VideoFrame(video);
  const picture = await planes(frame);
  frame.close();
  const backend = await (kind === "WebGPU" ? openWebGpu() : openWebGl2());
  const opened = await backend.open(readChunks(chunks.map(bytes)), picture.widthPx, picture.heightPx);
  await opened.run(picture);
  const { lifted, plain } = await opened.luma();
  const size = [opened.outWidthPx, opened.outHeightPx];
  opened.close();
  return { y: text(picture.y), u: text(picture.u), lifted: text(lifted), plain: text(plain), size };
}"""


def luma(text: str, height_px: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height_px, -1).astype(int)


def cases() -> list[tuple[str, list[bytes]]]:
    """(rung, chunks): the sample's trained network, and small ones of every scale that titles use."""
    small = {"180p": ("plain-m3c8x4", (1, 3)), "240p": ("plain-m1c12x3", None), "360p": ("plain-m1c8x2d2", None)}
    made = [(rung, dumps_chunks(network(name, exits))) for rung, (name, exits) in small.items()]
    return [("180p", [TRAINED.read_bytes()]), *made, ("360p", dumps_chunks(network("plain-m1c4x1.5d2"), storage="I8"))]


def lifted_by_python(
    rung: str, weights: Weights, seen: np.ndarray, seen_u: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(lifted, plain) luma of the frame that the page saw, which must be one that PyAV decodes as well."""
    folder = prepared_library().root / "bbb" / "video" / rung
    frames = list(decode_segment((folder / "init.mp4").read_bytes() + (folder / "seg-00001.m4s").read_bytes()))
    frame = next((f for f in frames if np.array_equal(f.y, seen) and np.array_equal(f.u, seen_u)), None)
    assert frame is not None, "the page's planes are no frame of this segment: something converted them"
    size = (frame.width_px, frame.height_px)
    shown = weights.architecture.shown_px(*size)
    lifted = open_weights(weights, "", size_px=size, display_px=shown, backend="torch").enhance(frame).y
    silent = Weights(
        architecture=weights.architecture,
        exits=weights.exits,
        tensors={name: tensor * 0 for name, tensor in weights.tensors.items()},
    )
    plain = open_weights(silent, "", size_px=size, display_px=shown, backend="torch").enhance(frame).y
    return lifted.astype(int), plain.astype(int)


@pytest.mark.timeout(120)
async def test_the_page_lifts_a_frame_as_the_python_enhancer_does():
    async with serving(str(prepared_library().root)) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}qoe")
        for rung, chunks in cases():
            weights = loads_chunks(chunks)
            for kind in ("WebGPU", "WebGL2"):
                told = await page.tab.evaluate(RUN, [kind, rung, [base64.b64encode(c).decode() for c in chunks]])
                height_px = int(rung.removesuffix("p"))
                seen = luma(told["y"], height_px)
                lifted, plain = lifted_by_python(rung, weights, seen, luma(told["u"], height_px // 2))
                ours, ours_plain = luma(told["lifted"], told["size"][1]), luma(told["plain"], told["size"][1])
                worst, worst_plain = np.abs(ours - lifted).max(), np.abs(ours_plain - plain).max()
                changed = np.abs(lifted - plain).max()
                print(f"{weights.architecture} {kind}: lifted {worst}, plain {worst_plain}, network adds {changed}")
                assert changed > 2 * LARGEST_DIFFERENCE, "a network that does nothing would prove nothing"
                assert worst <= LARGEST_DIFFERENCE, f"{weights.architecture} on {kind}"
                assert worst_plain <= LARGEST_DIFFERENCE, f"plain scaling of {weights.architecture} on {kind}"
    assert page.complaints == []
