"""Cached files: whole and checked or not there, within their bounds, whoever is killed or writes into them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.errors import FormatError, InputError
from client_player.edge.cache.cached_file import Label, pack, unpack
from client_player.edge.cache.disk_cache import DiskCache, check_folder, open_cache

KEY = "film/v-0123456789abcdef/video/180p/seg-00001.m4s"


@given(st.binary(max_size=300), st.data())
def test_any_byte_that_changed_is_found(body: bytes, data: st.DataObject) -> None:
    packed = bytearray(pack(Label(key=KEY, worth=3.0), body))
    assert unpack(bytes(packed), KEY) == body
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FormatError):
        unpack(bytes(packed), KEY)
    with pytest.raises(FormatError):
        unpack(bytes(packed[:at]), KEY)


def test_a_file_in_the_place_of_another_is_found() -> None:
    with pytest.raises(FormatError, match="in the place of another"):
        unpack(pack(Label(key=KEY, worth=3.0), b"segment"), KEY.replace("1.m4s", "2.m4s"))


def reopened(folder: Path, bytes_max: int = 1 << 20) -> DiskCache:
    """As the next process finds it: nothing is in memory."""
    return open_cache(folder, bytes_max)


async def test_what_was_kept_is_there_after_a_restart_and_what_was_damaged_is_not(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 1 << 20)
    for name in ("a", "b", "c"):
        await cache.put(f"film/{name}", name.encode() * 1000, worth=1.0)
    cache.close()
    path = tmp_path / "files" / "film"
    (path / "b").write_bytes((path / "b").read_bytes()[:-1] + b"!")
    (path / "c").write_bytes(b"nothing of ours")
    (path / ".d.part").write_bytes(b"half of a fi")
    cache = reopened(tmp_path)
    assert [await cache.get(f"film/{name}") for name in "abcd"] == [b"a" * 1000, None, None, None]
    assert cache.damaged == 1
    cache.close()
    assert sorted(each.name for each in path.iterdir()) == ["a"]


async def test_a_file_that_several_keep_at_once_is_one_whole_file(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 1 << 24)
    bodies = [bytes([number]) * 200_000 for number in range(24)]
    await asyncio.gather(*(cache.put(KEY, body, worth=1.0) for body in bodies))
    assert cache.refused == 0 and cache.keys() == [KEY]
    assert cache.size_bytes == (tmp_path / "files" / KEY).stat().st_size
    cache.close()
    again = reopened(tmp_path)
    assert await again.get(KEY) in bodies and again.damaged == 0
    again.close()


async def test_the_least_valuable_goes_when_there_is_no_more_room(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 5000)
    await cache.put("dear", bytes(1000), worth=100.0)
    await cache.put("asked", bytes(1000), worth=1.0)
    await cache.put("cheap", bytes(1000), worth=1.0)
    for _ in range(3):
        assert await cache.get("asked")
    for number in range(3):
        await cache.put(f"new-{number}", bytes(1000), worth=2.0)
    assert "dear" in cache and "asked" in cache
    assert await cache.get("cheap") is None
    assert cache.size_bytes <= 5000 and cache.evicted == 2
    on_disk = sum(path.stat().st_size for path in (tmp_path / "files").rglob("*"))
    assert on_disk == cache.size_bytes
    cache.close()


async def test_a_disk_that_refuses_does_not_stop_the_node(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 1 << 20)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "film").write_bytes(b"a file where a folder has to be")
    await cache.put("film/a", b"segment", worth=1.0)
    assert cache.refused == 1 and "film/a" in cache
    assert await cache.get("film/a") == b"segment"
    cache.close()


def test_a_folder_belongs_to_one_node_and_to_nothing_else(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "cache", 1 << 20)
    check_folder(tmp_path / "cache")
    with pytest.raises(InputError, match="Another edge node"):
        open_cache(tmp_path / "cache", 1 << 20)
    cache.close()
    with pytest.raises(InputError, match="other files"):
        check_folder(tmp_path)


async def test_no_key_leads_out_of_the_cache(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, 1 << 20)
    for key in ("../a", "film/../../a", "/etc/a", "film//a", ".a", "film/.a.part"):
        with pytest.raises(ValueError, match="cannot be the name"):
            await cache.put(key, b"segment", worth=1.0)
    cache.close()
