"""A session counted in the points of a QoE learnt from people: summary and report, whatever fell back to plain."""

from __future__ import annotations

import json

import numpy as np
import pytest
from opinions import opinion_items
from titles import prepared_title

from abr.core.events import AnyEvent, Decided, Shown, Started, dumps_log
from abr.core.qoe import experience
from abr.core.title import Quality
from abr.opinions.dataset import parse_opinions
from abr.opinions.fitted import fit_qoe
from abr.opinions.scales import title_scale
from abr.records import dumps
from client_player.session.archive import open_archive
from client_player.session.summary import summarise

QOE = fit_qoe(
    parse_opinions(json.dumps({"items": opinion_items(6, 5)}).encode(), what="t"),
    features=("rate_kbps",),
    method="every-rater",
)
TITLE, FOLDER = prepared_title()
SCALE = title_scale(QOE, TITLE)
RUNG = TITLE.renditions[0].id
LIFT = 10.0


def points(vmaf: float) -> float:
    return float(SCALE.of(np.array(vmaf)))


def events() -> list[AnyEvent]:
    """Two segments of the lowest rung: lifted on half of its frames, and plain."""
    happened: list[AnyEvent] = [Started(t_s=0, session="s", title=TITLE.id, controller="x", device="", network="")]
    for segment, enhancer in enumerate(("content-low", "none")):
        vmaf = TITLE.plain_quality[RUNG].vmaf[segment] + (LIFT if segment == 0 else 0.0)
        frames = TITLE.segment_frames[segment]
        enhanced = frames // 2 if segment == 0 else 0
        happened.append(
            Decided(
                t_s=segment,
                segment=segment,
                rendition=RUNG,
                enhancer=enhancer,
                promised_vmaf=vmaf,
                promised_quality=points(vmaf),
                reason="",
                wait_s=0.0,
                size_bytes=1000,
            )
        )
        happened.append(
            Shown(
                t_s=segment + 1,
                segment=segment,
                rendition=RUNG,
                enhancer=enhancer,
                frames=frames,
                enhanced_frames=enhanced,
                plain_frames=frames - enhanced,
                late_frames=0,
                buffer_s=1.0,
            )
        )
    return happened


def test_frames_that_fell_back_count_in_points_too():
    plain = TITLE.plain_quality[RUNG].vmaf
    share = (TITLE.segment_frames[0] // 2) / TITLE.segment_frames[0]
    first = points(plain[0]) + share * (points(plain[0] + LIFT) - points(plain[0]))
    expected = experience([first, points(plain[1])], 0.0).qoe
    assert summarise(events(), TITLE, scale=SCALE).qoe == pytest.approx(expected, abs=0.01)


def test_measured_quality_goes_through_the_scale():
    seen = Quality(vmaf=(30.0, 60.0), vmaf_neg=(30.0, 60.0), ssim=(1, 1), psnr_y_db=(40, 40))
    summary = summarise(events(), TITLE, seen, scale=SCALE)
    assert summary.vmaf_seen == pytest.approx(np.average([30, 60], weights=TITLE.segment_frames[:2]), abs=0.01)
    assert summary.qoe == pytest.approx(experience([points(30.0), points(60.0)], 0.0).qoe, abs=0.01)


def test_a_report_counts_as_the_session_did(tmp_path):
    (tmp_path / "session.jsonl").write_bytes(dumps_log(events()))
    (tmp_path / "title.json").write_bytes(dumps(TITLE))
    found = open_archive(tmp_path / "session.jsonl", library=None, title_url="", trace=None, qoe=QOE)
    assert found.summary.qoe == summarise(events(), TITLE, scale=SCALE).qoe
