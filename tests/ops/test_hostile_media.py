"""Damaged films in prepare, each in its bounded process: a title or one sentence, and never anything half-made."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from clips import make_clip
from hypothesis import settings
from titles import CLIP

from abr.jobs.local_pool import JobFailure, LocalPool
from server.ingest.encode_settings import EncodeSettings
from server.ingest.jobs import PrepareJob, prepare_job
from server.media.library import Library

RECIPE = EncodeSettings(preset="ultrafast", heights_px=(54,), vmaf_every=60, segment_s=1)
BRIEF, THOROUGH = 4, 200


def damaged(whole: bytes, seed: int) -> bytes:
    """Bytes of `whole` flipped, moved about or cut off, mostly in its index."""
    chance = random.Random(seed)
    data = bytearray(whole)
    index = whole.rfind(b"moov")
    for _ in range(chance.choice((1, 3, 30))):
        at = (
            chance.randrange(len(data)) if chance.random() < 0.4 else min(len(data) - 1, index + chance.randrange(1500))
        )
        match chance.choice(("flip", "cut", "move", "number")):
            case "flip":
                data[at] ^= 1 << chance.randrange(8)
            case "cut":
                del data[at : at + chance.randrange(1, 40)]
            case "move":
                data[at:at] = data[:40]
            case "number":
                data[at : at + 4] = chance.choice(
                    (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
                )
    return bytes(data[: len(data) // chance.choice((1, 1, 1, 2))])


def jobs(folder: Path) -> Iterator[PrepareJob]:
    small = make_clip(folder / "small.mp4", width_px=96, height_px=54, frames=30, sound_s=1.2).read_bytes()
    count = THOROUGH if settings.get_current_profile_name() == "thorough" else BRIEF
    for seed in range(count):
        source = folder / f"damaged-{seed}.mp4"
        source.write_bytes(damaged(CLIP.read_bytes() if seed % 20 == 19 else small, seed))
        yield PrepareJob(source=source, library=folder / "library", recipe=RECIPE)


def test_a_damaged_film_becomes_a_title_or_one_sentence(tmp_path):
    crew = LocalPool(2, memory_bytes=6 << 30)
    done = list(crew.work(prepare_job, list(jobs(tmp_path))))
    refused = [finished for finished in done if isinstance(finished.outcome, JobFailure)]
    for finished in refused:
        assert finished.outcome.exit_code == 2, finished
        assert "\n" not in finished.outcome.sentence, finished
    library = Library(tmp_path / "library")
    assert len(library.titles()) == len(done) - len(refused)
    for name in library.titles():
        assert library.title(name).duration_s < 60, "nor a title of hours from a film of a second"
    left = {entry.name for entry in library.root.iterdir()} if library.root.is_dir() else set()
    assert left == set(library.titles()), "nothing half-made is left behind"
