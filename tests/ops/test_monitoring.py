"""Metrics, dashboards and alerts, held against a real server with viewers and a real Prometheus that scrapes it."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from edge_process import edge_process
from film import film_version, measured_device, small_film_library
from prometheus import DOCKER, Prometheus, promtool, running_prometheus
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus_text
from serve_process import ask, clean_environment, served
from serving import CHUNK_FILE, device_profile, enhanced_library
from tuning import TuningServer, tuning_server
from waiting import wait_until

from abr.core.events import Decided, Downloaded, Ended, EventBatch, Failed, Playing, Shown, Stalled, Started, Stepped
from abr.private_telemetry.tally import SessionTally
from abr.records import dumps
from client_player.edge.metrics import EdgeMetrics
from client_player.private.reporter import PrivateReporter
from server.media.library import Library
from server.monitoring.prometheus_export import shared_metrics, worker_ended

DASHBOARDS = sorted((DOCKER / "grafana" / "dashboards").glob("*.json"))
RULES = DOCKER / "prometheus" / "toprung.rules.yml"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
NAME = re.compile(r"\btoprung_[a-z0-9_]+")

CONTROLLERS = """
from abr.core.control import Decision

class Swinging:
    def decide(self, seen):
        return Decision(option=-(seen.menu.segment % 2) % len(seen.menu.choices), reason="to and fro")

class Broken:
    def decide(self, seen):
        raise RuntimeError("on purpose")
"""


def watch(url: str) -> str:
    """One viewer with an enhancing device, whose session has a bit of everything. Returns the session's id."""
    title = Library(library_of[url]).title("bbb")
    opened = {}
    for controller in ("Broken", "Swinging"):
        body = {"title": "bbb", "profile": device_profile(title), "controller": controller}
        status, answer, _ = ask(f"{url}sessions", dumps(body))
        assert status == 201
        opened[controller] = json.loads(answer)["id"]
        for number in (1, 1, 2, 3):
            assert ask(f"{url}sessions/{opened[controller]}/video/{number}.m4s", CMCD_Object="d=2000")[0] == 200
    assert ask(f"{url}sessions/{opened['Swinging']}/video/3.m4s", CMCD_Object="d=x;;")[0] == 200
    assert ask(f"{url}titles/bbb/{CHUNK_FILE}")[0] == 200
    assert ask(f"{url}titles/bbb/nothing")[0] == 404
    events = (
        Started(t_s=0, session="s", title="bbb", controller="Swinging"),
        Downloaded(t_s=1, kind="video", started_s=0, latency_s=0.05, duration_s=0.5, size_bytes=100_000, name="180p"),
        Playing(t_s=1, startup_s=1.0),
        Shown(t_s=3, segment=0, rendition="180p", enhancer="content-low", buffer_s=2.0, **TIMES, **SHOWN),
        Stepped(t_s=3, segment=1, from_enhancer="content-low", to_enhancer="generic-low", reason="too slow"),
        Stalled(t_s=3.2, duration_s=0.2, segment=1),
        Failed(t_s=3.2, what="corrupt", detail="one segment"),
        Ended(t_s=5, reason="finished", played_s=2.0),
    )
    assert ask(f"{url}sessions/{opened['Swinging']}/events", dumps(EventBatch(events=events)))[0] == 204
    return opened["Swinging"]


def tell_in_private(url: str) -> None:
    """Five players hand in what their viewers saw, until there is a sum."""
    title = Library(library_of[url]).title("bbb")
    events = (
        Playing(t_s=1, startup_s=1.0),
        Decided(t_s=1, segment=0, rendition="180p", enhancer="content-low", wait_s=0, **CHOSEN),
        Shown(t_s=3, segment=0, rendition="180p", enhancer="content-low", buffer_s=2.0, enhance_p50_ms=9, **SHOWN),
        Stalled(t_s=3.2, duration_s=0.2, segment=1),
        Ended(t_s=5, reason="finished", played_s=2.0),
    )
    reporters = []
    for _ in range(5):
        tally = SessionTally(device_profile(title))
        tally.know_title(title)
        for event in events:
            tally.take(event)
        reporters.append(PrivateReporter(url, tally))
        reporters[-1].start()
    assert all(reporter.finish(120).rounds == 1 for reporter in reporters)


CHOSEN = {"reason": "", "promised_vmaf": 80.0, "promised_quality": 78.0, "size_bytes": 50_000}
TIMES = {"enhance_p50_ms": 8, "enhance_p95_ms": 9}
SHOWN = {"frames": 50, "enhanced_frames": 40, "plain_frames": 10, "late_frames": 1, "latency_s": 4.0}
library_of: dict[str, Path] = {}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that has had a viewer."""
    library = enhanced_library(tmp_path_factory.mktemp("library"))
    file = library.parent / "controllers.py"
    file.write_text(CONTROLLERS)
    own = [option for name in ("Swinging", "Broken") for option in ("--add-controller", f"{file}:{name}")]
    private = ["--private-telemetry", "--private-period-s", "1", "--private-cohort", "5"]
    with served("--library", str(library), *own, *private) as url:
        library_of[url] = library
        watch(url)
        tell_in_private(url)
        yield url


@pytest.fixture(scope="module")
def tuning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TuningServer]:
    """A server that has tuned a network once."""
    with tuning_server(tmp_path_factory.mktemp("tuning")) as found:
        found.hold_round(0.25)
        yield found


@pytest.fixture(scope="module")
def watched(server: str, tuning: TuningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, after it saw a real player and one more of our viewers come and go."""
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        edge_of_film(folder) as (edge, version),
        running_prometheus(urlsplit(server).netloc, folder, edge, tuning.netloc) as prometheus,
    ):
        prometheus.wait(lambda: prometheus.query("toprung_edge_origin_up"), "the edge node")
        prometheus.wait(lambda: prometheus.query("toprung_federation_version == 1"), "a tuned network")
        tuning.hold_round(0.25)
        prometheus.wait(lambda: prometheus.query("toprung_federation_version == 2"), "a network tuned again")
        watch_lifted(f"http://{edge}/", version)
        prometheus.wait(lambda: prometheus.query("sum(toprung_viewer_vmaf_count) == 1"), "the first viewer")
        play = [sys.executable, "-m", "abr", "play", server, "--title", "bbb", "--speed", "max", "--out", str(folder)]
        subprocess.run(play, check=True, capture_output=True, env=clean_environment() | {"OMP_NUM_THREADS": "1"})
        prometheus.wait(lambda: prometheus.query("toprung_private_sessions_total == 5"), "a cohort of five")
        watch(server)
        tell_in_private(server)
        prometheus.wait(lambda: prometheus.query("sum(toprung_viewer_vmaf_count) == 5"), "a player's three segments")
        prometheus.wait(lambda: prometheus.query("toprung_private_sessions_total == 10"), "a second cohort")
        yield prometheus


@contextmanager
def edge_of_film(folder: Path) -> Iterator[tuple[str, str]]:
    """A node that can lift: its host and port, and the version of its film."""
    measured_device(folder / "cache", times=0.05)
    library = small_film_library(folder)
    with served("--library", str(library)) as origin, edge_process(origin, folder) as (url, _):
        yield urlsplit(url).netloc, film_version(library)


def watch_lifted(url: str, version: str) -> None:
    """Viewers who come again and again until a segment is lifted."""

    def is_lifted() -> bool:
        answers = [ask(f"{url}titles/film/v-{version}/edge/1.m4s", User_Agent=f"{viewer}") for viewer in range(3)]
        return all(headers["Toprung-Enhancer"] != "none" for _, _, headers in answers)

    wait_until(is_lifted, "a lifted segment")


def dashboard_queries() -> list[tuple[str, str, str]]:
    """Panel, unit and expression of every query on every dashboard."""
    return [
        (panel["title"], panel["fieldConfig"]["defaults"]["unit"], target["expr"].replace("$__rate_interval", "1m"))
        for file in DASHBOARDS
        for panel in json.loads(file.read_text())["panels"]
        for target in panel.get("targets", ())
    ]


def test_every_metric_on_a_dashboard_or_in_a_rule_is_in_a_scrape(server, tuning):
    texts = [ask(f"{url}metrics")[1].decode() for url in (server, f"http://{tuning.netloc}/")]
    there = {sample.name for text in texts for family in prometheus_text(text) for sample in family.samples}
    there |= set(EdgeMetrics().registry._names_to_collectors)
    named = {name for _, _, expression in dashboard_queries() for name in NAME.findall(expression)}
    assert len(named) > 30
    assert {"toprung_promised_quality_sum", "toprung_viewer_quality_sum", "toprung_viewer_quality_bucket"} <= named
    assert named <= there
    assert set(NAME.findall(RULES.read_text())) <= there


def test_promtool_finds_nothing_wrong_with_the_metrics(server):
    assert promtool("check", "metrics", given=ask(f"{server}metrics")[1].decode()) == ""


def test_promtool_finds_nothing_wrong_with_configuration_and_rules():
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "toprung.rules.yml")
    promtool("test", "rules", "toprung.rules.test.yml")


def test_every_alert_is_tested_to_fire_and_to_be_silent_and_has_a_page():
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    tests = (DOCKER / "prometheus" / "toprung.rules.test.yml").read_text()
    guide = (DOCKER.parent / "docs" / "OPERATING.md").read_text()
    for alert in alerts:
        assert re.search(rf"alertname: {alert}\n\s+exp_alerts:\n", tests), alert
        assert f"alertname: {alert}, exp_alerts: []" in tests, alert
        assert f"### {alert}\n" in guide, alert


@pytest.mark.parametrize(("panel", "unit", "expression"), dashboard_queries())
def test_prometheus_answers_every_panel_with_sane_numbers(watched, panel, unit, expression):
    values = [value for _, value in watched.query(expression)]
    answers = [value for value in values if not math.isnan(value)]  # NaN: a quantile of nothing, for one of the labels
    assert answers, f"{panel} stays empty: {expression}"
    assert all(math.isfinite(value) and value >= 0 for value in answers), (expression, answers)
    if unit == "percentunit" or panel in ("VMAF seen", "Quality seen"):
        assert max(answers) <= (1 if unit == "percentunit" else 100), (expression, answers)


def test_prometheus_has_what_the_viewers_saw(watched):
    ((_, shown_s),) = watched.query("sum(toprung_viewer_shown_seconds_total)")
    ((_, frames),) = watched.query("sum(toprung_viewer_frames_total)")
    assert shown_s == pytest.approx(5.28 + 2 * 2.0)
    assert frames == 132 + 2 * 50
    assert watched.query('ALERTS{alertstate="firing"}') == []


def test_prometheus_keeps_exemplars(watched):
    now_s = time.time()
    found = watched.get("query_exemplars", query="toprung_viewer_vmaf_bucket", start=now_s - 300, end=now_s)
    sessions = {one["labels"]["session"] for series in found for one in series["exemplars"]}
    assert sessions
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{16}", session) for session in sessions)


def test_exemplars_lead_from_a_bucket_to_its_session_and_do_not_give_it_away(server):
    session = watch(server)
    _, text, headers = ask(f"{server}metrics", Accept=OPENMETRICS)
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in openmetrics(text.decode())}
    told = {
        name: {sample.exemplar.labels["session"] for sample in families[name].samples if sample.exemplar}
        for name in ("toprung_viewer_vmaf", "toprung_viewer_stall_seconds", "toprung_decision_duration_seconds")
    }
    for name, sessions in told.items():
        assert session[:16] in sessions, name
    assert ask(f"{server}sessions/{session[:16]}")[0] == 404
    assert session.encode() not in text


def test_the_dashboard_shows_viewers_first_and_finds_its_datasource():
    (file,) = DASHBOARDS
    panels = json.loads(file.read_text())["panels"]
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == [
        "Viewers",
        "Network",
        "Decisions",
        "Enhancers",
        "Server",
        "Edge nodes",
        "Viewers, in private cohorts",
        "Devices",
        "Federated tuning",
    ]
    provisioned = (DOCKER / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    used = {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"}
    assert used == set(re.findall(r"uid: (\w+)", provisioned))


COUNT = """
import sys
from server.monitoring.metrics import Metrics
from server.monitoring.prometheus_export import PrometheusExport
metrics = Metrics(lambda: 0.0, "1")
for index in range(int(sys.argv[1])):
    metrics.conflicts.inc()
    metrics.started.labels("toprung").inc()
    metrics.promised_vmaf.observe(index % 100, "session-of-" + sys.argv[1])
metrics.active.touch("somebody")
print(metrics.exposition("application/openmetrics-text; version=1.0.0")[0].decode(), flush=True)
sys.stdin.read()
"""


def test_counters_of_several_workers_add_up_exactly_and_outlive_them():
    """prometheus_client chooses its way of counting when it is imported, so each worker is a process of its own."""
    with shared_metrics(), ExitStack() as stack:
        workers = []
        for count in (1000, 234):
            command = [sys.executable, "-c", COUNT, str(count)]
            worker = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            text = "".join(iter(worker.stdout.readline, "# EOF\n"))
            workers.append(worker)
        families = {family.name: family for family in openmetrics(text + "# EOF\n")}
        values = {name: {s.name: s.value for s in family.samples} for name, family in families.items()}
        assert values["toprung_decision_conflicts"]["toprung_decision_conflicts_total"] == 1234
        assert values["toprung_sessions_started"]["toprung_sessions_started_total"] == 1234
        assert values["toprung_promised_vmaf"]["toprung_promised_vmaf_count"] == 1234
        assert values["toprung_sessions_active"]["toprung_sessions_active"] == 2
        assert any(sample.exemplar for sample in families["toprung_promised_vmaf"].samples)
        workers[0].kill()
        workers[0].wait()
        worker_ended(workers[0].pid)
        left = {family.name: family.samples for family in MultiProcessCollector(None).collect()}
        assert left["toprung_decision_conflicts"][0].value == 1234
        assert left["toprung_sessions_active"][0].value == 1
