"""Deadlines: enhance this frame or upscale it plainly, and which tier to try at all. Pure: time comes in.

Two loops. The inner one guards each frame: an enhancer may start only if, at its careful cost, it is done early enough
that the next frame can still be decoded and upscaled in time; otherwise the frame is shown plain. The outer one guards
the tier: when frames keep falling back, or the enhancer is slower than real time and its head start shrinks, that cost
is barred and a cheaper tier is used. A bar is lifted after a calm minute, and doubles each time the same cost fails
again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from abr.core.enhancement import PLAIN

CALM_S = 60.0
CALM_MAX_S = 960.0
_LOAD_MAX = 1.0
"""Compute seconds per media second above which the head start shrinks."""
_HEAD_START_LOW_S = 0.8
_FRAMES_TRIED_MIN = 12
"""A moment of contention is not yet a slow enhancer; single frames are guarded anyway."""
_WINDOW_S = 2.0
_FALLBACKS_MIN = 3
_FALLBACKS_SHARE = 0.15
_PLAN_MEMORY = 50
"""Frames of a plan over which its mean cost is told: most cost next to nothing, some a multiple of the mean."""
_RECENT = 96
_COST_MAX_S = 1.0
"""Estimates stop here, so that one freak frame cannot keep an enhancer from ever being tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierCandidate:
    """One way to show frames of a rendition. frame_s: predicted seconds a frame, from the device profile.

    key: what its speed depends on (architecture and size): experience is kept per key. actions: of a frame plan, what
    it may do for a frame, from nothing to the deepest exit; frame_s is then a mean. frame_j: joules of a frame.
    """

    name: str
    key: str
    frame_s: float
    frame_j: float = 0.0
    actions: tuple[TierCandidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStep:
    """The tier was changed, from one candidate's name to another's."""

    before: str
    after: str
    reason: str


@dataclass(slots=True)
class EnhancerCost:
    """Seconds of one kind of work. typical_s: a slow mean. careful_s: rises at once, falls slowly.

    memory: frames that typical_s looks back on. recent_s: of the last frames, as they were.
    """

    typical_s: float
    careful_s: float
    count: int = 0
    memory: int = 10
    recent_s: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def add(self, seconds: float) -> None:
        """Count one frame that took so many seconds."""
        self.count += 1
        self.recent_s.append(seconds)
        self.typical_s += (seconds - self.typical_s) / self.memory
        rate = 1.0 if seconds > self.careful_s else 0.05
        self.careful_s = min(_COST_MAX_S, self.careful_s + rate * (seconds - self.careful_s))


@dataclass(slots=True)
class _Bar:
    frame_s: float
    until_s: float
    times: int


@dataclass(slots=True, kw_only=True)
class DeadlineKeeper:
    """Decides which enhancer to use and whether each frame has time for it. frame_s: time between two frames."""

    frame_s: float
    costs: dict[str, EnhancerCost] = field(default_factory=dict)
    decode: EnhancerCost = field(default_factory=lambda: EnhancerCost(0.0, 0.0))
    plain: EnhancerCost = field(default_factory=lambda: EnhancerCost(0.0, 0.0))
    slow_frame_s: dict[str, float] = field(default_factory=dict)
    """Seconds a frame of what could not keep up, decoding included, by key."""
    _bars: dict[str, _Bar] = field(default_factory=dict)
    _recent: deque[tuple[float, bool]] = field(default_factory=deque)
    _using: str = ""
    _wanted: str = ""

    def cost(self, candidate: TierCandidate) -> EnhancerCost:
        """What is known of a candidate's cost: its own history, or else what the profile predicts."""
        memory = _PLAN_MEMORY if candidate.actions else 10
        usual = EnhancerCost(candidate.frame_s, candidate.frame_s, memory=memory)
        return self.costs.setdefault(candidate.key, usual)

    def pick(self, now_s: float, wanted: Sequence[TierCandidate]) -> tuple[TierCandidate | None, TierStep | None]:
        """The first of `wanted` (the decided enhancer, then ever cheaper ones) that is not barred; None means plain.

        The step says what the player changed itself since the last call, and why.
        """
        choice = next((candidate for candidate in wanted if not self._barred(now_s, candidate)), None)
        target, using = (wanted[0].name if wanted else PLAIN), (choice.name if choice else PLAIN)
        step = None
        if target == self._wanted and using != self._using and self._using:
            step = TierStep(before=self._using, after=using, reason=self._explain_step(now_s, wanted, using))
        elif target != self._wanted and using != target:
            step = TierStep(before=target, after=using, reason=self._explain_step(now_s, wanted, using))
        self._wanted, self._using = target, using
        return choice, step

    def allows(self, now_s: float, due_s: float | None, candidate: TierCandidate) -> bool:
        """Whether a frame due at `due_s` may be enhanced from now on. None: playback waits for it."""
        if due_s is None:
            return self.cost(candidate).careful_s <= self.frame_s
        allowed = self._in_time(now_s, due_s, candidate)
        self._count_try(now_s, fell_back=not allowed)
        return allowed

    def lower_action(self, now_s: float, due_s: float | None, plan: TierCandidate, action: int) -> int:
        """The costliest action up to the planned one that a frame due at `due_s` has time for; 0 is nothing.

        None: playback waits for the frame. Then the plan is followed if it keeps up in the mean.
        """
        if due_s is None:
            return action if plan.frame_s <= self.frame_s else 0
        found = next((each for each in range(action, 0, -1) if self._in_time(now_s, due_s, plan.actions[each])), 0)
        self._count_try(now_s, fell_back=found < action)
        return found

    def _in_time(self, now_s: float, due_s: float, candidate: TierCandidate) -> bool:
        careful_s = self.cost(candidate).careful_s
        return now_s + 1.25 * careful_s + self.decode.careful_s + self.plain.careful_s <= due_s

    def _count_try(self, now_s: float, *, fell_back: bool) -> None:
        self._recent.append((now_s, fell_back))
        while self._recent and self._recent[0][0] < now_s - _WINDOW_S:
            self._recent.popleft()

    def find_overload(self, now_s: float, due_s: float | None, candidate: TierCandidate) -> str | None:
        """Why this candidate cannot keep up, or None while it can. Ask after each frame; barring is up to `bar`."""
        cost = self.cost(candidate)
        typical_s = cost.typical_s + self.decode.typical_s
        head_start_shrinks = typical_s > _LOAD_MAX * self.frame_s and cost.count >= _FRAMES_TRIED_MIN
        if due_s is not None and head_start_shrinks and due_s - now_s < _HEAD_START_LOW_S:
            return (
                f"{candidate.name} takes {typical_s * 1000:.0f} ms a frame of {self.frame_s * 1000:.0f} ms, "
                f"{max(0.0, due_s - now_s):.1f} s ahead of the screen"
            )
        fallbacks = sum(fell_back for _, fell_back in self._recent)
        if fallbacks >= max(_FALLBACKS_MIN, _FALLBACKS_SHARE * _WINDOW_S / self.frame_s):
            return f"{fallbacks} of the last {len(self._recent)} frames had no time left for {candidate.name}"
        return None

    def bar(self, now_s: float, candidate: TierCandidate) -> None:
        """Refuse this candidate, and whatever is predicted to cost as much, until calm has passed."""
        times = self._bars[candidate.key].times + 1 if candidate.key in self._bars else 1
        calm_s = min(CALM_MAX_S, CALM_S * 2 ** (times - 1))
        self._bars[candidate.key] = _Bar(candidate.frame_s, now_s + calm_s, times)
        self._recent.clear()
        self.slow_frame_s[candidate.key] = self.cost(candidate).typical_s + self.decode.typical_s
        self.costs.pop(candidate.key, None)  # after the bar, its cost is measured afresh

    def _barred(self, now_s: float, candidate: TierCandidate) -> bool:
        return any(now_s < bar.until_s and candidate.frame_s >= bar.frame_s for bar in self._bars.values())

    def _explain_step(self, now_s: float, wanted: Sequence[TierCandidate], using: str) -> str:
        if wanted and using == wanted[0].name:
            return f"calm: {using} is tried again"
        bars = [bar for bar in self._bars.values() if now_s < bar.until_s]
        slow_frame_s, until_s = min(bar.frame_s for bar in bars), max(bar.until_s for bar in bars)
        return f"work of {slow_frame_s * 1000:.0f} ms a frame failed here; tried again in {until_s - now_s:.0f} s"
