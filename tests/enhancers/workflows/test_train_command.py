"""`toprung train` on a real, short title: measured tables, interruptions, weights that do not belong."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from titles import TINY_CLIP, TITLE_ID, copy_tiny_title, tiny_library

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, Family, Tier
from abr.core.title import Quality, Title
from abr.errors import InputError, ToprungError
from abr.quality.sampled_panel import join_panels
from abr.records import load
from enhancers.cli.train import train
from enhancers.measurement.offers import OfferCandidate, select_worthwhile
from enhancers.measurement.quality import (
    Measured,
    Subject,
    cut_into_blocks,
    join_scores,
    kept_frames,
    mean_by_segment,
    measure_block,
    read_references,
)
from enhancers.prepared_title import PreparedTitle, open_title
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.loader import load_offered_weights, open_enhancer
from enhancers.training.title_weights import WEIGHTS_FILE, WeightsCard, write_card
from enhancers.work_folder import hold_work_folder

STEPS = ("--no-plans", "--steps", "16", "--tiers", "low", "--rungs", "64p", "--detail", "0.03")
"""Few steps, and little weight on detail: far from every bound of what is offered, on any kind of processor."""
SMALL_STEPS = ("--no-plans", "--steps", "6", "--tiers", "low", "--rungs", "128p", "--detail", "0.03")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    copy_tiny_title(tmp_path / "library")
    return tmp_path / "library"


def run(library: Path, *options: str, source: Path = TINY_CLIP) -> Result:
    return CliRunner().invoke(
        train, [TITLE_ID, "--library", str(library), "--source", str(source), *options], catch_exceptions=False
    )


def table_of(library: Path) -> EnhancementTable:
    return load(library / TITLE_ID / ENHANCEMENTS_FILE, EnhancementTable)


def check_complete(library: Path, *, is_over: bool = True) -> EnhancementTable:
    """A table whose every chunk opens, with a quality for every segment; no work is left, if training is over."""
    title = load(library / TITLE_ID / "title.json", Title)
    table = table_of(library)
    for entry in table.enhancers:
        for offer in entry.offers:
            chunks = [(library / TITLE_ID / chunk.file).read_bytes() for chunk in offer.chunks]
            assert str(load_offered_weights(offer, chunks).architecture) == offer.architecture
            assert bool(chunks) == (entry.family is Family.CONTENT)
            assert len(offer.quality.vmaf) == len(title.segment_frames)
    assert not is_over or not list(library.glob(".training-*"))
    return table


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, object]]:
    """A library after training, the exported weights, and the printed result."""
    root = tmp_path_factory.mktemp("trained")
    copy_tiny_title(root / "library")
    result = run(root / "library", *STEPS, "--export", str(root / "weights"), "--json")
    return root / "library", root / "weights", json.loads(result.stdout)


def test_training_publishes_a_complete_measured_table(trained: tuple[Path, Path, dict[str, object]]) -> None:
    library, _, printed = trained
    table = check_complete(library)
    names = {entry.name: [offer.rendition for offer in entry.offers] for entry in table.enhancers}
    assert names == {"generic-low": ["64p", "86p", "128p"], "content-low": ["64p"]}
    title = load(library / TITLE_ID / "title.json", Title)
    for entry in table.enhancers:
        for offer in entry.offers:
            assert np.mean(offer.quality.vmaf_neg) > np.mean(title.plain_quality[offer.rendition].vmaf_neg) - 0.5
    assert "seed" in table.note or "toprung" in table.note
    assert len(printed["enhancers"]) == 4  # type: ignore[arg-type]


def test_what_was_promised_is_what_is_shown(trained: tuple[Path, Path, dict[str, object]]) -> None:
    """Opened as a player opens it, the enhancer gives the PSNR that the table says (a meter of our own)."""
    library, _, _ = trained
    prepared = open_title(library, TITLE_ID, TINY_CLIP)
    offer = table_of(library).entry("content-low").offers[0]
    rendition = prepared.title.rendition(offer.rendition)
    chunks = [(prepared.folder / chunk.file).read_bytes() for chunk in offer.chunks]
    enhancer = open_enhancer(
        offer, chunks, size_px=(rendition.width_px, rendition.height_px), display_px=prepared.display_px
    )
    source = list(prepared.source_frames())
    every = prepared.title.meter.every_frames
    x, y, width, height = prepared.title.meter.crop
    decibels = []
    for index, frame in enumerate(prepared.frames(rendition, 0)):
        if index % every == 0:
            box = (slice(y, y + height), slice(x, x + width))
            error = np.mean((enhancer.enhance(frame).y[box].astype(float) - source[index].y[box]) ** 2)
            decibels.append(10 * np.log10(255**2 / error))
    assert offer.quality.psnr_y_db[0] == pytest.approx(np.mean(decibels), abs=0.01)


def joined(prepared: PreparedTitle, parts: list[Measured], kept: list[bool]) -> Quality:
    """The quality of a title that was measured in parts; the panel has judged it."""
    panel = join_panels([part.panel for part in parts])
    assert panel is not None
    return mean_by_segment(prepared, join_scores([part.scores for part in parts]), kept, panel)


def test_measuring_the_plain_scaler_gives_exactly_the_titles_plain_quality() -> None:
    """The three-frame shortcut, against prepare's run of the meter over all frames."""
    prepared = open_title(tiny_library().root, TITLE_ID, TINY_CLIP)
    rendition = prepared.title.rendition("86p")
    scaler = PlainScaler(rendition.width_px, rendition.height_px, *prepared.display_px)
    subject = Subject(key="none", rendition=rendition, enhancer=scaler)
    parts, kept = [], []
    for block, truth in read_references(prepared, cut_into_blocks(prepared, prepared.title.meter.every_frames)):
        parts.append(measure_block(prepared, block, truth, [subject])["none"])
        kept += kept_frames(truth, block)
    assert joined(prepared, parts, kept) == prepared.title.plain_quality["86p"]


def test_blocks_do_not_change_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = open_title(tiny_library().root, TITLE_ID, TINY_CLIP)
    rendition = prepared.title.rendition("64p")
    scaler = PlainScaler(rendition.width_px, rendition.height_px, *prepared.display_px)
    monkeypatch.setattr("enhancers.measurement.quality._BLOCK_BYTES", 1)
    parts, kept = [], []
    small = cut_into_blocks(prepared, prepared.title.meter.every_frames)
    assert len(small) == len(prepared.title.segment_frames)
    for block, truth in read_references(prepared, small):
        parts.append(
            measure_block(prepared, block, truth, [Subject(key="a", rendition=rendition, enhancer=scaler)])["a"]
        )
        kept += kept_frames(truth, block)
    assert joined(prepared, parts, kept) == prepared.title.plain_quality["64p"]


def test_exported_weights_attach_without_training(library: Path, trained: tuple[Path, Path, dict[str, object]]) -> None:
    there, weights, _ = trained
    run(library, "--weights", str(weights), "--tiers", "low", "--no-plans")
    attached = check_complete(library)
    assert attached.entry("content-low").offers == table_of(there).entry("content-low").offers


def test_weights_of_another_source_or_damaged_ones_are_refused(
    library: Path, tmp_path: Path, trained: tuple[Path, Path, dict[str, object]]
) -> None:
    _, weights, _ = trained
    foreign, damaged = tmp_path / "foreign", tmp_path / "damaged"
    shutil.copytree(weights, foreign)
    card = json.loads((foreign / WEIGHTS_FILE).read_text())
    (foreign / WEIGHTS_FILE).write_text(json.dumps(card | {"source_sha256": "0" * 64}))
    shutil.copytree(weights, damaged)
    chunk = damaged / card["networks"][0]["chunks"][0]["file"]
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\x7f")
    for folder, words in ((foreign, "were trained on"), (damaged, "fetch it again"), (tmp_path / "no", "Cannot read")):
        with pytest.raises(ToprungError, match=words):
            run(library, "--weights", str(folder))
    assert not (library / TITLE_ID / ENHANCEMENTS_FILE).exists()


def test_a_wrong_source_is_refused_in_one_sentence(library: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(TINY_CLIP.read_bytes() + b"\0")
    with pytest.raises(InputError, match="is not what bbb was prepared from"):
        run(library, "--source", str(other))


def test_a_rehearsal_trains_and_changes_nothing(library: Path) -> None:
    before = sorted(path for path in library.rglob("*"))
    result = json.loads(run(library, *STEPS[3:], "--steps", "20", "--dry-run", "--json").stdout)
    assert result["after_vmaf"] > max(result["plain_vmaf"], result["before_vmaf"])
    assert result["steps"] == 20
    assert sorted(path for path in library.rglob("*")) == before


_COMMAND = [sys.executable, "-m", "abr", "train"]


def test_killed_while_it_says_that_training_is_over_it_has_not_said_so(tmp_path: Path, monkeypatch) -> None:
    """Its bytes may not be on the disk yet: the file must not have its name before they are."""

    def kill(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        write_card(tmp_path, WeightsCard(title="t", source_name="s", source_sha256="0", made_by="m", networks=()))
    assert not (tmp_path / WEIGHTS_FILE).exists()


@pytest.fixture(scope="module")
def small_title(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of a title of two rungs, not yet trained on. Do not write to it."""
    root = tmp_path_factory.mktemp("small")
    copy_tiny_title(root, "128p", "256p")
    return root


@pytest.fixture(scope="module")
def small_table(small_title: Path, tmp_path_factory: pytest.TempPathFactory) -> EnhancementTable:
    """What training it without interruption leads to."""
    library = tmp_path_factory.mktemp("trained") / "library"
    shutil.copytree(small_title, library)
    run(library, *SMALL_STEPS)
    return table_of(library)


@pytest.mark.slow
def test_killed_in_one_phase_after_the_other_and_run_again_the_table_is_complete(
    tmp_path: Path, small_title: Path, small_table: EnhancementTable
) -> None:
    library = tmp_path / "library"
    shutil.copytree(small_title, library)
    command = [*_COMMAND, TITLE_ID, "--library", str(library), "--source", str(TINY_CLIP), *SMALL_STEPS]
    for phase in ("*.state.safetensors", "weights-*/weights.json", "scores-*.json"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for(library, f".training-{TITLE_ID}/{phase}", process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if (library / TITLE_ID / ENHANCEMENTS_FILE).exists():
            check_complete(library, is_over=False)  # it was quicker than the signal
    run(library, *SMALL_STEPS)
    assert {entry.name for entry in small_table.enhancers} == {"generic-low", "content-low"}
    assert check_complete(library).enhancers == small_table.enhancers


def _wait_for(library: Path, files: str, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 250
    while not list(library.glob(files)) and process.poll() is None:
        assert time.monotonic() < deadline_s
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_publishes_nothing(tmp_path: Path, small_title: Path) -> None:
    """The kernel refuses to let any file grow beyond 100 kB, as a full disk would."""

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    library = tmp_path / "library"
    shutil.copytree(small_title, library)
    command = [*_COMMAND, TITLE_ID, "--library", str(library), "--source", str(TINY_CLIP), *SMALL_STEPS]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=no_room)
    assert ended.returncode == 1
    assert ended.stderr.startswith("toprung: Cannot")
    assert ended.stderr.count("\n") == 1
    assert not (library / TITLE_ID / ENHANCEMENTS_FILE).exists()
    check_title = load(library / TITLE_ID / "title.json", Title)
    assert check_title.id == TITLE_ID


def test_two_trainings_of_one_title_do_not_mix(library: Path) -> None:
    prepared = open_title(library, TITLE_ID, TINY_CLIP)
    with hold_work_folder(prepared), pytest.raises(InputError, match="wait for it"), hold_work_folder(prepared):
        pass


@pytest.mark.parametrize("plain_neg", [49.0, 50.0])
def test_a_tier_that_is_no_better_than_a_cheaper_one_or_plain_playback_is_not_offered(plain_neg: float) -> None:
    whole = tiny_library().title(TITLE_ID)
    rendition = whole.renditions[0]

    def candidate(family: Family, tier: Tier) -> OfferCandidate:
        return OfferCandidate(family=family, tier=tier, rendition=rendition, architecture="", chunks=())

    def seen(vmaf: float, neg: float | None = None) -> Quality:
        return Quality(vmaf=(vmaf,), vmaf_neg=(neg or vmaf,), ssim=(1.0,), psnr_y_db=(40.0,))

    figures = {Family.GENERIC: (50.0, 52.0, 51.0), Family.CONTENT: (60.0, 60.0, 61.0)}
    found = [candidate(family, tier) for family in figures for tier in (Tier.HIGH, Tier.LOW, Tier.MEDIUM)]
    tiers = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)
    qualities = {each.key: seen(figures[each.family][tiers.index(each.tier)]) for each in found}
    plain = {rendition.id: seen(49.0, plain_neg)}
    title = msgspec.structs.replace(whole, segment_frames=(48,), plain_quality=plain)
    kept = {(each.family, each.tier) for each in select_worthwhile(found, qualities, title)}
    assert kept == {
        *({(Family.GENERIC, Tier.LOW)} if plain_neg < 50 else ()),  # sharper, but no truer to the source
        (Family.GENERIC, Tier.MEDIUM),
        (Family.CONTENT, Tier.LOW),
        (Family.CONTENT, Tier.HIGH),
    }
