"""One round of a real federation, of processes over HTTP, beside what the formulas say of it.

    python tests/bench/federation_round.py CLIP HELD_OUT [--tier low] [--batch 16] [--steps 20] [--players 5]

A server (`toprung federate serve`) and players (`toprung federate join`), each a process; CLIP is first encoded as a
rung of 360 lines, which is all that the players get. Measured of each player: peak resident memory of its process, the
processor's seconds of training, and bytes of bodies to and fro. Reckoned: by `toprung federate report --here`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import click

from abr.core.enhancement import Tier
from abr.federation.costs import cost_of
from enhancers.federation.ability import measure_ability
from enhancers.federation.loads import load_of
from enhancers.federation.local_training import FRAMES_MAX, KEEP
from enhancers.runtime.encode import compress
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import decode_file

SIZE_PX = (640, 360)
PROGRAM = Path(sys.executable).with_name("toprung")


def write_rung(clip: Path, path: Path, crf: float) -> None:
    source = list(islice(decode_file(str(clip)), FRAMES_MAX))
    shrink = PlainScaler(source[0].width_px, source[0].height_px, *SIZE_PX)
    path.write_bytes(compress([shrink.enhance(frame) for frame in source], crf))


def measure(folder: Path, held_out: Path, tier: Tier, batch: int, steps: int, players: int) -> list[dict[str, Any]]:
    """What each player tells, and the peak of its memory."""
    line = [PROGRAM, "federate", "serve", folder / "versions", "--held-out", held_out, "--tier", tier]
    line += ["--batch", batch, "--steps", steps, "--cohort", players, "--cohort-max", players, "--port", 0]
    line += ["--period", "1h", "--stage", "10m", "--log-level", "warning"]
    with subprocess.Popen([*map(str, line)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            join = [str(PROGRAM), "federate", "join", url, "--came", str(folder / "came.mp4"), "--crf", "34", "--json"]
            joined = [subprocess.Popen(join, stdout=subprocess.PIPE, text=True) for _ in range(players)]
            return [_told(each) for each in joined]
        finally:
            server.terminate()


def _told(player: subprocess.Popen[str]) -> dict[str, Any]:
    assert player.stdout is not None
    told: dict[str, Any] = json.loads(player.stdout.read())
    _, _, used = os.wait4(player.pid, 0)
    return told | {"peak_bytes": used.ru_maxrss * 1024}


@click.command()
@click.argument("clip", type=click.Path(path_type=Path, exists=True))
@click.argument("held_out", type=click.Path(path_type=Path, exists=True))
@click.option("--tier", type=click.Choice(["low", "medium", "high"]), default="low")
@click.option("--batch", default=16)
@click.option("--steps", default=20)
@click.option("--players", default=5)
def main(clip: Path, held_out: Path, tier: str, batch: int, steps: int, players: int) -> None:
    """See the module."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rung(clip, folder / "came.mp4", 34.0)
        told = measure(folder, held_out, Tier(tier), batch, steps, players)
    load = load_of(2.0, Tier(tier), batch=batch, steps=steps, frames=KEEP, size_px=SIZE_PX)
    cost = cost_of(load, measure_ability(), players)
    reckoned = {"memory_bytes": cost.memory_bytes, "seconds": cost.seconds, "traffic_bytes": cost.traffic_bytes}
    measured = {
        "memory_bytes": median(each["peak_bytes"] for each in told),
        "seconds": median(each["processor_s"] for each in told),
        "traffic_bytes": median(each["sent_bytes"] + each["received_bytes"] for each in told),
    }
    off = {name: round(reckoned[name] / measured[name] - 1, 3) for name in measured}
    print(json.dumps({"reckoned": reckoned, "measured": measured, "off": off, "players": told}, indent=1))


if __name__ == "__main__":
    main()
