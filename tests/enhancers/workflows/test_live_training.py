"""Networks that learn a stream: scored on what they have not learnt from, published when they win."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from live_process import run
from live_samples import samples
from titles import SMALL_CLIP

from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, Family
from abr.core.live.learning import STREAM_WEIGHTS_FILE, LearnAnswer, LearnRequest, StreamWeights
from abr.core.title import TITLE_FILE, Quality, Title
from abr.records import dumps, load, loads
from enhancers.networks import catalog
from enhancers.networks.checkpoint import Weights, digest, loads_chunks
from enhancers.workflows import live_rung
from enhancers.workflows.live_rung import Network, RungLearner
from enhancers.workflows.live_sample import Row, read_sample
from enhancers.workflows.live_training import LiveTrainer
from enhancers.workflows.stream_weights import KeptNetwork, read_stream_weights
from server.live.learning.kept_weights import keep_weights, take_over

AMPLE_BYTES = 1_000_000


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveTrainer:
    monkeypatch.setattr(live_rung, "STEPS_FIRST", 8)
    monkeypatch.setattr(live_rung, "STEPS", 4)
    return LiveTrainer(tmp_path, lambda: None)


def request(*segments: int, allowance_bytes: int = AMPLE_BYTES) -> LearnRequest:
    folders = tuple(str(samples()[segment]) for segment in segments)
    return LearnRequest(folders=folders, segments=segments, allowance_bytes=allowance_bytes)


@pytest.mark.slow
def test_what_leads_on_a_sample_that_it_has_not_learnt_from_is_published_with_its_measured_gain(trainer, tmp_path):
    first = trainer.score(request(0))
    assert first.networks == () and first.state == "training", "there is nothing to score yet"
    trainer.learn(request(0))
    refused = trainer.score(request(1, allowance_bytes=1_000))
    assert refused.networks == (), "more bytes than may be published"
    trainer.learn(request(1))
    (network,) = trainer.score(request(2)).networks
    assert network.offer.rendition == "90p" and network.gain.trusted > 0.5 and network.gain.vmaf_neg > 0
    lifted, plain = network.offer.quality, network.plain
    assert lifted.trusted[0] > plain.vmaf[0] and lifted.vmaf_neg[0] > plain.vmaf_neg[0]
    bodies = []
    for chunk in network.offer.chunks:
        body = (tmp_path / Path(chunk.file).name).read_bytes()
        assert (digest(body), len(body)) == (chunk.sha256, chunk.size_bytes)
        assert chunk.sha256[:12] in chunk.file
        bodies.append(body)
    assert str(loads_chunks(bodies).architecture) == network.offer.architecture


def quality(points: float) -> Quality:
    return Quality(vmaf=(points,), vmaf_neg=(points,), ssim=(0.9,), psnr_y_db=(30.0,))


def test_a_publication_that_does_worse_on_newer_samples_gives_way_to_the_former_one():
    title = read_sample(samples()[0]).title
    learner = RungLearner(title, title.renditions[0], 4.0, lambda: None)
    former, newer = (Network(chunks=(body,), strength=0.75) for body in (b"former", b"newer"))
    learner.publish(former)
    learner.publish(newer)
    plain = {"90p": quality(50.0), "360p": quality(90.0)}
    for worse_by in (0.5, 1.0):
        assert learner.published is newer
        row = Row(plain=plain, lifted={former.key: quality(60.0), newer.key: quality(60.0 - worse_by)})
        for network in (former, newer):
            network.rows.append(row)
        learner.take_back_if_worse(title)
    assert learner.published is former


@pytest.mark.slow
def test_a_damaged_sample_is_told_and_the_next_one_is_taken(tmp_path: Path):
    (tmp_path / "broken").mkdir()
    broken = LearnRequest(folders=(str(tmp_path / "broken"),), segments=(0,), allowance_bytes=0)
    said = subprocess.run(
        [sys.executable, "-m", "enhancers.workflows.live_training", "--share", "1", "--out", str(tmp_path)],
        input=dumps(broken) + b"\nno JSON at all\n",
        capture_output=True,
        timeout=120,
        check=True,
    ).stdout
    answers = [loads(line, LearnAnswer, what="answer") for line in said.splitlines()]
    assert [answer.is_ready for answer in answers] == [True, True]
    assert all(answer.problem and answer.state == "waiting" for answer in answers)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what a stream has learnt from two samples, as `toprung live` keeps it."""
    home = tmp_path_factory.mktemp("learnt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_rung, "STEPS_FIRST", 12)
        patch.setattr(live_rung, "STEPS", 32)
        trainer = LiveTrainer(home, lambda: None)
        for segment in (0, 1):
            trainer.score(request(segment))
            trainer.learn(request(segment))
        networks = trainer.score(request(2)).networks
    assert networks
    (home / "enhancers").mkdir()
    for chunk in networks[0].offer.chunks:
        (home / chunk.file).write_bytes((home / Path(chunk.file).name).read_bytes())
    keep_weights(home / "prior", "earlier", networks, home)
    return home / "prior"


@pytest.mark.slow
def test_a_stream_with_a_prior_publishes_it_at_once_when_it_wins_and_goes_on_from_it(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live_rung, "STEPS_FIRST", 1)
    monkeypatch.setattr(live_rung, "STEPS", 1)
    known = read_stream_weights(kept)
    (network,) = known
    again = LiveTrainer(tmp_path / "again", lambda: None, known)
    (tmp_path / "again").mkdir()
    (offered,) = again.score(request(3)).networks
    assert offered.offer.weights_sha256 == load(kept / STREAM_WEIGHTS_FILE, StreamWeights).offers[0].weights_sha256
    assert offered.gain.trusted > 0.5, "before anything was learnt"
    again.learn(request(3))
    began, begun = loads_chunks(network.chunks), again._learners[0]._trainer
    assert apart(began, loads_chunks(begun.chunks())) < 0.2 * apart(began, loads_chunks(generic(4.0)))


def apart(one: Weights, other: Weights) -> float:
    return float(np.mean([np.abs(other.tensors[name] - tensor).mean() for name, tensor in one.tensors.items()]))


def generic(scale: float) -> list[bytes]:
    return catalog.generic_chunks(catalog.architecture(scale, live_rung.TIER))


def test_a_prior_of_another_scale_is_left_aside(tmp_path: Path):
    other = KeptNetwork(rendition="90p", architecture="plain-m1c4x1.5d2", chunks=(b"never read",))
    rung = read_sample(samples()[0]).title.renditions[0]
    assert LiveTrainer(tmp_path, lambda: None, [other])._prior_of(rung, 4.0) == ()


@pytest.mark.slow
def test_what_a_stream_has_learnt_is_measured_on_the_title_that_it_became(kept: Path, tmp_path: Path):
    library, recording = tmp_path / "library", tmp_path / "film.nut"
    ladder = ("--heights", "90,360", "--preset", "ultrafast", "--segment-seconds", "1", "--measure-share", "0")
    measured = ("--vmaf-every", "25", "--panel-every", "2", "--keep", "--recording", str(recording))
    assert run(library, str(SMALL_CLIP), *ladder, *measured, "--name", "cam").returncode == 0
    assert take_over(library, "cam", recording, kept) == ""
    title = load(library / "cam" / TITLE_FILE, Title)
    table = load(library / "cam" / ENHANCEMENTS_FILE, EnhancementTable)
    (entry,) = [each for each in table.enhancers if each.family is Family.CONTENT]
    (offer,) = entry.offers
    assert offer.rendition == "90p" and len(offer.quality.vmaf) == len(title.segment_frames)
    assert sum(offer.quality.vmaf) > sum(title.plain_quality["90p"].vmaf)
    bodies = [(library / "cam" / chunk.file).read_bytes() for chunk in offer.chunks]
    before, after = loads_chunks(read_stream_weights(kept)[0].chunks), loads_chunks(bodies)
    assert all(np.allclose(after.tensors[name], tensor, atol=1e-3) for name, tensor in before.tensors.items())
    recording.unlink()
    assert "film.nut" in take_over(library, "cam", recording, kept), "one sentence"
