"""A running server over real sockets, with blockbuster watching that nothing of ours blocks its loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from blockbuster import blockbuster_ctx
from serving import FAST_PATH, device_profile, enhanced_library

from abr.core.title import Title
from abr.records import dumps
from server.app import create_app
from server.context import CONTEXT
from server.media.library import Library
from server.settings import Settings


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return enhanced_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def title(library: Path) -> Title:
    return Library(library).title("bbb")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(library: Path) -> Settings:
    return Settings(library=str(library), fast_path=FAST_PATH)


@pytest.fixture(autouse=True)
def nothing_blocks() -> Iterator[None]:
    """A blocking call from our own code inside the loop raises."""
    with blockbuster_ctx(scanned_modules=["server", "abr"]) as watch:
        watch.functions["os.sendfile"].can_block_in(
            "server/connection/socket_writer.py", {"_send_file"}
        )  # into a socket that does not
        yield


@pytest.fixture
async def client(settings: Settings, clock: Clock) -> AsyncIterator[TestClient]:
    """An HTTP client of a running server; override `settings` to change the server."""
    async with TestClient(TestServer(create_app(settings, clock=clock))) as client:
        yield client


@pytest.fixture
def opened(client: TestClient, title: Title):
    """Opens a session, with a device profile unless told otherwise; returns its path once its plans are made."""

    async def open_session(**over: object) -> str:
        body = {"title": "bbb", "profile": device_profile(title)} | over
        answer = await client.post("/sessions", data=dumps(body), headers={"Content-Type": "application/json"})
        assert answer.status == 201, await answer.text()
        async with asyncio.timeout(200):  # plans are made at the lowest priority
            await client.app[CONTEXT].sessions.all_planned()
        return answer.headers["Location"]

    return open_session
