"""The tree of errors Toprung raises on purpose. Each message says what was given, what was expected, what to do.

ToprungError            exit code 1
├── ControllerError     a user's controller failed while it was measured
├── InputError          exit code 2: the user can mend it
│   ├── MediaError      a media file that cannot be used
│   ├── FormatError     a file or message that does not follow its format
│   └── UnknownNameError    a name that no registry knows
└── StorageError        the disk refused (full, read-only, vanished)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ToprungError(Exception):
    """Base of every deliberate error; `exit_code` is what the command line ends with."""

    exit_code = 1


class ControllerError(ToprungError):
    """A controller failed, so that the figures are not its own."""


class InputError(ToprungError):
    """Something the user gave cannot be used as it is."""

    exit_code = 2


class MediaError(InputError):
    """A media file is missing, damaged or lacks what is needed (such as a video stream)."""


class FormatError(InputError):
    """A file or message does not follow its format."""


class UnknownNameError(InputError):
    """A name that is not registered; the message lists what is known and guesses what was meant."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"There is no {kind} named {name!r}.{hint} Known: {', '.join(names) or 'none'}.")


class StorageError(ToprungError):
    """The disk would not take or give back data."""
