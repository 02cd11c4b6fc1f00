"""What was decided for a segment: what the session remembers of it, what the log says, what is sent.

Once decided, it stays decided. All here is pure.
"""

from __future__ import annotations

import math
import zlib
from typing import NamedTuple

import msgspec

from abr.controllers.common import per_title
from abr.controllers.guard import is_failure
from abr.core.control import Decision
from abr.core.events import Decided, seen_of
from abr.core.options import Choice, PriceList
from abr.core.throughput import harmonic_mean
from abr.core.title import Title
from server.sessions.observation import ObservedSession
from server.sessions.state import OPTIONS_MAX, SessionState


class SegmentDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision for one segment. `event` is None when it had been taken before; `failed` when the controller was.

    rungs_up: rungs above that of the decision before, negative when below; 0 when there was none.
    """

    rendition: str
    enhancer: str
    promised_vmaf: float
    promised_quality: float
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
    duration_s: float = 0.0
    """Media time of a segment that was decided just now."""


class PricedTitle(NamedTuple):
    """A title and what it offers one device."""

    title: Title
    prices: PriceList


def repeat_decision(
    state: SessionState, offer: PricedTitle, segment: int, requested: str = ""
) -> SegmentDecision | None:
    """The decision that was already made for `segment`, if the session remembers it, and it can still be sent."""
    option = state.option(segment)
    if option is None or not math.isfinite(offer.prices.size_bytes[segment, option]):
        return None
    prices, sent = offer.prices, _sent_option(offer.prices, option, requested)
    choice = prices.choices[sent]
    return SegmentDecision(
        rendition=prices.rendition_ids[choice.rendition],
        enhancer=choice.enhancer,
        promised_vmaf=float(prices.vmaf[segment, sent]),
        promised_quality=prices.shown_quality(segment, sent),
        wait_s=0.0,
        reason="as decided before",
        state=state,
        suggested_bps=_suggested_bps(offer, option) if requested else None,
    )


def record_decision(
    observed: ObservedSession, decision: Decision, offer: PricedTitle, segment: int, requested: str = ""
) -> SegmentDecision:
    """The decision with all that follows from it: the state that remembers it, the line for the log, the answer.

    requested: the rendition that a viewer who chooses for itself asks for. It gets that one; what was decided is then
    advice.
    """
    state, observation, _ = observed
    prices = offer.prices
    option = _sent_option(prices, decision.option, requested)
    last = observation.last
    state = state.with_decision(
        segment,
        decision.option,
        sent=option,
        memory=tuple(map(float, decision.memory)),
        decided_s=observation.now_s,
        ahead_s=observation.buffer_s + float(observation.menu.duration_s[0]),
    )
    choice = prices.choices[option]
    return SegmentDecision(
        rendition=prices.rendition_ids[choice.rendition],
        enhancer=choice.enhancer,
        promised_vmaf=float(prices.vmaf[segment, option]),
        promised_quality=prices.shown_quality(segment, option),
        wait_s=decision.wait_s,
        reason=decision.reason,
        state=state,
        event=_event(observed, decision, option, offer, segment),
        failed=is_failure(decision),
        throughput_bps=harmonic_mean(observation.downloads).throughput_bps if observation.downloads else None,
        suggested_bps=_suggested_bps(offer, decision.option) if requested else None,
        rungs_up=choice.rendition - last.rendition if last else 0,
        duration_s=float(prices.duration_s[segment]),
    )


def fingerprint(prices: PriceList) -> int:
    """Tells whether indices into one option list may be used with another; never 0."""
    return _fingerprint(prices)


@per_title
def _fingerprint(prices: PriceList) -> int:
    names = ((prices.rendition_ids[choice.rendition], choice.enhancer) for choice in prices.choices)
    return zlib.crc32(repr(list(names)).encode()) or 1


def can_remember(prices: PriceList) -> bool:
    """Whether sessions can remember choices among so many options."""
    return len(prices.choices) < OPTIONS_MAX


def _sent_option(prices: PriceList, option: int, requested: str) -> int:
    """The option that is sent when `option` was decided and rendition `requested` was asked for.

    When that is another rendition than the decided one, it is sent in its plain form: nothing was planned with it.
    """
    if not requested or prices.rendition_ids[prices.choices[option].rendition] == requested:
        return option
    return prices.choices.index(Choice(rendition=prices.rendition_ids.index(requested)))


def _suggested_bps(offer: PricedTitle, option: int) -> int:
    """As players count it that choose among renditions: the manifests' @bandwidth, that of the sound added.

    5.1 is not: a player that weighs it against pictures takes it last.
    """
    title, prices = offer
    rendition = title.renditions[prices.choices[option].rendition]
    usual = [track.bandwidth_bps for track in title.audio if track.channels <= title.audio[0].channels]
    return rendition.bandwidth_bps + max(usual, default=0)


def _event(observed: ObservedSession, decision: Decision, option: int, offer: PricedTitle, segment: int) -> Decided:
    """What goes into the session log; with the title and the profile the decision can be replayed from it.

    option: what is sent.
    """
    title, prices = offer
    choice, advised = prices.choices[option], prices.choices[decision.option]
    return Decided(
        t_s=observed.observation.now_s,
        segment=segment,
        rendition=prices.rendition_ids[choice.rendition],
        enhancer=choice.enhancer,
        wait_s=decision.wait_s,
        reason=decision.reason,
        promised_vmaf=float(prices.vmaf[segment, option]),
        promised_quality=prices.shown_quality(segment, option),
        size_bytes=title.renditions[choice.rendition].segment_bytes[segment],
        seen=seen_of(observed.observation, observed.owned),
        advised="" if advised.rendition == choice.rendition else prices.rendition_ids[advised.rendition],
    )
