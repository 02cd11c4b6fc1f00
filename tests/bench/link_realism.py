"""The link emulator beside the kernel's own shaping: how long the same downloads take behind each.

    unshare --map-root-user --net python tests/bench/link_realism.py

Needs a network namespace of its own, whose loopback it shapes by `tc` (tbf). No latency is added: many kernels come
without netem. Each download is a request of its own on a connection that stays open, as players make them.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from statistics import fmean

from aiohttp import ClientSession, web
from rich.console import Console
from rich.table import Table

from abr.simulation.traces import constant
from client_player.emulate.proxy import emulating

CASES = ((0.5e6, 50_000), (0.5e6, 200_000), (5e6, 200_000), (5e6, 1_000_000), (50e6, 1_000_000), (50e6, 5_000_000))
"""Rate in bits per second, bytes of a download."""
DOWNLOADS = 6


async def times_s(url: str, size_bytes: int) -> list[float]:
    """Of each download but the first, which opens the connection."""
    taken = []
    async with ClientSession() as pool:
        for _ in range(DOWNLOADS + 1):
            began_s = time.monotonic()
            async with pool.get(f"{url}{size_bytes}") as answer:
                assert len(await answer.read()) == size_bytes
            taken.append(time.monotonic() - began_s)
    return taken[1:]


def kernel(command: str) -> None:
    """One command to the kernel, such as `tc qdisc …`."""
    subprocess.run(command.split(), check=True)


async def answer(request: web.Request) -> web.Response:
    return web.Response(body=bytes(int(request.match_info["size"])))


async def main() -> None:
    kernel("ip link set lo up mtu 1500")
    app = web.Application()
    app.router.add_get("/{size}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site.port}/"
    table = Table("Mbit/s", "kB", "emulator s", "tc s", "emulator less tc", "at the rate alone s")
    for rate_bps, size_bytes in CASES:
        async with emulating(constant(rate_bps, 0.0), url) as link:
            ours_s = await times_s(link.url, size_bytes)
        kernel(f"tc qdisc replace dev lo root tbf rate {rate_bps:.0f}bit burst 4kb limit 8mb")
        kernels_s = await times_s(url, size_bytes)
        kernel("tc qdisc del dev lo root")
        ours, kernels = fmean(ours_s), fmean(kernels_s)
        alone_s = 8 * size_bytes / rate_bps
        table.add_row(
            f"{rate_bps / 1e6:g}",
            f"{size_bytes / 1e3:g}",
            f"{ours:.3f}",
            f"{kernels:.3f}",
            f"{ours / kernels - 1:+.1%}",
            f"{alone_s:.3f}",
        )
    Console(width=100).print(table)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
