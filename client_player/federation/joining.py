"""Taking part in tuning: fetch the version, train on what came, hand the update in, and begin again.

Training comes before a round is joined, so that nobody waits for a slow device. An update is of one version: where the
server has gone on meanwhile, it is dropped and training begins anew. One that was summed is never handed in again,
not even where it helped nobody: two sums that differ in one player would tell that player's update.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from abr.errors import FormatError, ToprungError
from abr.federation.update import UpdateCodec
from abr.federation.version import ModelVersion
from abr.secure_aggregation.masks import Words
from client_player.federation.versions import CHANNEL, Offered, fetch_version, show_version
from client_player.private.contribution import Contribution, NotOfferedError, Part, Vector
from client_player.private.server import PrivateServer, RefusedAnswerError
from client_player.transport.http import DownloadError, http_pool
from enhancers.federation.local_training import LocalUpdate, train_locally
from enhancers.training.patches import TrainingPairs

_AGAIN_S, _AGAIN_MAX_S = 5.0, 300.0
"""After a failure so long until the next try, twice as long after each further one."""
_IDLE_S = 60.0
_FAILURES_MAX = 9
"""After so many in a row, some twenty minutes, it gives up."""

Pairs = Callable[[float], Sequence[TrainingPairs]]
"""What came, as pairs for a network of this scale. Called in a thread."""


@dataclass(slots=True, kw_only=True)
class JoinResult:
    """What became of it. rounds: whose sums have an update of ours. version: the newest that was seen.

    train_s, processor_s: of all training. sent_bytes, received_bytes: bodies alone. problem: why it ended
    early; else empty.
    """

    rounds: int = 0
    survivors: int = 0
    version: int = 0
    train_s: float = 0.0
    processor_s: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0
    problem: str = ""


@dataclass(slots=True)
class Tuner:
    """One player. told: one sentence for people, now and then. train: as `train_locally`."""

    base_url: str
    pairs: Pairs
    told: Callable[[str], None] = lambda _said: None
    threads: int = 1
    fetches_newest: bool = False
    """Also fetch the weights of the version that is there at the end."""
    result: JoinResult = field(default_factory=JoinResult)
    newest: Offered | None = None
    """The version that was seen last: better than what the program ships, by the server's word."""
    _pairs: tuple[float, Sequence[TrainingPairs]] | None = None
    _leaves: threading.Event = field(default_factory=threading.Event)

    async def take_part(self, rounds: int) -> JoinResult:
        """Until so many sums have an update of ours, or the server fails again and again.

        Raises MediaError and InputError for what came, where nothing can be learnt from it.
        """
        async with http_pool(idle_s=_IDLE_S) as pool:
            server = PrivateServer(pool, self.base_url, CHANNEL)
            try:
                await self._go_on(server, rounds)
            finally:  # who leaves is told what it took, too
                self.result.sent_bytes, self.result.received_bytes = server.sent_bytes, server.received_bytes
        return self.result

    async def _go_on(self, server: PrivateServer, rounds: int) -> None:
        failures = 0
        while self.result.rounds < rounds and failures < _FAILURES_MAX:
            try:
                await self._once(server)
                failures = 0
            except NotOfferedError as error:
                failures, self.result.problem = failures + 1, str(error)
            except RefusedAnswerError as error:  # too late for a stage, say: the next round is another chance
                failures, self.result.problem = failures + 1, str(error)
            except (DownloadError, FormatError) as error:
                failures, self.result.problem = failures + 1, str(error)
                wait_s = min(_AGAIN_MAX_S, _AGAIN_S * 2 ** (failures - 1))
                self.told(f"{error} Trying again in {wait_s:.0f} s.")
                await asyncio.sleep(wait_s)
        if self.result.rounds >= rounds:
            self.result.problem = ""
            try:
                await self._look_again(server)
            except (NotOfferedError, ToprungError) as error:  # the sum has the update all the same
                self.told(f"what became of it is not known: {error}")

    async def _look_again(self, server: PrivateServer) -> None:
        """What has become of it."""
        if self.fetches_newest:
            self.newest = await fetch_version(server, self.newest)
            self.result.version = self.newest.version.number
        else:
            self.result.version = (await show_version(server)).number

    async def _once(self, server: PrivateServer) -> None:
        """Train on the newest version, and hand that in until it is in a sum or of no more use."""
        offered = self.newest = await fetch_version(server, self.newest)
        version = offered.version
        self.result.version = version.number
        try:
            update = await asyncio.to_thread(self._train, offered)
        except asyncio.CancelledError:
            self._leaves.set()  # else the thread would train to its end
            raise
        self.told(f"trained {update.seconds:.0f} s on version {version.number}; waiting for a round")
        words = encode(version, update)
        vector = Vector(words=len(words), layout=version.layout, give=lambda: words)
        while True:
            contribution = Contribution(server, vector)
            part = await contribution.take_part()
            if part is Part.SUMMED:
                self.result.rounds += 1
                self.result.survivors, self.result.problem = contribution.survivors, ""
                self.told(f"the update is in a sum over {contribution.survivors} players")
            if part is not Part.NOT_TAKEN or contribution.is_in:
                return

    def _train(self, offered: Offered) -> LocalUpdate:
        scale = offered.network.architecture.scale
        if self._pairs is None or self._pairs[0] != scale:
            self._pairs = scale, self.pairs(scale)
        update = train_locally(
            offered.network,
            self._pairs[1],
            offered.version.recipe,
            seed=secrets.randbits(31),
            threads=self.threads,
            report=self._stop_if_left,
        )
        self.result.train_s += update.seconds
        self.result.processor_s += update.processor_s
        return update

    def _stop_if_left(self, _progress: float, _loss: float) -> None:
        """Told by the training, in its thread, now and then."""
        if self._leaves.is_set():
            raise _LeftError


class _LeftError(Exception):
    """Who trained has left; nobody hears of it."""


def encode(version: ModelVersion, update: LocalUpdate) -> Words:
    """As it is handed in. Raises InputError where training has gone astray."""
    codec = UpdateCodec(version.values, version.norm_max, version.members_max)
    return codec.encode(np.asarray(update.values), update.weight)
