"""A guide without a server's help: any standard manifest, decided here by the same controllers on the same menus.

A Toprung title brings its own tables. For any other manifest sizes are taken from @bandwidth and quality is a guess
that only ranks the rungs (`assumed_title`), so nothing is enhanced and promises mean little.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar
from urllib.parse import urljoin

from abr.control import Controller, Observation
from abr.controllers import HORIZON, make_controller
from abr.controllers.guard import decide
from abr.device import DeviceProfile
from abr.enhancement import ENHANCEMENTS_FILE, PLAIN, EnhancementTable, Family
from abr.errors import FormatError
from abr.events import Decided, EventBatch
from abr.formats import loads
from abr.media import TITLE_FILE, Meter, Quality, Rendition, Source, Title
from abr.options import Choice, PriceList, price
from abr.simulate import menu_of, seen_of
from client_player.compute import Compute
from client_player.decode import count_frames
from client_player.download import DOCUMENT_MAX_BYTES, DownloadError, Patience, Transport, at_once, get_patiently
from client_player.guide import Ears, Served, View
from client_player.manifest import MANIFEST_MAX_BYTES, Presentation, loads_mpd
from client_player.trust import check_title

T = TypeVar("T")

_ONCE = Patience(tries=1)
_FPS_ASSUMED = Fraction(25)
_VMAF_LOWEST, _VMAF_HIGHEST = 30.0, 95.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWish:
    """What to play and how to decide. controller: a registered name or `path/to/file.py:Class`."""

    manifest_url: str
    controller: str
    profile: DeviceProfile | None
    families: Sequence[Family]


@dataclass(slots=True, kw_only=True)
class LocalGuide:
    """Make it with `open_local`. `known`: the title came with its own tables."""

    wish: LocalWish
    presentation: Presentation
    title: Title
    table: EnhancementTable | None
    known: bool
    transport: Transport
    ears: Ears
    title_url: str = ""
    _prices: PriceList = field(init=False)
    _controller: Controller = field(init=False)
    _last: Choice | None = None
    _memory: tuple[float, ...] = ()
    _inits: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.title_url = urljoin(self.wish.manifest_url, ".")
        self._controller = make_controller(self.wish.controller)
        self._prices = price(self.title, self.table, self.wish.profile, families=self.wish.families)

    async def segment(self, index: int, view: View) -> Served:
        """Decide, then fetch; when that rung's segment cannot be had, the lowest rung's."""
        decided = self._decide(index, view)
        await asyncio.sleep(decided.wait_s)
        rung = self._rung(decided.rendition)
        try:
            return await self._fetch(index, rung, decided)
        except DownloadError:
            if rung == 0:
                raise
        lowest = self.title.renditions[0]
        instead = Decided(
            t_s=decided.t_s,
            segment=index,
            rendition=lowest.id,
            enhancer=PLAIN,
            wait_s=decided.wait_s,
            reason=f"{decided.rendition} cannot be had, so the lowest rung plays",
            promised_vmaf=self.title.plain_quality[lowest.id].vmaf[index],
            size_bytes=lowest.segment_bytes[index],
        )
        self._last = Choice(rendition=0)
        return await self._fetch(index, 0, instead)

    def _decide(self, index: int, view: View) -> Decided:
        menu = menu_of(self._prices, index, HORIZON, frozenset(view.owned))
        seen = Observation(
            now_s=view.now_s,
            menu=menu,
            buffer_s=view.buffer_s,
            buffer_max_s=view.buffer_max_s,
            backlog_s=view.backlog_s,
            playing=view.playing,
            downloads=view.downloads,
            last=self._last,
            memory=self._memory,
        )
        decision = decide(self._controller, seen)
        choice = menu.choices[decision.option]
        self._last, self._memory = choice, decision.memory
        return Decided(
            t_s=view.now_s,
            segment=index,
            rendition=self._prices.rendition_ids[choice.rendition],
            enhancer=choice.enhancer,
            wait_s=decision.wait_s,
            reason=decision.reason[:1024],
            promised_vmaf=float(menu.vmaf[0, decision.option]),
            size_bytes=int(menu.size_bytes[0, decision.option]),
            seen=seen_of(seen, view.owned),
        )

    async def _fetch(self, index: int, rung: int, decided: Decided) -> Served:
        url = self.presentation.video[rung].segments[index].url
        reply, _ = await at_once(get_patiently(self.transport, url, on_failure=self.ears.failed), self._know_init(rung))
        frames = None
        if not self.known:
            with Compute("count") as compute:
                frames = await compute.run(count_frames, self._inits[rung] + reply.body) or None
        return Served(
            decided=decided,
            body=reply.body,
            init=self._inits[rung],
            timing=reply.timing,
            not_before_s=0.0,
            frames=frames,
        )

    async def _know_init(self, rung: int) -> None:
        if rung not in self._inits:
            url = self.presentation.video[rung].init_url
            init = await get_patiently(self.transport, url, on_failure=self.ears.failed)
            self.ears.came("init", init)
            self._inits[rung] = init.body

    def _rung(self, rendition: str) -> int:
        return [each.id for each in self.title.renditions].index(rendition)

    async def post(self, batch: EventBatch) -> bool:
        """Nobody listens, and that is no failure."""
        return True

    async def close(self) -> Sequence[Decided]:
        return []


async def open_local(wish: LocalWish, *, transport: Transport, ears: Ears) -> LocalGuide:
    """Fetch the manifest, and the title's own tables if they lie beside it. Raises DownloadError, FormatError."""
    enhancing = wish.profile is not None and bool(wish.families)
    manifest, (title, table) = await at_once(
        get_patiently(transport, wish.manifest_url, max_bytes=MANIFEST_MAX_BYTES, on_failure=ears.failed),
        at_once(
            _optional(transport, ears, urljoin(wish.manifest_url, TITLE_FILE), Title),
            _optional(transport, ears, urljoin(wish.manifest_url, ENHANCEMENTS_FILE), EnhancementTable, ask=enhancing),
        ),
    )
    ears.came("document", manifest)
    presentation = loads_mpd(manifest.body, wish.manifest_url)
    if title is not None:
        check_title(title, urljoin(wish.manifest_url, TITLE_FILE))
        _check(title, presentation, wish.manifest_url)
    return LocalGuide(
        wish=wish,
        presentation=presentation,
        title=title or assumed_title(presentation, wish.manifest_url),
        table=table if title is not None else None,
        known=title is not None,
        transport=transport,
        ears=ears,
    )


async def _optional(transport: Transport, ears: Ears, url: str, kind: type[T], *, ask: bool = True) -> T | None:
    if not ask:
        return None
    try:
        reply = await get_patiently(transport, url, max_bytes=DOCUMENT_MAX_BYTES, patience=_ONCE)
    except DownloadError as error:
        if error.status in (403, 404):
            return None
        raise
    ears.came("document", reply)
    return loads(reply.body, kind, what=url)


def _check(title: Title, presentation: Presentation, url: str) -> None:
    ours = [(rendition.id, len(title.segment_frames)) for rendition in title.renditions]
    theirs = [(track.id, len(track.segments)) for track in presentation.video]
    if ours != theirs:
        raise FormatError(f"{url} and the {TITLE_FILE} beside it do not belong together: {theirs} and {ours}.")


def assumed_title(presentation: Presentation, url: str) -> Title:
    """A title for a manifest that comes without one. Raises FormatError when its tracks are not cut alike.

    Segments are as large as @bandwidth says. VMAF is a guess that grows with the logarithm of the bitrate, from 30 at
    the lowest rung to 95 at the highest: it ranks rungs for controllers and measures nothing.
    """
    tracks = presentation.video
    spans = tracks[0].segments
    if any(len(track.segments) != len(spans) for track in tracks):
        raise FormatError(f"{url} cuts its representations differently; aligned segments are needed to switch.")
    if any(track.width_px <= 0 or track.height_px <= 0 or track.bandwidth_bps <= 0 for track in tracks):
        raise FormatError(f"{url} does not say the size and bandwidth of each representation.")
    largest = max(tracks, key=lambda track: track.width_px * track.height_px)
    rate = next((track.frame_rate for track in tracks if track.frame_rate), _FPS_ASSUMED)
    ids = [f"{track.height_px}p-{track.bandwidth_bps // 1000}k-{number}" for number, track in enumerate(tracks)]
    guesses = [_guess(track.bandwidth_bps, tracks[0].bandwidth_bps, tracks[-1].bandwidth_bps) for track in tracks]
    title = Title(
        id="manifest",
        display_width_px=largest.width_px,
        display_height_px=largest.height_px,
        frame_rate=(rate.numerator, rate.denominator),
        segment_duration_s=tuple(span.duration_s for span in spans),
        segment_frames=tuple(max(1, round(span.duration_s * rate)) for span in spans),
        renditions=tuple(
            Rendition(
                id=name,
                width_px=track.width_px,
                height_px=track.height_px,
                codecs=track.codecs,
                bandwidth_bps=track.bandwidth_bps,
                average_bps=track.bandwidth_bps,
                init_bytes=1,
                segment_bytes=tuple(max(1, round(track.bandwidth_bps * span.duration_s / 8)) for span in spans),
            )
            for name, track in zip(ids, tracks, strict=True)
        ),
        audio=(),
        source=Source(
            name=url,
            sha256="",
            width_px=largest.width_px,
            height_px=largest.height_px,
            duration_s=presentation.duration_s,
        ),
        plain_quality={name: _flat(guess, len(spans)) for name, guess in zip(ids, guesses, strict=True)},
        meter=Meter(
            vmaf_model="assumed from the bitrate",
            vmaf_neg_model="assumed from the bitrate",
            tool="no meter",
            scaler="swscale lanczos",
            every_frames=8,
            crop=(0, 0, largest.width_px, largest.height_px),
            black_luma_max=0.0,
        ),
        encoder="unknown",
    )
    check_title(title, url)
    return title


def _guess(bandwidth_bps: int, lowest_bps: int, highest_bps: int) -> float:
    if highest_bps == lowest_bps:
        return _VMAF_HIGHEST
    share = math.log(bandwidth_bps / lowest_bps) / math.log(highest_bps / lowest_bps)
    return _VMAF_LOWEST + share * (_VMAF_HIGHEST - _VMAF_LOWEST)


def _flat(vmaf: float, segments: int) -> Quality:
    values = (vmaf,) * segments
    return Quality(vmaf=values, vmaf_neg=values, ssim=(0.0,) * segments, psnr_y_db=(0.0,) * segments)
