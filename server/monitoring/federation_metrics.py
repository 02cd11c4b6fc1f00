"""Rounds of federated tuning, in Prometheus' words."""

from __future__ import annotations

from statistics import fmean

from abr.federation.version import ModelVersion
from server.monitoring.metric_factory import MetricFactory


class FederationMetrics:
    """What became of rounds and of the candidates that they made, and which version is the best."""

    def __init__(self, make: MetricFactory) -> None:
        self.rounds = make.counter("federation_rounds", "Rounds of federated tuning, by what they came to.", "outcome")
        self.survivors = make.counter("federation_survivors", "Players whose updates are in the sums.")
        self.candidates = make.counter(
            "federation_candidates",
            "Networks that sums of updates made: kept; worse, when not better on the held-out clips; refused, when it "
            "was no sum of updates; failed, when nothing could judge it.",
            "verdict",
        )
        self.version = make.gauge(
            "federation_version", "Number of the version that is the best so far.", over_workers="mostrecent"
        )
        self.psnr_db = make.gauge(
            "federation_psnr_db", "Its luma PSNR on the held-out clips, in decibels.", over_workers="mostrecent"
        )

        self.vmaf_neg = make.gauge(
            "federation_vmaf_neg", "Its VMAF-NEG on the held-out clips.", over_workers="mostrecent"
        )

    def count_round(self, outcome: str, members: int, survivors: int) -> None:
        """See TuningMetrics."""
        self.rounds.labels(outcome).inc()
        if outcome == "summed":
            self.survivors.inc(survivors)

    def count_candidate(self, verdict: str) -> None:
        """See TuningMetrics."""
        self.candidates.labels(verdict).inc()

    def show_version(self, version: ModelVersion) -> None:
        """See TuningMetrics."""
        self.version.set(version.number)
        if version.scores:
            self.psnr_db.set(fmean(each.psnr_y_db for each in version.scores))
            self.vmaf_neg.set(fmean(each.vmaf_neg for each in version.scores))
