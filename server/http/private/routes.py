"""The endpoints of private telemetry, which answer 404 where it is off."""

from __future__ import annotations

from typing import Any

from abr.secure_aggregation.messages import Keys, Openings, ServerMessage, Shares
from server.http.openapi import Answer, Endpoint, Handler
from server.http.private import handlers

_ROUND = "/private/rounds/{round:[A-Za-z0-9_-]{16}}"
_TOKEN = " The member says who it is: `Authorization: Bearer TOKEN`."


def _answer_of_member(name: str, summary: str, handler: Handler, **body: Any) -> Endpoint:
    return Endpoint(
        method="POST",
        path=f"{_ROUND}/{name}",
        name=f"postPrivate{name.capitalize()}",
        summary=summary + _TOKEN,
        handler=handler,
        answers={204: Answer(description="Taken.")},
        problems=(400, 403, 404, 409, 413, 415, 429),
        **body,
    )


PRIVATE_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/private/round",
        name="showPrivateRound",
        summary="The round of private telemetry that is under way.",
        handler=handlers.show_round,
        answers={200: Answer(description="The round.", body=handlers.PrivateRoundView)},
        problems=(404,),
    ),
    Endpoint(
        method="POST",
        path=f"{_ROUND}/members",
        name="joinPrivateRound",
        summary="Join a round, with two public keys (X25519) made for it.",
        handler=handlers.join_round,
        body=Keys,
        answers={201: Answer(description="A member now.", body=handlers.Joined)},
        problems=(400, 404, 409, 413, 415, 429),
    ),
    Endpoint(
        method="GET",
        path=f"{_ROUND}/message",
        name="getPrivateMessage",
        summary="What the member is asked or told now; `Prefer: wait=N` waits up to N seconds for it." + _TOKEN,
        handler=handlers.get_message,
        answers={
            200: Answer(description="The message.", body=ServerMessage),  # type: ignore[arg-type]
            204: Answer(description="None yet."),
        },
        problems=(403, 404),
    ),
    _answer_of_member("shares", "Stage 1: shares of both secrets, sealed.", handlers.post_shares, body=Shares),
    _answer_of_member(
        "masked", "Stage 2: the masked vector, little-endian words.", handlers.post_masked, body_type=handlers.OCTETS
    ),
    _answer_of_member("openings", "Stage 3: shares of neighbours' secrets.", handlers.post_openings, body=Openings),
)
