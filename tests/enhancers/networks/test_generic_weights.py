"""The generic weights that ship: the card is theirs, and all that was seen has an origin and a free licence."""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from importlib.resources import files

from enhancers.networks import catalog
from enhancers.networks.checkpoint import digest
from enhancers.training.generic import HELD_OUT

WEIGHTS = files("enhancers") / "weights"
FREE = re.compile(r"public domain|CC0|CC BY(-SA)? \d|L?GPL \d|Apache-2\.0|MIT|BSD-[23]-Clause")


@cache
def card() -> dict[str, list[str]]:
    return json.loads((WEIGHTS / "card.json").read_text())


def test_the_card_names_the_files_that_ship() -> None:
    architectures = [catalog.architecture(scale) for scale in catalog.SQUEEZES]
    shipped = {str(each): [digest(chunk) for chunk in catalog.generic_chunks(each)] for each in architectures}
    assert {network["architecture"]: network["sha256"] for network in card()["networks"]} == shipped


def test_every_film_that_was_seen_has_an_origin_and_a_free_licence() -> None:
    with (WEIGHTS / "sources.tsv").open(newline="") as file:
        sources = {row["film"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert sorted(sources) == sorted(card()["clips"])
    assert all(row["from"] and FREE.match(row["licence"]) for row in sources.values())
    assert not [film for film in sources if film.startswith(HELD_OUT)], "the demo's film stays unseen"
