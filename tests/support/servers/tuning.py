"""A server that tunes a network together with players, and the players of its rounds, over real sockets.

The judge is a small process of the test's own, so that no torch is needed: it says of a network of ten numbers that it
is the better, the nearer its numbers are to 1.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
from aiohttp.test_utils import TestClient, TestServer
from private_players import Client, Player

from abr.core.enhancement import Tier
from abr.federation.update import UpdateCodec, Values
from abr.federation.version import LocalRecipe
from abr.secure_aggregation.masks import Words
from server.app import create_app
from server.federation.judge import Judge
from server.federation.plan import FederationPlan
from server.private.rounds import Pace
from server.settings import Settings

PERIOD_S, STAGE_S, VALUES, NORM_MAX, MEMBERS = 60.0, 5.0, 10, 2.0, 6

_JUDGE = """
import hashlib, json, os, struct, sys
out = sys.argv[sys.argv.index("--out") + 1]
for line in sys.stdin:
    asked = json.loads(line)
    body = open(asked["current"], "rb").read() if asked.get("current") else bytes(80)
    if asked.get("update"):
        moves = struct.unpack("<10d", open(asked["update"], "rb").read())
        if moves[0] > 0.9:
            sys.exit(1)
        body = struct.pack("<10d", *(a + b for a, b in zip(struct.unpack("<10d", body), moves)))
    sha256 = hashlib.sha256(body).hexdigest()
    open(os.path.join(out, "made"), "wb").write(body if os.environ.get("HONEST", "1") == "1" else body + b"x")
    far = sum((value - 1) ** 2 for value in struct.unpack("<10d", body))
    score = {"clip": "c", "psnr_y_db": 40.0, "vmaf_neg": 80 - far}
    print(json.dumps({"file": "made", "sha256": sha256, "size_bytes": len(body), "values": 10,
                      "architecture": "plain-m2c32x2d2", "scores": [score]}), flush=True)
"""


def plan_of(folder: Path) -> FederationPlan:
    """To tune ten numbers, in a new folder."""
    return FederationPlan(
        folder=folder / "versions",
        held_out=(),
        scale=2.0,
        tier=Tier.LOW,
        crf=25.0,
        recipe=LocalRecipe(steps=1, batch=1, rate=1e-3, detail_weight=0.0, frames_full=48),
        norm_max=NORM_MAX,
        pace=Pace(period_s=PERIOD_S, stage_s=STAGE_S, cohort=5, members_max=MEMBERS),
    )


def judge_command(folder: Path) -> tuple[str, str]:
    """What judges such numbers."""
    script = folder / "judge.py"
    script.write_text(_JUDGE)
    return sys.executable, str(script)


async def hold_round(
    client: Client, updates: Sequence[Values], poison: Words | None = None, *, let_pass: Callable[[], None]
) -> None:
    """A round in which so many hand in, and others have joined until it is full and then say nothing.

    let_pass: makes the time of a stage go by, for those who say nothing.
    """
    codec = UpdateCodec(VALUES, NORM_MAX, MEMBERS)
    words = [codec.encode(update, 0.5) for update in updates]
    words += [] if poison is None else [poison]
    players = [Player(client, vector, "federation") for vector in [*words, *[words[0]] * (MEMBERS - len(words))]]
    for player in players:
        await player.join()
    for player in players:
        await player.answer()
    for player in players[: len(words)]:
        await player.answer()
    if len(words) < len(players):
        let_pass()
    for player in players[:4]:
        await player.answer()
    ending = await players[0].ending()
    assert ending == {"stage": "summed", "survivors": len(words)}


class TuningServer:
    """Runs in a loop of its own, beside the test."""

    def __init__(self, loop: asyncio.AbstractEventLoop, client: Client) -> None:
        self._loop, self._client = loop, client

    @property
    def netloc(self) -> str:
        """Host and port."""
        return f"{self._client.host}:{self._client.port}"

    def hold_round(self, moved_by: float) -> None:
        """One of six players who have all learnt the same."""
        round_ = hold_round(self._client, [np.full(VALUES, moved_by)] * MEMBERS, let_pass=lambda: None)
        asyncio.run_coroutine_threadsafe(round_, self._loop).result(120)


@contextmanager
def tuning_server(folder: Path) -> Iterator[TuningServer]:
    """Made in a new folder, and gone at the end."""
    (folder / "titles").mkdir()
    begin = Judge.__init__
    usual, begin.__defaults__ = begin.__defaults__, (judge_command(folder),)
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def open_client() -> Client:
        app = create_app(Settings(library=str(folder / "titles")), federation=plan_of(folder))
        client: Client = TestClient(TestServer(app))
        await client.start_server()
        return client

    client = asyncio.run_coroutine_threadsafe(open_client(), loop).result(120)
    try:
        yield TuningServer(loop, client)
    finally:
        asyncio.run_coroutine_threadsafe(client.close(), loop).result(120)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        begin.__defaults__ = usual
