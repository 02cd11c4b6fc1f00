"""Sixty viewers of one real title, a device profile each: `python many_profiles.py LIBRARY TITLE DEVICE`.

DEVICE: a profile as `toprung profile` writes it. Each viewer's is that one, all times a factor of up to four off, and
each by some 20 % more. All begin at once and ask for a segment every two seconds, for a minute. The server has one
core, the load another. Prints JSON: answers, and milliseconds to their first byte.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from abr.core.device import DeviceProfile
from abr.records import dumps, load
from server.bench.crowd import session_viewer
from server.bench.load import run
from server.bench.peers import toprung, use_last_core
from server.session_service import SessionRequest

VIEWERS, SECONDS, SEGMENT_S = 60, 60.0, 2.0
SEED = 3


def vary(profile: DeviceProfile, chance: np.random.Generator) -> DeviceProfile:
    """The profile of another device."""
    factor = 2.0 ** chance.uniform(-2, 2)
    measurements = []
    for each in profile.measurements:
        times = factor * 2.0 ** chance.uniform(-0.3, 0.3)
        measurements.append(msgspec.structs.replace(each, p50_ms=each.p50_ms * times, p95_ms=each.p95_ms * times))
    return msgspec.structs.replace(profile, measurements=tuple(measurements))


def opening(title: str, profile: DeviceProfile) -> Callable[[], bytes]:
    """A request for a session, as `session_viewer` takes it."""
    body = dumps(SessionRequest(title=title, profile=profile))
    head = b"POST /sessions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    request = b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body)
    return lambda: request


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path)
    parser.add_argument("title")
    parser.add_argument("device", type=Path)
    given = parser.parse_args()
    chance, profile = np.random.default_rng(SEED), load(given.device, DeviceProfile)
    use_last_core()
    with toprung(given.library, "--log-level", "warning") as server:
        viewers = [session_viewer(server, opening(given.title, vary(profile, chance)), 25) for _ in range(VIEWERS)]
        found = run(viewers, SECONDS, VIEWERS / SEGMENT_S)
    waits_ms = {f"p{percent}_ms": found.percentile_s(percent) * 1e3 for percent in (50, 99, 100)}
    print(json.dumps({"answers": found.requests} | waits_ms, indent=1))


if __name__ == "__main__":
    main()
