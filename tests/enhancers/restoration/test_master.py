"""Sources restored above their own size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from clips import make_clip

from abr.blur.cli import kernels
from abr.blur.kernel import CODE_FLOATS, Blur, bicubic_kernel, code_of
from abr.blur.track import KernelTrack, Shot
from abr.errors import InputError
from abr.records import dumps
from enhancers.cli.restore import restore
from enhancers.networks.catalog import generic_chunks
from enhancers.networks.checkpoint import loads_chunks
from enhancers.restoration.lift import weights_for
from enhancers.restoration.shipped import scale_for, shipped_network

_CRAMPED = """
import resource, sys
from enhancers.cli.restore import restore
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
restore(sys.argv[1:], standalone_mode=False)
"""
"""No file may have more than 4000 bytes."""


def test_a_master_has_the_frames_and_the_sound_of_its_source_at_the_size_asked_for(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "film.mp4", width_px=128, height_px=64, frames=8, sound_s=0.3)
    sharp, soft = (0.9,) * CODE_FLOATS, (0.4,) * CODE_FLOATS
    shots = (Shot(start=0, frames=4, codes=(sharp,)), Shot(start=4, frames=4, codes=(soft,)))
    track = tmp_path / "kernels.json"
    track.write_bytes(dumps(KernelTrack(frame_rate=(25, 1), estimator="", shots=shots)))
    out = tmp_path / "master.mkv"
    result = CliRunner().invoke(restore, [str(clip), "--display", "128p", "--out", str(out), "--kernels", str(track)])
    assert result.exit_code == 0, result.output
    with av.open(str(out)) as file, av.open(str(clip)) as came:
        assert (file.streams.video[0].width, file.streams.video[0].height) == (256, 128)
        assert file.streams.video[0].codec_context.color_range == 1
        assert len(list(file.decode(video=0))) == 8
        file.seek(0)
        sound = [sum(packet.size for packet in each.demux(audio=0)) for each in (file, came)]
        assert sound[0] > 0.9 * sound[1]  # all but what an encoder puts before the first sample
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "kernels.json", "master.mkv"]


def test_a_softer_code_sharpens_more(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :128]

    def paint(width_px: int, height_px: int, index: int) -> np.ndarray:
        soft = 128 + 60 * np.tanh(np.sin(x / 6) * np.cos(y / 6) * 2)
        return soft[:, :, None].repeat(3, axis=2).astype(np.uint8)

    clip = make_clip(tmp_path / "film.mp4", width_px=128, height_px=64, frames=1, paint=paint, options={"crf": "10"})
    detail = []
    for level in (0.95, 0.4):
        track, out = tmp_path / f"{level}.json", tmp_path / f"{level}.mkv"
        shots = (Shot(start=0, frames=1, codes=((level,) * CODE_FLOATS,)),)
        track.write_bytes(dumps(KernelTrack(frame_rate=(25, 1), estimator="", shots=shots)))
        arguments = [str(clip), "--display", "128p", "--out", str(out), "--kernels", str(track)]
        assert CliRunner().invoke(restore, arguments).exit_code == 0
        with av.open(str(out)) as file:
            luma = next(file.decode(video=0)).to_ndarray(format="gray")[:, :256].astype(float)
        detail.append(float(np.abs(np.diff(luma, axis=1)).max()))
    assert detail[1] > detail[0]


def test_a_display_that_is_no_larger_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "film.mp4", frames=2, height_px=128)
    result = CliRunner().invoke(restore, [str(clip), "--display", "128p", "--out", str(tmp_path / "master.mkv")])
    assert isinstance(result.exception, InputError)
    assert "192x128" in str(result.exception)


def test_a_film_is_not_written_over_by_its_master(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "film.mp4", frames=2)
    before = clip.read_bytes()
    result = CliRunner().invoke(restore, [str(clip), "--display", "216p", "--out", str(clip)])
    assert isinstance(result.exception, InputError)
    assert clip.read_bytes() == before


def test_the_track_of_another_film_is_refused(tmp_path: Path) -> None:
    clip, other = (make_clip(tmp_path / f"{name}.mp4", frames=frames) for name, frames in (("film", 2), ("other", 3)))
    track, out = tmp_path / "kernels.json", tmp_path / "master.mkv"
    assert CliRunner().invoke(kernels, [str(other), "--out", str(track)]).exit_code == 0
    result = CliRunner().invoke(restore, [str(clip), "--display", "216p", "--out", str(out), "--kernels", str(track)])
    assert isinstance(result.exception, InputError)
    assert "of another file" in str(result.exception)
    assert not out.exists()


def test_a_full_disk_is_not_taken_for_a_film_that_cannot_be_read(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "film.mp4", width_px=128, height_px=64, frames=30)
    command = [sys.executable, "-c", _CRAMPED, str(clip), "--display", "128p", "--out", str(tmp_path / "master.mkv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Cannot write" in done.stderr
    assert "cannot be read" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_a_picture_as_sharp_as_a_rung_is_lifted_as_rungs_are() -> None:
    network = shipped_network(2)
    sharp, soft = (code_of(kernel, 2) for kernel in (bicubic_kernel(2), Blur.of_axes(1.0, 0.8, 0.0).kernel(2)))
    generic = loads_chunks(generic_chunks(network.architecture)).tensors["head.weight"]
    assert np.array_equal(weights_for(network, sharp).tensors["head.weight"], generic)
    assert not np.array_equal(weights_for(network, soft).tensors["head.weight"], generic)


@pytest.mark.parametrize(("display_px", "scale"), [(480, 2), (720, 2), (721, 4), (1080, 4), (2160, 4)])
def test_the_least_network_that_reaches_the_display_is_taken(display_px: int, scale: int) -> None:
    assert scale_for(360, display_px) == scale
    assert int(shipped_network(scale).architecture.scale) == scale
