"""What a client would rather have: the header `Prefer` (RFC 7240), of which the preference `wait` is read."""

from __future__ import annotations

import re

PREFER = "Prefer"
_WAIT = re.compile(r"(?:^|,)[ \t]*wait[ \t]*=[ \t]*\"?([0-9]{1,9})\"?[ \t]*(?=$|[,;])", re.I)


def wait_preference(seconds: int) -> str:
    """The field value that says: I would rather wait so long for a better answer (section 4.3)."""
    return f"wait={seconds}"


def read_wait_s(field: str) -> float:
    """Seconds that a client would rather wait; 0 when it does not say. The first of several counts (section 2)."""
    found = _WAIT.search(field)
    return float(found[1]) if found else 0.0
