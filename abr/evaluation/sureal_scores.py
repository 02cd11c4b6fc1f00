"""Item scores by `sureal` (Netflix), where that is installed: an oracle for our own maximum likelihood."""

from __future__ import annotations

import contextlib
import io
from importlib import import_module
from types import SimpleNamespace

import numpy as np

from abr.core.arrays import Floats
from abr.opinions.dataset import OpinionSet


def sureal_scores(opinions: OpinionSet) -> Floats | None:
    """(N,) of all raters, by the model of ITU-T P.913 (2021), 12.6; None where the package is not installed."""
    try:
        reader, model = import_module("sureal.dataset_reader"), import_module("sureal.subjective_model")
    except ImportError:
        return None
    videos = [
        {"asset_id": item, "content_id": int(content), "path": file, "os": _votes(opinions.scores[item])}
        for item, (content, file) in enumerate(zip(opinions.contents, opinions.files, strict=True))
    ]
    references = [
        {"content_id": int(content), "content_name": str(content), "path": str(content)}
        for content in np.unique(opinions.contents)
    ]
    dataset = SimpleNamespace(dataset_name="opinions", yuv_fmt="yuv420p", ref_videos=references, dis_videos=videos)
    projection = model.SubjectMLEModelProjectionSolver2(reader.RawDatasetReader(dataset))
    with contextlib.redirect_stdout(io.StringIO()):  # it tells each of its steps
        result = projection.run_modeling()
    return np.asarray(result["quality_scores"], dtype=np.float64)


def _votes(row: Floats) -> dict[str, float]:
    return {str(rater): float(score) for rater, score in enumerate(row) if not np.isnan(score)}
