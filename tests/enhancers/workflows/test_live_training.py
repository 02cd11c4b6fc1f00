"""Networks that learn a stream: scored on what they have not learnt from, published when they win."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from live_samples import samples

from abr.core.live.learning import LearnAnswer, LearnRequest
from abr.core.title import Quality
from abr.records import dumps, loads
from enhancers.networks.checkpoint import digest, loads_chunks
from enhancers.workflows import live_rung
from enhancers.workflows.live_rung import Network, RungLearner
from enhancers.workflows.live_sample import Row, read_sample
from enhancers.workflows.live_training import LiveTrainer

AMPLE_BYTES = 1_000_000


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveTrainer:
    monkeypatch.setattr(live_rung, "STEPS_FIRST", 12)
    monkeypatch.setattr(live_rung, "STEPS", 12)
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
