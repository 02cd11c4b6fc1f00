"""What a derived network may take: `ms=8,bytes=60k,peak_mb=40`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields

from abr.errors import InputError

EXAMPLE = "ms=8,bytes=60k,peak_mb=40"
_NUMBER = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([kM]?)", re.ASCII)
_TIMES = {"": 1.0, "k": 1e3, "M": 1e6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of one network; infinite where there is none.

    ms: median milliseconds of a frame, from decoded to shown, with one thread. bytes: of the weights file.
    peak_mb: 10⁶ bytes of the pictures that the operator which needs most reads and writes, a byte a value.
    """

    ms: float
    bytes: float = math.inf
    peak_mb: float = math.inf

    def slowed(self, times: float) -> Budget:
        """The same for a device on which everything takes `1 / times` as long."""
        return Budget(ms=self.ms * times, bytes=self.bytes, peak_mb=self.peak_mb)

    def __str__(self) -> str:
        told = ((each.name, getattr(self, each.name)) for each in fields(self))
        return ",".join(f"{name}={value:.12g}" for name, value in told if math.isfinite(value))


def read_budget(text: str) -> Budget:
    """`ms=8,bytes=60k,peak_mb=40`; ms is needed, k and M mean thousands and millions. Raises InputError."""
    known = [each.name for each in fields(Budget)]
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        match = _NUMBER.fullmatch(number)
        if name not in known or name in found or match is None or float(match[1]) <= 0:
            raise InputError(f"The budget has {part.strip()[:40]!r}; it takes {', '.join(known)}, once, as {EXAMPLE}.")
        found[name] = float(match[1]) * _TIMES[match[2]]
    if "ms" not in found:
        raise InputError(f"The budget {text[:60]!r} tells no ms; it is like {EXAMPLE}.")
    return Budget(**found)
