"""`python -m enhancers.federation.judging`: the process that a server asks whether a tuned network is better.

Requests come in as lines of JSON and answers go out (`abr.federation.judging`). What a cohort has made reaches it as
plain numbers alone; they may be anything.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from abr.core.enhancement import Tier
from abr.errors import FormatError, ToprungError
from abr.federation.judging import Judged, JudgeRequest
from abr.federation.version import WEIGHTS_BYTES_MAX
from abr.files import read_bounded, write_file
from abr.records import dumps, loads
from enhancers.federation.held_out import HeldOut, read_held_out, score_clips
from enhancers.federation.tuned_network import TunedNetwork, count_values, generic_network, loads_network
from enhancers.networks.calibrate import calibrate
from enhancers.networks.checkpoint import digest
from enhancers.workflows.live_process import begin_beside

_FILES_KEPT = 3


class Judging:
    """Answers requests about networks of one kind. out: where their weights are put."""

    def __init__(self, shipped: TunedNetwork, clips: Sequence[HeldOut], out: Path) -> None:
        self._shipped, self._clips, self._out = shipped, clips, out

    def answer(self, line: bytes) -> bytes:
        """The answer's line; a problem is an answer too."""
        try:
            return dumps(self._judge(loads(line, JudgeRequest, what="The request")))
        except ToprungError as error:
            return dumps(Judged(problem=str(error)[:500]))

    def _judge(self, request: JudgeRequest) -> Judged:
        network = self._shipped
        if request.current:
            data = read_bounded(Path(request.current), WEIGHTS_BYTES_MAX, what="weights")
            network = loads_network(data, self._shipped.architecture, what=request.current)
        if request.update:
            moved = network.moved(_read_update(Path(request.update), count_values(network.architecture)))
            network = replace(moved, ranges=calibrate(moved.weights(), self._clips[0].pairs.low).ranges)
        body = network.dumps()
        loads_network(body, network.architecture, what="the candidate")  # else no player would take it
        name = f"{digest(body)[:24]}.safetensors"
        self._drop_older()
        write_file(self._out / name, body)
        return Judged(
            file=name,
            sha256=digest(body),
            size_bytes=len(body),
            values=count_values(network.architecture),
            architecture=str(network.architecture),
            scores=score_clips(network, self._clips),
        )

    def _drop_older(self) -> None:
        made = sorted(self._out.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
        for path in made[: max(0, len(made) - _FILES_KEPT + 1)]:
            with suppress(OSError):
                path.unlink()


def _read_update(path: Path, values: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Raises FormatError for what is no update: another number of values, or some that are not finite."""
    body = read_bounded(path, 8 * values, what="update")
    if len(body) != 8 * values:
        raise FormatError(f"The update has {len(body)} bytes; {8 * values} were expected.")
    update = np.frombuffer(body, "<f8")
    if not np.isfinite(update).all():
        raise FormatError("The update has numbers that are not finite.")
    return update


def serve(prepare: Callable[[], Judging]) -> None:
    """Answer each line on stdin, until there are no more."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries that print
    judging: Judging | None = None
    for line in sys.stdin.buffer:
        try:
            judging = judging or prepare()
        except ToprungError as error:
            answers.write(dumps(Judged(problem=str(error)[:500])) + b"\n")
            continue
        answers.write(judging.answer(line) + b"\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """The clips are read when the first request comes."""
    parser = argparse.ArgumentParser(prog="python -m enhancers.federation.judging", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights")
    parser.add_argument("--scale", type=float, required=True)
    parser.add_argument("--tier", type=Tier, required=True)
    parser.add_argument("--crf", type=float, required=True, help="by which clips are encoded, as a ladder would be")
    parser.add_argument("--held-out", type=Path, action="append", required=True, help="a clip to judge on")
    told = parser.parse_args(arguments)
    begin_beside()
    torch.set_num_threads(1)

    def prepare() -> Judging:
        clips = [read_held_out(path, told.scale, told.crf) for path in told.held_out]
        return Judging(generic_network(told.scale, told.tier), clips, told.out)

    serve(prepare)


if __name__ == "__main__":
    main()
