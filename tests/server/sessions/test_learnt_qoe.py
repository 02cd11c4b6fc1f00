"""`toprung serve --qoe`: decisions count quality as people do, and a QoE that cannot be used is told at the start."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from opinions import opinion_items
from serving import logged

from abr.core.events import Decided
from abr.core.title import Title
from abr.errors import FormatError, InputError, StorageError
from abr.opinions.dataset import parse_opinions
from abr.opinions.fitted import fit_qoe
from abr.opinions.scales import title_scale
from abr.records import dumps
from server.app import create_app
from server.settings import Settings

QOE = fit_qoe(
    parse_opinions(json.dumps({"items": opinion_items(6, 5)}).encode(), what="t"),
    features=("rate_kbps",),
    method="every-rater",
)


@pytest.fixture
def settings(library: Path, tmp_path: Path) -> Settings:
    (tmp_path / "qoe.json").write_bytes(dumps(QOE))
    return Settings(library=str(library), qoe=str(tmp_path / "qoe.json"))


async def test_decisions_count_quality_in_points(client: TestClient, opened, title: Title):
    path = await opened(profile=None, controller="lowest")
    async with client.get(f"{path}/video/1.m4s") as answer:
        assert answer.status == 200
    (decided,) = await logged(client, path, Decided)
    vmaf = title.plain_quality[decided.rendition].vmaf[0]
    assert decided.promised_vmaf == vmaf
    assert decided.quality == pytest.approx(float(title_scale(QOE, title).of(np.array(vmaf))), abs=1e-3)
    assert decided.quality != pytest.approx(vmaf, abs=1)


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (None, StorageError, "Cannot read"),
        (b"{}", FormatError, "not valid"),
        (dumps(QOE).replace(b'"rate_kbps"', b'"level"'), InputError, "level"),
    ],
)
async def test_a_qoe_that_cannot_be_used_is_told_at_the_start(
    library: Path, tmp_path: Path, content: bytes | None, error: type[Exception], sentence: str
):
    file = tmp_path / "qoe.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(error, match=sentence):
        async with TestServer(create_app(Settings(library=str(library), qoe=str(file)))):
            pass
