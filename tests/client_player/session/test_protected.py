"""A protected title in `toprung play`: with the key it is shown, without it the viewer reads what is lacking."""

from __future__ import annotations

from pathlib import Path

import pytest
from protected_titles import KEY, protected_library
from served import serving

from abr.core.events import Failed
from abr.errors import InputError
from abr.media.content_keys import ContentKey
from client_player.session.request import PlayRequest
from client_player.session.run import watch

OTHER = ContentKey(key_id="ff" * 16, key=KEY.key)


@pytest.mark.parametrize(("title", "local"), [("cenc", False), ("cbcs", True)])
async def test_who_has_the_key_sees_and_hears_it(title: str, local: bool, tmp_path: Path) -> None:
    async with serving(str(protected_library())) as url:
        request = PlayRequest(
            url=url, title=title, local=local, families=(), virtual_time=False, keys=(OTHER, KEY), controller="bola"
        )
        played = await watch(request, tmp_path / "luma")
    assert [event for event in played.events if isinstance(event, Failed)] == []
    assert played.audio_offset_max_s < 0.05


async def test_who_lacks_it_reads_which_key_is_wanted(tmp_path: Path) -> None:
    async with serving(str(protected_library())) as url:
        request = PlayRequest(url=url, title="cenc", families=(), virtual_time=False, keys=(OTHER,))
        with pytest.raises(InputError, match=f"protected with key {KEY.key_id}.*--key-file.*TOPRUNG_KEY"):
            await watch(request, tmp_path / "luma")
