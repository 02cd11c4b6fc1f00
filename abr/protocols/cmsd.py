"""Common Media Server Data (CTA-5006): what the server answers.

CMSD-Dynamic is an RFC 8941 list of strings, one for each server on the way, with parameters. Nothing here writes
CMSD-Static.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from abr.errors import FormatError
from abr.protocols.structured_fields import INTEGER_MAX, Cursor, Token, Value, dumps_item, dumps_pair, loads_pair

DYNAMIC = "CMSD-Dynamic"
SERVER = "toprung"
"""The name under which our server signs its entry in CMSD-Dynamic."""
RENDITION_KEY = "com.toprung-r"
ENHANCER_KEY = "com.toprung-e"
ESTIMATE_KEY = "etp"
SUGGESTED_KEY = "mb"
_MEMBERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Hop:
    """One server's entry in CMSD-Dynamic, nearest to the origin first."""

    server: str
    keys: dict[str, Value] = field(default_factory=dict)


def loads_dynamic(text: str) -> list[Hop]:
    """Read a CMSD-Dynamic header. Raises FormatError."""
    cursor = Cursor(text.strip(" "), DYNAMIC)
    hops: list[Hop] = []
    more = not cursor.done
    while more:
        server = cursor.item()
        if not isinstance(server, str) or isinstance(server, Token):
            raise FormatError(f"{DYNAMIC} has {server!r} where the quoted name of a server is expected.")
        hops.append(Hop(server, _loads_parameters(cursor)))
        if len(hops) > _MEMBERS_MAX:
            raise FormatError(f"{DYNAMIC} has more than {_MEMBERS_MAX} entries.")
        more = cursor.comma()
    return hops


def dumps_dynamic(hops: Iterable[Hop]) -> str:
    """The inverse of `loads_dynamic`."""
    return ", ".join(
        dumps_item(hop.server) + "".join(";" + dumps_pair(_lower(key), value) for key, value in hop.keys.items())
        for hop in hops
    )


def chosen(
    rendition: str, enhancer: str, *, throughput_bps: float | None = None, suggested_bps: int | None = None
) -> str:
    """The CMSD-Dynamic header of a decided segment.

    With the estimated throughput `etp` and the highest bitrate that the player should choose from now on, `mb`, if
    there are such. Both are whole kbit/s; `mb` is rounded up, so that it lets through the rendition that it was made
    for.
    """
    suggested = "" if suggested_bps is None else f";{SUGGESTED_KEY}={min(-(-suggested_bps // 1000), INTEGER_MAX)}"
    estimated = "" if throughput_bps is None else f";{ESTIMATE_KEY}={min(round(throughput_bps / 1000), INTEGER_MAX)}"
    return f"{_names(rendition, enhancer)}{suggested}{estimated}"


def estimated(throughput_bps: float) -> str:
    """The CMSD-Dynamic header that tells an estimate of the throughput alone."""
    return dumps_dynamic([Hop(SERVER, {ESTIMATE_KEY: min(round(throughput_bps / 1000), INTEGER_MAX)})])


@lru_cache(maxsize=1024)
def _names(rendition: str, enhancer: str) -> str:
    return dumps_dynamic([Hop(SERVER, {RENDITION_KEY: rendition, ENHANCER_KEY: enhancer})])


def read_chosen(text: str) -> tuple[str, str] | None:
    """(rendition, enhancer) of our entry in a CMSD-Dynamic header, or None without one. Raises FormatError."""
    for hop in loads_dynamic(text):
        rendition, enhancer = hop.keys.get(RENDITION_KEY), hop.keys.get(ENHANCER_KEY)
        if hop.server == SERVER and isinstance(rendition, str) and isinstance(enhancer, str):
            return str(rendition), str(enhancer)
    return None


def _loads_parameters(cursor: Cursor) -> dict[str, Value]:
    keys: dict[str, Value] = {}
    while cursor.take(";"):
        cursor.spaces()
        key, value = loads_pair(cursor)
        if key not in keys and len(keys) >= _MEMBERS_MAX:
            raise FormatError(f"{DYNAMIC} has an entry with more than {_MEMBERS_MAX} keys.")
        keys[key] = value
    return keys


def _lower(key: str) -> str:
    if key != key.lower():
        raise FormatError(f"{key!r} has capitals; keys of CMSD are lower case (RFC 8941, 3.1.2).")
    return key
