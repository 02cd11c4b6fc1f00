"""Trick play: the key frames of a title by themselves, told to stock players in both kinds of manifests."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import m3u8
import numpy as np
import pytest
from mpegdash.parser import MPEGDASHParser
from protected_titles import KEY

from abr.core.title import Protection, Title, segment_file
from abr.media.video_codecs import VideoCodec
from enhancers.runtime.frames import decode_segment
from server.ingest.encode_settings import EncodeSettings
from server.ingest.mp4.one_sample import first_sample
from server.ingest.prepare import prepare_title
from server.media.library import Library
from server.protection.protect import protect_title


@pytest.fixture(scope="module", params=[VideoCodec.H264, VideoCodec.AV1])
def title(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Title]:
    folder = tmp_path_factory.mktemp("trick")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=3.4"]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "ultrafast", str(folder / "film.mp4")], check=True)
    preset = "10" if request.param is VideoCodec.AV1 else "veryfast"
    recipe = EncodeSettings(
        heights_px=(90,), codec=request.param, preset=preset, vmaf_every=85, panel_every=0, segment_s=1, trick_play=True
    )
    done = prepare_title(folder / "film.mp4", Library(folder / "library"), recipe)
    return done.folder, done.title


def test_each_segment_is_the_key_frame_of_its_rung_for_as_long(title: tuple[Path, Title]):
    folder, made = title
    trick, rung = folder / "video/trick-play", folder / "video" / made.renditions[0].id
    init = (trick / "init.mp4").read_bytes()
    starts_s = []
    for number in range(len(made.segment_frames)):
        data = init + (trick / segment_file(number)).read_bytes()
        (picture,) = decode_segment(data)
        whole = decode_segment((rung / "init.mp4").read_bytes() + (rung / segment_file(number)).read_bytes())
        assert np.array_equal(picture.y, next(whole).y)
        with av.open(io.BytesIO(data)) as container:
            packet = next(container.demux(video=0))
            starts_s.append(float(packet.pts * packet.time_base))
            assert float(packet.duration * packet.time_base) == pytest.approx(made.segment_duration_s[number])
            assert packet.is_keyframe
    assert starts_s == pytest.approx(np.cumsum((0, *made.segment_duration_s[:-1])))


def test_manifests_say_what_it_is_for(title: tuple[Path, Title]):
    folder, made = title
    sets = MPEGDASHParser.parse(str(folder / "manifest.mpd")).periods[0].adaptation_sets
    (trick,) = [each for each in sets if each.representations[0].id == "trick-play"]
    (told,) = trick.essential_properties
    assert (told.scheme_id_uri, told.value) == ("http://dashif.org/guidelines/trickmode", str(sets[0].id))
    assert trick.representations[0].bandwidth == made.trick_play.bandwidth_bps
    master = m3u8.load(str(folder / "master.m3u8"))
    (variant,) = master.iframe_playlists
    assert variant.iframe_stream_info.bandwidth == made.trick_play.bandwidth_bps
    playlist = m3u8.load(str(folder / variant.uri))
    assert playlist.is_i_frames_only and len(playlist.segments) == len(made.segment_frames)
    assert "trick" not in (folder / "driven.mpd").read_text()


def test_key_frames_of_a_protected_title_are_protected_too(title: tuple[Path, Title]):
    folder, made = title
    if made.renditions[0].codecs.startswith("av01"):
        pytest.skip("once is enough")
    told = Protection(scheme="cenc", key_id=KEY.key_id)
    protect_title(Library(folder.parent), made.id, KEY, told, new_id="locked")
    ways = [folder / "video/trick-play", folder.parent / "locked/video/trick-play"]
    clear_data, data = ((way / "init.mp4").read_bytes() + (way / "seg-00002.m4s").read_bytes() for way in ways)
    (clear,) = decode_segment(clear_data)
    (picture,) = decode_segment(data, key=KEY.key)
    assert np.array_equal(picture.y, clear.y)


def test_what_is_no_segment_of_ours_is_refused():
    for wrong in (b"", b"\0\0\0\x08free", bytes(64)):
        with pytest.raises(ValueError, match="no fragment"):
            first_sample(wrong)
