"""A guide that asks a Toprung server, segment by segment: the server-driven session, from the player's side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp
import msgspec

from abr import cmcd
from abr.clock import working
from abr.cmcd import ViewerState
from abr.cmsd import DYNAMIC, read_chosen
from abr.device import DeviceProfile
from abr.enhancement import ENHANCEMENTS_FILE, PLAIN, EnhancementTable, Family
from abr.errors import FormatError, InputError
from abr.events import Decided, EventBatch, loads_log
from abr.formats import dumps, loads
from abr.media import TITLE_FILE, Title
from abr.structured import Token
from abr.throughput import harmonic_mean
from client_player.download import (
    DOCUMENT_MAX_BYTES,
    DownloadError,
    Patience,
    Reply,
    Transport,
    at_once,
    get_patiently,
    read_body,
)
from client_player.guide import Ears, Served, View
from client_player.manifest import MANIFEST_MAX_BYTES, Presentation, loads_mpd
from client_player.trust import check_title

_ID_SHOWN = 16
"""Characters of a session id that are told others: knowing all of it is the right to use the session."""
_CMCD_OBJECTS = {"video": "v", "audio": "a", "init": "i", "manifest": "m"}


class SessionReply(msgspec.Struct, frozen=True):
    """Answer of POST /sessions; further fields are passed over."""

    id: str
    title: str
    manifest_url: str
    title_url: str


class _Problem(msgspec.Struct, frozen=True):
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWish:
    """What a session is asked for."""

    title: str
    profile: DeviceProfile | None
    controller: str
    families: Sequence[Family]
    buffer_max_s: float

    def body(self) -> bytes:
        wish = {
            "title": self.title,
            "profile": self.profile,
            "families": list(self.families),
            "buffer_max_s": self.buffer_max_s,
        }
        return dumps(wish | ({"controller": self.controller} if self.controller else {}))


class ServerGuide:
    """A server-driven session. Make it with `open_session`."""

    def __init__(
        self,
        *,
        base_url: str,
        wish: SessionWish,
        session: SessionReply,
        pool: aiohttp.ClientSession,
        transport: Transport,
        ears: Ears,
    ) -> None:
        self._base_url, self._wish, self._session = base_url, wish, session
        self._pool, self._transport, self._ears = pool, transport, ears
        self.title_url = urljoin(base_url, f"/titles/{session.title}/")
        self.title: Title
        self.table: EnhancementTable | None
        self.presentation: Presentation
        self._init = b""
        self._first_id = session.id

    @property
    def session_id(self) -> str:
        return self._session.id

    async def load(self) -> None:
        """Fetch manifest, title, enhancement table and init segment. Raises DownloadError, FormatError."""
        await at_once(self._follow(), at_once(self._know(), self._price()))
        promised, found = len(self.title.segment_duration_s), len(self.presentation.video[0].segments)
        if promised != found:
            raise FormatError(
                f"The manifest lists {found} segments and the title {promised}: they do not belong together."
            )

    async def _follow(self) -> None:
        manifest_url = urljoin(self._base_url, self._session.manifest_url)
        manifest = await self._get(manifest_url, "manifest", MANIFEST_MAX_BYTES)
        self.presentation = loads_mpd(manifest.body, manifest_url)
        self._init = (await self._get(self.presentation.video[0].init_url, "init", DOCUMENT_MAX_BYTES)).body

    async def _know(self) -> None:
        title = await self._get(urljoin(self.title_url, TITLE_FILE), "manifest", DOCUMENT_MAX_BYTES)
        self.title = loads(title.body, Title, what=title.url)
        check_title(self.title, title.url)

    async def _price(self) -> None:
        self.table = await self._table() if self._wish.profile is not None and self._wish.families else None

    async def _table(self) -> EnhancementTable | None:
        try:
            reply = await self._get(urljoin(self.title_url, ENHANCEMENTS_FILE), "manifest", DOCUMENT_MAX_BYTES)
        except DownloadError as error:
            if error.status == 404:
                return None
            raise
        return loads(reply.body, EnhancementTable, what=reply.url)

    async def _get(self, url: str, kind: str, max_bytes: int) -> Reply:
        keys = {"ot": Token(_CMCD_OBJECTS[kind]), "sid": self._session.id[:_ID_SHOWN]}
        optional = url.endswith(ENHANCEMENTS_FILE)
        reply = await get_patiently(
            self._transport,
            url,
            headers=cmcd.to_headers(keys),
            max_bytes=max_bytes,
            patience=Patience(tries=1) if optional else Patience(),
            on_failure=(lambda _detail: None) if optional else self._ears.failed,
        )
        self._ears.came("init" if kind == "init" else "document", reply)
        return reply

    async def segment(self, index: int, view: View) -> Served:
        try:
            return await self._segment(index, view, Patience(tries=3))
        except DownloadError as error:
            if error.status != 404:
                raise
        await self._reopen()
        return await self._segment(index, view, Patience())

    async def _segment(self, index: int, view: View, patience: Patience) -> Served:
        span = self.presentation.video[0].segments[index]
        reply = await get_patiently(
            self._transport,
            self._url(span.url),
            headers=cmcd.to_headers(self._keys(view, span.duration_s)),
            check=lambda reply: self._check_segment(index, reply),
            patience=patience,
            on_failure=self._ears.failed,
        )
        return self._served(index, reply, view)

    def _url(self, url: str) -> str:
        """The segment's URL, in the session that was opened in the place of the first if there is one."""
        return url.replace(f"/sessions/{self._first_id}/", f"/sessions/{self._session.id}/", 1)

    async def _reopen(self) -> None:
        """The server has forgotten the session (a restart, say): ask for another like it."""
        self._ears.failed(f"the server does not know session {self._session.id[:_ID_SHOWN]}; asking for a new one")
        self._session = await _post_session(self._pool, self._base_url, self._wish)

    def _keys(self, view: View, duration_s: float) -> cmcd.Cmcd:
        state = ViewerState(
            buffer_s=view.buffer_s,
            backlog_s=view.backlog_s,
            now_s=view.now_s,
            playing=view.playing,
            download=view.downloads[-1] if view.downloads else None,
            owned=view.owned,
        )
        keys: cmcd.Cmcd = {
            "ot": Token("v"),
            "sf": Token("d"),
            "st": Token("v"),
            "sid": self._session.id[:_ID_SHOWN],
            "cid": self.title.id,
            "d": round(duration_s * 1000),
            "bl": round(view.buffer_s * 1000),
            "su": not view.playing or view.stalled,
            "bs": view.stalled,
        }
        if view.downloads:
            keys["mtp"] = round(harmonic_mean(view.downloads).throughput_bps / 1000)
        return keys | cmcd.from_viewer(state)

    def _check_segment(self, index: int, reply: Reply) -> None:
        """Refuse a body that is not as long as the title says."""
        rendition, _ = self._choice(reply.headers)
        expected = self.title.rendition(rendition).segment_bytes[index]
        if len(reply.body) != expected:
            raise DownloadError(
                f"{reply.url} has {len(reply.body)} bytes; segment {index} of {rendition} has {expected}."
            )

    def _choice(self, headers: Mapping[str, str]) -> tuple[str, str]:
        try:
            chosen = read_chosen(headers.get(DYNAMIC, ""))
        except FormatError:
            chosen = None
        rendition, enhancer = chosen or (headers.get("Toprung-Rendition", ""), headers.get("Toprung-Enhancer", PLAIN))
        if rendition not in {each.id for each in self.title.renditions}:
            raise DownloadError(f"The server sent a segment of {rendition[:64]!r}, which the title does not have.")
        return rendition, enhancer

    def _served(self, index: int, reply: Reply, view: View) -> Served:
        rendition, enhancer = self._choice(reply.headers)
        wait_s = min(60.0, max(0.0, _number(reply.headers.get("Toprung-Wait-S", ""), 0.0)))
        plain = self.title.plain_quality[rendition].vmaf[index]
        decided = Decided(
            t_s=view.now_s,
            segment=index,
            rendition=rendition,
            enhancer=enhancer[:128],
            wait_s=wait_s,
            reason=reply.headers.get("Toprung-Reason", "")[:1024],
            promised_vmaf=_number(reply.headers.get("Toprung-Promised-VMAF", ""), plain),
            size_bytes=len(reply.body),
        )
        return Served(
            decided=decided,
            body=reply.body,
            init=self._init,
            timing=reply.timing,
            not_before_s=reply.timing.started_s + reply.timing.duration_s + wait_s,
        )

    async def post(self, batch: EventBatch) -> bool:
        url = urljoin(self._base_url, f"/sessions/{self._session.id}/events")
        headers = {"Content-Type": "application/json"}
        try:
            with working():
                async with self._pool.post(url, data=dumps(batch), headers=headers) as response:
                    return 200 <= response.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def close(self) -> Sequence[Decided]:
        url = urljoin(self._base_url, f"/sessions/{self._session.id}/log")
        try:
            with working():
                async with self._pool.get(url) as response:
                    if response.status != 200:
                        return []
                    log, _ = await read_body(response, DOCUMENT_MAX_BYTES)
            return [event for event in loads_log(log) if isinstance(event, Decided)]
        except (aiohttp.ClientError, TimeoutError, OSError, FormatError, DownloadError):
            return []


async def open_session(
    base_url: str,
    wish: SessionWish,
    *,
    pool: aiohttp.ClientSession,
    transport: Transport,
    ears: Ears,
) -> ServerGuide:
    """Ask for a session. Raises DownloadError when it is refused. Call `load` on the guide before the first segment."""
    session = await _post_session(pool, base_url, wish)
    return ServerGuide(base_url=base_url, wish=wish, session=session, pool=pool, transport=transport, ears=ears)


async def _post_session(pool: aiohttp.ClientSession, base_url: str, wish: SessionWish) -> SessionReply:
    url = urljoin(base_url, "/sessions")
    try:
        with working():
            async with pool.post(url, data=wish.body(), headers={"Content-Type": "application/json"}) as response:
                answer, _ = await read_body(response, 1 << 20)
                status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise DownloadError(f"Cannot open a session at {url}: {error}. Is `toprung serve` running there?") from error
    if status != 201:
        said = f"{url} refused the session ({status}): {_detail(answer)}"
        raise InputError(said) if 400 <= status < 500 else DownloadError(said, status=status, passing=False)
    return loads(answer, SessionReply, what=f"the answer of {url}")


def _detail(answer: bytes) -> str:
    """What a problem+json (RFC 9457) says in words, or the beginning of whatever was answered."""
    try:
        return msgspec.json.decode(answer, type=_Problem).detail
    except msgspec.DecodeError:
        return answer.decode(errors="replace")[:300]


def _number(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if abs(value) < 1e9 else default
