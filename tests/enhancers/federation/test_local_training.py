"""What a player learns from low pictures alone, and what the server's judge makes of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from clips import make_clip

from abr.core.enhancement import Tier
from abr.errors import MediaError
from abr.federation.judging import Judged, JudgeRequest
from abr.federation.version import LocalRecipe
from abr.records import dumps, loads
from enhancers.federation.held_out import psnr_db, read_held_out
from enhancers.federation.judging import Judging
from enhancers.federation.local_training import own_pairs, train_locally
from enhancers.federation.tuned_network import generic_network
from enhancers.runtime.frames import Frame, decode_file

RECIPE = LocalRecipe(steps=15, batch=2, rate=3e-4, detail_weight=0.0, frames_full=16)
SHORT = LocalRecipe(steps=2, batch=1, rate=3e-4, detail_weight=0.0, frames_full=16)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("film") / "clip.mp4", width_px=256, height_px=144, frames=12)


@pytest.fixture(scope="module")
def came(clip: Path) -> list[Frame]:
    return list(decode_file(str(clip)))


def test_it_learns_from_what_came_and_counts_by_how_much_that_was(came):
    pairs, network = own_pairs(came, 2.0, 25.0, keep=4), generic_network(2.0, Tier.LOW)
    assert (pairs.low.shape[1:], pairs.target.shape[1:]) == ((72, 128), (144, 256))
    update = train_locally(network, [pairs], RECIPE, seed=1)
    assert psnr_db(network.moved(update.values), pairs) > psnr_db(network, pairs) + 0.02
    assert update.weight == 4 / 16
    once, again, other = (train_locally(network, [pairs], SHORT, seed=seed).values for seed in (1, 1, 2))
    assert np.array_equal(once, again) and not np.array_equal(once, other)


@pytest.mark.parametrize(("scale", "low"), [(1.5, (96, 168)), (3.0, (48, 84)), (4.0, (36, 64))])
def test_what_is_to_be_learnt_is_what_came_to_the_pixel(came, scale: float, low: tuple[int, int]):
    pairs = own_pairs(came[:2], scale, 25.0, keep=2)
    height, width = pairs.target.shape[1:]
    assert pairs.low.shape[1:] == low
    assert (height, width) == tuple(int(edge * scale) for edge in low)
    assert np.array_equal(pairs.target[0], came[0].y[:height, :width])


def test_pictures_that_are_too_small_are_refused(tmp_path):
    clip = make_clip(tmp_path / "tiny.mp4", width_px=64, height_px=16, frames=2)
    with pytest.raises(MediaError, match="too small"):
        own_pairs(list(decode_file(str(clip))), 4.0, 25.0, keep=1)


def test_the_judge_tells_networks_apart_and_makes_nothing_of_garbage(clip, tmp_path):
    shipped = generic_network(2.0, Tier.LOW)
    judging = Judging(shipped, [read_held_out(clip, 2.0, 25.0)], tmp_path)

    def judged(update: np.ndarray | None = None, current: str = "") -> Judged:
        request = JudgeRequest(current=current)
        if update is not None:
            path = tmp_path / "update.f64"
            path.write_bytes(update.astype("<f8").tobytes())
            request = msgspec.structs.replace(request, update=str(path))
        return loads(judging.answer(dumps(request)), Judged, what="answer")

    first = judged()
    assert first.scores[0].clip == "clip.mp4" and first.values == len(shipped.values)
    same = judged(np.zeros(first.values), str(tmp_path / first.file))
    assert same.scores == first.scores, "only its ranges in eight bits are told anew"
    worse = judged(np.full(first.values, 0.02))
    assert worse.sha256 != first.sha256 and worse.scores[0].psnr_y_db < first.scores[0].psnr_y_db
    for garbage in (np.full(first.values, np.nan), np.zeros(3), np.full(first.values, 1e9)):
        assert judged(garbage).problem
    assert "no such" in judged(current="/nowhere").problem.lower()
    assert loads(judging.answer(b"{}x"), Judged, what="answer").problem
