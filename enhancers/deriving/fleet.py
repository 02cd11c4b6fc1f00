"""The classes of devices that viewers really have, as a server tells operators (GET /devices)."""

from __future__ import annotations

from http.client import HTTPException
from typing import Annotated
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import msgspec
from msgspec import Meta

from abr.controllers.toprung.speed_classes import REFERENCE_PX, REFERENCE_WORK
from abr.core.enhancement import Tier
from abr.errors import FormatError, InputError, StorageError
from enhancers.deriving.operator_latency import measure_ms
from enhancers.networks.plain import parse
from enhancers.profiling.measuring import shipped_weights

SHARE_MIN = 0.02
"""Of all sessions: classes with fewer are not worth a network."""
_ANSWER_BYTES_MAX = 1 << 20
_PATIENCE_S = 30.0


class FleetClass(msgspec.Struct, frozen=True):
    """One class. reference_ms: what the reference work (`speed_classes`) takes it; None where nobody told."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9]{1,16}$")]
    sessions_share: Annotated[float, Meta(ge=0, le=1)]
    reference_ms: Annotated[float, Meta(gt=0, le=3_600_000)] | None


class _Devices(msgspec.Struct, frozen=True):
    classes: Annotated[tuple[FleetClass, ...], Meta(max_length=64)]


def read_fleet(url: str, token: str = "") -> tuple[FleetClass, ...]:
    """The classes with a measured speed and SHARE_MIN of the sessions. url: of the server, or of its /devices.

    token: the operator's. Raises InputError for what is no URL or no fleet, StorageError when nobody answers.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"The fleet is at {url[:80]!r}; it takes a URL such as http://localhost:8080.")
    address = url if url.rstrip("/").endswith("/devices") else url.rstrip("/") + "/devices"
    request = Request(address, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urlopen(request, timeout=_PATIENCE_S) as answer:
            data = answer.read(_ANSWER_BYTES_MAX)
    except (URLError, HTTPException, OSError, ValueError) as error:
        raise StorageError(f"{address} does not tell of devices ({error}); operators ask with their token.") from error
    found = [each for each in loads_fleet(data) if each.reference_ms and each.sessions_share >= SHARE_MIN]
    if not found:
        raise InputError(f"{address} knows no class of devices that was measured; wait for viewers with profiles.")
    return tuple(found)


def loads_fleet(data: bytes) -> tuple[FleetClass, ...]:
    """The classes in an answer to GET /devices. Raises FormatError."""
    try:
        return msgspec.json.decode(data, type=_Devices).classes
    except msgspec.DecodeError as error:
        raise FormatError(f"This is no answer to GET /devices: {error}.") from error


def reference_ms_here() -> float:
    """What the reference work takes this machine."""
    network = parse(next(iter(REFERENCE_WORK)))
    return measure_ms(network, REFERENCE_PX, shipped_weights(network.scale, Tier.LOW))
