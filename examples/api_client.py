"""A client of the HTTP API, in plain Python: it watches a title without showing it.

Start a server, measure this device (20 s), and watch:

    toprung serve --library titles --port 8080
    toprung profile --quick --output device.json
    python examples/api_client.py http://localhost:8080 film --profile device.json

Without --profile the server offers plain renditions only. All requests and answers are described by the server itself,
in /openapi.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin
from urllib.request import Request, urlopen

BUFFER_MAX_S = 20.0
"""Media that this client holds at most."""


class Session:
    """One session on a server, from the client's side."""

    def __init__(self, server_url: str, title: str, profile: dict[str, Any] | None) -> None:
        """POST /sessions opens it: which title, and what the device can do (its profile)."""
        self._server_url = server_url
        wish = {"title": title, "profile": profile, "buffer_max_s": BUFFER_MAX_S}
        self._opened = self._post("/sessions", wish)
        self._url = f"/sessions/{self._opened['id']}"

    def title(self) -> dict[str, Any]:
        """What the title is made of: title.json, whose fields abr.core.title.Title explains."""
        described: dict[str, Any] = json.loads(self._get(self._opened["title_url"]))
        return described

    def segment(self, number: int, cmcd: str) -> tuple[bytes, dict[str, str], float]:
        """Segment `number`, from 1 on: its bytes, headers that say what the server chose, and the latency in seconds.

        The server decides when it is asked, so the request tells how the viewer is doing, in CMCD (CTA-5004).
        """
        url = urljoin(self._server_url, f"{self._url}/video/{number}.m4s?CMCD={quote(cmcd)}")
        asked_s = time.monotonic()
        with urlopen(url, timeout=30) as answer:
            latency_s = time.monotonic() - asked_s
            return answer.read(), dict(answer.headers), latency_s

    def report(self, *events: dict[str, Any]) -> None:
        """POST …/events hands in what the viewer saw. It is logged, counted in /metrics and shown at /qoe."""
        self._post(f"{self._url}/events", {"events": events})

    def log(self) -> list[dict[str, Any]]:
        """The session log: the server's decisions and what the client reported, one JSON object a line."""
        return [json.loads(line) for line in self._get(f"{self._url}/log").splitlines()]

    def _get(self, path: str) -> bytes:
        with urlopen(urljoin(self._server_url, path), timeout=30) as answer:
            body: bytes = answer.read()
            return body

    def _post(self, path: str, body: object) -> Any:
        headers = {"Content-Type": "application/json"}
        request = Request(urljoin(self._server_url, path), json.dumps(body).encode(), headers)
        with urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")


def watch(session: Session) -> None:
    """Ask for each segment in turn, as a player would that shows them."""
    began_s = time.monotonic()
    playing_s = None  # when the first frame would be on the screen, in session time
    loaded_s = 0.0  # media that has come so far
    last_download = ""
    for segment, duration_s in enumerate(session.title()["segment_duration_s"]):
        now_s = time.monotonic() - began_s
        buffer_s = max(0.0, loaded_s - (now_s - playing_s)) if playing_s is not None else 0.0
        # `bl` is CMCD's own key for the buffer, in milliseconds; ours say the rest of what a decision needs.
        cmcd = f"bl={round(buffer_s * 10) * 100},com.toprung-t={now_s * 1000:.0f}{last_download}"
        body, headers, latency_s = session.segment(segment + 1, cmcd)
        took_s = time.monotonic() - began_s - now_s
        loaded_s += duration_s
        # A player would now fetch the weights of the chosen enhancer, decode, and lift each frame before it is due.
        print(f"{segment:4}  {headers['Toprung-Rendition']:6} {headers['Toprung-Enhancer']:14} {len(body):8} bytes")

        times = {"t_s": now_s + took_s, "started_s": now_s, "latency_s": latency_s, "duration_s": took_s}
        what = {"kind": "video", "size_bytes": len(body), "segment": segment, "name": headers["Toprung-Rendition"]}
        session.report({"event": "downloaded", **times, **what})
        if playing_s is None:
            playing_s = now_s + took_s
            session.report({"event": "playing", "t_s": playing_s, "startup_s": playing_s})
        last_download = f',com.toprung-d="{len(body)}/{max(1, round(took_s * 1000))}/{round(latency_s * 1000)}"'

        # The server may ask for patience; and there must be room for the next segment.
        room_wait_s = loaded_s - (now_s + took_s - playing_s) + duration_s - BUFFER_MAX_S
        time.sleep(max(0.0, float(headers["Toprung-Wait-S"]), room_wait_s))
    session.report({"event": "ended", "t_s": time.monotonic() - began_s, "reason": "finished", "played_s": loaded_s})


def main() -> None:
    """Watch one title, then print why each segment was chosen."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("server", help="URL of the server")
    options.add_argument("title", help="id of the title; GET /titles lists them")
    options.add_argument("--profile", type=Path, help="device profile, as toprung profile --output writes it")
    told = options.parse_args()
    profile = json.loads(told.profile.read_bytes()) if told.profile else None
    session = Session(told.server, told.title, profile)
    watch(session)
    for event in session.log():
        if event["event"] == "decided":
            print(f"{event['segment']:4}  {event['reason']}")


if __name__ == "__main__":
    main()
