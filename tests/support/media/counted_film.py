"""A film that tells of each instant in its pictures and in each of its sounds: what is seen and heard can be compared.

Pictures count themselves, in eight bars that are a binary number. Each sound is a tone that rises evenly with time, in
a band of its own. `heard_and_seen.js` reads both from what a page plays.
"""

from __future__ import annotations

from pathlib import Path

from many_tracks import write_film

FPS = 25
SECONDS = 8.0
RISE_HZ_PER_S = 250
ENGLISH_HZ, GERMAN_HZ, FRENCH_HZ = 1000, 4000, 7000
"""Where each tone begins; it ends 2000 Hz higher."""
BITS = 8
_BARS = f"geq=lum='16+219*mod(floor(N/pow(2\\,floor(X*{BITS}/W)))\\,2)':cb=128:cr=128"


def write_counted_film(path: Path) -> Path:
    """The film of `many_tracks`, eight seconds long."""
    english, german, french = map(_rising, (ENGLISH_HZ, GERMAN_HZ, FRENCH_HZ))
    sounds = (f"0.3*{english}:c=mono", "|".join([f"0.2*{german}"] * 6) + ":c=5.1", f"0.3*{french}:c=mono")
    return write_film(path, seconds=SECONDS, drawn=_BARS, sounds=sounds)


def _rising(from_hz: int) -> str:
    """Its phase is the integral of its frequency."""
    return f"sin(2*PI*t*({from_hz}+{RISE_HZ_PER_S / 2}*t))"
