"""The panel against the programs behind it, run by themselves on the same frames, and against its own definitions."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from abr.errors import InputError, ToprungError, UnknownNameError
from abr.quality.ffmpeg_meters import ffmpeg_program
from abr.quality.panel import PANEL, PanelScores, Role, members_for, members_named, score_panel
from abr.quality.pictures import Planes, rgb_of
from abr.quality.ssimulacra2 import ssimulacra2

CLIP = Path(__file__).parents[2] / "data" / "bbb_720p25_5s.mp4"
WIDTH_PX, HEIGHT_PX = 320, 180
COUNT = 10
Pairs = list[tuple[Planes, Planes]]


def planes_of(frame: av.VideoFrame) -> Planes:
    y, u, v = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].copy()
        for plane in frame.planes
    )
    return y, u, v


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """The first frames of a film at a quarter of its size, and the same scaled down by three and up again."""
    with av.open(str(CLIP)) as container:
        frames = [frame for _, frame in zip(range(COUNT), container.decode(video=0), strict=False)]
    sources = [frame.reformat(WIDTH_PX, HEIGHT_PX, "yuv420p", interpolation="AREA") for frame in frames]
    lows = [frame.reformat(WIDTH_PX // 3, HEIGHT_PX // 3, "yuv420p", interpolation="AREA") for frame in sources]
    shown = [frame.reformat(WIDTH_PX, HEIGHT_PX, "yuv420p", interpolation="LANCZOS") for frame in lows]
    return [(planes_of(source), planes_of(picture)) for source, picture in zip(sources, shown, strict=True)]


def score(pairs: Pairs, names: tuple[str, ...] | None = None, *, fps: float = 25, every_frames: int = 1) -> PanelScores:
    members = members_named(names) if names else PANEL
    return score_panel(
        iter(pairs), width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=fps, every_frames=every_frames, members=members
    )


@pytest.fixture(scope="module")
def scores(pairs: Pairs) -> PanelScores:
    return score(pairs)


def written(folder: Path, pairs: Pairs) -> list[str]:
    """The pairs as two raw files, and the arguments that make ffmpeg read the shown and the source pictures."""
    arguments: list[str] = []
    for name, side in (("shown", 1), ("source", 0)):
        path = folder / f"{name}.yuv"
        path.write_bytes(b"".join(plane.tobytes() for pair in pairs for plane in pair[side]))
        raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH_PX}x{HEIGHT_PX}", "-r", "25"]
        arguments += [*raw, "-i", str(path)]
    return arguments


def test_members_are_those_of_the_programs_own_command_line(pairs: Pairs, scores: PanelScores, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    keys = {
        "vmaf": "vmaf",
        "ssim": "float_ssim",
        "ms_ssim": "float_ms_ssim",
        "psnr_hvs_db": "psnr_hvs_y",
        "psnr_y_db": "psnr_y",
        "psnr_u_db": "psnr_cb",
        "psnr_v_db": "psnr_cr",
    }
    features = "|".join(f"name={name}" for name in ("psnr", "float_ssim", "float_ms_ssim", "psnr_hvs", "ciede"))
    graph = f"[0:v][1:v]libvmaf=log_fmt=json:log_path={log}:feature={features}"
    subprocess.run(
        [ffmpeg_program(), "-v", "error", *written(tmp_path, pairs), "-lavfi", graph, "-f", "null", "-"], check=True
    )
    rows = [frame["metrics"] for frame in json.loads(log.read_text())["frames"]]
    assert len(rows) == COUNT
    for name, key in keys.items():
        assert scores.values[name] == pytest.approx([row[key] for row in rows], abs=1e-6), name
    differences = 10 ** ((45 - np.array([row["ciede2000"] for row in rows])) / 20)
    assert scores.values["ciede2000"] == pytest.approx(differences, abs=1e-4)


@pytest.mark.parametrize(("fps", "still"), [(25, 1), (50, 2)])
def test_xpsnr_is_that_of_another_ffmpeg_whose_film_begins_with_a_still(pairs: Pairs, fps: int, still: int) -> None:
    """PyAV's own FFmpeg, one frame at a time; its log counts as a first frame what was fed to it first."""
    graph = av.filter.Graph()
    inputs = [
        graph.add("buffer", f"video_size={WIDTH_PX}x{HEIGHT_PX}:pix_fmt=yuv420p:time_base=1/{fps}:frame_rate={fps}")
        for _ in ("source", "shown")
    ]
    meter, sink = graph.add("xpsnr"), graph.add("buffersink")
    for pad, buffer in enumerate(inputs):
        buffer.link_to(meter, 0, pad)
    meter.link_to(sink)
    graph.configure()
    theirs: list[float] = []
    for time, pair in enumerate([pairs[0]] * still + pairs):
        for buffer, planes in zip(inputs, pair, strict=True):
            packed = np.concatenate([plane.ravel() for plane in planes]).reshape(-1, WIDTH_PX)
            frame = av.VideoFrame.from_ndarray(packed, format="yuv420p")
            frame.pts = time
            buffer.push(frame)
        theirs.append(float(sink.pull().metadata["lavfi.xpsnr.xpsnr.y"]))
    ours = score(pairs, ("xpsnr_y_db",), fps=fps).values["xpsnr_y_db"]
    assert ours == pytest.approx(theirs[still:], abs=1e-3)


def test_the_packages_own_members_score_the_pair_that_they_are_given(pairs: Pairs, scores: PanelScores) -> None:
    source, shown = pairs[7]
    assert scores.values["ssimulacra2"][7] == ssimulacra2(rgb_of(source), rgb_of(shown))


def test_flicker_is_the_change_of_the_error(pairs: Pairs, scores: PanelScores) -> None:
    errors = [shown[0].astype(float) - source[0] for source, shown in pairs]
    changes = [float(np.abs(after - before).mean()) for before, after in pairwise(errors)]
    assert scores.values["flicker"] == pytest.approx([changes[0], *changes])


def test_a_wrong_picture_that_stands_still_does_not_flicker(pairs: Pairs) -> None:
    source, shown = pairs[3]
    assert score([(source, shown)] * 4, ("flicker",)).values["flicker"].tolist() == [0.0] * 4
    assert score([(source, shown)], ("flicker",)).values["flicker"].tolist() == [0.0]


@pytest.mark.parametrize("every_frames", [2, 3, 8])
def test_sampling_leaves_the_scores_of_the_sampled_frames_as_they_were(
    pairs: Pairs, scores: PanelScores, every_frames: int
) -> None:
    sampled = score(pairs, every_frames=every_frames)
    assert sampled.frame.tolist() == list(range(0, COUNT, every_frames))
    for name, column in sampled.values.items():
        assert column.tolist() == scores.values[name][sampled.frame].tolist(), name


def test_of_frames_that_are_not_scored_the_shown_picture_counts_only_before_a_scored_one(
    pairs: Pairs, scores: PanelScores
) -> None:
    """So that a caller who scores one frame in many may leave the others unshown."""
    looked_at = {0, 1, 3, 4, 7, 8}
    spared = [(source, shown if index in looked_at else source) for index, (source, shown) in enumerate(pairs)]
    sampled = score(spared, every_frames=4)
    for name, column in sampled.values.items():
        assert column.tolist() == scores.values[name][[0, 4, 8]].tolist(), name


def test_an_identical_picture_is_perfect_to_every_member(pairs: Pairs) -> None:
    perfect = score([(source, source) for source, _ in pairs]).means()
    assert perfect.pop("vmaf") > 97 and perfect.pop("vmaf_neg") > 97
    for member in members_named(perfect):
        best = {"dB": 60.0, "ΔE": 0.0, "code values": 0.0}.get(member.unit, 100.0 if "2" in member.name else 1.0)
        assert perfect[member.name] == pytest.approx(best, abs=1e-6), member.name


def test_every_member_finds_a_worse_picture_worse_its_own_way(pairs: Pairs, scores: PanelScores) -> None:
    """Halfway from the shown picture to its source is better to all."""
    halfway = [
        (source, tuple(((a.astype(int) + b) // 2).astype(np.uint8) for a, b in zip(source, shown, strict=True)))
        for source, shown in pairs
    ]
    worse, better = scores.means(), score(halfway).means()  # type: ignore[arg-type]
    for member in PANEL:
        assert member.gain(worse[member.name], better[member.name]) > 0, member.name


def test_only_members_of_colour_and_of_whole_pictures_see_colour(pairs: Pairs, scores: PanelScores) -> None:
    source_colours = [(source, (shown[0], *source[1:])) for source, shown in pairs]
    shown_colours = scores.means()
    for name, figure in score(source_colours).means().items():
        (member,) = members_named([name])
        sees = member.role is Role.COLOUR or name in ("ssimulacra2", "erqa")
        assert (member.gain(shown_colours[name], figure) > 0) == sees, name


def test_frames_are_taken_one_by_one_and_not_kept(pairs: Pairs) -> None:
    """More frames than the meters' queues hold, each made when it is asked for and ruined after the next."""
    spoilt: list[Planes] = []

    def running() -> Iterator[tuple[Planes, Planes]]:
        for index in range(4 * COUNT):
            for planes in spoilt:
                for plane in planes:
                    plane[:] = 0
            spoilt.clear()
            source, shown = (tuple(plane.copy() for plane in planes) for planes in pairs[index % COUNT])
            spoilt.extend((source, shown))  # type: ignore[arg-type]
            yield source, shown  # type: ignore[misc]

    names = ("vmaf", "psnr_hvs_db", "xpsnr_y_db", "flicker")
    once, again = (
        score_panel(frames, width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=25, members=members_named(names))
        for frames in (running(), iter(pairs * 4))
    )
    for name in names:
        assert once.values[name].tolist() == again.values[name].tolist()


def test_members_that_cannot_judge_a_small_picture_are_named(pairs: Pairs) -> None:
    tiny = np.zeros((64, 64), np.uint8)
    colour = np.zeros((32, 32), np.uint8)
    pair = ((tiny, colour, colour), (tiny, colour, colour))
    with pytest.raises(InputError, match="MS-SSIM judges pictures from 176 pixels on, not 64x64"):
        score_panel([pair], width_px=64, height_px=64, fps=25)
    able = members_for(64, 64)
    assert {member.name for member in PANEL} - {member.name for member in able} == {"ms_ssim"}
    assert len(score_panel([pair] * 3, width_px=64, height_px=64, fps=25, members=able).frame) == 3


def test_an_unknown_member_is_refused_with_a_list() -> None:
    with pytest.raises(UnknownNameError, match="ssimulacra2"):
        members_named(["ssimulacra"])


def test_no_frames_and_a_meter_that_cannot_run_are_errors(pairs: Pairs) -> None:
    with pytest.raises(ValueError, match="at least one"):
        score([], ("vmaf",))
    with pytest.raises(ToprungError, match="framerate"):
        score(pairs * 5, ("vmaf",), fps=-1)


def test_means_may_be_taken_over_some_frames(scores: PanelScores) -> None:
    assert scores.means(np.array([2, 4]))["erqa"] == pytest.approx(scores.values["erqa"][[2, 4]].mean())
