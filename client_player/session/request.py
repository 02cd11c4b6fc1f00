"""What a viewer asks for, and the requests and events that are made from it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

from msgspec import UNSET

from abr.core.device import DeviceProfile, Wish
from abr.core.energy import energy_source
from abr.core.enhancement import Currency, Family
from abr.core.events import Started
from abr.core.title import Title
from abr.errors import InputError
from abr.media.content_keys import KEY_VARIABLE, ContentKey
from abr.media.video_codecs import VideoCodec
from abr.opinions.fitted import FittedQoe
from abr.simulation.traces import Trace
from client_player.decoder import decoded_codecs
from client_player.playback.sink import ChromaSink, RawSink, Sink, open_sink
from client_player.session.seen_quality import chroma_file, looked_at
from client_player.source.local_session import LocalRequest
from client_player.source.session_request import ServerSessionRequest

_CONTROLLER = "toprung"
_PLAN_WAIT_S = 10
"""In virtual time the player would reach segments before the server has planned for them, which takes wall time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayRequest:
    """What a viewer asks for. trace None plays over the network as it is; profile None plays plainly."""

    url: str
    title: str = ""
    trace: Trace | None = None
    profile: DeviceProfile | None = None
    families: Sequence[Family] = tuple(Family)
    controller: str = ""
    buffer_max_s: float = 30.0
    virtual_time: bool = True
    currency: Currency = Currency.TRUSTED
    """What counts as quality where the player decides, and in the session's QoE."""
    qoe: FittedQoe | None = None
    """Learnt from people: quality and the session's QoE then count in its points. The server's own, where it decides
    by one."""
    group: str = ""
    """Names the link that the viewer shares with others, for the server to decide for all of them; empty: none."""
    language: str = ""
    """Of the sound, such as de; none for the title's first."""
    codecs: Sequence[VideoCodec] = field(default_factory=decoded_codecs)
    """Which the viewer takes; all that this player decodes unless told."""
    keys: Sequence[ContentKey] = ()
    """For protected titles."""
    local: bool = False
    """Decide in the player, by the standard manifest, instead of in a server's session."""
    sink: str = "null"
    every: int = 1
    source_file: Path | None = None
    """The file that the title was prepared from, to measure the quality shown; None measures nothing."""
    out: Path | None = None
    slow_enhancers_file: Path | None = None
    """File of the enhancers that were too slow in earlier sessions; None neither reads nor writes one."""
    private_telemetry: bool = False
    """What the viewer sees is told in sums over cohorts alone (`client_player.private`), and not posted."""
    keep_came: Path | None = None
    """Folder that keeps what came of low rungs, within bounds, for federated tuning (`client_player.federation`)."""
    silence_max_s: float = 15.0
    """A server that says nothing for this long has failed."""


def to_session_request(request: PlayRequest, title_id: str) -> ServerSessionRequest:
    """The request for a session of the server."""
    return ServerSessionRequest(
        title=title_id,
        profile=request.profile,
        controller=request.controller,
        families=request.families,
        buffer_max_s=request.buffer_max_s,
        group=request.group,
        codecs=request.codecs,
        plan_wait_s=_PLAN_WAIT_S if request.virtual_time else 0,
    )


def to_local_request(request: PlayRequest, manifest_url: str) -> LocalRequest:
    """The request for a session that the player decides."""
    return LocalRequest(
        manifest_url=manifest_url,
        controller=request.controller or _CONTROLLER,
        profile=request.profile,
        families=request.families,
        currency=request.currency,
        qoe=request.qoe,
        codecs=request.codecs,
    )


def key_for(request: PlayRequest, title: Title) -> str:
    """What decrypts a protected title, in hex; nothing for another. Raises InputError for who lacks it."""
    if not title.protection:
        return ""
    wanted = title.protection.key_id
    key = next((each.key for each in request.keys if each.key_id == wanted), "")
    if not key:
        raise InputError(
            f"{title.id} is protected with key {wanted}, which you have not given: "
            f"give a file that holds it with --key-file, or set {KEY_VARIABLE}."
        )
    return key


def to_started_event(request: PlayRequest, title_id: str, session_id: str, controller: str) -> Started:
    """The first event of the session's log. controller: who decides, as far as that is known."""
    return Started(
        t_s=0.0,
        session=session_id[:128],
        title=title_id[:128],
        controller=(controller or request.controller or _CONTROLLER)[:128],
        device=(request.profile.device.name if request.profile else "")[:128],
        network=(request.trace.name if request.trace else "")[:128],
        software=f"toprung {version('toprung')}",
        wish=request.profile.wish if request.profile and request.profile.wish is not Wish.QUALITY else UNSET,
        energy_source=energy_source(request.profile) if request.profile else UNSET,
    )


def open_sinks(request: PlayRequest, title: Title, luma: Path, stack: ExitStack) -> list[Sink]:
    """Where shown frames go; `stack` closes them. Raises InputError, StorageError."""
    sinks: list[Sink] = []
    sink_asked_for = open_sink(request.sink, frame_rate=Fraction(*title.frame_rate), every=request.every)
    if sink_asked_for is not None:
        sinks.append(sink_asked_for)
    if request.source_file is not None:
        sinks.append(RawSink(luma, frame_rate=None))
        sinks.append(ChromaSink(chroma_file(luma), looked_at(title)))
    for sink in sinks:
        stack.callback(sink.close)
    return sinks
