"""What is asked of a live stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from server.ingest.encode_settings import EncodeSettings
from server.live.side_processes import SideProcessOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """What a stream becomes.

    window_s: the time-shift buffer. chunk_s: of the chunks that segments are offered in while they are under way; 0 for
    none. side_processes: what looks at its pictures while it runs.

    keep: make it an ordinary title at the end. recording: where the recording that it was measured against goes then.
    """

    name: str
    recipe: EncodeSettings
    window_s: float = 120.0
    chunk_s: float = 0.0
    side_processes: SideProcessOptions = field(default_factory=SideProcessOptions)
    keep: bool = False
    recording: Path | None = None
