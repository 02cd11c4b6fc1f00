"""An open file that several senders share."""

from __future__ import annotations

import os


class OpenFile:
    """An open file. Reads name their place, so that any number may go on at once; closed when nobody holds it."""

    __slots__ = ("number",)
    mode = "rb"

    def __init__(self, number: int) -> None:
        self.number = number

    def fileno(self) -> int:
        """As files tell it."""
        return self.number

    def __del__(self) -> None:
        os.close(self.number)
