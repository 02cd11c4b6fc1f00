"""The pages' networks against the Python enhancer in float32, on the very frame that Chromium decoded."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from browser import chromium
from lifted import network
from networks import with_chroma
from served import serving
from titles import SMALL_CLIP, prepared_library

from enhancers.networks.checkpoint import Weights, dumps_chunks, loads_chunks, weaken
from enhancers.runtime.frames import Frame, decode_segment
from enhancers.runtime.loader import open_weights

TRAINED = Path(__file__).parents[2] / "client_player" / "sample" / "weights" / "180p-1.safetensors"
LARGEST_DIFFERENCE = 2

RUN = """async ([kind, rung, chunks, strength]) => {
  const { openWebGpu } = await import("/web/network/webgpu.js");
  const { openWebGl2 } = await import("/web/network/webgl2.js");
  const { openProcessor } = await import("/web/network/processor.js");
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
  const canvas = new OffscreenCanvas(1, 1);
  const backend = await { WebGPU: openWebGpu, WebGL2: openWebGl2, Processor: openProcessor }[kind](canvas);
  const opened = await backend.open(readChunks(chunks.map(bytes), strength), picture.widthPx, picture.heightPx);
  await opened.run(picture);
  backend.present(opened, 0);
  const small = new OffscreenCanvas(64, 36).getContext("2d");
  small.drawImage(canvas, 0, 0, 64, 36);
  const screen = text(new Uint8Array(small.getImageData(0, 0, 64, 36).data.buffer));
  const { lifted, plain } = await opened.luma();
  const chroma = await opened.chromaPlanes();
  const size = [opened.outWidthPx, opened.outHeightPx];
  opened.close();
  return { y: text(picture.y), u: text(picture.u), lifted: text(lifted), plain: text(plain), size, screen,
    chroma: chroma?.map(text) ?? null };
}"""


def luma(text: str, height_px: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height_px, -1).astype(int)


def cases() -> list[tuple[str, list[bytes], float]]:
    """(rung, chunks, strength): the sample's trained network, and small ones of every scale that titles use."""
    small = {"90p": ("plain-m3c12-8-4-8x4", (1, 3)), "120p": ("plain-m1c12x3", None), "180p": ("plain-m1c8x2d2", None)}
    made = [(rung, dumps_chunks(network(name, exits))) for rung, (name, exits) in small.items()]
    made.append(("180p", dumps_chunks(network("plain-m1c4x1.5d2"), storage="I8")))
    whole = [("90p", [TRAINED.read_bytes()], 1.0), *((rung, chunks, 1.0) for rung, chunks in made)]
    return [*whole, ("90p", [TRAINED.read_bytes()], 0.75)]


def lifted_by_python(rung: str, weights: Weights, seen: np.ndarray, seen_u: np.ndarray) -> tuple[Frame, Frame]:
    """(lifted, plain) pictures of the frame that the page saw, which must be one that PyAV decodes as well."""
    folder = prepared_library(SMALL_CLIP).root / "bbb" / "video" / rung
    frames = list(decode_segment((folder / "init.mp4").read_bytes() + (folder / "seg-00001.m4s").read_bytes()))
    frame = next((f for f in frames if np.array_equal(f.y, seen) and np.array_equal(f.u, seen_u)), None)
    assert frame is not None, "the page's planes are no frame of this segment: something converted them"
    size = (frame.width_px, frame.height_px)
    shown = weights.architecture.shown_px(*size)
    lifted = open_weights(weights, "", size_px=size, display_px=shown, backend="torch").enhance(frame)
    silent = Weights(
        architecture=weights.architecture,
        exits=weights.exits,
        tensors={name: tensor * 0 for name, tensor in weights.tensors.items()},
    )
    plain = open_weights(silent, "", size_px=size, display_px=shown, backend="torch").enhance(frame)
    return lifted, plain


def difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b).max())


def check_chroma(told: list[str] | None, weights: Weights, lifted: Frame, plain: Frame, kind: str) -> None:
    """The page lifts chroma where the weights have a part for it, as Python does."""
    assert (told is None) == (weights.chroma is None)
    for name, text in zip("uv", told or (), strict=False):
        wanted = getattr(lifted, name)
        worst, changed = difference(luma(text, len(wanted)), wanted), difference(wanted, getattr(plain, name))
        print(f"{weights.architecture} {kind}: {name} {worst}, network adds {changed}")
        assert changed > 2 * LARGEST_DIFFERENCE, "a part that does nothing would prove nothing"
        assert worst <= LARGEST_DIFFERENCE, f"{name} of {weights.architecture} on {kind}"


def coloured_cases() -> list[tuple[str, list[bytes], float]]:
    """(rung, chunks, strength): the smallest networks of every scale with a chroma part."""
    names = {"90p": "plain-m1c4x4", "120p": "plain-m1c4x3", "180p": "plain-m1c4x2d2"}
    cases = [*names.items(), ("180p", "plain-m1c4x1.5d2")]
    return [(rung, dumps_chunks(with_chroma(network(name), name="m1c8", ready=False)), 1.0) for rung, name in cases]


async def test_the_page_lifts_a_frame_as_the_python_enhancer_does():
    await compare(cases())


async def test_the_page_lifts_chroma_as_the_python_enhancer_does():
    await compare(coloured_cases())


async def compare(cases: list[tuple[str, list[bytes], float]]) -> None:
    async with serving(str(prepared_library(SMALL_CLIP).root)) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}qoe")
        for rung, chunks, strength in cases:
            weights = weaken(loads_chunks(chunks), strength)
            screens = {}
            for kind in ("WebGPU", "WebGL2", "Processor"):
                told = await page.tab.evaluate(
                    RUN, [kind, rung, [base64.b64encode(c).decode() for c in chunks], strength]
                )
                height_px = int(rung.removesuffix("p"))
                seen = luma(told["y"], height_px)
                lifted, plain = lifted_by_python(rung, weights, seen, luma(told["u"], height_px // 2))
                ours, ours_plain = luma(told["lifted"], told["size"][1]), luma(told["plain"], told["size"][1])
                worst, worst_plain = difference(ours, lifted.y), difference(ours_plain, plain.y)
                changed = difference(lifted.y, plain.y)
                print(f"{weights.architecture} {kind}: lifted {worst}, plain {worst_plain}, network adds {changed}")
                assert changed > 2 * LARGEST_DIFFERENCE, "a network that does nothing would prove nothing"
                assert worst <= LARGEST_DIFFERENCE, f"{weights.architecture} on {kind}"
                assert worst_plain <= LARGEST_DIFFERENCE, f"plain scaling of {weights.architecture} on {kind}"
                check_chroma(told["chroma"], weights, lifted, plain, kind)
                screens[kind] = luma(told["screen"], 36)
            for kind in ("WebGPU", "WebGL2"):
                away = np.abs(screens[kind].astype(int) - screens["Processor"]).mean()
                print(f"{weights.architecture} {kind}: screen {away:.2f}")
                assert away < 2, f"{kind} draws another picture than the processor does"
    assert page.complaints == []
