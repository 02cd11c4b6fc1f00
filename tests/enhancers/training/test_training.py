"""Training of one network: it learns, repeats itself, and goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import low_frames, psnr_db, source_frames

from abr.errors import MediaError
from enhancers.cli.train import train
from enhancers.networks.plain import parse
from enhancers.networks.plain_torch import PlainTrunk, run_collapsed
from enhancers.runtime.enhancer import PlainScaler
from enhancers.training.detail_loss import DetailLoss
from enhancers.training.patches import PatchSampler, TrainingPairs
from enhancers.training.title_weights import CONTENT_DETAIL_WEIGHT
from enhancers.training.trainer import TrainingSettings, fit, half_precision

ARCHITECTURE = parse("plain-m2c16x2")


@cache
def pairs(box: tuple[int, int, int, int] = (0, 0, 1280, 720)) -> TrainingPairs:
    low = low_frames(640, 360)
    grow = PlainScaler(640, 360, 1280, 720)
    return TrainingPairs(
        low=np.stack([frame.y for frame in low]),
        plain=np.stack([grow.enhance(frame).y for frame in low]),
        target=np.stack([frame.y for frame in source_frames()]),
        box=box,
    )


def sampler(seed: int = 1) -> PatchSampler:
    return PatchSampler([pairs()], patch_px=24, seed=seed, flips=False)


def shown(tensors: dict[str, torch.Tensor]) -> np.ndarray:
    y = torch.from_numpy(pairs().low).unsqueeze(1).float() / 255
    with torch.inference_mode():
        residual = run_collapsed(ARCHITECTURE, tensors, y)[:, 0].numpy() * 255
    return np.clip(np.rint(pairs().plain + residual), 0, 255)


def test_a_few_seconds_of_training_beat_the_plain_scaler() -> None:
    trunk = PlainTrunk(ARCHITECTURE, (1, 2), seed=1)
    trained = fit(trunk, sampler(), TrainingSettings(steps=250, batch=8, exit_weights=(0.3, 1.0)))
    before_db, after_db = psnr_db(pairs().plain, pairs().target), psnr_db(shown(trained.tensors), pairs().target)
    assert after_db > before_db + 0.1


def test_the_command_aims_as_training_does_by_default() -> None:
    """The command cannot take the number from where torch is: `--help` would wait for it."""
    assert {option.name: option.default for option in train.params}["detail"] == CONTENT_DETAIL_WEIGHT


def test_more_weight_on_detail_shows_more_of_it() -> None:
    truth = DetailLoss(torch.from_numpy(pairs().target).unsqueeze(1) / 255)

    def lost(detail_weight: float) -> float:
        trunk = PlainTrunk(ARCHITECTURE, (1, 2), seed=1)
        recipe = TrainingSettings(steps=120, batch=8, exit_weights=(0.3, 1.0), detail_weight=detail_weight)
        picture = torch.from_numpy(shown(fit(trunk, sampler(), recipe).tensors))
        return float(truth.lost(picture.unsqueeze(1).float() / 255))

    assert lost(0.5) < 0.9 * lost(0.0)


def test_deeper_exits_can_be_asked_for_more_detail() -> None:
    recipe = TrainingSettings(steps=1, detail_weight=0.18, detail_step=0.05)
    assert [recipe.detail_at(exit_) for exit_ in range(3)] == pytest.approx([0.08, 0.13, 0.18])
    assert [replace(recipe, detail_weight=0.04).detail_at(exit_) for exit_ in range(3)] == pytest.approx([0, 0, 0.04])


def _tensors(seed: int, state: Path | None = None, stop_at: float = 2.0) -> dict[str, torch.Tensor]:
    """Twelve steps, cut off by an exception once progress passes `stop_at`."""
    trunk = PlainTrunk(ARCHITECTURE, (1, 2), seed=seed)

    def report(progress: float, _loss: float) -> None:
        if progress >= stop_at:
            raise KeyboardInterrupt

    recipe = TrainingSettings(steps=32, batch=2, exit_weights=(0.3, 1.0))
    return fit(trunk, sampler(seed), recipe, state=state, report=report).tensors


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_same_seed_gives_the_same_weights() -> None:
    assert _same(_tensors(1), _tensors(1))
    assert not _same(_tensors(1), _tensors(2))


def test_a_stopped_training_ends_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enhancers.training.trainer._SAVE_EVERY_S", 0.0)
    state = tmp_path / "run.state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        _tensors(1, state, stop_at=0.4)
    assert state.exists()
    assert _same(_tensors(1, state), _tensors(1))


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: data[:-50]])
def test_a_damaged_state_means_starting_over(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    state = tmp_path / "run.state.safetensors"
    whole = _tensors(1, state)
    state.write_bytes(damage(state.read_bytes()))
    assert _same(_tensors(1, state), whole)


def test_a_recipe_has_one_end() -> None:
    for steps, seconds in ((0, 0.0), (3, 3.0)):
        with pytest.raises(ValueError, match="either"):
            TrainingSettings(steps=steps, seconds=seconds)


def test_the_learning_rate_rises_once_and_falls() -> None:
    recipe = TrainingSettings(steps=100)
    rates = [recipe.rate_at(progress / 100) for progress in range(101)]
    top = int(np.argmax(rates))
    assert 0 < top <= 10
    assert rates[top] == pytest.approx(recipe.rate, rel=0.25)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < recipe.rate / 50


def test_patches_of_low_plain_and_target_show_the_same_place() -> None:
    batch = sampler().batch(0, 16)
    assert batch.low.shape == (16, 24, 24)
    assert batch.plain.shape == batch.target.shape == (16, 48, 48)
    halves = batch.target.reshape(16, 24, 2, 24, 2).mean(axis=(2, 4))
    assert np.abs(halves - batch.low).mean() < 6
    moved = np.roll(batch.low, 3, axis=2)
    assert np.abs(halves - batch.low).mean() < 0.5 * np.abs(halves - moved).mean()


def test_flips_turn_all_three_alike() -> None:
    turned = PatchSampler([pairs()], patch_px=24, seed=1, flips=True).batch(3, 32)
    halves = turned.target.reshape(32, 24, 2, 24, 2).mean(axis=(2, 4))
    assert np.abs(halves - turned.low).mean() < 6


def test_hard_patches_are_drawn_more_often() -> None:
    def error(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean((a.astype(np.float64) - b) ** 2))

    drawn = sampler().batch(0, 1000)
    drawn_error, mean_error = error(drawn.plain, drawn.target), error(pairs().plain, pairs().target)
    assert drawn_error > 1.25 * mean_error


def test_every_video_is_drawn_as_often_as_any_other() -> None:
    easy = pairs()
    hard = TrainingPairs(
        low=255 - easy.low, plain=255 - easy.plain, target=np.roll(255 - easy.target, 5, axis=2), box=easy.box
    )
    drawn = PatchSampler([hard, easy], patch_px=24, seed=1, flips=False).batch(0, 600)
    turned = np.abs(drawn.low.mean(axis=(1, 2)) - hard.low.mean()) < np.abs(
        drawn.low.mean(axis=(1, 2)) - easy.low.mean()
    )
    assert 0.4 < turned.mean() < 0.6


def test_letterbox_borders_and_black_frames_are_never_drawn() -> None:
    whole = pairs()
    low, plain, target = (stack.copy() for stack in (whole.low, whole.plain, whole.target))
    target[:2] = 16  # two black frames whose low rung is bright: they would be the hardest of all
    plain[:, :200], plain[:, 520:] = 255, 255  # bars that would be, too
    boxed = TrainingPairs(low=low, plain=plain, target=target, box=(0, 200, 1280, 320))
    batch = PatchSampler([boxed], patch_px=24, seed=1, flips=False).batch(0, 300)
    assert np.all(batch.target.mean(axis=(1, 2)) > 20)
    assert np.all(batch.plain.max(axis=2).min(axis=1) < 255)
    with pytest.raises(MediaError, match="no frame"):
        PatchSampler(
            [TrainingPairs(low=low, plain=plain, target=np.zeros_like(target), box=boxed.box)],
            patch_px=24,
            seed=1,
            flips=False,
        )


def test_unfinished_training_is_found_again_by_its_settings() -> None:
    """Its file is named by a digest of this text, which must not change from one version to the next."""
    expected = (
        "Recipe(steps=0, seconds=3.0, batch=16, rate=0.001, warm_up=0.05, average_decay=0.998, "
        "exit_weights=(0.3, 0.3, 1.0), detail_weight=0.1, detail_step=0.0, threads=1)"
    )
    assert repr(TrainingSettings(seconds=3.0)) == expected


@pytest.mark.parametrize(("known", "dtype"), [({"avx2": True}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16)])
def test_a_processor_without_bfloat16_is_not_made_to_imitate_it(
    known: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    with half_precision("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is dtype
