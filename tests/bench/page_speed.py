"""How fast the page's networks run in this machine's Chromium, by the page's own trial.

    python tests/bench/page_speed.py

Prints a line for each kind of device and network: milliseconds p50 and p95 of a frame, frames a second, milliseconds of
a frame that is given another's gain, and of a plain one, milliseconds to make it ready. Without a GPU both kinds run on
SwiftShader, which stands in for one on the processor.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from pathlib import Path

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

from browser import chromium
from served import serving

NETWORKS = (
    ("plain-m1c4x1.5d2", 320, 180),
    ("plain-m1c8x4", 320, 180),
    ("plain-m4c8x4", 320, 180),
    ("plain-m2c32x4", 320, 180),
    ("plain-m2c32x3", 426, 240),
    ("plain-m2c32x2d2", 640, 360),
    ("plain-m5c32x4", 320, 180),
)
TRIAL = """async ([kind, name, widthPx, heightPx]) => {
  const { Thread } = await import("/web/player/thread.js");
  window.thread ??= new Thread();
  return await thread.ask("trial", { kind, name, widthPx, heightPx, budgetMs: 3000 });
}"""


async def main() -> None:
    async with serving(str(Path(sys.argv[0]).parent)) as url, chromium(software_gpu=True) as browser:
        page = await browser.open(f"{url}qoe")
        for kind in ("WebGPU", "WebGL2"):
            for name, width_px, height_px in NETWORKS:
                told = await page.tab.evaluate(TRIAL, [kind, name, width_px, height_px])
                times_ms = sorted(told["timesMs"])
                p50_ms, p95_ms = times_ms[(len(times_ms) - 1) // 2], times_ms[int((len(times_ms) - 1) * 0.95)]
                speed = f"p50 {p50_ms:7.1f} ms  p95 {p95_ms:7.1f} ms  {1000 / p50_ms:6.1f} fps"
                size = f"{width_px}x{height_px}"
                found = {what: statistics.median(told[f"{what}Ms"]) for what in ("carry", "plain")}
                beside = "  ".join(f"{what} {ms:5.1f} ms" for what, ms in found.items())
                print(f"{kind:<8}{name:<18}{size:<9}{speed}  {beside}  ready {told['openMs']:6.0f} ms", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
