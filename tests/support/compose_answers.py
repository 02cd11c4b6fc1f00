"""Asks a running composition: its services, what a viewer left, Prometheus' targets, and every panel of the dashboards.

Arguments: a file with a line `name: status` for each container, and the folder of the viewer's report.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

from prometheus import DOCKER, Prometheus

VIEWERS = "http://127.0.0.1:8080"
HEALTHY = ("nginx", "redis", "prometheus", "server_1", "server_2")
QUIET = (
    "late",
    "fail",
    "fall back",
    "stall",
    "fell back",
    "out of the ordinary",
    "enhance",
    "help",
    "weights",
    "live",
    "private",
    "cohorts",
    "tuning",
    "tuned",
)
"""Panels of what need not happen while one viewer plays plainly may stay empty."""


def main(services: Path, report: Path) -> None:
    """Prints what holds; stops at what does not."""
    states = dict(line.split(": ", 1) for line in services.read_text().splitlines())
    for name in HEALTHY:
        (state,) = [state for container, state in states.items() if name in container]
        check("(healthy)" in state, f"{name}: {state}")
    (prepared,) = [state for container, state in states.items() if "prepare" in container]
    check(prepared.startswith("Exited (0)"), f"prepare: {prepared}")
    summary = json.loads((report / "summary.json").read_text())
    check(summary["ended"] == "finished" and (report / "report.html").stat().st_size > 10_000, "the viewer's report")
    check(status("/titles") == 200 and status("/metrics") == 404, "nginx shows titles and hides metrics")
    check(status("/titles/none") == 404, "a title that is none is refused")  # and so there is an error to show
    prometheus = Prometheus("http://127.0.0.1:9090")
    up = prometheus.wait(lambda: prometheus.query("up == 1")[1:] and prometheus.query("up == 1"), "two targets")
    check(len(up) == 2, f"Prometheus scrapes {len(up)} servers")
    groups = prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    check(bool(rules) and all(rule["health"] == "ok" for rule in rules), f"{len(rules)} rules are evaluated")
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    check(not firing, f"alerts that fire: {', '.join(firing) or 'none'}")
    ask_panels(prometheus)


def ask_panels(prometheus: Prometheus) -> None:
    """Every query of every dashboard, over the last five minutes."""
    for path in sorted((DOCKER / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                ask = partial(prometheus.query, target["expr"].replace("$__rate_interval", "5m"))
                quiet = any(word in panel["title"].lower() for word in QUIET)
                answers = ask() if quiet else prometheus.wait(ask, panel["title"])
                print(f"  ok  {path.stem}, {panel['title']}: {len(answers)} series", flush=True)


def status(path: str) -> int:
    """What nginx answers a viewer."""
    try:
        with urllib.request.urlopen(VIEWERS + path, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def check(holds: bool, what: str) -> None:
    """A line for what was asked; ends the program when it does not hold."""
    print(f"  {'ok' if holds else 'FAILED'}  {what}", flush=True)
    if not holds:
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
