"""Sound that comes before the first picture: some of it is kept."""

from __future__ import annotations

from collections import deque

from server.live.source.reader import Arrived

EARLY_MAX_S = 5.0
"""Of the sound that comes before the first picture, so much is kept: a source may send pictures late, or none."""


def drop_oldest(early: deque[Arrived]) -> None:
    """Leave no more than EARLY_MAX_S of sound that waits for a picture."""
    lasts_s = sum(each.sound_s for each in early)
    while early and lasts_s > EARLY_MAX_S:
        lasts_s -= early.popleft().sound_s
