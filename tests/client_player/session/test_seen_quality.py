"""Quality seen is measured against the picture that the title was encoded from, whatever prepare had to do to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from serve_process import served
from titles import CLIP, prepared_title

from abr.errors import InputError, MediaError
from abr.quality.vmaf import ffmpeg_program
from client_player.session.seen_quality import source_luma
from server.ingest.cli import prepare

SMALL = "scale=320:180"
FIELDS = ["-vf", f"{SMALL},tinterlace=interleave_top,setfield=tff", "-flags", "+ilme+ildct"]
SOURCES = {
    "turned": ("turned.mp4", ["-vf", SMALL]),
    "anamorphic": ("anamorphic.mp4", ["-vf", f"{SMALL},setsar=4/3"]),
    "bt601": ("bt601.mp4", ["-vf", f"{SMALL}:out_color_matrix=smpte170m", "-colorspace", "smpte170m"]),
    "full-range": ("full-range.mp4", ["-vf", f"{SMALL}:out_range=full", "-color_range", "pc"]),
    "interlaced": ("interlaced.mpg", [*FIELDS, "-c:v", "mpeg2video", "-q:v", "3"]),
}


def ffmpeg(*arguments: str) -> None:
    subprocess.run([ffmpeg_program(), "-v", "error", "-y", *arguments], check=True)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two seconds of film as phones, discs and broadcasters write it, by the static ffmpeg."""
    folder = tmp_path_factory.mktemp("sources")
    made = {}
    for kind, (name, options) in SOURCES.items():
        made[kind] = folder / name
        ffmpeg("-ss", "2", "-t", "2", "-i", str(CLIP), "-an", *options, str(made[kind]))
    upright = made["turned"].rename(folder / "upright.mp4")
    ffmpeg("-display_rotation", "90", "-i", str(upright), "-c", "copy", str(made["turned"]))
    return made


@pytest.fixture(scope="module")
def server(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    library = tmp_path_factory.mktemp("library")
    flags = ["--preset", "ultrafast", "--heights", "90,180", "--vmaf-every", "5", "--library", str(library)]
    for kind, source in sources.items():
        done = CliRunner().invoke(prepare, [str(source), "--id", kind, *flags])
        assert done.exit_code == 0, done.output
    with served("--library", str(library)) as url:
        yield url


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_seen_is_what_was_promised(kind: str, sources: dict[str, Path], server: str) -> None:
    """Played plainly, quality seen is that of the title's own tables, which prepare measured."""
    play = [sys.executable, "-m", "abr", "play", server, "--title", kind, "--families", "none", "--speed", "max"]
    played = subprocess.run([*play, "--source", str(sources[kind]), "--json"], capture_output=True, check=False)
    assert played.returncode == 0, played.stderr
    summary = json.loads(played.stdout)
    assert summary["vmaf_promised"] > 50
    assert summary["vmaf_seen"] == pytest.approx(summary["vmaf_promised"], abs=0.1)


@pytest.mark.parametrize(
    "filters",
    [
        (("movie", "/etc/passwd"),),
        (("rotate", "while(1,1)"),),
        (("scale", "99999:99999"),),
        (("scale", "2:2"), ("format", "yuv420p")),
    ],
)
def test_a_title_from_a_stranger_runs_no_filters_of_its_own(filters: tuple[tuple[str, str], ...]) -> None:
    title, _ = prepared_title()
    hostile = msgspec.structs.replace(title, source=msgspec.structs.replace(title.source, filters=filters))
    with pytest.raises(MediaError):
        next(iter(source_luma(CLIP, hostile)))


def test_a_playlist_is_no_source(tmp_path: Path) -> None:
    """FFmpeg would open whatever it names."""
    playlist = tmp_path / "source.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXTINF:5,\n{CLIP}\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match="cannot be read as video"):
        next(iter(source_luma(playlist, prepared_title()[0])))
