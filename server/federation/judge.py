"""Asks the process that runs networks on held-out clips: the server itself needs no torch, and goes on without it."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

from abr.errors import ToprungError
from abr.federation.judging import Judged, JudgeRequest
from abr.records import dumps, loads
from server.federation.plan import FederationPlan

COMMAND = (sys.executable, "-m", "enhancers.federation.judging")
PATIENCE_S = 1800.0
"""A judge that has not answered by then has failed; on a busy machine it takes a minute."""
_LINE_BYTES_MAX = 1 << 20


class JudgeError(ToprungError):
    """The judge has ended, or says that it cannot judge."""


class Judge:
    """One process, begun when it is first asked and again when it has died. `close` ends it."""

    def __init__(self, plan: FederationPlan, command: Sequence[str] = COMMAND) -> None:
        self.made = plan.folder / "made"
        given = ["--out", str(self.made), "--scale", f"{plan.scale:g}", "--tier", plan.tier, "--crf", f"{plan.crf:g}"]
        self._command = [*command, *given, *(part for clip in plan.held_out for part in ("--held-out", str(clip)))]
        self._process: Process | None = None
        self._asking = asyncio.Lock()

    async def ask(self, request: JudgeRequest) -> Judged:
        """Raises JudgeError, FormatError."""
        async with self._asking:
            process = self._process
            if process is None or process.returncode is not None:
                process = self._process = await self._begin()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    line = await _exchange(process, dumps(request) + b"\n")
            except (TimeoutError, OSError, ValueError) as error:
                await self.close()
                raise JudgeError(f"The judge of tuned networks failed: {str(error) or 'it took too long'}.") from error
        if not line:
            raise JudgeError("The judge of tuned networks has ended; its own words are above.")
        judged = loads(line, Judged, what="The judge's answer")
        if judged.problem or judged.sha256 is None:
            raise JudgeError(f"The judge of tuned networks: {judged.problem or 'no weights were made'}")
        return judged

    async def close(self) -> None:
        """Kills the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _begin(self) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, stderr=None, limit=_LINE_BYTES_MAX
            )
        except OSError as error:
            raise JudgeError(f"The judge of tuned networks cannot be started: {error.strerror}.") from error


async def _exchange(process: Process, line: bytes) -> bytes:
    assert process.stdin is not None and process.stdout is not None
    with suppress(ConnectionError):
        process.stdin.write(line)
        await process.stdin.drain()
    return await process.stdout.readline()
