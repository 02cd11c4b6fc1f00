"""What `toprung play` prints to stderr: failures and changes of enhancer, and at a terminal a live status line."""

from __future__ import annotations

from msgspec import UnsetType
from rich.console import Console
from rich.status import Status

from abr.core.events import AnyEvent, Decided, Failed, Learnt, Playing, Shown, Stalled, Started, Stepped


class PlayProgress:
    """A context manager. Its methods `show_event`, `count_bytes` and `count_measured` are a session's listeners."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status = Status("Opening a session …", console=self._console) if self._console.is_terminal else None
        self._bytes = self._frames = self._measured = 0
        self._choice = self._behind = self._learning = ""

    def __enter__(self) -> PlayProgress:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def show_event(self, event: AnyEvent) -> None:
        """An event of the session."""
        match event:
            case Started():
                self._console.print(f"Playing {event.title} over {event.network or 'the network as it is'}.")
            case Decided():
                self._choice = f"segment {event.segment + 1}: {event.rendition} + {event.enhancer}"
            case Playing():
                self._console.print(f"First frame after {event.startup_s:.2f} s.")
            case Stalled():
                self._console.print(f"{_at(event)} stalled for {event.duration_s:.2f} s.")
            case Stepped():
                self._console.print(f"{_at(event)} {event.from_enhancer} → {event.to_enhancer}: {event.reason}")
            case Learnt():
                self._learning = f", learning: {event.gain:+.1f} since start"
                self._console.print(f"{_at(event)} new weights of the stream's own; {self._learning[2:]}.")
            case Failed():
                self._console.print(f"{_at(event)} {event.what}: {event.detail}", style="yellow")
            case Shown():
                self._frames += event.frames
                self._behind = (
                    "" if isinstance(event.latency_s, UnsetType) else f", {event.latency_s:.1f} s behind live"
                )
        self._update(
            f"{self._choice}, {self._frames} frames shown, {self._bytes / 1e6:.2f} MB{self._behind}{self._learning}"
        )

    def count_bytes(self, size_bytes: int) -> None:
        """Bytes that the shaped network let through."""
        self._bytes += size_bytes
        self._update(f"{self._choice}, {self._frames} frames shown, {self._bytes / 1e6:.2f} MB")

    def count_measured(self, frames: int) -> None:
        """Frames held against the source."""
        self._measured += frames
        self._update(f"measuring what was seen: {self._measured} of {self._frames} frames")

    def _update(self, text: str) -> None:
        if self._status:
            self._status.update(text)


def _at(event: AnyEvent) -> str:
    return f"At {event.t_s:.1f} s:"
