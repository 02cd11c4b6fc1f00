"""Why a message is not taken."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """Why a message is refused."""

    FULL = "full"
    STRANGER = "stranger"
    TWICE = "twice"
    OTHER_STAGE = "other stage"
    MALFORMED = "malformed"
    NO_ROUND = "no round"


class RefusedError(Exception):
    """A message that is not taken; the round goes on as if it had not come."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault, self.detail = fault, detail
