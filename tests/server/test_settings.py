"""Settings: layered, typed and closed."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.errors import FormatError, InputError
from server.redis_url import without_password
from server.settings import Settings, dumps_toml, layered


def write(folder, text: str):
    file = folder / "toprung.toml"
    file.write_text(text)
    return file


def test_later_layers_win(tmp_path):
    file = write(tmp_path, 'port = 1\nhost = "file"\nsession_ttl_s = 5\nlibrary = "/file"\n')
    environment = {"TOPRUNG_PORT": "2", "TOPRUNG_HOST": "environment", "HOME": "/root"}
    settings = layered(file, environment, {"port": 3, "host": None, "log_json": None})
    assert (settings.port, settings.host, settings.session_ttl_s, settings.library) == (3, "environment", 5.0, "/file")
    assert settings.log_level == Settings().log_level


def test_the_environment_speaks_every_type():
    environment = {
        "TOPRUNG_LOG_JSON": "true",
        "TOPRUNG_SESSION_TTL_S": "12.5",
        "TOPRUNG_CONTROLLERS": "a.py:A,b.py:B",
        "TOPRUNG_REDIS_URL": "redis://localhost",
    }
    settings = layered(None, environment, {})
    assert (settings.log_json, settings.session_ttl_s, settings.redis_url) == (True, 12.5, "redis://localhost")
    assert settings.controllers == ("a.py:A", "b.py:B")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 80", "Did you mean 'port'"),
        ("port = 'eighty'", "port"),
        ("port = 70000", "0 to 65535"),
        ("session_ttl_s = 0", "above zero"),
        ("log_level = 'loud'", "debug, info"),
        ("port = ", "not TOML"),
        ("[server]\nport = 1", "'server', which is no setting"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        layered(write(tmp_path, text), {}, {})


def test_a_slip_in_the_environment_is_refused_and_other_commands_variables_are_not():
    with pytest.raises(InputError, match="Did you mean 'redis_url'"):
        layered(None, {"TOPRUNG_REDIS_ULR": "redis://x"}, {})
    assert layered(None, {"TOPRUNG_WHOLLY_OTHER": "1"}, {}) == Settings()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="Cannot read"):
        layered(tmp_path / "none.toml", {}, {})


def test_wrong_types_from_the_environment_are_refused():
    with pytest.raises(FormatError, match="port"):
        layered(None, {"TOPRUNG_PORT": "eighty"}, {})


names = st.sampled_from([field.name for field in fields(Settings)])


@given(
    st.builds(
        Settings,
        library=st.text(max_size=20),
        host=st.text(max_size=20),
        port=st.integers(0, 65535),
        controllers=st.lists(st.text(max_size=10), max_size=3).map(tuple),
        session_ttl_s=st.floats(0.001, 1e6),
        log_json=st.booleans(),
    )
)
def test_what_is_printed_reads_back_the_same(tmp_path_factory, settings):
    file = tmp_path_factory.getbasetemp() / "printed.toml"
    file.write_text(dumps_toml(settings), encoding="utf-8")
    assert layered(file, {}, {}) == settings


def test_passwords_are_never_printed():
    url = "redis://user:p4ss@host:1/0"
    assert "p4ss" not in dumps_toml(Settings(redis_url=url))
    assert without_password(url) == "redis://user:***@host:1/0"
    assert without_password("redis://host/0") == "redis://host/0"
    assert without_password("redis://:p4ss@host/0") == "redis://:***@host/0"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"peer_requests_per_s": float("nan")}, "peer_requests_per_s is nan"),
        ({"peer_sessions_per_s": -1.0}, "0, for no limit"),
        ({"trusted_peers": ("10.0.0.0/8",)}, "it takes single addresses"),
        ({"group_by": "adress"}, "it is empty, address or block"),
        ({"allow_origin": "a\r\nX: y"}, "https://example.com"),
        ({"session_ttl_s": float("nan")}, "above zero"),
    ],
)
def test_what_would_switch_a_limit_off_or_do_nothing_is_refused(setting, said):
    with pytest.raises(InputError, match=re.escape(said)):
        Settings(**setting)
