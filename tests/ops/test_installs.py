"""What each install can do: the base one without torch and OpenVINO, the player's without torch."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from installation import ROOT, Installation
from lifted import generic_library
from msgspec.structs import replace
from serve_process import ask
from titles import SHORT_CLIP

from abr.core.device import DeviceProfile
from abr.records import dumps, load

TRACE = "".join(f"{second} 0.3\n" for second in range(60))
"""0.3 Mbit/s, in Pensieve's format."""
BRIEF = ("--heights", "90,180", "--preset", "ultrafast", "--vmaf-every", 25)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("player"), "player")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.txt"
    path.write_text(TRACE)
    return path


def test_base_holds_neither_torch_nor_openvino_and_player_no_torch(base: Installation, player: Installation) -> None:
    assert [name for name in ("torch", "openvino", "safetensors", "onnx", "ray") if base.has(name)] == []
    assert [name for name in ("torch", "openvino", "av") if player.has(name)] == ["openvino", "av"]


def test_base_prepares_serves_plays_and_compares(base: Installation, trace: Path, tmp_path: Path) -> None:
    library, seen = tmp_path / "library", tmp_path / "seen"
    assert _done(base, "prepare", SHORT_CLIP, "--library", library, "--id", "bbb", *BRIEF)
    with (
        base.running("serve", "--library", library, "--port", 0, "--log-level", "error") as url,
        base.running("emulate", "--trace", trace, "--upstream", url.rstrip("/"), "--listen", 0) as slow_url,
    ):
        assert ask(f"{url}titles/bbb/manifest.mpd")[0] == 200
        session = json.loads(ask(f"{slow_url.rstrip('/')}/sessions", b'{"title": "bbb"}')[1])["id"]
        assert ask(f"{url}sessions/{session}/video/1.m4s")[2]["Toprung-Enhancer"] == "none"
        played = base.run(
            "play", url, "--title", "bbb", "--speed", "max", "--source", SHORT_CLIP, "--out", seen, "--json"
        )
    assert played.returncode == 0, played.stderr
    assert "Playing without enhancement" in played.stderr and "pip install 'toprung[player]'" in played.stderr
    summary = json.loads(played.stdout)
    assert summary["enhanced_share"] == 0 and summary["vmaf_seen"] > 20
    report = tmp_path / "again.html"
    assert _done(base, "report", seen / "session.jsonl", "--library", library, "--output", report)
    assert report.stat().st_size > 10_000
    assert "bola" in _done(base, "compare", library / "bbb", "--traces", trace)
    assert _done(base, "simulate", library / "bbb", "--trace", trace)


def test_who_asks_for_no_enhancement_is_told_of_no_package(base: Installation) -> None:
    assert "toprung[player]" in base.run("play", "http://nowhere.invalid/").stderr
    assert "toprung[player]" not in base.run("play", "http://nowhere.invalid/", "--families", "none").stderr


def test_the_doctor_finds_the_base_install_sound_and_tells_what_each_extra_is_for(base: Installation) -> None:
    found = base.run("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(found.stdout)}
    assert found.returncode == 0
    for extra in ("player", "train", "onnx", "state", "ray"):
        finding = findings[f"Extra {extra}"]
        assert not finding["ok"] and not finding["needed"]
        assert f"pip install 'toprung[{extra}]'" in finding["advice"]
    assert "OpenVINO" not in findings


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("train", ("train", "bbb", "--library", ".")),
        ("player", ("profile",)),
        ("onnx", ("profile", "--model", SHORT_CLIP)),
        ("player", ("plan-ladder", "bbb", "--library", ".")),
        ("onnx,train", ("export", "generic", "--onnx", "out.onnx")),
        ("onnx", ("import-model", SHORT_CLIP, "bbb", "--library", ".")),
        ("train", ("demo",)),
        ("train", ("bench", "enhance", SHORT_CLIP)),
        ("train", ("bench", "runtime", SHORT_CLIP)),
        ("train", ("bench", "reuse", SHORT_CLIP)),
        ("player", ("bench", "deadline", "--title", ".")),
        ("publish", ("publish", "film", "--library", ".", "--to", "s3://films/titles")),
        ("ray", ("prepare", SHORT_CLIP, "--library", "library", "--ray", "local")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value[:2])).replace(str(SHORT_CLIP), ""),
)
def test_a_command_says_in_a_sentence_which_extra_it_lacks(
    base: Installation, extra: str, arguments: tuple[object, ...], tmp_path: Path
) -> None:
    said = base.run(*arguments, folder=tmp_path)
    assert said.returncode == 2
    assert said.stdout == ""
    assert f"pip install 'toprung[{extra}]'" in said.stderr
    assert len(said.stderr.splitlines()) == 1, said.stderr
    assert list(tmp_path.iterdir()) == []


def test_make_and_readme_ask_the_index_of_cpu_builds_for_the_torch_that_is_declared(tmp_path: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (torch,) = (each for each in extras["train"] if each.startswith("torch"))
    command = ["make", "-n", "-C", str(ROOT), "install", f"VENV={tmp_path}", "TORCH_INDEX=https://index.example/cpu"]
    recipe = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(f"--index-url https://index.example/cpu {re.escape(torch)} ", recipe)
    assert f"`pip install {torch} --index-url https://" in (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_player_measures_the_device_and_enhances_without_torch(
    player: Installation, trace: Path, tmp_path: Path
) -> None:
    library = generic_library(tmp_path)
    with player.running("serve", "--library", library, "--port", 0, "--log-level", "error") as url:
        how = (url, "--title", "bbb", "--trace", trace, "--speed", "max", "--json")
        played = player.run("play", *how)
        (found,) = Path(player.environment()["XDG_CACHE_HOME"]).glob("toprung/device-*.json")
        measured = load(found, DeviceProfile)
        quick = tmp_path / "quick.json"
        quick.write_bytes(dumps(as_if_idle(measured)))
        lifted = player.run("play", *how, "--profile", quick)
    assert played.returncode == lifted.returncode == 0, played.stderr + lifted.stderr
    assert "without enhancement" not in played.stderr
    assert {each.backend for each in measured.measurements} >= {"openvino-int8"}
    assert json.loads(lifted.stdout)["enhanced_share"] > 0


def as_if_idle(profile: DeviceProfile) -> DeviceProfile:
    """The same device with nothing else to do: however busy it is now, something is light enough for it."""
    measurements = [replace(each, p50_ms=1.0, p95_ms=1.0) for each in profile.measurements]
    return replace(profile, measurements=tuple(measurements))


def _done(installation: Installation, *arguments: object) -> str:
    done = installation.run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
