"""The kernel track of a title: made when asked for, or when the source is blurred."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from clips import make_clip

from abr.blur.cli import kernels
from abr.blur.kernel import Blur, blur_of
from abr.blur.source_track import check_track
from abr.blur.track import KERNELS_FILE, KernelTrack
from abr.errors import InputError, MediaError
from abr.records import load
from enhancers.restoration.degradation import shrink
from server.ingest.encode_settings import EncodeSettings
from server.ingest.kernels import KernelWish
from server.ingest.prepare import prepare_title
from server.media.library import Library

RECIPE = EncodeSettings(heights_px=(64,), preset="ultrafast", vmaf_every=60, panel_every=0)
SOFT, SHARP = Blur.of_axes(1.3, 1.1, 0.3), Blur.of_axes(0.25, 0.25, 0.0)


def rectangles(blur: Blur):
    """What paints a collage of grey rectangles, blurred, which moves a pixel a frame."""
    random = np.random.default_rng(5)
    large = np.full((4 * 128, 4 * 256), 128, np.uint8)
    for _ in range(260):
        y, x, height, width = random.integers((0, 0, 12, 12), (512, 1024, 120, 120))
        large[y : y + height, x : x + width] = random.integers(30, 226)
    small = np.clip(np.rint(shrink(large, blur.kernel(4), 4)), 0, 255).astype(np.uint8)

    def paint(width_px: int, height_px: int, index: int) -> np.ndarray:
        return small[:height_px, index : index + width_px, None].repeat(3, axis=2)

    return paint


def source(path: Path, blur: Blur) -> Path:
    return make_clip(
        path, width_px=192, height_px=128, frames=6, paint=rectangles(blur), options={"crf": "12", "threads": "1"}
    )


@pytest.mark.parametrize(
    ("blur", "wish", "told"),
    [
        (SOFT, KernelWish.AUTO, True),
        (SOFT, KernelWish.NEVER, False),
        (SHARP, KernelWish.AUTO, False),
        (SHARP, KernelWish.ALWAYS, True),
    ],
)
def test_a_title_tells_its_blur_when_asked_or_when_it_has_one(
    tmp_path: Path, blur: Blur, wish: KernelWish, told: bool
) -> None:
    recipe = msgspec.structs.replace(RECIPE, kernels=wish)
    folder = prepare_title(source(tmp_path / "film.mp4", blur), Library(tmp_path / "titles"), recipe).folder
    assert (folder / KERNELS_FILE).exists() == told
    assert (folder / "kernels.svg").exists() == told
    if told:
        (shot,) = load(folder / KERNELS_FILE, KernelTrack).shots
        assert not shot.moves
        assert blur_of(shot.codes[0]).axes[0] == pytest.approx(blur.axes[0], abs=0.35)


def test_a_title_that_is_there_already_gets_its_track_without_being_encoded_anew(tmp_path: Path) -> None:
    film, library = source(tmp_path / "film.mp4", SHARP), Library(tmp_path / "titles")
    folder = prepare_title(film, library, RECIPE).folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    told = prepare_title(film, library, msgspec.structs.replace(RECIPE, kernels=KernelWish.ALWAYS))
    assert told.already
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == {KERNELS_FILE, "kernels.svg"}
    assert before.items() <= after.items()
    check_track(load(folder / KERNELS_FILE, KernelTrack), film)


def test_an_interrupted_title_that_is_asked_for_its_track_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, library = source(tmp_path / "film.mp4", SHARP), Library(tmp_path / "titles")

    def interrupt(*_given: object, **_named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("server.ingest.prepare.measure_quality", interrupt)
        prepare_title(film, library, RECIPE)
    folder = prepare_title(film, library, msgspec.structs.replace(RECIPE, kernels=KernelWish.ALWAYS)).folder
    assert (folder / KERNELS_FILE).exists()


def test_what_is_told_of_a_film_is_not_written_over_it(tmp_path: Path) -> None:
    film = source(tmp_path / "film.mp4", SHARP)
    before = film.read_bytes()
    for option in ("--out", "--plot"):
        result = CliRunner().invoke(kernels, [str(film), option, str(film)])
        assert isinstance(result.exception, InputError)
    assert film.read_bytes() == before


def test_a_source_that_is_not_there_is_told_in_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(kernels, [str(tmp_path / "film.mp4")])
    assert isinstance(result.exception, MediaError)
    assert "There is no file" in str(result.exception)
