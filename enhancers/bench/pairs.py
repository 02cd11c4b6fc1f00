"""Pairs of clips to be rated by people, who do not know which is which, and the page to do it with.

Comparisons are made for each rung that an enhancer lifts: against the plain picture of the same bytes, against that of
the next rung and, where the source is there, against one of the next rung's size compressed to the lifted rung's bytes.
The first tells whether people like the lift at all, the second how much of a rung it is worth to them, the third
whether the bits are spent better on it than on more pixels. Method: pair comparison, ITU-T P.910 (2023), 7.6, with
forced choice and sides in random order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from random import Random

import msgspec
import numpy as np

from abr.core.enhancement import PLAIN, Currency, EnhancementTable, EnhancerEntry
from abr.core.options import counted_quality
from abr.core.title import Rendition, Title
from abr.errors import InputError
from abr.files import write_atomically, write_file
from abr.opinions.rating_key import KEY_FILE, Against, Attested, Clip, Comparison, RatingKey, two_clips_script
from abr.progress import ShareListener
from abr.quality.panel import Role
from abr.quality.segment_figures import figures_by_segment
from abr.quality.trusted import group_medians
from abr.records import dumps_pretty
from enhancers.bench.squeeze import Squeezer
from enhancers.measurement.ladder_planner import TITLE_S, read_chunks
from enhancers.prepared_title import PreparedTitle, TitleFolder
from enhancers.runtime.encode import compress
from enhancers.runtime.enhancer import Enhancer, PlainScaler
from enhancers.runtime.loader import open_enhancer

PAGE_FILE = "index.html"
_CRF = 8.0
"""Of the clips that people see: coarse enough to play everywhere, and so fine that nobody sees it."""
_PAIRS_MARK, _SCRIPT_MARK = "/* PAIRS */", "/* TWO_CLIPS */"


def write_pairs(
    title_folder: TitleFolder,
    table: EnhancementTable,
    out: Path,
    *,
    excerpts: int,
    progress: ShareListener,
    seed: int = 1,
) -> RatingKey:
    """Write clips, page and key into `out`, which is made; `excerpts` segments of the title, as `seed` draws them.

    A PreparedTitle, whose source is there, gets the comparison at equal bits too.
    Raises InputError when no rung is lifted, or the folder holds other things.
    """
    squeezer = Squeezer(title_folder) if isinstance(title_folder, PreparedTitle) else None
    key = plan_pairs(title_folder.title, table, excerpts=excerpts, seed=seed, equal_bits=squeezer is not None)
    if out.is_dir() and any(out.iterdir()) and not (out / KEY_FILE).is_file():
        raise InputError(f"{out} holds other files; give an empty folder, or a new one.")
    out.mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(key.clips):
        progress(f"Clip {number + 1} of {len(key.clips)}", number / len(key.clips))
        write_file(out / clip.file, _render(title_folder, table, clip, squeezer))
    page = (files("enhancers.bench") / "rating_page.html").read_text("utf-8")
    pairs = {"set": key.set, "pairs": [(each.lifted, each.plain) for each in key.comparisons]}
    page = page.replace(_SCRIPT_MARK, two_clips_script()).replace(_PAIRS_MARK, json.dumps(pairs))
    write_atomically(out / PAGE_FILE, page.encode())
    write_atomically(out / KEY_FILE, dumps_pretty(key))
    return key


def plan_pairs(
    title: Title, table: EnhancementTable, *, excerpts: int, seed: int, equal_bits: bool = False
) -> RatingKey:
    """Which clips are made, and which are shown against each other. Raises InputError when no rung is lifted."""
    segments = Random(seed).sample(range(len(title.segment_frames)), min(excerpts, len(title.segment_frames)))
    clips: dict[str, Clip] = {}
    comparisons: list[Comparison] = []

    def compare(lifted: Clip, plain: Clip, against: Against, attested: Attested | None = None) -> None:
        clips.update({clip.file: clip for clip in (lifted, plain)})
        comparisons.append(Comparison(lifted=lifted.file, plain=plain.file, against=against, attested=attested))

    for segment in sorted(segments):
        for rendition, above, entry in _lifted_rungs(title, table):
            lifted = _told(title, table, _clip(title, rendition, entry.name, segment, seed))
            attested = _attested(title, entry, rendition, above, segment)
            plain = _told(title, table, _clip(title, rendition, PLAIN, segment, seed))
            compare(lifted, plain, "same rung", attested)
            if above is not None:
                plain = _told(title, table, _clip(title, above, PLAIN, segment, seed))
                compare(lifted, plain, "next rung", attested)
            if above is not None and equal_bits:
                compare(lifted, _squeezed(title, above, entry, rendition, segment, seed), "equal bits")
    if not comparisons:
        raise InputError(f"No rung of {title.id} is lifted, so there is nothing to compare; train it first.")
    name = hashlib.sha256(repr((title.source.sha256, sorted(clips))).encode()).hexdigest()[:12]
    return RatingKey(
        set=name,
        title=title.id,
        source_sha256=title.source.sha256,
        clips=tuple(clips.values()),
        comparisons=tuple(comparisons),
    )


def _lifted_rungs(title: Title, table: EnhancementTable) -> Iterator[tuple[Rendition, Rendition | None, EnhancerEntry]]:
    """Each rung that is lifted, the rung above it, and the enhancer with the best picture there."""
    pairs: list[tuple[Rendition, Rendition | None]] = []
    for ladder in title.ladders:
        pairs += zip(ladder, (*ladder[1:], None), strict=True)
    for rendition, next_rendition in pairs:
        offered = {
            entry.name: float(np.mean(counted_quality(offer.quality, Currency.TRUSTED)))
            for entry in table.enhancers
            if (offer := entry.offer(rendition.id)) is not None
        }
        if offered:
            yield rendition, next_rendition, table.entry(max(offered, key=lambda name: offered[name]))


def _attested(
    title: Title, entry: EnhancerEntry, rendition: Rendition, above: Rendition | None, segment: int
) -> Attested | None:
    """By the title's tables; None at the top of a ladder, or where a group of judges abstains."""
    offer = entry.offer(rendition.id)
    if above is None or offer is None:
        return None
    measured = (title.plain_quality[rendition.id], offer.quality, title.plain_quality[above.id])
    plain, lifted, step = (figures_by_segment(quality)[segment] for quality in measured)
    medians = group_medians(plain, lifted, step)
    if not {Role.FIDELITY, Role.DETAIL} <= medians.keys():
        return None
    return Attested(
        fidelity=medians[Role.FIDELITY],
        detail=medians[Role.DETAIL],
        step=step["vmaf"] - plain["vmaf"],
        lift=lifted["vmaf"] - plain["vmaf"],
    )


def _squeezed(
    title: Title, rendition: Rendition, entry: EnhancerEntry, lifted: Rendition, segment: int, seed: int
) -> Clip:
    """The plain picture at a rendition's size with the bytes of the lifted rung, its weights spread over TITLE_S."""
    offer = entry.offer(lifted.id)
    weights_bytes = sum(chunk.size_bytes for chunk in offer.chunks) if offer else 0
    share = title.segment_duration_s[segment] / TITLE_S
    return msgspec.structs.replace(
        _clip(title, rendition, f"{PLAIN} as {lifted.id}", segment, seed),
        enhancer=PLAIN,
        rate_bps=lifted.average_bps,
        squeezed_to=lifted.id,
        bytes_max=lifted.segment_bytes[segment] + round(weights_bytes * share),
    )


def _told(title: Title, table: EnhancementTable, clip: Clip) -> Clip:
    """With its quality, by the title's tables."""
    quality = title.plain_quality[clip.rendition]
    if clip.enhancer != PLAIN and (offer := table.entry(clip.enhancer).offer(clip.rendition)) is not None:
        quality = offer.quality
    return msgspec.structs.replace(clip, quality=counted_quality(quality, Currency.TRUSTED)[clip.segment])


def _clip(title: Title, rendition: Rendition, enhancer: str, segment: int, seed: int) -> Clip:
    """Named so that the name tells nothing."""
    told = (title.source.sha256, rendition.id, enhancer, segment, seed)
    return Clip(
        file=f"{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}.mp4",
        segment=segment,
        rendition=rendition.id,
        enhancer=enhancer,
        rate_bps=rendition.average_bps,
    )


def _render(title_folder: TitleFolder, table: EnhancementTable, clip: Clip, squeezer: Squeezer | None) -> bytes:
    """The clip as an MP4."""
    title = title_folder.title
    enhancer = _open(title_folder, table, title.rendition(clip.rendition), clip.enhancer)
    if clip.squeezed_to and squeezer is not None:
        frames = squeezer.frames(title.rendition(clip.rendition), clip.segment, clip.bytes_max)
    else:
        frames = title_folder.frames(title.rendition(clip.rendition), clip.segment, motion=True)
    shown = [enhancer.enhance(frame) for frame in frames]
    return compress(shown, _CRF, preset="fast", rate=title.frame_rate)


def _open(title_folder: TitleFolder, table: EnhancementTable, rendition: Rendition, enhancer: str) -> Enhancer:
    size_px, display_px = (rendition.width_px, rendition.height_px), title_folder.display_px
    if enhancer == PLAIN:
        return PlainScaler(*size_px, *display_px)
    offer = table.entry(enhancer).offer(rendition.id)
    assert offer is not None
    return open_enhancer(offer, read_chunks(title_folder, offer), size_px=size_px, display_px=display_px)
