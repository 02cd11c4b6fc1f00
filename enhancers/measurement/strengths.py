"""How much of what a network adds is shown: for each rung as much as the panel of quality meters finds best.

Added in full, restored detail flickers more than it does at three quarters, and pixels are further from the source's.
The deepest tier is tried for all tiers of its family, which share its trunk, on a few frames of the title.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from abr.core.enhancement import Family, Tier
from abr.core.title import PanelFigures, Rendition
from abr.errors import FormatError, StorageError
from abr.files import write_atomically
from abr.progress import ShareListener
from abr.quality.pictures import Planes, crop_planes
from abr.quality.sampled_panel import SampledPanel, fed_frames, judged_frames
from abr.quality.segment_figures import LiftJudge, above_each
from abr.quality.trusted import trusted_quality
from abr.quality.vmaf import is_black
from abr.records import Record, dumps, load
from enhancers.measurement.offers import OfferCandidate
from enhancers.networks.checkpoint import weights_digest
from enhancers.networks.imported import is_imported
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.work_folder import key_of, title_key

STRENGTHS = (1.0, 0.75, 0.5)
_FRAMES = 6
_AT_ONCE = 2
_FILE = "strengths-{}.json"

_Open = Callable[[], Enhancer]
"""A network is opened when its turn comes: each takes memory."""


class _Chosen(Record, frozen=True):
    """By candidate's key: its strength."""

    strengths: dict[str, float]


def choose_strengths(
    prepared: PreparedTitle, candidates: Sequence[OfferCandidate], work: Path, progress: ShareListener
) -> list[OfferCandidate]:
    """The same candidates, each at the strength of the best trusted quality of those that the panel does not refuse.

    The least strength where it refuses all; full strength where the title tells nothing of a panel.
    """
    tried: dict[tuple[Family, str], OfferCandidate] = {}
    for each in sorted(candidates, key=lambda candidate: list(Tier).index(candidate.tier)):
        if each.tier is not Tier.REUSE and not is_imported(each.architecture):
            tried[each.family, each.rendition.id] = each
    if prepared.title.meter.panel_every_segments == 0 or not tried:
        return list(candidates)
    path = work / _FILE.format(
        key_of(title_key(prepared), STRENGTHS, [(each.key, weights_digest(each.chunks)) for each in tried.values()])
    )
    chosen = _load(path)
    if chosen is None:
        chosen = _Chosen(strengths=_try(prepared, list(tried.values()), progress))
        write_atomically(path, dumps(chosen))
    return [
        replace(each, strength=chosen.strengths[tried[each.family, each.rendition.id].key])
        if (each.family, each.rendition.id) in tried
        else each
        for each in candidates
    ]


def _load(path: Path) -> _Chosen | None:
    try:
        return load(path, _Chosen)
    except (StorageError, FormatError):  # not tried yet, or cut off in the middle
        return None


def _try(prepared: PreparedTitle, candidates: Sequence[OfferCandidate], progress: ShareListener) -> dict[str, float]:
    """The strength of each candidate, by key; 1 where all of the title's samples are black."""
    title, sources = prepared.title, _read_sources(prepared)
    if not sources:
        return {each.key: 1.0 for each in candidates}
    jobs: dict[tuple[str, float], tuple[Rendition, _Open]] = {
        (each.id, 0.0): (each, partial(PlainScaler, each.width_px, each.height_px, *prepared.display_px))
        for each in title.renditions
    }
    for each in candidates:
        for strength in STRENGTHS:
            jobs[each.key, strength] = each.rendition, partial(_open, prepared, replace(each, strength=strength))
    found: dict[tuple[str, float], list[dict[str, float]]] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        figures = pool.map(lambda job: _judge(prepared, job[0], job[1](), sources), jobs.values())
        for place, (key, told) in enumerate(zip(jobs, figures, strict=True)):
            progress("Trying strengths", place / len(jobs))
            found[key] = told
    above: dict[str, Sequence[Mapping[str, float]] | None] = {}
    for ladder in title.ladders:
        above |= zip((each.id for each in ladder), above_each([found[each.id, 0.0] for each in ladder]), strict=True)
    return {
        each.key: _best(
            LiftJudge(plain=found[each.rendition.id, 0.0], above=above[each.rendition.id]),
            {strength: found[each.key, strength] for strength in STRENGTHS},
        )
        for each in candidates
    }


def _open(prepared: PreparedTitle, candidate: OfferCandidate) -> Enhancer:
    return candidate.open(prepared).enhancer


def _best(judge: LiftJudge, lifted: Mapping[float, Sequence[Mapping[str, float]]]) -> float:
    """The strength with the best mean trusted quality of those not refused; the least if all are."""

    def worth(strength: float) -> float:
        if judge.above is None:
            return float(np.mean([each["vmaf"] for each in lifted[strength]]))
        sides = zip(judge.plain, lifted[strength], judge.above, strict=True)
        return float(np.mean([trusted_quality(*side) for side in sides]))

    allowed = [strength for strength, figures in lifted.items() if not judge.refusals_of(figures)]
    return max(allowed, key=worth) if allowed else min(lifted)


def _read_sources(prepared: PreparedTitle) -> dict[int, list[Planes]]:
    """By segment: the source's frame to be judged after the two before it, of a few segments; black ones left out."""
    title = prepared.title
    judged = judged_frames(title.segment_frames, title.meter.panel_every_segments)
    places = sorted({int(place) for place in np.linspace(0, len(judged) - 1, min(_FRAMES, len(judged)))})
    few = {segment: fed_frames(judged[segment]) for segment in np.array(list(judged))[places].tolist()}
    wanted = {index for indices in few.values() for index in indices}
    pictures: dict[int, Planes] = {}
    for index, frame in enumerate(prepared.source_frames()):
        if index in wanted:
            pictures[index] = crop_planes(frame.planes(), title.meter.crop)
        if len(pictures) == len(wanted):
            break
    found = {segment: [pictures[index] for index in indices] for segment, indices in few.items()}
    return {segment: planes for segment, planes in found.items() if not is_black(planes[-1][0])}


def _judge(
    prepared: PreparedTitle, rendition: Rendition, enhancer: Enhancer, sources: Mapping[int, Sequence[Planes]]
) -> list[dict[str, float]]:
    """Every member's figure of each judged frame."""
    title = prepared.title
    box = title.meter.crop
    with SampledPanel(box[2], box[3], title.fps, tabled=True) as panel:
        for segment, planes in sources.items():
            frames = prepared.frames(rendition, segment)
            middle = title.segment_frames[segment] // 2
            shown = [crop_planes(enhancer.enhance(frames[max(0, middle - back)]).planes(), box) for back in (1, 0)]
            panel.judge(segment, list(zip(planes, [planes[0], *shown], strict=True)))
        return _rows(panel.finish())


def _rows(panel: PanelFigures | None) -> list[dict[str, float]]:
    if panel is None:
        return []
    return [{name: values[row] for name, values in panel.figures.items()} for row in range(len(panel.segment))]
