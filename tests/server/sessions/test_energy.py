"""Viewers who save energy, over a real server: what they are sent, what they are told, what operators see."""

from __future__ import annotations

import re

from msgspec import structs
from serving import device_profile

from abr.core.device import EnergySource, Wish
from abr.core.events import Shown
from abr.protocols import session_api
from abr.records import dumps


def metered(title, joules: float, wish: Wish = Wish.QUALITY):
    """The test device, of 8 W above rest, with so many joules a frame."""
    known = device_profile(title)
    rows = [structs.replace(m, energy_mj=1000 * joules, energy_source=EnergySource.RAPL) for m in known.measurements]
    return structs.replace(known, measurements=tuple(rows), wish=wish)


async def test_a_saver_is_not_sent_what_is_not_worth_its_energy(client, opened, title):
    for joules, wish, lifted in ((1.0, Wish.QUALITY, True), (1.0, Wish.SAVER, False), (0.001, Wish.SAVER, True)):
        path = await opened(profile=metered(title, joules, wish))
        headers = (await client.get(f"{path}/video/1.m4s")).headers
        assert (headers[session_api.ENHANCER] != "none") == lifted, (joules, wish)
        decision = headers[session_api.PROMISED_QUALITY], headers[session_api.PROMISED_VMAF]
        assert decision[0] == decision[1], "what is seen, with nothing taken off"


async def test_operators_see_joules_by_what_players_tell_or_else_by_their_profiles(client, opened, title):
    path = await opened(profile=metered(title, 0.05))
    rung = title.renditions[0].id
    entry = "content-low"
    frames = title.segment_frames[0]
    shown = Shown(
        t_s=3.0,
        segment=0,
        rendition=rung,
        enhancer=entry,
        frames=frames,
        enhanced_frames=frames // 2,
        plain_frames=frames - frames // 2,
        late_frames=0,
        buffer_s=1.0,
    )
    before = await joules(client)
    for event in (shown, structs.replace(shown, energy_j=2.5)):
        body = dumps({"events": [event]})
        answer = await client.post(f"{path}/events", data=body, headers={"Content-Type": "application/json"})
        assert answer.status < 300, await answer.text()
    told = await joules(client) - before - 2.5
    assert abs(told - 0.05 * (frames // 2)) < 0.02 * told + 0.06


async def joules(client) -> float:
    text = await (await client.get("/metrics")).text()
    found = re.search(r"^toprung_viewer_energy_joules_total (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
