"""Tunes a network from sums of updates: each makes a candidate, and a candidate is kept only if it is better."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import IO, Protocol

import msgspec

from abr.errors import FormatError, ToprungError
from abr.federation.judging import Judged, JudgeRequest, is_better
from abr.federation.update import MeanUpdate, UpdateCodec
from abr.federation.version import ClipScore, ModelVersion
from abr.files import lock_folder, write_file
from abr.secure_aggregation.masks import Words
from server.federation.judge import Judge
from server.federation.plan import FederationPlan
from server.federation.versions import VersionStore, clear_made, read_made
from server.private.rounds import Channel, PrivateRounds

UPDATE_FILE = "update.f64"

log = logging.getLogger("toprung.federation")


class TuningMetrics(Protocol):
    """What is told of rounds and versions."""

    def count_round(self, outcome: str, members: int, survivors: int) -> None:
        """outcome: of abr.secure_aggregation.stages.Outcome."""
        ...

    def count_candidate(self, verdict: str) -> None:
        """kept; worse: not better on the held-out clips; refused: no sum of updates; failed: nothing could judge."""
        ...

    def show_version(self, version: ModelVersion) -> None:
        """The best so far."""
        ...


class Tuning:
    """The versions of one network, and the rounds that make them. Made by `start`; listens to its own rounds."""

    def __init__(self, plan: FederationPlan, judge: Judge, metrics: TuningMetrics) -> None:
        self._plan, self._judge, self._metrics = plan, judge, metrics
        self._store = VersionStore(plan.folder)
        self._bodies: dict[str, bytes] = {}
        self._version: ModelVersion | None = None
        self._rounds: PrivateRounds | None = None
        self._shipped: tuple[ClipScore, ...] = ()
        self._lock: IO[bytes] | None = None

    async def start(self, clock: Callable[[], float]) -> None:
        """Judge the version that was kept last, or what the program ships, and open the first round.

        Raises InputError for a folder that another server holds, JudgeError, FormatError, StorageError.
        """
        busy = f"Another server tunes in {self._plan.folder}; give each a folder of its own."
        self._lock = await asyncio.to_thread(lock_folder, self._plan.folder, busy=busy)
        await asyncio.to_thread(clear_made, self._judge.made)
        kept = await asyncio.to_thread(self._store.newest)
        judged = shipped = await self._judge.ask(JudgeRequest())
        if kept is not None:
            judged = await self._judge.ask(JudgeRequest(current=str(self._store.path(kept[0]))))
        self._shipped = shipped.scores
        body = await self._read(judged)
        if kept is None:
            first = self._described(judged, number=0, survivors=0)
            await asyncio.to_thread(self._store.keep, first, body)
        else:
            first = self._described(judged, number=kept[0].number, survivors=kept[0].survivors)
        self._publish(first, body)
        words = UpdateCodec(first.values, first.norm_max, first.members_max).words
        channel = Channel(words=words, layout=first.layout, listener=self, name="federation")
        self._rounds = PrivateRounds(channel, self._plan.pace, clock)

    @property
    def version(self) -> ModelVersion:
        """The best so far."""
        assert self._version is not None
        return self._version

    @property
    def rounds(self) -> PrivateRounds:
        """Those that are under way."""
        assert self._rounds is not None
        return self._rounds

    def weights(self, sha256: str) -> bytes | None:
        """Of the version, or of the one before it."""
        return self._bodies.get(sha256)

    def count_round(self, outcome: str, members: int, survivors: int) -> None:
        """See SumListener."""
        self._metrics.count_round(outcome, members, survivors)

    async def take_sum(self, total: Words, survivors: int) -> None:
        """See SumListener. Nothing that a cohort hands in, and nothing that the judge does, ends the rounds."""
        try:
            mean = UpdateCodec(self.version.values, self.version.norm_max, self.version.members_max).decode(
                total, survivors
            )
        except FormatError as error:
            self._tell("refused", str(error))
            return
        try:
            await self._try(mean, survivors)
        except ToprungError as error:
            self._tell("failed", str(error))

    async def close(self) -> None:
        """Rounds end, and the judge."""
        if self._rounds is not None:
            await self._rounds.close()
        await self._judge.close()
        if self._lock is not None:
            self._lock.close()

    async def _try(self, mean: MeanUpdate, survivors: int) -> None:
        """Keep the current network, moved by the mean update, if it is better."""
        update = self._judge.made / UPDATE_FILE
        await asyncio.to_thread(write_file, update, mean.values.astype("<f8").tobytes())
        judged = await self._judge.ask(JudgeRequest(current=str(self._store.path(self.version)), update=str(update)))
        if not is_better(judged.scores, self.version.scores, self._shipped):
            self._tell("worse", f"{_shown(judged.scores)}, before {_shown(self.version.scores)}")
            return
        body = await self._read(judged)
        candidate = self._described(judged, number=self.version.number + 1, survivors=survivors)
        await asyncio.to_thread(self._store.keep, candidate, body)
        self._tell("kept", f"{_shown(judged.scores)}, before {_shown(self.version.scores)}")
        self._publish(candidate, body)
        self.rounds.channel.layout = candidate.layout

    async def _read(self, judged: Judged) -> bytes:
        assert judged.sha256 is not None
        return await asyncio.to_thread(read_made, self._judge.made, judged.file, judged.size_bytes, judged.sha256)

    def _described(self, judged: Judged, *, number: int, survivors: int) -> ModelVersion:
        """Raises FormatError for what no version may be."""
        assert judged.sha256 is not None
        version = ModelVersion(
            number=number,
            architecture=judged.architecture,
            sha256=judged.sha256,
            size_bytes=judged.size_bytes,
            values=judged.values,
            norm_max=self._plan.norm_max,
            members_max=self._plan.pace.members_max,
            recipe=self._plan.recipe,
            scores=judged.scores,
            survivors=survivors,
        )
        try:
            return msgspec.convert(msgspec.to_builtins(version), ModelVersion)
        except msgspec.ValidationError as error:
            raise FormatError(f"The judge has made no version that can be kept: {error}.") from error

    def _publish(self, version: ModelVersion, body: bytes) -> None:
        before = dict(list(self._bodies.items())[-1:])
        self._version, self._bodies = version, before | {version.sha256: body}
        self._metrics.show_version(version)

    def _tell(self, verdict: str, why: str) -> None:
        self._metrics.count_candidate(verdict)
        log.info("a candidate after version %d is %s: %s", self.version.number, verdict, why)


def _shown(scores: tuple[ClipScore, ...]) -> str:
    return ", ".join(f"{each.clip} {each.psnr_y_db:.3f} dB {each.vmaf_neg:.2f} VMAF-NEG" for each in scores)
