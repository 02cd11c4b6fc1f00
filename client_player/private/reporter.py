"""Takes part in the server's rounds beside a session, in a thread of its own: its time is that of the wall.

While the session lasts, each round gets what was counted since the one before. At the end there is one round more.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass

from abr.errors import ToprungError
from abr.private_telemetry.layout import TELEMETRY
from abr.private_telemetry.tally import SessionTally
from client_player.private.contribution import Contribution, NotOfferedError, Part, Vector
from client_player.private.server import PrivateServer
from client_player.transport.http import http_pool

_AGAIN_S = 5.0
"""After a failure, so long until the next try."""
_IDLE_S = 60.0


@dataclass(slots=True)
class HandedIn:
    """What became of a session's telemetry. problem: why less than all was handed in; empty when all was."""

    rounds: int = 0
    survivors: int = 0
    """Of the newest round."""
    problem: str = ""


class PrivateReporter:
    """Begins with `start`; `finish` waits for the last round. The tally may be filled all the while."""

    def __init__(self, base_url: str, tally: SessionTally) -> None:
        self._base_url, self._tally = base_url, tally
        self.result = HandedIn()
        self._ending = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._work, name="toprung-private", daemon=True)

    def start(self) -> None:
        """Join the first round that can be joined."""
        self._thread.start()

    def finish(self, wait_s: float) -> HandedIn:
        """Nothing more is counted. Waits for a round that takes the rest, at most so long; an interrupt ends that."""
        self._ending.set()
        with suppress(KeyboardInterrupt):
            self._thread.join(wait_s)
        is_late = self._thread.is_alive()
        if is_late:
            self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join(_AGAIN_S)
        if (is_late or not self._tally.is_empty) and not self.result.problem:
            self.result.problem = f"no cohort took the rest of it within {wait_s:.0f} s"
        return self.result

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._report())
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.close()

    async def _report(self) -> None:
        async with http_pool(idle_s=_IDLE_S) as pool:
            server = PrivateServer(pool, self._base_url)
            while not (self._ending.is_set() and self._tally.is_empty):
                try:
                    await self._contribute(server)
                except NotOfferedError as error:
                    self.result.problem = str(error)
                    return
                except ToprungError as error:
                    self.result.problem = str(error)
                    await asyncio.sleep(_AGAIN_S)

    async def _contribute(self, server: PrivateServer) -> None:
        vector = Vector(words=TELEMETRY.words, layout=TELEMETRY.fingerprint, give=self._tally.give)
        contribution = Contribution(server, vector)
        part = Part.UNKNOWN
        try:
            part = await contribution.take_part()
        finally:
            if contribution.given is not None and (part is Part.NOT_TAKEN or not contribution.is_in):
                self._tally.give_back(contribution.given)
        if part is Part.SUMMED:
            self.result.rounds += 1
            self.result.survivors, self.result.problem = contribution.survivors, ""
