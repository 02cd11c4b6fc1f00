"""What manifests say of a title, beyond what independent programs check (test_oracles.py)."""

from __future__ import annotations

import re

import msgspec
from titles import prepared_title

from server.ingest.manifests.title import driven_master_playlist, master_playlist


def test_a_dense_last_segment_is_within_the_bandwidth_that_hls_declares() -> None:
    title, _ = prepared_title()
    rendition = msgspec.structs.replace(
        title.renditions[0],
        segment_bytes=(52_363, 27_612),
        average_bps=int((52_363 + 27_612) * 8 / 3),
        bandwidth_bps=int(52_363 * 8 / 2) + 1,
    )
    short = msgspec.structs.replace(
        title, segment_frames=(48, 24), segment_duration_s=(2.0, 1.0), renditions=(rendition,), audio=()
    )
    for playlist in (master_playlist(short), driven_master_playlist(short)):
        (variant,) = re.findall(rb"STREAM-INF:BANDWIDTH=(\d+),AVERAGE-BANDWIDTH=(\d+)", playlist)
        peak_bps, average_bps = map(int, variant)
        assert average_bps <= peak_bps
        assert 27_612 * 8 <= peak_bps < 27_612 * 8 + 100
