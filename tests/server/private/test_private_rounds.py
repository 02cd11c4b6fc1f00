"""Private telemetry over real sockets: what is refused, what is summed, and what nobody can find on the server."""

from __future__ import annotations

import gc
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from types import CoroutineType, FrameType, FunctionType, GeneratorType, MethodType, ModuleType

import numpy as np
import pytest
from private_players import JSON, OCTETS, Player

from abr.errors import InputError
from abr.private_telemetry.layout import TELEMETRY
from abr.records import dumps
from abr.secure_aggregation.member import Member
from abr.secure_aggregation.messages import to_text
from server.http.problems import Problem
from server.settings import Settings

PERIOD_S, STAGE_S = 60.0, 5.0
FULL = 9


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(
        settings,
        private_telemetry=True,
        private_period_s=PERIOD_S,
        private_stage_s=STAGE_S,
        private_cohort=5,
        private_cohort_max=FULL,
    )


async def joined(client, count: int) -> list[Player]:
    """Members whose vectors tell their numbers: 1, 10, 100 … in the word for sessions."""
    players = []
    for number in range(count):
        vector = np.zeros(TELEMETRY.words, dtype=np.uint32)
        vector[0] = 10**number
        players.append(Player(client, vector))
        await players[-1].join()
    return players


async def sums(client, begins: str = "toprung_private") -> dict[str, float]:
    lines = (await (await client.get("/metrics")).text()).splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith(begins)}


async def test_the_metrics_show_the_sum_of_those_who_stayed_and_how_many_they_were(client, clock):
    players = await joined(client, 8)
    assert not [name for name in await sums(client) if "sessions" in name], "nothing is known before"
    clock.now_s += PERIOD_S
    for player in players:
        await player.answer()
    for player in players[:6]:
        await player.answer()
    clock.now_s += STAGE_S
    for player in players[:5]:
        await player.answer()
    assert await players[0].ending() == {"stage": "summed", "survivors": 6}
    assert await players[7].ending() == {"stage": "summed", "survivors": 6}
    told = await sums(client)
    assert told["toprung_private_sessions_total"] == 111111
    assert told["toprung_private_last_round_survivors"] == 6
    assert told['toprung_private_rounds_total{outcome="summed"}'] == 1
    assert told["toprung_private_members_total"] == 8


async def test_a_cohort_of_four_is_refused_and_nothing_of_it_is_shown(client, clock):
    players = await joined(client, 4)
    clock.now_s += PERIOD_S
    ending = await players[0].ending()
    assert ending == {"stage": "abandoned", "reason": "Only 4 joined; the round needs 5."}
    told = await sums(client)
    assert told['toprung_private_rounds_total{outcome="few"}'] == 1
    assert not [name for name in told if "seconds" in name or "sessions" in name or "vmaf" in name]


async def test_five_of_whom_one_leaves_before_its_vector_are_not_summed_either(client, clock):
    players = await joined(client, 5)
    clock.now_s += PERIOD_S
    for player in players:
        await player.answer()
    for player in players[1:]:
        await player.answer()
    clock.now_s += STAGE_S
    ending = await players[1].ending()
    assert ending == {"stage": "abandoned", "reason": "Only 4 vectors came; 5 is the least."}
    assert not [name for name in await sums(client) if "sessions" in name]


async def test_forged_replayed_truncated_oversized_and_nan_submissions_are_refused_and_the_round_completes(
    client, clock
):
    players = await joined(client, 6)
    stranger = "A" * 43

    async def refused(status: int, name: str, body: bytes, kind: dict[str, str] = JSON, **how: str) -> None:
        answer = await players[0].post(name, body, kind, **how)
        assert (answer.status, answer.content_type) == (status, "application/problem+json"), (name, body[:80])
        assert Problem(**await answer.json()).detail

    keys = json.dumps({"seal_key": to_text(bytes(32)), "mask_key": to_text(b"\x09" * 32)}).encode()
    await refused(400, "members", keys)
    await refused(400, "members", b'{"seal_key": NaN, "mask_key": NaN}')
    await refused(413, "members", b" " * 300_000)
    clock.now_s += PERIOD_S
    for name, count in (("shares", 6), ("masked", 6), ("openings", 4)):  # four open all that is needed
        for number, player in enumerate(players[:count]):
            step, body, kind = await player.step()
            assert step == name
            if number == 0:
                await refused(403, name, body, kind, token=stranger)
                await refused(400, name, body[:-1], kind)
                await refused(400, name, b"", kind)
                await refused(413, name, body + b" " * 300_000, kind)
                await refused(415, name, body, {"Content-Type": "text/plain"})
                if name != "masked":
                    await refused(400, name, b'{"shares": NaN, "seeds": NaN}')
                    await refused(400, name, body.replace(b'"member":', b'"member":1e400,"m":', 1))
                    await refused(400, name, body.replace(b'"member":', b'"member":NaN,"m":', 1))
                    await refused(400, name, body.replace(b'"member":', b'"member":9', 1))
                if name == "openings":
                    await refused(400, name, _forged(body))
            assert (await player.post(name, body, kind)).status == 204
            if number == 0:
                await refused(409, name, body, kind)
    assert await players[5].ending() == {"stage": "summed", "survivors": 6}
    assert (await sums(client))["toprung_private_sessions_total"] == 111111
    await refused(409, "masked", bytes(TELEMETRY.words * 4), OCTETS)


def _forged(openings: bytes) -> bytes:
    told = json.loads(openings)
    told["seeds"][0]["share"] = to_text(b"\x07" * 32)
    return json.dumps(told).encode()


async def test_nothing_of_one_member_is_in_what_the_server_stores_logs_or_shows(client, clock, caplog):
    """Looked for: each member's values, as numbers, text and bytes; its masked vector, and its token in logs."""
    caplog.set_level(logging.DEBUG)
    random = np.random.default_rng(7)
    players = []
    for _ in range(7):
        players.append(Player(client, random.integers(1 << 20, 1 << 22, TELEMETRY.words, dtype=np.uint32)))
        await players[-1].join()
    shown = [await (await client.get("/metrics")).text()]
    clock.now_s += PERIOD_S
    for count in (7, 6, 5):  # five open all that is needed
        for player in players[:count]:
            await player.answer()
            _find_nothing_of(players, client.app, shown)
        shown.append(await (await client.get("/metrics")).text())
        clock.now_s += STAGE_S if count < 7 else 0.0
    await players[0].ending()
    shown.append(await (await client.get("/metrics")).text())
    shown.append(await (await client.get("/private/round")).text())
    shown.append("\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records))
    assert "private round: summed, 7 members, 6 survivors" in shown[-1]
    _find_nothing_of(players, client.app, shown)
    total = np.sum([player.vector for player in players[:6]], axis=0)
    assert (await sums(client))["toprung_private_sessions_total"] == total[0], "the sum is what can be found"


def _names(text: str, value: int) -> bool:
    """Whether the number stands there by itself: its digits turn up in times of log records by chance."""
    return re.search(rf"(?<![0-9.]){value}(?![0-9])", text) is not None


def _find_nothing_of(players: list[Player], app: object, shown: list[str]) -> None:
    held = _held(app)
    text = "\n".join(shown)
    has_sum = sum("masked" in player.sent for player in players) > 1  # the sum of one is what that one has sent
    for player in players:
        values = {int(value) for value in player.vector[:3]}
        raw = [player.vector[:8].astype("<u4").tobytes(), player.vector[:8].astype("<i8").tobytes()]
        raw += [player.sent["masked"][:32]] if has_sum and "masked" in player.sent else []
        assert not values & held.numbers
        assert not [each for each in raw if each in held.octets]
        assert not [value for value in values if _names(text, value) or _names(held.text, value)]
        assert player.token not in text


class Held:
    """Everything that a program holds, from one object on: numbers, text, and bytes with those of arrays."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.octets = b""
        self.text = ""


_CODE = (ModuleType, FunctionType, MethodType, FrameType, CoroutineType, GeneratorType, type, logging.LogRecord)


def _held(root: object) -> Held:
    held, seen, waiting, octets, text = Held(), set(), [root], [], []
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, _CODE) or type(each).__module__.startswith(("_pytest", "private_pl")):
            continue
        seen.add(id(each))
        if isinstance(each, bool):
            continue
        if isinstance(each, (int, float)):
            held.numbers.add(int(each)) if each == each and abs(each) < 1e18 else None
        elif isinstance(each, (bytes, bytearray)):
            octets.append(bytes(each))
        elif isinstance(each, str):
            text.append(each)
        elif isinstance(each, np.ndarray):
            octets.append(each.tobytes())
            if each.dtype.kind in "iu":
                held.numbers |= set(each.ravel().tolist())
        else:
            waiting += _inside(each)
    held.octets, held.text = b"\0".join(octets), "\0".join(text)
    return held


def _inside(each: object) -> Iterator[object]:
    yield from gc.get_referents(each)
    yield from getattr(each, "__dict__", {}).values()


async def test_the_search_finds_what_a_careless_server_would_keep(client):
    """The test above is worth nothing if it cannot find; here it is given something to find."""
    player = Player(client, np.arange(1 << 20, (1 << 20) + TELEMETRY.words, dtype=np.uint32))
    await player.join()
    for careless in ({"count": int(player.vector[0])}, {"vector": player.vector}, [b"x" + player.vector.tobytes()]):
        with pytest.raises(AssertionError):
            _find_nothing_of([player], careless, [])
    with pytest.raises(AssertionError):
        _find_nothing_of([player], None, [f"value {player.vector[0]}"])


async def test_a_cohort_that_is_full_begins_at_once_and_takes_nobody_else(client):
    players = await joined(client, FULL)
    assert (await (await client.get("/private/round")).json())["stage"] == "sharing"
    answer = await players[0].post("members", dumps(Member("r").keys()), JSON)
    assert answer.status == 409
    assert "the round is sharing" in (await answer.json())["detail"]


async def test_who_has_no_token_of_the_round_is_told_nothing_of_it(client, clock):
    players = await joined(client, 5)
    clock.now_s += PERIOD_S
    path = f"/private/rounds/{players[0].round}/message"
    for told in ({}, {"Authorization": "Bearer " + "A" * 43}, {"Authorization": "Basic eDp5"}):
        assert (await client.get(path, headers=told)).status == 403
    assert (await client.get("/private/rounds/AAAAAAAAAAAAAAAA/message")).status == 404


async def test_a_round_that_nobody_joined_is_as_if_it_had_not_been(client, clock):
    first = (await (await client.get("/private/round")).json())["id"]
    clock.now_s += 10 * PERIOD_S
    view = await (await client.get("/private/round")).json()
    assert view["id"] != first and view["stage"] == "joining" and view["left_s"] == PERIOD_S
    assert await sums(client, "toprung_private_rounds") == {}


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"private_cohort": 4}, "5 to 1000"),
        ({"private_cohort": 300}, "20|200|1000"),
        ({"private_period_s": 0.0}, "above zero"),
        ({"private_stage_s": float("inf")}, "not for ever"),
        ({"private_telemetry": True, "worker_count": 2}, "one process"),
    ],
)
def test_settings_under_which_cohorts_would_be_too_small_or_torn_apart_are_refused(over: dict[str, object], why: str):
    with pytest.raises(InputError, match=why):
        Settings(**over)
