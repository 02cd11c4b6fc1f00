"""What the server is told looks like noise, and a member gives nothing that would betray it."""

from __future__ import annotations

from random import Random

import msgspec
import numpy as np
import pytest
from Crypto.Cipher import ChaCha20
from Crypto.Hash import SHA256
from secagg_rounds import run_round

from abr.errors import FormatError, InputError
from abr.secure_aggregation.degree import MEMBERS_MIN, choose_degree
from abr.secure_aggregation.fixed_point import FixedPoint
from abr.secure_aggregation.graph import draw_graph
from abr.secure_aggregation.masks import expand
from abr.secure_aggregation.member import Member
from abr.secure_aggregation.messages import Forwarded, Roster, Survivors
from abr.secure_aggregation.round import Round

CHI_SQUARE_255_AT_1_PERCENT = 310.457
"""NIST/SEMATECH e-Handbook, table of critical values, 255 degrees of freedom (by scipy: chi2.ppf(0.99, 255))."""


VECTOR = np.arange(4, dtype=np.uint32)


def chi_square(octets: np.ndarray) -> float:
    counts = np.bincount(octets, minlength=256)
    expected = len(octets) / 256
    return float(np.sum((counts - expected) ** 2) / expected)


def test_masks_are_the_chacha20_stream_under_the_seeds_sha256():
    seed = bytes(range(32))
    stream = ChaCha20.new(key=SHA256.new(seed).digest(), nonce=bytes(12)).encrypt(bytes(400))
    assert expand(seed, 100).astype("<u4").tobytes() == stream


def test_seeds_that_differ_in_one_bit_beyond_the_first_32_make_other_masks():
    first, second = bytes(32), bytes(31) + b"\x01"
    assert np.mean(expand(first, 1000) == expand(second, 1000)) < 0.01


def test_masked_words_modulo_256_pass_chi_square_at_one_percent_though_all_vectors_are_zero():
    """Of twelve true generators one in 12 million runs has five that fail at 1 %; words without a mask fail always."""
    vectors = [np.zeros(5000, dtype=np.uint32)] * 12
    sent = run_round(vectors, {"openings": {3}}).sent
    bodies = [np.frombuffer(each["masked"], dtype="<u4") for each in sent.values()]
    failed = [chi_square((body & 0xFF).astype(np.int64)) > CHI_SQUARE_255_AT_1_PERCENT for body in bodies]
    assert len(bodies) == 12
    assert sum(failed) < 5
    assert chi_square((vectors[0] & 0xFF).astype(np.int64)) > CHI_SQUARE_255_AT_1_PERCENT


class Exchange:
    """A round of six whose members have joined and shared; `first` is member 0."""

    def __init__(self) -> None:
        self.server = Round("r", 4, random=Random(1))
        self.members = [Member("r") for _ in range(6)]
        for member in self.members:
            self.server.join(member.keys())
        self.server.advance()
        self.first = self.members[0]

    def share(self) -> None:
        for number, member in enumerate(self.members):
            self.server.take_shares(number, member.share(self.question(number)))
        self.server.advance()

    def mask(self, numbers: range) -> None:
        for number in numbers:
            self.server.take_masked(number, self.members[number].mask(self.question(number), VECTOR))
        self.server.advance()

    def question(self, number: int = 0):
        return self.server.message_for(number)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"members": 4}, "4 members"),
        ({"threshold": 1}, "1 of 5"),
        ({"members": 900}, "of 5 neighbours"),
        ({"member": 3}, "twice"),
    ],
)
def test_a_member_leaves_a_round_whose_server_weakens_it(changed: dict[str, int], why: str):
    exchange = Exchange()
    roster = exchange.question()
    assert isinstance(roster, Roster)
    with pytest.raises(FormatError, match=why):
        exchange.first.share(msgspec.structs.replace(roster, **changed))


def test_a_member_leaves_when_one_key_stands_for_two_neighbours():
    exchange = Exchange()
    roster = exchange.question()
    twin = msgspec.structs.replace(roster.neighbours[1], seal_key=roster.neighbours[0].seal_key)
    doubled = (roster.neighbours[0], twin, *roster.neighbours[2:])
    with pytest.raises(FormatError, match="twice"):
        exchange.first.share(msgspec.structs.replace(roster, neighbours=doubled))


def test_a_member_does_not_mask_for_fewer_neighbours_than_open_a_secret():
    exchange = Exchange()
    exchange.share()
    few = exchange.question().shares[:2]
    with pytest.raises(FormatError, match="Too few"):
        exchange.first.mask(Forwarded(shares=few), VECTOR)


@pytest.mark.parametrize(
    ("survivors", "why"),
    [
        (Survivors(survivors=5, stayed=(1, 2, 3, 4), gone=(4, 5)), "both secrets"),
        (Survivors(survivors=5, stayed=(1, 2, 3, 9), gone=()), "stranger"),
        (Survivors(survivors=4, stayed=(1, 2, 3), gone=(4, 5)), "4 members"),
        (Survivors(survivors=5, stayed=(1, 2), gone=(3, 4, 5)), "too few"),
    ],
)
def test_a_member_does_not_open_what_would_betray_a_neighbour(survivors: Survivors, why: str):
    exchange = Exchange()
    exchange.share()
    exchange.mask(range(6))
    with pytest.raises(FormatError, match=why):
        exchange.first.open(survivors)


def test_a_member_opens_once_so_that_no_second_list_brings_the_other_secret():
    exchange = Exchange()
    exchange.share()
    exchange.mask(range(6))
    exchange.first.open(exchange.question())
    with pytest.raises(FormatError, match="twice"):
        exchange.first.open(Survivors(survivors=5, stayed=(1, 2, 3, 4), gone=(5,)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -8.1])
def test_a_vector_with_a_value_that_is_no_number_is_not_encoded(value: float):
    with pytest.raises(InputError, match="no number"):
        FixedPoint(limit=8, members=10).encode([0.0, value])


@pytest.mark.parametrize("members", [5, 10, 20, 40, 80, 160, 640, 1000])
def test_degrees_grow_like_the_logarithm_and_corrupt_neighbours_cannot_open_a_secret(members: int):
    degree = choose_degree(members)
    assert MEMBERS_MIN - 1 <= degree.neighbours <= min(members - 1, 40 + 3.5 * members.bit_length())
    assert degree.threshold > members * 0.1 * degree.neighbours / members
    graph = draw_graph(members, degree.neighbours, Random(2))
    assert all(len(known) == degree.neighbours and member not in known for member, known in enumerate(graph))
    assert all(member in graph[other] for member, known in enumerate(graph) for other in known)
