"""What a viewer asks for, and how it is said to those who serve, decide, log and show."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

from abr.device import DeviceProfile
from abr.enhancement import Family
from abr.events import Started
from abr.media import Title
from abr.traces import Trace
from client_player.driven import SessionWish
from client_player.local import LocalWish
from client_player.sink import RawSink, Sink, open_sink

_CONTROLLER = "toprung"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a viewer asks for. trace None plays over the network as it is; profile None plays plainly."""

    url: str
    title: str = ""
    trace: Trace | None = None
    profile: DeviceProfile | None = None
    families: Sequence[Family] = tuple(Family)
    controller: str = ""
    buffer_max_s: float = 30.0
    virtual_time: bool = True
    local: bool = False
    """Decide in the player, by the standard manifest, instead of in a server's session."""
    sink: str = "null"
    every: int = 1
    source: Path | None = None
    out: Path | None = None
    setbacks: Path | None = None
    """Where this device keeps what it failed at in earlier sessions; None neither remembers nor learns."""
    silence_max_s: float = 15.0
    """A server that says nothing for this long has failed."""


def session_wish(wish: Wish, title_id: str) -> SessionWish:
    return SessionWish(
        title=title_id,
        profile=wish.profile,
        controller=wish.controller,
        families=wish.families,
        buffer_max_s=wish.buffer_max_s,
    )


def local_wish(wish: Wish, manifest_url: str) -> LocalWish:
    return LocalWish(
        manifest_url=manifest_url,
        controller=wish.controller or _CONTROLLER,
        profile=wish.profile,
        families=wish.families,
    )


def started(wish: Wish, title_id: str, session_id: str) -> Started:
    return Started(
        t_s=0.0,
        session=session_id[:128],
        title=title_id[:128],
        controller=(wish.controller or _CONTROLLER)[:128],
        device=(wish.profile.device.name if wish.profile else "")[:128],
        network=(wish.trace.name if wish.trace else "")[:128],
        software=f"toprung {version('toprung')}",
    )


def sinks(wish: Wish, title: Title, luma: Path, stack: ExitStack) -> list[Sink]:
    opened: list[Sink] = []
    asked = open_sink(wish.sink, frame_rate=Fraction(*title.frame_rate), every=wish.every)
    if asked is not None:
        opened.append(asked)
    if wish.source is not None:
        opened.append(RawSink(luma, frame_rate=None))
    for sink in opened:
        stack.callback(sink.close)
    return opened
