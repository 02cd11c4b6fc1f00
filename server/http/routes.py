"""The route table: the one list that both the router and /openapi.json are made from."""

from __future__ import annotations

from functools import cache

from aiohttp import web

from abr.core.events import EventBatch
from abr.protocols import cmsd, session_api
from abr.records import dumps
from server.experiments.report import QoeView
from server.fleet.report import DevicesView
from server.http import handlers, pages, schemas
from server.http.openapi import JSON, Answer, Endpoint, Handler, document
from server.http.private.routes import PRIVATE_ENDPOINTS
from server.http.rating import handlers as rating
from server.session_service import SessionRequest

_MEDIA = "*/*"  # as the file is: a manifest, a segment, JSON
_DECISION = {
    cmsd.DYNAMIC: "The decision as CTA-5006 custom keys: com.toprung-r (rendition), com.toprung-e (enhancer); etp; "
    "under title/ also mb, the highest bitrate that the player should choose.",
    session_api.RENDITION: "The rendition whose bytes these are.",
    session_api.ENHANCER: "The enhancer to apply to it, or none.",
    session_api.PROMISED_VMAF: "What the title's tables promise of this choice.",
    session_api.WAIT_S: "Wait this many seconds before asking for the next segment.",
    session_api.REASON: "Why, in one line.",
}
_LEADS = {name: text for name, text in _DECISION.items() if name != session_api.REASON} | {"Location": "Its URL."}
_ELSEWHERE = "The segment is at a CDN (setting media_base); only for viewers who report their network in CMCD."
_PUBLIC_ID = f"{{shown:[A-Za-z0-9_-]{{{session_api.PUBLIC_ID_CHARACTERS}}}}}"
_FILE_ANSWERS = {
    200: Answer(description="The whole file.", content_type=_MEDIA),
    206: Answer(description="The range asked for.", content_type=_MEDIA),
    304: Answer(description="The viewer's copy is still right."),
}
_FILE_PROBLEMS = (404, 410, 412, 416)
_PAGE = {
    200: Answer(description="The page.", content_type="text/html"),
    304: Answer(description="The viewer's copy is still right."),
}


def _of_session(
    file: str, *, name: str, summary: str, handler: Handler, whole: Answer, decides: bool = False
) -> Endpoint:
    """A file under a session's path, or a part of it; `whole` describes the answer with all of it."""
    elsewhere = {307: Answer(description=_ELSEWHERE, headers=_LEADS)} if decides else {}
    return Endpoint(
        method="GET",
        path=f"/sessions/{{session}}/{file}",
        name=name,
        summary=summary,
        handler=handler,
        answers=_FILE_ANSWERS | {200: whole} | elsewhere,
        problems=(*_FILE_PROBLEMS, 503),
        streams=True,
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/",
        name="index",
        summary="Where to go from here; the web player for browsers, which accept text/html.",
        handler=handlers.index,
        answers={200: Answer(description="Links.", body=schemas.Index)},
    ),
    Endpoint(
        method="GET",
        path="/web/{file:.+}",
        name="getPageFile",
        summary="A script, style or licence of the pages.",
        handler=pages.page_file,
        answers=_PAGE,
        problems=(404,),
    ),
    Endpoint(
        method="GET",
        path="/qoe",
        name="qoePage",
        operator=True,
        summary="The live QoE page for browsers; for who accepts application/json, what a running experiment has come "
        "to.",
        handler=handlers.qoe,
        answers={
            200: Answer(
                description="The page; for programs that ask for JSON, that.", body=QoeView, content_type="text/html"
            ),
            304: Answer(description="The viewer's copy of the page is still right."),
        },
        problems=(503,),
    ),
    Endpoint(
        method="GET",
        path="/qoe/feed",
        name="feed",
        operator=True,
        summary="Events of all sessions, or of `?session=`, as server-sent events: FeedLine in JSON; `alone` when "
        "those of other processes cannot be told, `together` when they can be again.",
        handler=pages.feed,
        answers={200: Answer(description="Events.", content_type="text/event-stream")},
        problems=(503,),
        streams=True,
    ),
    Endpoint(
        method="GET",
        path=f"/qoe/{_PUBLIC_ID}",
        name="sessionPage",
        operator=True,
        summary="The page of one session, by the first characters of its id.",
        handler=pages.session_page,
        answers=_PAGE,
    ),
    Endpoint(
        method="GET",
        path=f"/qoe/{_PUBLIC_ID}/log",
        name="getShownLog",
        operator=True,
        summary="The log of that session, without its id.",
        handler=pages.session_lines,
        answers={200: Answer(description="The log.", content_type=pages.JSONL)},
        problems=(404, 503),
    ),
    Endpoint(
        method="GET",
        path="/devices",
        name="devices",
        operator=True,
        summary="Classes of viewers' devices in the last days, and what each tier takes and brings on them.",
        handler=handlers.devices,
        answers={200: Answer(description="Classes, slowest first.", body=DevicesView)},
        problems=(503,),
    ),
    Endpoint(
        method="GET",
        path="/rate",
        name="ratePage",
        summary="The page that asks what people think of two clips, or of the session that they watched.",
        handler=pages.rate_page,
        answers=_PAGE,
        problems=(404,),
    ),
    Endpoint(
        method="GET",
        path="/rate/pairs",
        name="getRatingPairs",
        summary="The clips that are to be rated, two by two.",
        handler=rating.rating_pairs,
        answers={200: Answer(description="Pairs.", body=schemas.RatingPairs)},
        problems=(404,),
    ),
    Endpoint(
        method="GET",
        path="/rate/clips/{clip}",
        name="getRatingClip",
        summary="A clip that is to be rated.",
        handler=rating.rating_clip,
        answers=_FILE_ANSWERS,
        problems=(404, 416),
        streams=True,
    ),
    Endpoint(
        method="POST",
        path="/rate/opinions",
        name="postOpinion",
        summary="Hand in what somebody thinks, from the page itself. It is kept without who that was.",
        handler=rating.post_opinion,
        body=schemas.OpinionPosted,
        answers={204: Answer(description="Kept.")},
        problems=(400, 403, 404, 409, 410, 413, 415, 422, 429, 503),
    ),
    Endpoint(
        method="GET",
        path="/healthz",
        name="health",
        summary="Liveness: the process answers.",
        handler=handlers.health,
        answers={200: Answer(description="It does.", body=schemas.Health)},
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        name="metrics",
        summary="Metrics in the Prometheus text format.",
        handler=handlers.metrics,
        answers={200: Answer(description="Metrics.", content_type="text/plain")},
    ),
    Endpoint(
        method="GET",
        path="/titles",
        name="listTitles",
        summary="The titles of the library by id: all, or `?limit=` (1 to 9999) of those that follow `?after=`.",
        handler=handlers.titles,
        answers={200: Answer(description="Titles by id.", body=schemas.TitleList)},
        problems=(400,),
    ),
    Endpoint(
        method="GET",
        path="/titles/{title}/{file:.+}",
        name="getTitleFile",
        summary="A file of a title: manifests, segments, title.json, enhancements.json, weights chunks; below "
        "`v-VERSION/` of that version of its media, which caches may keep. Playlists of live titles wait for what "
        "`?_HLS_msn=` and `&_HLS_part=` ask for.",
        handler=handlers.title_file,
        answers=_FILE_ANSWERS,
        problems=(400, *_FILE_PROBLEMS, 503),
        streams=True,
    ),
    Endpoint(
        method="POST",
        path="/sessions",
        name="openSession",
        summary="Open a session: one viewer, one title, one device profile.",
        handler=handlers.open_session,
        body=SessionRequest,
        answers={
            201: Answer(description="It is open.", body=schemas.SessionOpened, headers={"Location": "The session."})
        },
        problems=(400, 404, 409, 410, 413, 415, 422, 429, 503),
    ),
    Endpoint(
        method="GET",
        path="/sessions/{session}",
        name="showSession",
        summary="The session as the server remembers it.",
        handler=handlers.show_session,
        answers={200: Answer(description="The session.", body=schemas.SessionView)},
        problems=(404, 410, 503),
    ),
    Endpoint(
        method="DELETE",
        path="/sessions/{session}",
        name="endSession",
        summary="End the session and forget it, log included.",
        handler=handlers.end_session,
        answers={204: Answer(description="Forgotten.")},
        problems=(404, 503),
    ),
    _of_session(
        "manifest.mpd",
        name="getSessionManifest",
        summary="The server-driven MPD: one video Representation, whose segments the server chooses.",
        handler=handlers.session_manifest,
        whole=Answer(description="The manifest.", content_type=handlers.MPD),
    ),
    _of_session(
        "master.m3u8",
        name="getSessionMaster",
        summary="The same for HLS players: one variant, whose segments the server chooses.",
        handler=handlers.session_master,
        whole=Answer(description="The playlist.", content_type=handlers.HLS),
    ),
    _of_session(
        "video.m3u8",
        name="getSessionPlaylist",
        summary="The media playlist of that variant.",
        handler=handlers.session_playlist,
        whole=Answer(description="The playlist.", content_type=handlers.HLS),
    ),
    _of_session(
        "video/init.mp4",
        name="getSessionInit",
        summary="The init segment that fits all renditions.",
        handler=handlers.session_init,
        whole=_FILE_ANSWERS[200],
    ),
    _of_session(
        r"video/{number:[1-9][0-9]{0,7}}.m4s",
        name="getSessionSegment",
        summary="Decide a segment, once, and send it. CMCD is read from headers or query.",
        handler=handlers.session_segment,
        whole=Answer(
            description="The segment, as chosen; for who accepts application/json only, the decision without it.",
            body=schemas.DecidedSegment,
            content_type="video/iso.segment",
            headers=_DECISION,
        ),
        decides=True,
    ),
    _of_session(
        r"video/{number:[1-9][0-9]{0,7}}.{part:[1-9][0-9]{0,3}}.m4s",
        name="getSessionPart",
        summary="A part of a decided segment of a live title, as soon as it is there.",
        handler=handlers.session_part,
        whole=Answer(description="The part.", content_type="video/iso.segment", headers=_DECISION),
    ),
    _of_session(
        "title/{file:.+}",
        name="getSessionTitleFile",
        summary="A file of the session's title, as under /titles, for players that choose for themselves: each video "
        "segment says in CMSD `mb` how high the server would go.",
        handler=handlers.session_title_file,
        whole=Answer(description="The file.", content_type=_MEDIA, headers=_DECISION),
        decides=True,
    ),
    Endpoint(
        method="GET",
        path="/sessions/{session}/log",
        name="getSessionLog",
        summary="The session log, one JSON object a line: the server's decisions and what the player posted.",
        handler=handlers.session_log,
        answers={200: Answer(description="The log.", content_type=handlers.JSONL)},
        problems=(404, 503),
    ),
    Endpoint(
        method="POST",
        path="/sessions/{session}/events",
        name="postEvents",
        summary="Hand in what the player saw. Events of kind decided are left out: the server wrote its own.",
        handler=handlers.post_events,
        body=EventBatch,
        answers={204: Answer(description="Taken into the log.")},
        problems=(400, 404, 410, 413, 415, 429, 503),
    ),
    Endpoint(
        method="POST",
        path="/sessions/{session}/cmcd",
        name="postCmcd",
        summary="CMCD version 2 events, a line each; `rr` of this session's segments count as delivery reports.",
        handler=handlers.post_cmcd,
        body_type=handlers.CMCD_TYPES[0],
        answers={204: Answer(description="Taken into account.")},
        problems=(400, 404, 410, 413, 415, 429, 503),
    ),
    *PRIVATE_ENDPOINTS,
)


@cache
def description(version: str) -> Endpoint:
    """The route of /openapi.json, which describes itself as well; made once a process."""
    body = b""

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    endpoint = Endpoint(
        method="GET",
        path="/openapi.json",
        name="openapi",
        summary="This description.",
        handler=openapi,
        answers={200: Answer(description="OpenAPI 3.1.", content_type=JSON)},
    )
    body = dumps(document([*ENDPOINTS, endpoint], version))
    return endpoint
