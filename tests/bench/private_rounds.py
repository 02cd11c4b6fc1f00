"""Rounds of private telemetry between real processes over HTTP: whether sums are right, and what they cost.

    python tests/bench/private_rounds.py vanish [--players 20] [--share 0.3]
    python tests/bench/private_rounds.py large [--players 50] [--words 100000]
    python tests/bench/private_rounds.py growth
    python tests/bench/private_rounds.py memory 160 320

`vanish`: players that have each played the test title in virtual time; of them a share loses its power at one step
of the protocol, a run for each step. `large`: long vectors of real numbers, without losses and with 30 % that vanish
before they hand in. `growth`: bytes and seconds of cryptography of a player at 10 to 160, who share a process, for
SecAgg+ and for SecAgg, in which all know all; beside them what the number of neighbours says. `memory`: larger rounds
without HTTP.

Error: ‖sum - truth‖ / ‖truth‖. Vectors are drawn by the players' numbers, 1 … n. Each prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median

import click
import msgspec
import numpy as np
from private_player import LIMIT, MEMBERS, RULES, Errand, Told, numbers, together
from private_server import Post, RoundTold

sys.path += [str(folder) for folder in (Path(__file__).parents[1] / "support").iterdir() if folder.is_dir()]

from secagg_rounds import run_round
from titles import prepared_library

from abr.private_telemetry.layout import TELEMETRY
from abr.secure_aggregation.fixed_point import FixedPoint

HERE = Path(__file__).parent
STEPS = ("keys", "shares", "masked", "openings")
CHI_SQUARE_255_AT_1_PERCENT = 310.457
COUNTS = (10, 20, 40, 80, 160)


class Run(msgspec.Struct, frozen=True):
    """One round as it went. error: relative. seconds: of the wall, since the graph was drawn; others of processors."""

    players: int
    vanish_at: str
    gone: int
    outcome: str
    survivors: int
    error: float
    seconds: float
    server_s: float
    player_s: float
    sent_bytes: float
    received_bytes: float


def run(
    players: int,
    *,
    rule: str = "SecAgg+",
    words: int = 0,
    vanish_at: str = "",
    gone: int = 0,
    period_s: float = 600.0,
    apart: bool = True,
) -> Run:
    """A round over HTTP. words: 0 plays the test title, and sums telemetry. apart: players are a process each."""
    library = prepared_library()
    with tempfile.TemporaryDirectory() as folder:
        post = Post(
            library=str(library.root),
            rule=rule,
            words=words,
            cohort=players,
            period_s=period_s,
            stage_s=20.0 if words else 10.0,
            sum_file=f"{folder}/sum.npy",
        )
        with _process("private_server.py", post) as server:
            url = _line(server)
            errands = [
                Errand(
                    url=url,
                    rule=rule,
                    words=words,
                    seed=number,
                    vanish_at=vanish_at if number <= gone else "",
                    folder=folder,
                    title="" if words else "bbb",
                )
                for number in range(1, players + 1)
            ]
            told = _play(errands) if apart else asyncio.run(together(url, rule, words, players))
            round_told = msgspec.json.decode(_line(server), type=RoundTold)
        kept = [number for number in range(1, players + 1) if number > gone or vanish_at in ("", "openings")]
        error = _error(folder, kept, words) if round_told.outcome == "summed" else float("nan")
    return Run(
        players=players,
        vanish_at=vanish_at,
        gone=gone,
        outcome=round_told.outcome,
        survivors=round_told.survivors,
        error=error,
        seconds=round_told.seconds,
        server_s=round_told.processor_s,
        player_s=median(each.seconds for each in told),
        sent_bytes=fmean(each.sent_bytes for each in told),
        received_bytes=fmean(each.received_bytes for each in told),
    )


def _play(errands: Sequence[Errand]) -> list[Told]:
    """All players at once; those that vanish tell nothing. Four at a time get ready."""
    waiting: list[subprocess.Popen[str]] = []
    for first in range(0, len(errands), 4):
        begun = [_open("private_player.py", errand) for errand in errands[first : first + 4]]
        for process in begun:
            assert _line(process) == "ready"
        waiting += begun
    for process in waiting:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    lines = [process.communicate()[0].strip() for process in waiting]
    return [msgspec.json.decode(line, type=Told) for line in lines if line]


def _error(folder: str, kept: Sequence[int], words: int) -> float:
    total = np.load(f"{folder}/sum.npy")
    if words:
        truth = np.sum([numbers(number, words) for number in kept], axis=0)
        found = FixedPoint(LIMIT, MEMBERS).decode(total)
    else:
        truth = np.sum([np.load(f"{folder}/{number}.npy") for number in kept], axis=0, dtype=np.float64)
        found = total.astype(np.float64)
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))


def _open(file: str, errand: Errand | Post) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / file), msgspec.json.encode(errand).decode()]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def _process(file: str, post: Post) -> Iterator[subprocess.Popen[str]]:
    process = _open(file, post)
    try:
        yield process
    finally:
        process.communicate(timeout=60)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def exponent(counts: Sequence[int], values: Sequence[float]) -> float:
    """Of the power law through them, by least squares of logarithms."""
    return float(np.polyfit(np.log(counts), np.log(values), 1)[0])


@click.group()
def main() -> None:
    """See the module."""


@main.command()
@click.option("--players", default=20)
@click.option("--share", default=0.3)
@click.option("--step", "steps", multiple=True, type=click.Choice(STEPS), default=STEPS)
def vanish(players: int, share: float, steps: Sequence[str]) -> None:
    """Sums of telemetry, whoever vanishes when."""
    gone = round(share * players)
    runs = [run(players, vanish_at=step, gone=gone, period_s=8.0) for step in steps]
    click.echo(json.dumps([msgspec.structs.asdict(each) for each in runs]))


@main.command()
@click.option("--players", default=50)
@click.option("--words", default=100_000)
def large(players: int, words: int) -> None:
    """Long vectors, and whether masked words look uniform."""
    runs = [run(players, words=words), run(players, words=words, vanish_at="masked", gone=round(0.3 * players))]
    click.echo(json.dumps([msgspec.structs.asdict(each) for each in runs]))


@main.command()
@click.option(
    "--rule", type=click.Choice(list(RULES)), default="SecAgg", help="Beside SecAgg+; one round of each size."
)
@click.option("--repeats", default=2)
def growth(rule: str, repeats: int) -> None:
    """What a player sends and computes, against how many take part."""
    for measured, counts, times in (("SecAgg+", COUNTS, repeats), (rule, COUNTS[:4], 1)):
        runs = [
            [run(count, rule=measured, words=TELEMETRY.words, apart=False) for _ in range(times)] for count in counts
        ]
        click.echo(json.dumps({"rule": measured} | _grown(measured, counts, runs)))


@main.command()
@click.argument("counts", nargs=-1, type=int)
def memory(counts: Sequence[int]) -> None:
    """The same bytes of larger rounds, without HTTP."""
    click.echo(json.dumps([_in_memory(count) for count in counts]))


def _grown(rule: str, counts: Sequence[int], runs: Sequence[Sequence[Run]]) -> dict[str, object]:
    def medians(of: Callable[[Run], float]) -> list[float]:
        return [median(of(each) for each in group) for group in runs]

    vector_bytes = 4 * TELEMETRY.words
    overhead = medians(lambda each: each.sent_bytes + each.received_bytes - vector_bytes)
    neighbours = [RULES[rule](count).neighbours for count in counts]
    player_s = medians(lambda each: each.player_s)
    slope, base = np.polyfit(neighbours, overhead, 1)
    fit = np.polyval([slope, base], neighbours)
    residual = 1 - np.sum((np.array(overhead) - fit) ** 2) / np.sum((np.array(overhead) - np.mean(overhead)) ** 2)
    return {
        "players": list(counts),
        "neighbours": neighbours,
        "overhead_bytes": overhead,
        "player_s": player_s,
        "player_s_all": [[each.player_s for each in group] for group in runs],
        "server_s": medians(lambda each: each.server_s),
        "seconds": medians(lambda each: each.seconds),
        "bytes_a_neighbour": float(slope),
        "r2_against_neighbours": float(residual),
        "exponents": {
            name: {
                f"{counts[first]} to {counts[last]}": exponent(counts[first : last + 1], values[first : last + 1])
                for first, last in ((0, 3), (2, 3), (2, 4))
                if last < len(counts)
            }
            for name, values in (("neighbours", neighbours), ("bytes", overhead), ("seconds", player_s))
        },
        "errors": [[each.error for each in group] for group in runs],
    }


def _in_memory(count: int) -> dict[str, object]:
    """Without HTTP: what one player sends, and whether its masked words modulo 256 look uniform."""
    zeros = np.zeros(TELEMETRY.words, dtype=np.uint32)
    began_s = time.process_time()
    result = run_round([zeros] * count)
    took_s = time.process_time() - began_s
    octets = np.concatenate([np.frombuffer(each["masked"], dtype="<u4") & 0xFF for each in result.sent.values()])
    counts, expected = np.bincount(octets, minlength=256), len(octets) / 256
    return {
        "players": count,
        "neighbours": RULES["SecAgg+"](count).neighbours,
        "sent_bytes": sum(map(len, result.sent[0].values())) - zeros.nbytes,
        "seconds_of_all": took_s,
        "chi_square": float(np.sum((counts - expected) ** 2) / expected),
        "chi_square_limit": CHI_SQUARE_255_AT_1_PERCENT,
        "summed": result.total is not None and not result.total.any(),
    }


if __name__ == "__main__":
    main()
