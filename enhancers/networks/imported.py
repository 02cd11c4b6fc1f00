"""Imported networks, named by the digest of their file and by their scale."""

from __future__ import annotations

import re
from dataclasses import dataclass

from abr.errors import FormatError

_PATTERN = re.compile(r"onnx-([0-9a-f]{16})x(1\.5|2|3|4)")
SCALES = (1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedArchitecture:
    """`onnx-0123456789abcdefx2`: an ONNX file whose sha256 begins so, and which doubles width and height."""

    digest: str
    scale: float
    reuse: int = 1

    def __str__(self) -> str:
        return f"onnx-{self.digest}x{self.scale:g}"

    def shown_px(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Size of the picture that the network makes of one of this size."""
        return int(width_px * self.scale), int(height_px * self.scale)


def is_imported(architecture: str) -> bool:
    """Whether the name is that of an imported network's architecture."""
    return architecture.startswith("onnx-")


def parse_imported(text: str) -> ImportedArchitecture:
    """The inverse of `str`. Raises FormatError for anything else."""
    if match := _PATTERN.fullmatch(text):
        return ImportedArchitecture(digest=match[1], scale=float(match[2]))
    raise FormatError(f"{text[:60]!r} does not name an imported network, such as onnx-0123456789abcdefx2.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImportedNetwork:
    """A checked network. channels: 1 (luma) or 3 (RGB). white: what it takes and gives for white, 1 or 255."""

    architecture: ImportedArchitecture
    data: bytes
    channels: int
    white: float
    macs_per_output_px: float
