"""A day of viewers in some minutes, through a server that may open 1,024 files and take 500 MB.

    prlimit --nofile=1024:1024 .venv/bin/python tests/bench/day_of_viewers.py [--memory-group /sys/fs/cgroup/memory/ID]

Some viewers play a film of two hours from end to end, again and again for 24 hours, in 9,000 files that a server sends
from open descriptors. Others come and go meanwhile, until as many sessions were opened as in a day of one every eight
seconds. The group, if it is given, is one of cgroup version 1 that may be written to; it bounds the server's memory,
page cache included. Prints what was asked, refused and left behind.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from abr.records import dumps
from server.bench import title as film
from server.bench.crowd import openings
from server.bench.load import LoadClient, connect, run
from server.bench.peers import HOST, Peer, toprung
from server.bench.soak import ViewerGroup, _files, _post, _scrape, _settled, _viewer
from server.session_service import SessionRequest

DAY_S = 24 * 3600
SESSIONS = DAY_S // 8
FILM_S = 2 * 3600
LONG_VIEWERS = 2
SHORT_VIEWERS = 32
PROFILES = 100
"""Kinds of device that they have."""
ROUND_S = 3.0
"""Between two looks at the server's memory."""
MEMORY_BYTES_MAX = 500_000_000


@dataclass(slots=True)
class LongViewer:
    """One viewer of the whole film, a day long."""

    segment: int = 0
    """The one asked for last; 0 when a session is to be opened."""
    played_s: float = 0.0
    path: str = ""

    @property
    def done(self) -> bool:
        """Whether the day is over."""
        return self.played_s >= DAY_S

    def connect(self, server: Peer) -> LoadClient:
        """Takes every segment of the film, one after the other."""

        def ask(head: bytes) -> bytes | None:
            if self.done:
                return None
            if not head or self.segment == film.SEGMENTS:
                self.segment = 0
                return _post("/sessions", dumps(SessionRequest(title=film.TITLE_ID, profile=film.profile())))
            if b"\r\nLocation: " in head:
                self.path = head.partition(b"\r\nLocation: ")[2].partition(b"\r\n")[0].decode()
            self.segment += 1
            self.played_s += film.SEGMENT_S
            cmcd = f"CMCD-Request: bl={20_000 + self.segment % 7 * 1000},mtp={2000 + self.segment % 11 * 900}"
            return f"GET {self.path}/video/{self.segment}.m4s HTTP/1.1\r\nHost: day\r\n{cmcd}\r\n\r\n".encode()

        return connect(HOST, server.port, ask)


def watch(folder: Path, memory_group: Path | None) -> dict[str, object]:
    """The figures of the day."""
    film.SEGMENTS, film.SEGMENT_BYTES = int(FILM_S / film.SEGMENT_S), 270_000
    film.write_library(folder / "library")
    (folder / "day.toml").write_text('session_ttl_s = 60\nlog_level = "warning"\nlog_json = true\n')
    log = folder / "server.log"
    with toprung(folder / "library", "--config", str(folder / "day.toml"), log=log) as server:
        if memory_group is not None:
            (memory_group / "memory.limit_in_bytes").write_text(str(MEMORY_BYTES_MAX))
            (memory_group / "cgroup.procs").write_text(str(server.pid))
        _scrape(server)
        files_before = _files(server)
        group = ViewerGroup(openings(PROFILES, titles=1))
        long_viewers = [LongViewer() for _ in range(LONG_VIEWERS)]
        shorter = [_viewer(server, group) for _ in range(SHORT_VIEWERS)]
        longer = [viewer.connect(server) for viewer in long_viewers]
        memory, files, requests = [], [], 0
        while group.opened < SESSIONS or not all(viewer.done for viewer in long_viewers):
            asking = [client for client, viewer in zip(longer, long_viewers, strict=True) if not viewer.done]
            requests += run([*asking, *(shorter if group.opened < SESSIONS else ())], ROUND_S).requests
            memory.append(server.resident_bytes())
            files.append(_files(server))
        for client in (*longer, *shorter):
            client.connection.close()
        counted = _scrape(server)
        settled = _settled(server, max(files))
    warm = memory[len(memory) // 3 :]
    lines = log.read_text().splitlines()
    return {
        "hours_played_by_each": [viewer.played_s / 3600 for viewer in long_viewers],
        "sessions": group.opened,
        "requests": requests,
        "refused": counted["5xx"],
        "log_lines": len(lines),
        "errors_logged": sum('"level":"error"' in line or "Traceback" in line for line in lines),
        "open_files": {"limit": resource.getrlimit(resource.RLIMIT_NOFILE), "before": files_before}
        | {"most": max(files), "after": settled},
        "memory_mb": {"first": memory[0] / 1e6, "most": max(memory) / 1e6, "last": memory[-1] / 1e6},
        "memory_growth_after_warming": statistics.median(warm[-5:]) / statistics.median(warm[:5]) - 1,
        "memory_samples_mb": [round(sample / 1e6, 1) for sample in memory],
    }


def main() -> None:
    """See above."""
    options = argparse.ArgumentParser()
    options.add_argument("--memory-group", type=Path)
    with tempfile.TemporaryDirectory(prefix="toprung-day-") as name:
        print(json.dumps(watch(Path(name), options.parse_args().memory_group), indent=1))


if __name__ == "__main__":
    main()
