"""What a live title publishes of the networks that learn it, and what the stream does when their trainer does wrong."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest
from live_process import finish, live
from waiting import wait_until

from abr.core.enhancement import Chunk, Offer, Tier
from abr.core.live.learning import Gain, LearnAnswer, LearntNetwork
from abr.core.live.quality import LiveQuality
from abr.core.live.tables import TABLES_FILE, LiveTables
from abr.core.title import Quality
from abr.errors import FormatError
from abr.records import dumps, load
from server.live.learning.learning import Learning, LearningExchange, Learnt, Progress
from server.live.learning.offers import with_learnt
from server.live.learning.published_weights import ADVANCE_S, PublishedWeights
from server.live.quality.prior import assumed_quality
from server.live.samples.files import SampledStream


def quality(vmaf: float) -> Quality:
    return Quality(vmaf=(vmaf,), vmaf_neg=(vmaf,), ssim=(0.9,), psnr_y_db=(30.0,), trusted=(vmaf,))


def chunk_of(body: bytes) -> Chunk:
    sha256 = hashlib.sha256(body).hexdigest()
    return Chunk(file=f"enhancers/content-90p-1-{sha256[:12]}.safetensors", size_bytes=len(body), sha256=sha256)


def network(body: bytes, sha256: str = "") -> LearntNetwork:
    chunk = chunk_of(body)
    offer = Offer(
        rendition="90p",
        architecture="plain-m2c32x4",
        weights_sha256=sha256 or chunk.sha256,
        chunks=(chunk,),
        macs_per_output_px=1.0,
        quality=quality(70.0),
    )
    return LearntNetwork(tier=Tier.LOW, offer=offer, plain=quality(60.0), gain=Gain(trusted=2.5, vmaf_neg=2.0))


class Stream:
    """The parent's side of a trainer, with a title of ten seconds whose lowest rung has 1 MB."""

    def __init__(self, folder: Path, share: float = 0.03) -> None:
        self.folder, self.made = folder / "cam", folder / "made"
        self.made.mkdir()
        self.now_s, self.heard, self.said, self.next_segment = 0.0, [], [], 5
        self.shelf = PublishedWeights(folder=self.folder, share=share, keep_s=30.0)
        self.lessons = LearningExchange(
            self.shelf,
            self.made,
            progress=lambda: Progress(rung_bytes=1_000_000, stream_s=10.0, next_segment=self.next_segment),
            learnt=self.heard.append,
            told=self.said.append,
            clock=lambda: self.now_s,
        )

    def answer(self, *networks: LearntNetwork, state: str = "training", is_ready: bool = True) -> bool:
        return self.lessons.hear(dumps(LearnAnswer(state=state, is_ready=is_ready, networks=networks)))  # type: ignore[arg-type]

    def make(self, body: bytes) -> LearntNetwork:
        made = network(body)
        (self.made / Path(made.offer.chunks[0].file).name).write_bytes(body)
        return made

    @property
    def files(self) -> set[str]:
        return {f"enhancers/{path.name}" for path in (self.folder / "enhancers").glob("*")}

    @property
    def newest(self) -> Learnt:
        return self.heard[-1]


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path)


def test_a_network_is_there_before_anything_names_it_with_where_it_holds_from_and_what_it_gained(stream):
    made = stream.make(b"w" * 1000)
    stream.lessons._learnt = lambda learnt: (stream.heard.append(learnt), stream.said.append(str(stream.files)))
    assert stream.answer(made, is_ready=False) is False, "more comes"
    assert made.offer.chunks[0].file in stream.said[0], "the file came first"
    learning = stream.newest.learning
    (only,) = learning.sets
    assert (only.from_segment, only.gain.trusted, learning.publications) == (5, 2.5, 1)
    assert (learning.published_bytes, learning.gain_points) == (1000, 2.5)
    stream.next_segment = 9
    stream.answer(made)
    assert stream.newest.learning.sets[0].from_segment == 5 and stream.newest.learning.publications == 1


def test_an_older_network_can_be_fetched_for_a_while_and_then_is_gone(stream):
    first, second = stream.make(b"1" * 100), stream.make(b"2" * 100)
    stream.answer(first)
    stream.now_s = 10.0
    stream.answer(second)
    assert stream.files == {first.offer.chunks[0].file, second.offer.chunks[0].file}
    assert stream.newest.networks == (second,), "who comes now gets the newest only"
    stream.now_s = 41.0
    stream.answer(second)
    assert stream.files == {second.offer.chunks[0].file}


def test_a_network_that_is_taken_back_makes_way_for_the_former_one_without_new_bytes(stream):
    first, second = stream.make(b"1" * 100), stream.make(b"2" * 100)
    for made in (first, second, first):
        stream.answer(made)
    assert stream.newest.networks == (first,) and stream.newest.learning.published_bytes == 200


def test_publications_keep_to_their_share_of_the_lowest_rung_a_minute_ahead(stream):
    allowed = stream.shelf.allowance_bytes(1_000_000, 10.0)
    assert allowed == int(0.03 * 1_000_000 * (1 + ADVANCE_S / 10.0))
    assert stream.shelf.allowance_bytes(360_000_000, 3600.0) / 360_000_000 == pytest.approx(0.03, rel=0.02)
    stream.answer(stream.make(b"a" * 150_000))
    with pytest.raises(FormatError, match="more than the 60000 that may be"):
        stream.answer(stream.make(b"b" * 150_000))
    assert stream.newest.learning.published_bytes == 150_000 and len(stream.files) == 1


@pytest.mark.parametrize("file", ["../title.json", "enhancers/../x-{}.safetensors", "video/{}.m4s", "/etc/passwd-{}"])
def test_a_trainer_that_names_other_files_publishes_nothing(stream, file):
    made = stream.make(b"w" * 100)
    (chunk,) = made.offer.chunks
    hostile = Chunk(file=file.format(chunk.sha256[:12]), size_bytes=100, sha256=chunk.sha256)
    answer = dumps(LearnAnswer(state="training", is_ready=True, networks=(made,)))
    with pytest.raises(FormatError, match="no chunk that can be published"):
        stream.lessons.hear(answer.replace(dumps(chunk), dumps(hostile)))
    assert not stream.folder.exists() and not stream.heard


def test_a_chunk_that_is_not_what_the_answer_says_is_not_published(stream):
    made = stream.make(b"w" * 100)
    (stream.made / Path(made.offer.chunks[0].file).name).write_bytes(b"x" * 100)
    with pytest.raises(FormatError, match="not what it is said to be"):
        stream.answer(made)
    with pytest.raises(FormatError):
        stream.lessons.hear(b'{"state": "dancing", "is_ready": 3}')
    assert not stream.folder.exists() and not stream.heard


@pytest.mark.parametrize("vmaf", [(), (1.0, 2.0)])
def test_a_quality_that_is_not_of_one_segment_is_refused_before_any_table_holds_it(stream, vmaf):
    made = stream.make(b"w" * 100)
    for bad in (
        msgspec.structs.replace(made, plain=msgspec.structs.replace(made.plain, vmaf=vmaf)),
        msgspec.structs.replace(
            made, offer=msgspec.structs.replace(made.offer, quality=msgspec.structs.replace(quality(70.0), vmaf=vmaf))
        ),
    ):
        with pytest.raises(FormatError, match="quality of one segment"):
            stream.answer(bad)
    assert not stream.heard


def test_a_price_is_what_was_gained_on_its_samples_above_what_plain_playback_is_usually_worth():
    usual = LiveQuality(
        plain={"90p": quality(50.0)}, meter=assumed_quality([], (640, 360)).meter, enhancements=None, measured=True
    )
    strange = network(b"s")
    strange = msgspec.structs.replace(strange, offer=msgspec.structs.replace(strange.offer, rendition="9999p"))
    table = with_learnt(usual, [network(b"w"), strange], "cam")
    (entry,) = table.enhancers
    (offer,) = entry.offers
    assert (entry.name, offer.rendition, offer.quality.trusted, offer.quality.vmaf) == (
        "content-low",
        "90p",
        (60.0,),
        (60.0,),
    )
    huge = msgspec.structs.replace(network(b"w").offer, quality=quality(1e6))
    (offer,) = with_learnt(usual, [msgspec.structs.replace(network(b"w"), offer=huge)], "cam").enhancers[0].offers
    assert offer.quality.vmaf == (100.0,), "nobody believes more"


def test_while_the_trainer_works_samples_wait_but_only_the_newest_few(tmp_path: Path):
    silent = (sys.executable, "-c", "import sys; sys.stdin.read()")
    sampled = SampledStream(folder=tmp_path, work=tmp_path / "work", rungs=["90p"], segment_frames=50, segment_s=2.0)
    with Learning(sampled, 0.5, Stream(tmp_path).lessons, command=silent) as learning:
        learning._is_free = False
        with learning._changed:
            for number in range(50 * 8):
                learning.watch(object(), *divmod(number, 50))  # type: ignore[arg-type]
                if number % 50 == 49:
                    learning.listed(number // 50, 0.1)
            assert [each.segment for each in learning._waiting] == [3, 4, 5, 6, 7]


SMALL = ("--heights", "90,360", "--preset", "ultrafast", "--segment-seconds", "1", "--measure-share", "0")
PICTURES = ("testsrc2=size=640x360:rate=25", "--format", "lavfi", "--pace")


def tables_of(folder: Path) -> LiveTables | None:
    return load(folder / TABLES_FILE, LiveTables) if (folder / TABLES_FILE).is_file() else None


@pytest.mark.slow
def test_a_stream_whose_trainer_is_killed_goes_on_and_says_so(tmp_path: Path):
    with live(tmp_path, *PICTURES, *SMALL, "--train-share", "1", "--name", "cam") as process:
        wait_until(lambda: tables_of(tmp_path / "cam"), "the tables")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (trainer,) = [int(each) for each in children if b"live_training" in Path(f"/proc/{each}/cmdline").read_bytes()]
        os.kill(trainer, signal.SIGKILL)
        end = load(tmp_path / "cam" / TABLES_FILE, LiveTables).end
        wait_until(lambda: load(tmp_path / "cam" / TABLES_FILE, LiveTables).end >= end + 3, "more segments")
        said = finish(process)
    assert "what learns it has ended; what is published stays" in said
    learning = load(tmp_path / "cam" / TABLES_FILE, LiveTables).learning
    assert learning is not None and learning.state == "stopped"
    assert not list(tmp_path.glob(".building-*")), "nothing of it is left"
