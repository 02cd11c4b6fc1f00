"""`toprung play` on a live title whose networks learn it: newer weights come while it plays, and forged ones do not."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from broadcast import Broadcast
from networks import random_weights
from serve_process import ask, served
from viewers import of_kind

from abr.core.device import Device, DeviceProfile, Measurement
from abr.core.enhancement import Offer, Tier
from abr.core.events import AnyEvent, Decided, Downloaded, Failed, Learnt, Shown
from abr.core.live.learning import Gain, LearntNetwork, LearntSet, LiveLearning
from abr.core.title import Quality
from client_player.session.request import PlayRequest
from client_player.session.run import SessionOutcome, play
from enhancers.measurement.publish import chunk_of
from enhancers.networks.checkpoint import dumps_chunks, weights_digest
from enhancers.networks.plain import parse
from server.live.learning.learning import Learnt as LearntNow

ARCHITECTURE = "plain-m1c4x1.5d2"
RUNG = "64p"
SHOWN_MAX = 25
"""Segments; it ends when one was shown after forged weights were refused."""


def device() -> DeviceProfile:
    measured = Measurement(
        architecture=ARCHITECTURE, width_px=114, height_px=64, backend="torch", threads=1, p50_ms=1.0, p95_ms=2.0
    )
    return DeviceProfile(device=Device(name="box", processor="p", cores=2, memory_bytes=0), measurements=(measured,))


@dataclass
class Publisher:
    """Publishes networks of the broadcast's lowest rung, as what trains them would."""

    cam: Broadcast
    count: int = 0

    def publish(self, seed: int, *, forged: bool = False) -> str:
        """The name of the chunk."""
        body = dumps_chunks(random_weights(parse(ARCHITECTURE), seed=seed))[0]
        chunk = chunk_of(RUNG, 1, body)
        file = self.cam.folder / chunk.file
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(body[:-1] + bytes([body[-1] ^ 1]) if forged else body)
        plain = Quality(vmaf=(40.0,), vmaf_neg=(40.0,), ssim=(0.8,), psnr_y_db=(28.0,))
        lifted = msgspec.structs.replace(plain, vmaf=(90.0,), vmaf_neg=(90.0,), trusted=(90.0,))
        offer = Offer(
            rendition=RUNG,
            architecture=ARCHITECTURE,
            weights_sha256=weights_digest([body]),
            chunks=(chunk,),
            macs_per_output_px=1.0,
            quality=lifted,
        )
        gain = Gain(trusted=2.5 + self.count, vmaf_neg=2.0)
        self.count += 1
        learnt = LearntSet(
            rendition=RUNG, tier=Tier.LOW, weights_sha256=offer.weights_sha256, from_segment=0, gain=gain
        )
        self.cam.publication.learnt = LearntNow(
            learning=LiveLearning(state="training", publications=self.count, published_s=time.time(), sets=(learnt,)),
            networks=(LearntNetwork(tier=Tier.LOW, offer=offer, plain=plain, gain=gain),),
        )
        return Path(chunk.file).name


@dataclass
class Viewing:
    outcome: SessionOutcome
    names: dict[str, str]
    metrics: str

    def of(self, kind: type[AnyEvent]) -> list:
        return of_kind(self.outcome.events, kind)


@pytest.fixture(scope="module")
def viewing(tmp_path_factory: pytest.TempPathFactory) -> Viewing:
    """A first network, then a second one, then a forged third."""
    library = tmp_path_factory.mktemp("library")
    with served("--library", str(library)) as url:
        cam = Broadcast(library, time.time, window_s=30.0)
        publisher, shown, refused, names = Publisher(cam), [], [], {}
        names["first"] = publisher.publish(1)
        cam.send(2)

        def go_on(event: AnyEvent) -> None:
            if isinstance(event, Decided) and len(names) == 1:
                names["second"] = publisher.publish(2)
            if isinstance(event, Downloaded) and event.name.endswith(names.get("second", "-")):
                names["forged"] = publisher.publish(3, forged=True)
            if isinstance(event, Failed) and "sha256" in event.detail:
                refused.append(event)
            if isinstance(event, Shown):
                shown.append(event)
                cam.send()
                if (refused and event.t_s > refused[0].t_s) or len(shown) > SHOWN_MAX:
                    cam.end()

        outcome = play(PlayRequest(url=url, title="cam", virtual_time=False, profile=device()), listener=go_on)
        metrics = ask(f"{url.rstrip('/')}/metrics")[1].decode()
    return Viewing(outcome, names, metrics)


def test_newer_weights_are_taken_while_it_plays(viewing: Viewing):
    fetched = [Path(event.name).name for event in viewing.of(Downloaded) if event.kind == "weights"]
    assert fetched == [viewing.names["first"], viewing.names["second"]]
    assert viewing.outcome.summary.ended == "finished"
    assert "content-low" in {event.enhancer for event in viewing.of(Decided)}


def test_it_tells_what_was_learnt_since_the_start(viewing: Viewing):
    told = viewing.of(Learnt)
    assert [(event.publications, event.gain) for event in told] == [(1, 2.5), (2, 3.5), (3, 4.5)]


def test_forged_weights_are_refused_and_playing_goes_on(viewing: Viewing):
    refused = [event for event in viewing.of(Failed) if viewing.names["forged"] in event.detail]
    assert refused and "sha256" in refused[0].detail
    assert any(event.t_s > refused[0].t_s for event in viewing.of(Shown))
    assert {event.what for event in viewing.of(Failed)} <= {"download", "weights"}


def test_metrics_tell_how_old_the_weights_are_and_what_trains_them(viewing: Viewing):
    decided = len(viewing.of(Decided))
    told = dict(re.findall(r'toprung_live_decisions_total\{trainer="(\w+)"\} (\d+)', viewing.metrics))
    assert {"training"} <= told.keys() <= {"training", "stopped"}, "it stops when the stream ends"
    assert sum(map(int, told.values())) == decided
    assert f"toprung_live_publication_age_seconds_count {decided}.0" in viewing.metrics
