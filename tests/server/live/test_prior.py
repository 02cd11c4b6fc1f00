"""A memory of what earlier streams have learnt: kept while a stream runs, and given to the next one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from broadcast import footage
from click.testing import CliRunner

from abr.cli import root
from abr.core.enhancement import Chunk, Offer, Tier
from abr.core.live.learning import STREAM_WEIGHTS_FILE, Gain, LearnAnswer, LearntNetwork, StreamWeights
from abr.core.title import Quality
from abr.errors import FormatError, InputError
from abr.files import write_atomically
from abr.records import dumps, load
from enhancers.networks.checkpoint import digest
from server.live.clock import WallClock
from server.live.learning import learning
from server.live.learning.kept_weights import check_prior, keep_weights, prior_folder, take_over
from server.live.learning.learning import Learning
from server.live.plan import LivePlan
from server.live.publication import Publication
from server.live.side_processes import SideProcessOptions, side_processes
from server.media.library import Library

PLAIN = Quality(vmaf=(60.0,), vmaf_neg=(60.0,), ssim=(0.9,), psnr_y_db=(30.0,))


def network(body: bytes) -> LearntNetwork:
    sha256 = digest(body)
    offer = Offer(
        rendition="64p",
        architecture="plain-m2c32x4",
        weights_sha256=sha256,
        chunks=(Chunk(file=f"enhancers/content-64p-1-{sha256[:12]}.w", size_bytes=len(body), sha256=sha256),),
        macs_per_output_px=1.0,
        quality=PLAIN,
    )
    return LearntNetwork(tier=Tier.LOW, offer=offer, plain=PLAIN, gain=Gain(trusted=2.0, vmaf_neg=1.0))


def put(folder: Path, body: bytes) -> LearntNetwork:
    made = network(body)
    write_atomically(folder / made.offer.chunks[0].file, body, durable=False)
    return made


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_kept_takes_the_place_of_what_was(tmp_path: Path):
    prior = prior_folder(tmp_path, "anna")
    assert check_prior(prior) == "", "there is none yet"
    for stream, body in (("monday", b"first"), ("tuesday", b"second")):
        made = put(tmp_path / stream, body)
        keep_weights(prior, stream, [made], tmp_path / stream)
        assert check_prior(prior) == stream
        assert names(prior) == {Path(made.offer.chunks[0].file).name, STREAM_WEIGHTS_FILE}
    assert load(prior / STREAM_WEIGHTS_FILE, StreamWeights).offers == (made.offer,)
    assert Library(tmp_path).titles() == [] == Library(tmp_path).live_titles()


def test_a_damaged_prior_is_told_and_a_name_that_is_none_refused(tmp_path: Path):
    prior = prior_folder(tmp_path, "anna")
    made = put(tmp_path / "monday", b"first")
    keep_weights(prior, "monday", [made], tmp_path / "monday")
    (prior / Path(made.offer.chunks[0].file).name).write_bytes(b"half")
    with pytest.raises(FormatError, match="is not what"):
        check_prior(prior)
    (prior / STREAM_WEIGHTS_FILE).write_text("{")
    with pytest.raises(FormatError):
        check_prior(prior)
    for name in ("../anna", "a/b", "", "x" * 65):
        with pytest.raises(InputError, match="cannot name a prior"):
            prior_folder(tmp_path, name)


def learning_of(tmp_path: Path, said: list[str]) -> Learning:
    """What learns a stream `cam` with the prior `anna`, whose process is never started."""
    plan = LivePlan(
        name="cam", version="0" * 16, footage=footage(), rungs=(), segment_frames=25, sound_bps=0, window_s=9
    )
    options = SideProcessOptions(train_share=0.5, prior=prior_folder(tmp_path, "anna"))
    publication = Publication(tmp_path / "cam", plan, WallClock(0.0))
    publication.progress = lambda: learning.Progress(rung_bytes=10**7, stream_s=60.0, next_segment=3)  # type: ignore[method-assign]
    (found,) = side_processes(options, plan, tmp_path / "cam", tmp_path / "work", publication, said.append)
    assert isinstance(found, Learning)
    return found


def test_each_set_that_is_published_is_kept_and_the_next_stream_is_given_the_last(tmp_path: Path):
    said: list[str] = []
    learns = learning_of(tmp_path, said)
    assert said == ["its prior is new: it begins with this stream."] and "--prior" not in learns._command
    made = tmp_path / "work" / "learning" / "made"
    for body in (b"first", b"second", b"first"):  # the last one was taken back for the first
        put(made.parent, body)
        file = Path(network(body).offer.chunks[0].file).name
        (made / file).write_bytes(body)
        learns._exchange.hear(dumps(LearnAnswer(state="training", is_ready=True, networks=(network(body),))))
        prior = prior_folder(tmp_path, "anna")
        assert names(prior) == {file, STREAM_WEIGHTS_FILE} and (prior / file).read_bytes() == body
    said.clear()
    again = learning_of(tmp_path, said)
    assert said == ["it goes on from what cam has learnt."]
    assert again._command[-2:] == ["--prior", str(prior_folder(tmp_path, "anna"))]
    os.truncate(prior / file, 2)
    said.clear()
    assert "--prior" not in learning_of(tmp_path, said)._command
    assert "cannot be read, so it learns from the generic weights on" in said[0]


def test_a_prior_goes_with_training(tmp_path: Path):
    done = CliRunner().invoke(
        root, ["live", "film.mp4", "--library", str(tmp_path), "--name", "cam", "--prior", "anna"]
    )
    assert done.exit_code == 2 and "--prior goes with --train-share" in done.stderr


def test_weights_that_cannot_be_taken_over_are_told_in_one_sentence(tmp_path: Path):
    problem = take_over(
        tmp_path, "cam", tmp_path / "film.nut", tmp_path / "learnt", ("sh", "-c", "echo a; echo why >&2; exit 3", "sh")
    )
    assert problem == "why"
    assert take_over(tmp_path, "cam", tmp_path, tmp_path, ("true",)) == ""
