"""Whether a clip was seen in training: copies of what was seen are recognised, other clips are not."""

from __future__ import annotations

import csv
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip

from abr.files import file_sha256
from enhancers.measurement.provenance import NOT_HAD, Source, fill_in, hash_source, read_sources, trace_clip

FILM = Path(__file__).parents[2] / "data" / "bbb_720p25_5s.mp4"


def clouds(seed: int) -> Callable[[int, int, int], np.ndarray]:
    """Paints soft patches that drift: as little like stripes, or other clouds, as two films are like each other."""
    patches = np.random.default_rng(seed).uniform(0, 255, (6, 9))

    def paint(width_px: int, height_px: int, index: int) -> np.ndarray:
        rows, columns = np.linspace(0, 4.99, height_px), np.linspace(0, 6.99, width_px) + index / 60
        top, left = rows.astype(int)[:, None], columns.astype(int)[None, :]
        down, right = rows[:, None] - top, columns[None, :] - left
        upper = patches[top, left] * (1 - right) + patches[top, left + 1] * right
        lower = patches[top + 1, left] * (1 - right) + patches[top + 1, left + 1] * right
        return np.repeat((upper * (1 - down) + lower * down).astype(np.uint8)[..., None], 3, axis=2)

    return paint


def copy(film: Path, to: Path, *, height_px: int, crf: int, skip: int = 0) -> Path:
    """The film from a frame on, scaled and compressed anew."""
    with av.open(film) as given, av.open(to, "w") as written:
        stream = written.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = height_px * 16 // 9 & ~1, height_px, "yuv420p"
        for number, picture in enumerate(given.decode(video=0)):
            if number >= skip:
                small = picture.reformat(stream.width, stream.height, "yuv420p")
                small.pts = None
                written.mux(stream.encode(small))
        written.mux(stream.encode(None))
    return to


@pytest.fixture(scope="module")
def seen() -> Source:
    return Source(name="film.mp4", sha256=file_sha256(FILM), hashes=hash_source(FILM))


def test_a_film_is_known_by_its_bytes(seen: Source) -> None:
    assert trace_clip(FILM, [seen]).seen == {"film.mp4": "bytes"}


@pytest.mark.parametrize(("height_px", "crf", "skip"), [(144, 36, 0), (360, 30, 0), (240, 26, 40)])
def test_a_scaled_compressed_or_shortened_copy_is_known_by_its_pictures(
    seen: Source, tmp_path: Path, height_px: int, crf: int, skip: int
) -> None:
    again = copy(FILM, tmp_path / "again.mp4", height_px=height_px, crf=crf, skip=skip)
    found = trace_clip(again, [seen])
    assert found.seen == {"film.mp4": "pictures"}
    assert "WAS SEEN" in found.as_text()


def test_other_clips_are_not_taken_for_it(seen: Source, tmp_path: Path) -> None:
    one, two = (make_clip(tmp_path / f"clouds{seed}.mp4", paint=clouds(seed)) for seed in (1, 2))
    drifting = Source(name="clouds1.mp4", sha256=None, hashes=hash_source(one))
    assert trace_clip(one, [seen, drifting]).seen == {"clouds1.mp4": "pictures"}
    for other, sources in ((two, [seen, drifting]), (make_clip(tmp_path / "stripes.mp4"), [seen, drifting])):
        found = trace_clip(other, sources)
        assert not found.seen
        assert "not seen" in found.as_text() and "2 of its 2 sources" in found.as_text()


def test_a_source_whose_bytes_were_not_had_is_said_not_to_be_compared() -> None:
    found = trace_clip(FILM, [Source(name="lost.jpg", sha256=None, hashes=[])])
    assert (found.seen, found.sources, found.unknown) == ({}, 1, 1)


def test_the_demos_film_was_not_seen_by_the_weights_that_ship() -> None:
    assert not trace_clip(FILM).seen


def test_most_sources_of_the_weights_that_ship_can_be_recognised() -> None:
    sources = read_sources()
    assert len(sources) == 300
    assert sum(bool(source.hashes) for source in sources) >= 270
    assert all(len(source.sha256) == 64 for source in sources if source.sha256)


def test_the_table_is_filled_in_from_a_folder_and_keeps_what_it_had(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", frames=31)
    given = (("film", "from", "sha256", "phash"), ("a.mp4", "here", NOT_HAD, NOT_HAD), ("b.jpg", "here", "abc", "01"))
    table = "".join("\t".join(row) + "\n" for row in (*given, ("c.jpg", "there", NOT_HAD, NOT_HAD)))
    rows = {row["film"]: row for row in csv.DictReader(StringIO(fill_in(table, tmp_path)), delimiter="\t")}
    assert rows["a.mp4"]["sha256"] == file_sha256(tmp_path / "a.mp4")
    assert [int(value, 16) for value in rows["a.mp4"]["phash"].split()] == hash_source(tmp_path / "a.mp4")
    assert (rows["b.jpg"]["sha256"], rows["b.jpg"]["phash"]) == ("abc", "01")
    assert rows["c.jpg"]["sha256"] == rows["c.jpg"]["phash"] == NOT_HAD
