"""Blind pairs: clips that show what the key says, a page that tells nothing, and votes that are counted right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from browser import chromium
from click.testing import CliRunner, Result
from titles import TINY_CLIP, TITLE_ID, copy_tiny_title, tiny_library

from abr.cli import root
from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, EnhancerEntry, Family, Offer, Tier
from abr.core.title import Title
from abr.errors import FormatError, InputError
from abr.opinions.rating_key import KEY_FILE, Attested, Clip, Comparison, RatingKey
from abr.records import dumps, load
from enhancers.bench.pairs import PAGE_FILE, write_pairs
from enhancers.bench.ratings import Ballot, Vote, read_ballots, sum_up
from enhancers.bench.squeeze import find_crf
from enhancers.networks import catalog
from enhancers.networks.checkpoint import weights_digest
from enhancers.prepared_title import find_title, open_title
from enhancers.runtime.enhancer import PlainScaler
from enhancers.runtime.frames import decode_file
from enhancers.runtime.loader import open_enhancer


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose title offers the generic network for 64p and for 86p."""
    title, folder = tiny_library().title(TITLE_ID), tmp_path_factory.mktemp("library")
    copy_tiny_title(folder)
    offers = (offer(title, "64p", 4.0), offer(title, "86p", 3.0))
    entry = EnhancerEntry(name="generic-low", family=Family.GENERIC, tier=Tier.LOW, offers=offers)
    table = EnhancementTable(title=title.id, meter=title.meter, enhancers=(entry,))
    (folder / title.id / ENHANCEMENTS_FILE).write_bytes(dumps(table))
    return folder


def offer(title: Title, rendition: str, scale: float) -> Offer:
    architecture = catalog.architecture(scale, Tier.LOW)
    return Offer(
        rendition=rendition,
        architecture=str(architecture),
        weights_sha256=weights_digest(catalog.generic_chunks(architecture)),
        chunks=(),
        macs_per_output_px=1000.0,
        quality=title.plain_quality[rendition],
    )


@pytest.fixture(scope="module")
def pairs(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "out"
    result = invoke("pairs", TITLE_ID, "--library", str(library), "--out", str(folder), "--excerpts", "1")
    assert result.exit_code == 0, result.output
    return folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(root, ["bench", *arguments])


def test_each_lifted_rung_meets_its_own_bytes_and_the_next_rung(pairs: Path) -> None:
    key = load(pairs / KEY_FILE, RatingKey)
    clips = {clip.file: clip.condition for clip in key.clips}
    assert [(clips[each.lifted], clips[each.plain], each.against) for each in key.comparisons] == [
        ("64p generic-low", "64p none", "same rung"),
        ("64p generic-low", "86p none", "next rung"),
        ("86p generic-low", "86p none", "same rung"),
        ("86p generic-low", "128p none", "next rung"),
    ]


def test_clips_show_what_the_player_shows(library: Path, pairs: Path) -> None:
    key, found = load(pairs / KEY_FILE, RatingKey), find_title(library, TITLE_ID)
    table = load(found.folder / ENHANCEMENTS_FILE, EnhancementTable)
    for clip in key.clips:
        rendition = found.title.rendition(clip.rendition)
        size_px = rendition.width_px, rendition.height_px
        offered = None if clip.enhancer == "none" else table.entry(clip.enhancer).offer(clip.rendition)
        enhancer = (
            open_enhancer(offered, (), size_px=size_px, display_px=found.display_px)
            if offered
            else PlainScaler(*size_px, *found.display_px)
        )
        frames = found.frames(rendition, clip.segment)
        shown = list(decode_file(str(pairs / clip.file)))
        assert len(shown) == len(frames)
        for index in (0, len(frames) - 1):
            wanted = enhancer.enhance(frames[index]).y.astype(float)
            assert np.abs(shown[index].y - wanted).mean() < 1.0


def test_at_equal_bits_the_next_size_has_no_more_bytes_than_the_lifted_rung(library: Path, tmp_path: Path) -> None:
    prepared = open_title(library, TITLE_ID, TINY_CLIP)
    table = load(prepared.folder / ENHANCEMENTS_FILE, EnhancementTable)
    lowest = prepared.title.renditions[0]
    only = msgspec.structs.replace(table.enhancers[0], offers=table.enhancers[0].offers[:1])
    table = msgspec.structs.replace(table, enhancers=(only,))
    key = write_pairs(prepared, table, tmp_path / "out", excerpts=1, progress=lambda *_: None)
    against = {each.against: each for each in key.comparisons}
    clips = {clip.file: clip for clip in key.clips}
    squeezed = clips[against["equal bits"].plain]
    assert (squeezed.condition, squeezed.rate_bps) == ("86p none as 64p", lowest.average_bps)
    assert squeezed.bytes_max == lowest.segment_bytes[squeezed.segment], "generic weights cost nothing"
    assert squeezed.file != against["next rung"].plain
    coarse, own = (
        np.stack([frame.y for frame in decode_file(str(tmp_path / "out" / file))])
        for file in (squeezed.file, against["next rung"].plain)
    )
    assert coarse.shape == own.shape
    assert np.abs(np.diff(coarse.astype(int), axis=2)).mean() < np.abs(np.diff(own.astype(int), axis=2)).mean(), (
        "softer"
    )


def test_the_finest_quality_that_fits_is_found() -> None:
    assert find_crf(lambda crf: round(100_000 / crf), 4000) == 25.0
    assert find_crf(lambda crf: 10, 4000) == 12.0
    assert find_crf(lambda crf: 10_000, 4000) == 51.0


def test_votes_tell_the_weight_of_the_medians() -> None:
    """All prefer what the detail median praises and the fidelity median does not: it weighs all."""
    told = Attested(fidelity=-0.5, detail=1.0, step=20.0, lift=20.0)
    clips = tuple(
        Clip(file=f"{name}.mp4", segment=0, rendition="90p", enhancer=name, rate_bps=1e5) for name in ("none", "low")
    )
    compared = Comparison(lifted="low.mp4", plain="none.mp4", against="same rung", attested=told)
    key = RatingKey(set="s", title="t", source_sha256="", clips=clips, comparisons=(compared,))
    vote = Vote(better="low.mp4", worse="none.mp4")
    result = sum_up(key, [ballot(key, str(rater), vote) for rater in range(30)])
    assert result.fidelity_weight is not None
    assert result.fidelity_weight.value < 0.2 and result.fidelity_weight.high < 0.7
    assert "fidelity median weighs" in result.as_text()


def test_the_page_does_not_tell_which_is_which(pairs: Path) -> None:
    page = (pairs / PAGE_FILE).read_text()
    assert not any(word in page for word in ("generic", "64p", "86p", "same rung", KEY_FILE))


async def test_a_person_chooses_and_the_votes_are_counted(pairs: Path, tmp_path: Path) -> None:
    async with chromium() as browser:
        page = await browser.open((pairs / PAGE_FILE).as_uri(), width_px=1400, height_px=900)
        await page.tab.click("text=Begin")
        for done in range(4):
            await page.tab.wait_for_function(
                "!document.getElementById('stage').hidden && document.querySelectorAll('video')[1].readyState > 1"
            )
            await page.tab.wait_for_function(f"document.getElementById('state').textContent.startsWith('{done} of 4')")
            assert await page.tab.is_disabled("text=A looks better"), "B was not looked at"
            await page.tab.press("body", "2")
            if done == 0:
                await page.screenshot("ratings")
            await page.tab.press("body", "a")
        await page.tab.wait_for_selector("text=That is all")
        async with page.tab.expect_download() as download:
            await page.tab.click("text=Save the votes")
        await (await download.value).save_as(tmp_path / "votes.json")
    assert page.complaints == []
    result = invoke("ratings", str(pairs), str(tmp_path / "votes.json"), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["raters"] == 1
    assert sum(row["votes"] for row in told["preferred"] if row["rendition"]) == 4
    assert load(tmp_path / "votes.json", Ballot).picture_px == (456, 256), "a pixel for a pixel"


def test_the_last_vote_of_a_person_counts(pairs: Path) -> None:
    key = load(pairs / KEY_FILE, RatingKey)
    first = key.comparisons[0]
    lifted, plain = Vote(better=first.lifted, worse=first.plain), Vote(better=first.plain, worse=first.lifted)
    result = sum_up(key, [ballot(key, "one", plain, lifted), ballot(key, "two", plain), ballot(key, "two", lifted)])
    (everywhere, rung) = result.preferred
    assert (everywhere.wins, everywhere.votes, rung.rendition) == (2, 2, "64p")
    assert result.scores["64p generic-low"].value > 0 > result.scores["64p none"].value
    assert "64p          lifted over plain same rung: 100% of 2 votes" in result.as_text()


def ballot(key: RatingKey, rater: str, *votes: Vote) -> Ballot:
    return Ballot(set=key.set, rater=rater, votes=votes)


def test_votes_on_other_clips_are_refused(pairs: Path, tmp_path: Path) -> None:
    key = load(pairs / KEY_FILE, RatingKey)
    path = tmp_path / "votes.json"
    path.write_bytes(dumps(Ballot(set="another", rater="one", votes=())))
    with pytest.raises(FormatError, match="votes on other clips"):
        read_ballots([path], key)
    first, second = key.comparisons[0].lifted, key.comparisons[2].lifted
    path.write_bytes(dumps(ballot(key, "one", Vote(better=first, worse=second))))
    with pytest.raises(FormatError, match="no pair"):
        read_ballots([path], key)


def test_a_title_without_enhancers_has_nothing_to_compare(library: Path, tmp_path: Path) -> None:
    shutil.copytree(library / TITLE_ID, tmp_path / TITLE_ID)
    table = load(library / TITLE_ID / ENHANCEMENTS_FILE, EnhancementTable)
    empty = EnhancementTable(title=TITLE_ID, meter=table.meter, enhancers=())
    (tmp_path / TITLE_ID / ENHANCEMENTS_FILE).write_bytes(dumps(empty))
    result = invoke("pairs", TITLE_ID, "--library", str(tmp_path), "--out", str(tmp_path / "out"))
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_left_alone(library: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = invoke("pairs", TITLE_ID, "--library", str(library), "--out", str(tmp_path))
    assert isinstance(result.exception, InputError)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
