"""Limits on how long a command works: as told by its user, and kept even inside other people's code."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) *(s|m|h|)")


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A command's option that takes `90`, `90s`, `30m` or `12h`; in seconds. may_be_zero: it takes `0` too."""

    name = "duration"

    def __init__(self, *, may_be_zero: bool = False) -> None:
        self._may_be_zero = may_be_zero

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        found = _DURATION.fullmatch(str(value))
        seconds = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
        is_none = found is not None and seconds == 0 and self._may_be_zero
        if not is_none and not 0 < seconds <= threading.TIMEOUT_MAX:
            self.fail(f"{value!r} is not a time such as 90s, 30m or 12h.", param, ctx)
        return seconds


@contextmanager
def time_limit(limit_s: float, what: str) -> Iterator[None]:
    """End the process when the block takes longer, with a sentence on stderr and exit code 1.

    Nothing is cleaned up: the block must leave nothing behind that is half done, whenever it ends.
    """

    def end() -> None:
        click.echo(f"toprung: {what} was not done after {limit_s:g} s, the limit; --time-limit gives more.", err=True)
        os._exit(1)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
