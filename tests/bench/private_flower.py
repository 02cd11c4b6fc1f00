"""Flower's own SecAgg+ beside ours: the same vectors, rule of neighbours and losses, both in one process without HTTP.

    python -m venv flower && flower/bin/pip install flwr==1.42.0 msgspec
    PYTHONPATH=. flower/bin/python tests/bench/private_flower.py [--players 50] [--words 100000] [--repeats 3]

flwr is no dependency of Toprung, so it wants an environment of its own. Vectors are normal, drawn by the players'
numbers. Flower's client modifier and server workflow are driven by a Grid that calls the clients; its settings are the
defaults, with as many shares as ours. Losses: 30 % before they hand in, and one client before it shares keys. Prints
one JSON object: relative errors of the sum, seconds of the processor for all, bytes of a client, and what it tells
unmasked.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path += [str(Path(__file__).parents[1] / "support" / "jobs")]

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import FitIns, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.typing import Code
from flwr.compat.common import recorddict_compat as compat
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.supercore.task_identity import TaskIdentity
from secagg_rounds import run_round

from abr.secure_aggregation.degree import choose_degree
from abr.secure_aggregation.fixed_point import FixedPoint

LIMIT, MEMBERS = 8.0, 80
STAGES = {"setup": "keys", "share_keys": "shares", "collect_masked_vectors": "masked", "unmask": "openings"}


def vector(number: int, words: int) -> np.ndarray:
    """Of the player with this number."""
    return np.random.default_rng(number).normal(size=words).clip(-LIMIT, LIMIT)


class Clients:
    """A Grid that calls the clients. gone: those that vanish when this stage of Flower's is to be answered."""

    def __init__(self, vectors: list[np.ndarray], gone: dict[str, set[int]]) -> None:
        self._vectors, self._gone = vectors, gone
        self._contexts = {node: _context(node) for node in range(1, len(vectors) + 1)}
        self.bytes_of_first = 0
        self.in_plain: dict[str, Any] = {}

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """See flwr.serverapp.Grid. Who vanishes answers nothing."""
        replies = []
        for message in map(deepcopy, messages):  # as if it had travelled: clients change what they are told
            node = message.metadata.dst_node_id
            stage = str(message.content.config_records["secaggplus_configs"]["stage"])
            if node not in self._gone.get(stage, set()):
                context = self._contexts[node]
                try:
                    reply = secaggplus_mod(message, context, lambda told, _: self._fit(told))
                except KeyError:  # it is asked for a share that it was never given
                    continue
                replies.append(reply)
                if node == len(self._vectors):
                    self._look(message, reply)
        return replies

    def _fit(self, message: Message) -> Message:
        parameters = ndarrays_to_parameters([self._vectors[message.metadata.dst_node_id - 1]])
        result = FitRes(status=Status(Code.OK, ""), parameters=parameters, num_examples=1, metrics={"stalls": 3})
        return Message(compat.fitres_to_recorddict(result, keep_input=False), reply_to=message)

    def _look(self, message: Message, reply: Message) -> None:
        """Of the last client, who never vanishes: bytes of what it is told and sends, and what is not masked of it."""
        for each in (message, reply):
            self.bytes_of_first += sum(_size(list(record.values())) for record in each.content.config_records.values())
            self.bytes_of_first += sum(record.count_bytes() for record in each.content.array_records.values())
        for name, told in (*reply.content.metric_records.items(), *reply.content.config_records.items()):
            if name in ("fitres.num_examples", "fitres.metrics"):
                self.in_plain |= {name: dict(told)}


def _size(value: Any) -> int:
    """Bytes of values; 8 of a number."""
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return len(value) if isinstance(value, bytes | str) else 8


def _context(node: int) -> Context:
    return Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})


class _Proxy:
    """All that the workflow asks of a client proxy."""

    def __init__(self, node: int) -> None:
        self.node_id = node


class _Strategy(FedAvg):  # type: ignore[misc]
    """Takes all clients."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> list[Any]:
        return [(_Proxy(node), FitIns(parameters, {})) for node in range(1, self._count + 1)]


def flower(vectors: list[np.ndarray], gone: dict[str, set[int]]) -> dict[str, Any]:
    """One round of Flower's. Its sum is its weighted mean times the clients in it, all of weight 1."""
    degree = choose_degree(len(vectors))
    shares = min(len(vectors), (degree.neighbours + 1) | 1)
    context = LegacyContext(_context(0), ServerConfig(num_rounds=1), _Strategy(len(vectors)))
    context.state.config_records["config"] = ConfigRecord({"current_round": 1})
    context.state.array_records["parameters"] = compat.parameters_to_arrayrecord(
        ndarrays_to_parameters([np.zeros_like(vectors[0])]), False
    )
    clients = Clients(vectors, gone)
    workflow = SecAggPlusWorkflow(shares, degree.threshold, clipping_range=LIMIT, max_weight=1.0)
    began_s = time.process_time()
    workflow(clients, context)
    seconds = time.process_time() - began_s
    without = {node for stage, nodes in gone.items() if stage != "unmask" for node in nodes}
    kept = [each for node, each in enumerate(vectors, start=1) if node not in without]
    found = parameters_to_ndarrays(compat.arrayrecord_to_parameters(context.state.array_records["parameters"], True))[0]
    return _told(found * len(kept) if found.any() else None, kept, seconds, clients.bytes_of_first) | {
        "in_plain": json.dumps(clients.in_plain)
    }


def ours(vectors: list[np.ndarray], gone: dict[str, set[int]]) -> dict[str, Any]:
    """One round of ours."""
    code = FixedPoint(LIMIT, MEMBERS)
    places = {STAGES[stage]: {node - 1 for node in nodes} for stage, nodes in gone.items()}
    began_s = time.process_time()
    result = run_round([code.encode(each) for each in vectors], places)
    seconds = time.process_time() - began_s
    without = {place for stage, each in places.items() if stage != "openings" for place in each}
    kept = [each for place, each in enumerate(vectors) if place not in without]
    total = None if result.total is None else code.decode(result.total)
    return _told(total, kept, seconds, sum(map(len, result.sent[len(vectors) - 1].values())))


def _told(total: Any, kept: list[np.ndarray], seconds: float, sent_bytes: int) -> dict[str, Any]:
    truth = np.sum(kept, axis=0)
    error = None if total is None else float(np.linalg.norm(total - truth) / np.linalg.norm(truth))
    return {"error": error, "seconds": seconds, "bytes_of_a_client": sent_bytes}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--players", type=int, default=50)
    parser.add_argument("--words", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 1
    vectors = [vector(number, asked.words) for number in range(1, asked.players + 1)]
    third = set(range(1, 1 + round(0.3 * asked.players)))
    told = {}
    losses: dict[str, dict[str, set[int]]] = {
        "none": {},
        "30 % before they hand in": {"collect_masked_vectors": third},
        "one before it shares keys": {"share_keys": {1}},
    }
    for name, gone in losses.items():
        runs = [(flower(vectors, gone), ours(vectors, gone)) for _ in range(asked.repeats)]
        told[name] = {
            who: {"runs": [run[place] for run in runs], "seconds": median(run[place]["seconds"] for run in runs)}
            for place, who in enumerate(("flower", "ours"))
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
