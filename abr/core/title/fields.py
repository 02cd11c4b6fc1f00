"""Bounds of what fields of a title hold."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

Positive = Annotated[int, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]
Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Language = Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}$")]
TrackName = Annotated[str, Meta(max_length=200)]
AudioRole = Literal["main", "alternate", "dub", "commentary", "description"]
"""Roles of ISO/IEC 23009-1, 5.8.5.5; `main` is the first track's, `description` is for who cannot see."""
SubtitleRole = Literal["subtitle", "caption", "forced-subtitle", "commentary"]
"""Likewise; `caption` tells sounds too, for who cannot hear."""
Chromaticity = tuple[Annotated[int, Meta(ge=0, le=65535)], Annotated[int, Meta(ge=0, le=65535)]]
Version = Annotated[str, Meta(pattern=r"^([0-9a-f]{16})?$")]
