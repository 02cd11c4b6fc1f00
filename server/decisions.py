"""Deciding: which (rendition, enhancer) a viewer gets for a segment. Once decided, it stays decided."""

from __future__ import annotations

import re
import zlib
from collections.abc import Awaitable, Callable
from functools import lru_cache

import msgspec

from abr import cmsd
from abr.control import Decision, Observation
from abr.events import Decided
from abr.media import Title
from abr.options import Choice, PriceList
from abr.simulate import menu_of, seen_of
from abr.throughput import harmonic_mean
from server.media import PRIVATE
from server.sessions import OPTIONS_MAX, SessionState, owned_keys
from server.viewers import Heard, observe, remember, session_time_s

REASON_SHOWN_MAX = 400
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_FAILED = "the controller failed"
"""How the guard's reason begins when it stood in for a controller."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A decision for one segment. `event` is None when it had been taken before; `failed` when the controller was.

    rungs_up: rungs above that of the decision before, negative when below; 0 when there was none.
    """

    rendition: str
    enhancer: str
    promised_vmaf: float
    wait_s: float
    reason: str
    state: SessionState
    event: Decided | None = None
    failed: bool = False
    throughput_bps: float | None = None
    """Mean of the last downloads; None before the first."""
    suggested_bps: int | None = None
    """For a viewer who chooses for itself: the bitrate, sound included, of what it is advised to take."""
    rungs_up: int = 0


async def take(
    state: SessionState,
    heard: Heard,
    title: Title,
    prices: PriceList,
    decide: Callable[[Observation], Awaitable[Decision]],
    segment: int,
    *,
    now_s: float,
    horizon: int,
    asked: str = "",
) -> Taken:
    """Decide `segment`, or repeat what was decided. `now_s` is the server's clock.

    decide: a controller behind its guard (`abr.controllers.guard`). asked: the rendition that a viewer who chooses for
    itself asks for, which it gets; what is decided is then advice.
    """
    state = _for_menu(state, fingerprint(prices))
    before = state.option(segment)
    if before is not None:
        decision = Decision(option=before, reason="as decided before")
        return _taken(prices, title, segment, decision, state, asked)
    session_s = session_time_s(state, heard, now_s)
    state = remember(state, heard, prices, segment, session_s)
    owned = owned_keys(state.owned, prices.weights_bytes)
    menu = menu_of(prices, segment, horizon, frozenset(owned))
    seen = observe(state, heard, prices, menu, now_s=session_s)
    decision = await decide(seen)
    option = _as_asked(prices, decision.option, asked)
    rungs_up = prices.choices[option].rendition - seen.last.rendition if seen.last else 0
    state = msgspec.structs.replace(
        state.with_choice(segment, decision.option),
        last=option,
        memory=tuple(map(float, decision.memory)),
        segment=segment,
        heard_s=seen.now_s,
        ahead_s=seen.buffer_s + float(menu.duration_s[0]),
    )
    return _taken(
        prices,
        title,
        segment,
        decision,
        state,
        asked,
        event=_event(prices, title, segment, decision, option, seen, owned),
        failed=decision.reason.startswith(_FAILED),
        rungs_up=rungs_up,
        throughput_bps=harmonic_mean(seen.downloads).throughput_bps if seen.downloads else None,
    )


def headers(taken: Taken) -> dict[str, str]:
    """What goes with a decided segment."""
    return {
        "Cache-Control": PRIVATE,
        cmsd.DYNAMIC: cmsd.chosen(
            taken.rendition,
            taken.enhancer,
            throughput_bps=taken.throughput_bps,
            suggested_bps=taken.suggested_bps,
        ),
        "Toprung-Rendition": taken.rendition,
        "Toprung-Enhancer": taken.enhancer,
        "Toprung-Promised-VMAF": f"{taken.promised_vmaf:.2f}",
        "Toprung-Wait-S": f"{taken.wait_s:.3f}",
        "Toprung-Reason": _shown(taken.reason.replace("±", "+/-")[:REASON_SHOWN_MAX]),
    }


def _shown(reason: str) -> str:
    return reason if reason.isascii() and reason.isprintable() else _UNPRINTABLE.sub("?", reason)


@lru_cache(maxsize=64)
def fingerprint(prices: PriceList) -> int:
    """Tells whether indices into one option list may be used with another; never 0."""
    names = ((prices.rendition_ids[choice.rendition], choice.enhancer) for choice in prices.choices)
    return zlib.crc32(repr(list(names)).encode()) or 1


def usable(prices: PriceList) -> bool:
    """Whether sessions can remember choices among so many options."""
    return len(prices.choices) < OPTIONS_MAX


def _for_menu(state: SessionState, menu: int) -> SessionState:
    """When a title was trained again under a running session, what was chosen from the old list is forgotten."""
    if state.menu == menu:
        return state
    return msgspec.structs.replace(state, menu=menu, last=-1, taken_from=0, taken=b"", memory=())


def _as_asked(prices: PriceList, option: int, asked: str) -> int:
    """The option that is sent when `option` was decided and `asked` was asked for: of another rendition than the
    decided one its plain form, for nothing was planned with it."""
    if not asked or prices.rendition_ids[prices.choices[option].rendition] == asked:
        return option
    return prices.choices.index(Choice(rendition=prices.rendition_ids.index(asked)))


def _taken(
    prices: PriceList,
    title: Title,
    segment: int,
    decision: Decision,
    state: SessionState,
    asked: str,
    *,
    event: Decided | None = None,
    failed: bool = False,
    rungs_up: int = 0,
    throughput_bps: float | None = None,
) -> Taken:
    option = _as_asked(prices, decision.option, asked)
    choice = prices.choices[option]
    return Taken(
        rendition=prices.rendition_ids[choice.rendition],
        enhancer=choice.enhancer,
        promised_vmaf=float(prices.vmaf[segment, option]),
        wait_s=decision.wait_s,
        reason=decision.reason,
        state=state,
        event=event,
        failed=failed,
        rungs_up=rungs_up,
        throughput_bps=throughput_bps,
        suggested_bps=_bitrate_bps(title, prices.choices[decision.option].rendition) if asked else None,
    )


def _bitrate_bps(title: Title, rendition: int) -> int:
    """As players count it that choose among renditions: the manifests' @bandwidth, that of the sound added."""
    return title.renditions[rendition].bandwidth_bps + sum(track.bandwidth_bps for track in title.audio)


def _event(
    prices: PriceList,
    title: Title,
    segment: int,
    decision: Decision,
    option: int,
    seen: Observation,
    owned: tuple[str, ...],
) -> Decided:
    """What goes into the session log; with the title and the profile the decision can be replayed from it. `option` is
    what is sent."""
    choice, advised = prices.choices[option], prices.choices[decision.option]
    return Decided(
        t_s=seen.now_s,
        segment=segment,
        rendition=prices.rendition_ids[choice.rendition],
        enhancer=choice.enhancer,
        wait_s=decision.wait_s,
        reason=decision.reason,
        promised_vmaf=float(prices.vmaf[segment, option]),
        size_bytes=title.renditions[choice.rendition].segment_bytes[segment],
        seen=seen_of(seen, owned),
        advised="" if advised.rendition == choice.rendition else prices.rendition_ids[advised.rendition],
    )
