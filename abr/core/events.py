"""The session log: one viewer's append-only events, one JSON object a line, tagged by `event`.

`t_s` is session time in seconds, 0 at the session's start. The server writes Decided; the player writes the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from abr.core.control import REASON_MAX, Observation
from abr.errors import FormatError
from abr.records import Record, dumps, loads

Time = Annotated[float, Meta(ge=0, le=1e9)]
Span = Annotated[float, Meta(ge=0, le=1e6)]
Bytes = Annotated[int, Meta(ge=0, le=1 << 40)]
Frames = Annotated[int, Meta(ge=0, le=1 << 24)]
Index = Annotated[int, Meta(ge=0, le=1 << 24)]
Name = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=REASON_MAX)]


class Event(Record, frozen=True, tag_field="event"):
    """Base of all events."""

    t_s: Time


class Started(Event, frozen=True, tag="started"):
    """The session began. `network` names the trace, or is empty for an unshaped network.

    arm: of the server's experiment that the viewer was drawn into; the server says so, whatever a player says.
    wish: how the viewer wants energy spent, other than for quality. energy_source: what joules in this log rest on.
    """

    session: Name
    title: Name
    controller: Name
    device: Name = ""
    network: Name = ""
    software: Name = ""
    arm: Name = ""
    wish: Name | UnsetType = UNSET
    energy_source: Name | UnsetType = UNSET


class ObservationRecord(Record, frozen=True):
    """The observation behind a decision, menu apart: with the title and profile it can be replayed exactly."""

    buffer_s: Span
    buffer_max_s: Span
    backlog_s: Span
    playing: bool
    downloads: tuple[tuple[float, float, float, int], ...]
    """started_s, duration_s, latency_s, size_bytes of each, oldest first."""
    owned: tuple[str, ...] = ()
    memory: tuple[float, ...] = ()


class Decided(Event, frozen=True, tag="decided"):
    """The controller chose. `promised_vmaf` is what the enhancement table says of the choice.

    promised_quality: the same in what decisions count, trusted quality by default; None in logs that do not tell.
    advised: empty, but when a viewer who chooses for itself took another rendition than this one, which the controller
    had advised; all else tells what was taken.
    """

    segment: Index
    rendition: Name
    enhancer: Name
    wait_s: Span
    reason: Text
    promised_vmaf: float
    size_bytes: Bytes
    seen: ObservationRecord | None = None
    advised: Name = ""
    promised_quality: float | None = None

    @property
    def quality(self) -> float:
        """What was promised, in what decisions count."""
        return self.promised_vmaf if self.promised_quality is None else self.promised_quality


class Downloaded(Event, frozen=True, tag="downloaded"):
    """A download finished at `t_s`. kind: video, audio, init, weights or document; `segment` of video and audio.

    size_bytes: as they travelled. `name` is the rendition id, audio track id, weights file or path.
    """

    kind: Name
    started_s: Time
    latency_s: Span
    duration_s: Span
    size_bytes: Bytes
    segment: Index = 0
    name: Name = ""


class Playing(Event, frozen=True, tag="playing"):
    """The first frame was shown."""

    startup_s: Span


class Stalled(Event, frozen=True, tag="stalled"):
    """Playback stood still for `duration_s`, ending at `t_s`, waiting for `segment`."""

    duration_s: Span
    segment: Index


class Shown(Event, frozen=True, tag="shown"):
    """A segment was shown to its end. frames = enhanced_frames + plain_frames; late ones missed their instant.

    latency_s: of a live stream, how far its last frame was behind the live edge; absent for titles.
    lowered_frames: those made with less computing than the frame plan says; absent where there were none. Frames that
    the plan itself leaves plain count among the enhanced ones: its quality is told with them in it.
    energy_j: joules that enhancing took, above the idle device; absent where nothing was enhanced.
    """

    segment: Index
    rendition: Name
    enhancer: Name
    frames: Frames
    enhanced_frames: Frames
    plain_frames: Frames
    late_frames: Frames
    buffer_s: Span
    backlog_s: Span = 0.0
    enhance_p50_ms: Span = 0.0
    enhance_p95_ms: Span = 0.0
    latency_s: Span | UnsetType = UNSET
    energy_j: Span | UnsetType = UNSET
    lowered_frames: Frames | UnsetType = UNSET


class Stepped(Event, frozen=True, tag="stepped"):
    """The player changed the enhancer tier by itself to keep its deadlines."""

    segment: Index
    from_enhancer: Name
    to_enhancer: Name
    reason: Text


class Learnt(Event, frozen=True, tag="learnt"):
    """A live stream offers newer networks that have learnt it.

    publications: of the stream so far. gain: points of trusted quality above the better of plain playback and the
    generic network, of the rung that gained most.
    """

    publications: Index
    gain: Annotated[float, Meta(ge=-100, le=100)]


class Failed(Event, frozen=True, tag="failed"):
    """Something went wrong and was survived."""

    what: Name
    detail: Text


class Ended(Event, frozen=True, tag="ended"):
    """The session is over. reason: finished, stopped, or what broke it."""

    reason: Text
    played_s: Span


AnyEvent = Started | Decided | Downloaded | Playing | Stalled | Shown | Stepped | Learnt | Failed | Ended


def loads_line(line: bytes | str) -> AnyEvent:
    """One line of a session log. Raises FormatError."""
    return loads(line, AnyEvent, what="session event")  # type: ignore[arg-type]


def loads_log(text: bytes) -> list[AnyEvent]:
    """A whole session log; raises FormatError with the line number."""
    events: list[AnyEvent] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                events.append(loads_line(line))
            except FormatError as error:
                raise FormatError(f"Line {number} of the session log: {error}") from error
    return events


def dumps_line(event: AnyEvent) -> bytes:
    """One line with its newline. The inverse of `loads_line`."""
    return dumps(event) + b"\n"


def dumps_log(events: list[AnyEvent]) -> bytes:
    """The inverse of `loads_log`."""
    return b"".join(map(dumps_line, events))


class EventBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /sessions/{id}/events."""

    events: Annotated[tuple[AnyEvent, ...], Meta(max_length=1024)]


def seen_of(seen: Observation, owned: Sequence[str] = ()) -> ObservationRecord:
    """What a log keeps of an observation."""
    return ObservationRecord(
        buffer_s=seen.buffer_s,
        buffer_max_s=seen.buffer_max_s,
        backlog_s=seen.backlog_s,
        playing=seen.playing,
        downloads=tuple([(d.started_s, d.duration_s, d.latency_s, d.size_bytes) for d in seen.downloads]),
        owned=tuple(owned),
        memory=seen.memory,
    )
