"""What the player page says when the film is replaced or removed while it plays, in a real Chromium."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from browser import Watched, chromium
from lifted import lifted_library
from player_page import open_measured, played, state, until
from served import serving
from titles import TITLE_ID
from viewers import EAGER

from abr.core.title import TITLE_FILE
from abr.records import dumps
from server.ingest.manifests.title import manifests
from server.media.kept_versions import kept_folder
from server.media.library import Library
from server.media.removal import remove_title

NEW_VERSION = "0123456789abcdef"


def replace_and_forget(library: Library) -> None:
    """Publish the title anew, and drop the version before, as is done a day later."""
    title, built = library.title(TITLE_ID), library.building(TITLE_ID)
    shutil.copytree(library.root / TITLE_ID, built)
    anew = msgspec.structs.replace(title, version=NEW_VERSION)
    for name, body in {**manifests(anew), TITLE_FILE: dumps(anew)}.items():
        (built / name).write_bytes(body)
    library.publish(TITLE_ID, built)
    shutil.rmtree(kept_folder(library.root, TITLE_ID, title.version))


async def interrupted(page: Watched, change: Callable[[], object]) -> str:
    """What the page says when something is done to the library while the film plays."""
    await page.tab.wait_for_selector("#begin:enabled")
    await page.tab.click("#begin")
    await played(page, 0.1)
    await asyncio.to_thread(change)
    words = await state(page, "failed")
    assert await page.tab.is_visible("#notice")
    assert await page.tab.inner_text("#retry") == "Begin again"
    return words


@pytest.mark.timeout(120)
async def test_a_film_whose_version_is_gone_says_so_and_begins_again_with_what_there_is(tmp_path):
    library = Library(Path(lifted_library(tmp_path, slow=False)))
    async with serving(str(library.root), EAGER) as url, chromium() as browser:
        page = await open_measured(browser, f"{url}?network=500k")
        words = await interrupted(page, lambda: replace_and_forget(library))
        assert words == "The film stopped: it was prepared anew meanwhile, and the version that you watched is gone."
        await page.screenshot("player-gone")
        async with page.tab.expect_request(f"{url}sessions") as again:
            await page.tab.click("#retry")
        assert (await again.value).post_data_json["version"] == NEW_VERSION
        await state(page, "ended")
        assert await page.tab.inner_text("#retry") == "Play again"


@pytest.mark.timeout(120)
async def test_a_film_that_was_removed_says_so(tmp_path):
    library = Library(Path(lifted_library(tmp_path, slow=False)))
    async with serving(str(library.root), EAGER) as url, chromium() as browser:
        page = await open_measured(browser, f"{url}?network=500k")
        words = await interrupted(page, lambda: remove_title(library, TITLE_ID))
        assert words == "The film stopped: the library no longer has it."
        await page.tab.click("#retry")
        await until(page, "/no longer has bbb/.test(document.getElementById('state').textContent)")
