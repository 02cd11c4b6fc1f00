"""`toprung serve` as a process: says where it listens, serves, shares sessions through Redis, stops when told."""

from __future__ import annotations

import json
import shutil
import signal
import tomllib

import pytest
from redis_server import running_redis
from serve_process import ask, opened, run, serving


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_says_its_url_on_stdout_serves_and_stops_when_told(library, number):
    with serving("--library", str(library), "--log-json", "--log-level", "info") as (url, process):
        assert json.loads(ask(f"{url}titles")[1])["titles"][0]["id"] == "bbb"
        process.send_signal(number)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    assert output == "", "one line on stdout, and it was the URL"
    lines = [json.loads(line) for line in errors.splitlines()]
    assert any(line.get("route") == "listTitles" for line in lines)


def test_two_servers_with_one_redis_share_sessions(library):
    with running_redis() as redis_url:
        options = ("--library", str(library), "--redis-url", redis_url)
        with serving(*options) as (one, _), serving(*options) as (other, _):
            path = opened(one)
            segments = [ask(f"{base}{path}/video/1.m4s")[1] for base in (one, other, one)]
            ask(f"{other}{path}/video/2.m4s")[1]
            assert len(set(segments)) == 1
            choices = json.loads(ask(f"{one}{path}")[1])["choices"]
            assert [choice["segment"] for choice in choices] == [0, 1]
            assert len(ask(f"{one}{path}/log")[1].splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--library", "/nowhere"), "There is no library folder at '/nowhere'"),
        ((), "There is no library folder"),
        (("--library", "/tmp", "--controller", "toprun"), "Did you mean 'toprung'"),
        (("--library", "/tmp", "--add-controller", "/nowhere.py:X"), "does not exist"),
        (("--library", "/tmp", "--config", "/nowhere.toml"), "Cannot read the settings file"),
        (("--library", "/tmp", "--host", "256.0.0.1"), "Cannot listen on 256.0.0.1:0"),
    ],
)
def test_what_cannot_be_served_is_one_clear_sentence_and_exit_code_2(options, said):
    result = run(*options)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_library_that_was_mistyped_is_guessed(library, tmp_path):
    shutil.copytree(library, tmp_path / "films")
    for given, said in [
        (tmp_path / "flims", f"did you mean '{tmp_path / 'films'}'?"),
        (tmp_path / "films" / "bbb", f"is one title; give the folder that it is in: --library '{tmp_path / 'films'}'"),
    ]:
        result = run("--library", str(given))
        assert (result.returncode, result.stdout) == (2, "")
        assert said in result.stderr
        assert "Traceback" not in result.stderr


def test_an_empty_library_is_served_and_said_to_be_empty(library, tmp_path):
    shutil.copytree(library, tmp_path / "outer" / "films")
    (tmp_path / "empty").mkdir()
    for folder, said in [("empty", "adds one"), ("outer", f"did you mean '{tmp_path / 'outer' / 'films'}'?")]:
        with serving("--library", str(tmp_path / folder), "--log-level", "warning") as (url, process):
            assert json.loads(ask(f"{url}titles")[1])["titles"] == []
            process.terminate()
            _, errors = process.communicate(timeout=120)
        assert "holds no titles yet" in errors
        assert said in errors
        assert len(errors.splitlines()) == 1


def test_a_redis_that_is_not_there_is_said_at_the_start(library):
    result = run("--library", str(library), "--redis-url", "redis://:pw@127.0.0.1:1/0")
    assert result.returncode == 1
    assert "Redis at redis://:***@127.0.0.1:1/0 does not answer" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_settings_can_be_printed(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("session_ttl_s = 1234\n")
    result = run("--config", str(file), "--library", "/x", "--print-config")
    assert result.returncode == 0
    printed = tomllib.loads(result.stdout)
    assert (printed["session_ttl_s"], printed["library"], printed["host"]) == (1234.0, "/x", "127.0.0.1")
