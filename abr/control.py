"""What controllers written for earlier versions import; `abr.core.control` is where it is defined and described."""

from __future__ import annotations

from abr.core.control import (
    AbandoningController,
    BatchController,
    Controller,
    Decision,
    Download,
    DownloadInFlight,
    Observation,
    PrecomputingController,
)

__all__ = [
    "AbandoningController",
    "BatchController",
    "Controller",
    "Decision",
    "Download",
    "DownloadInFlight",
    "Observation",
    "PrecomputingController",
]
