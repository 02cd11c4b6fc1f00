"""Members of a private round over a server's real HTTP, a step at a time; the test says when which step is taken."""

from __future__ import annotations

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from abr.records import dumps, loads
from abr.secure_aggregation.masks import Words
from abr.secure_aggregation.member import Member
from abr.secure_aggregation.messages import Forwarded, Roster, Survivors, loads_message

JSON = {"Content-Type": "application/json"}
OCTETS = {"Content-Type": "application/octet-stream"}
Client = TestClient[web.Request, web.Application]


class Player:
    """One member, which has joined when `join` returns."""

    def __init__(self, client: Client, vector: Words, channel: str = "private") -> None:
        self._client, self.vector, self._channel = client, vector, channel
        self.round = self.token = ""
        self.member: Member | None = None
        self.sent: dict[str, bytes] = {}

    async def join(self) -> None:
        view = await (await self._client.get(f"/{self._channel}/round")).json()
        self.round, self.member = view["id"], Member(view["id"])
        answer = await self.post("members", dumps(self.member.keys()), JSON)
        assert answer.status == 201, await answer.text()
        self.token = (await answer.json())["token"]

    async def question(self, wait_s: int = 0) -> bytes:
        """The message that waits for it; empty when there is none."""
        told = {"Authorization": f"Bearer {self.token}", "Prefer": f"wait={wait_s}"}
        answer = await self._client.get(f"/{self._channel}/rounds/{self.round}/message", headers=told)
        assert answer.status in (200, 204), await answer.text()
        return await answer.read()

    async def step(self) -> tuple[str, bytes, dict[str, str]]:
        """What it has to answer now: the step's name, the body, and its type; nothing of it has been sent."""
        assert self.member is not None
        match loads_message(await self.question()):
            case Roster() as roster:
                return "shares", dumps(self.member.share(roster)), JSON
            case Forwarded() as forwarded:
                return "masked", self.member.mask(forwarded, self.vector), OCTETS
            case Survivors() as survivors:
                return "openings", dumps(self.member.open(survivors)), JSON
            case other:
                raise AssertionError(other)

    async def answer(self) -> None:
        """Take the step that it is asked for."""
        name, body, kind = await self.step()
        self.sent[name] = body
        answer = await self.post(name, body, kind)
        assert answer.status == 204, await answer.text()

    async def post(self, name: str, body: bytes, kind: dict[str, str], token: str = "") -> ClientResponse:
        told = kind | {"Authorization": f"Bearer {token or self.token}"}
        return await self._client.post(f"/{self._channel}/rounds/{self.round}/{name}", data=body, headers=told)

    async def ending(self) -> dict[str, object]:
        """How the round ended, waited for."""
        return loads(await self.question(wait_s=20), dict, what="message")
