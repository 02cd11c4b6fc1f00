"""The endpoints of rounds of secure aggregation, and of versions of a network; they answer 404 where it is off."""

from __future__ import annotations

from typing import Any

from abr.federation.version import ModelVersion
from abr.secure_aggregation.messages import Keys, Openings, ServerMessage, Shares
from server.http.openapi import Answer, Endpoint, Handler
from server.http.private import versions
from server.http.private.handlers import OCTETS, Joined, PrivateRoundView, RoundHandlers

_TOKEN = " The member says who it is: `Authorization: Bearer TOKEN`."


class _Rounds:
    """The endpoints of one channel's rounds, below `prefix`. name: part of the operations' names. of: in words."""

    def __init__(self, prefix: str, name: str, of: str, handlers: RoundHandlers) -> None:
        self._round, self._name, self._of = f"{prefix}/rounds/{{round:[A-Za-z0-9_-]{{16}}}}", name, of
        self._prefix, self._handlers = prefix, handlers

    def endpoints(self) -> tuple[Endpoint, ...]:
        handlers = self._handlers
        return (
            Endpoint(
                method="GET",
                path=f"{self._prefix}/round",
                name=f"show{self._name}Round",
                summary=f"The round of {self._of} that is under way.",
                handler=handlers.show,
                answers={200: Answer(description="The round.", body=PrivateRoundView)},
                problems=(404,),
            ),
            Endpoint(
                method="POST",
                path=f"{self._round}/members",
                name=f"join{self._name}Round",
                summary="Join a round, with two public keys (X25519) made for it.",
                handler=handlers.join,
                body=Keys,
                answers={201: Answer(description="A member now.", body=Joined)},
                problems=(400, 404, 409, 413, 415, 429),
            ),
            Endpoint(
                method="GET",
                path=f"{self._round}/message",
                name=f"get{self._name}Message",
                summary="What the member is asked or told now; `Prefer: wait=N` waits up to N seconds for it." + _TOKEN,
                handler=handlers.message,
                answers={
                    200: Answer(description="The message.", body=ServerMessage),  # type: ignore[arg-type]
                    204: Answer(description="None yet."),
                },
                problems=(403, 404),
            ),
            self._answer("shares", "Stage 1: shares of both secrets, sealed.", handlers.post_shares, body=Shares),
            self._answer(
                "masked", "Stage 2: the masked vector, little-endian words.", handlers.post_masked, body_type=OCTETS
            ),
            self._answer("openings", "Stage 3: shares of neighbours' secrets.", handlers.post_openings, body=Openings),
        )

    def _answer(self, name: str, summary: str, handler: Handler, **body: Any) -> Endpoint:
        return Endpoint(
            method="POST",
            path=f"{self._round}/{name}",
            name=f"post{self._name}{name.capitalize()}",
            summary=summary + _TOKEN,
            handler=handler,
            answers={204: Answer(description="Taken.")},
            problems=(400, 403, 404, 409, 413, 415, 429),
            **body,
        )


_TELEMETRY = RoundHandlers(lambda context: context.contributions.private_rounds, "Private telemetry")
_TUNING = RoundHandlers(lambda context: context.contributions.tuning_rounds, "Federated tuning")

PRIVATE_ENDPOINTS: tuple[Endpoint, ...] = (
    *_Rounds("/private", "Private", "private telemetry", _TELEMETRY).endpoints(),
    *_Rounds("/federation", "Federation", "federated tuning", _TUNING).endpoints(),
    Endpoint(
        method="GET",
        path="/federation/version",
        name="showFederationVersion",
        summary="The best version of the network that players tune together.",
        handler=versions.show_version,
        answers={200: Answer(description="The version.", body=ModelVersion)},
        problems=(404,),
    ),
    Endpoint(
        method="GET",
        path="/federation/weights/{sha256:[0-9a-f]{64}}",
        name="getFederationWeights",
        summary="The weights of the version, by their SHA-256: one safetensors file.",
        handler=versions.get_weights,
        answers={200: Answer(description="The file.", content_type=OCTETS)},
        problems=(404,),
    ),
)
