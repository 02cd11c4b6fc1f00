"""The version that players tune, from the server: bounded, checked by SHA-256, and of a network that we know."""

from __future__ import annotations

from dataclasses import dataclass

from abr.core.enhancement import Tier
from abr.errors import FormatError
from abr.federation.version import ModelVersion
from abr.records import loads
from client_player.private.contribution import NotOfferedError
from client_player.private.server import PrivateServer
from enhancers.federation.tuned_network import TunedNetwork, count_values, loads_network
from enhancers.networks import catalog
from enhancers.networks.checkpoint import verify
from enhancers.networks.plain import PlainArchitecture

CHANNEL = "federation"
_TIERS = (Tier.LOW, Tier.MEDIUM, Tier.HIGH)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offered:
    """A version and its network."""

    version: ModelVersion
    network: TunedNetwork


async def fetch_version(server: PrivateServer, held: Offered | None = None) -> Offered:
    """The server's best version; `held` itself while it is that.

    Raises NotOfferedError, DownloadError, FormatError for what is no version of a network that this program has.
    """
    version = await show_version(server)
    if held is not None and version == held.version:
        return held
    architecture = _known(version)
    body = await server.get(f"weights/{version.sha256}", bytes_max=version.size_bytes)
    if body is None:
        raise FormatError("The server has another version by now.")
    verify(body, version.sha256, "The server's network")
    return Offered(version=version, network=loads_network(body, architecture, what="The server's network"))


async def show_version(server: PrivateServer) -> ModelVersion:
    """The card of the server's best version. Raises NotOfferedError, DownloadError, FormatError."""
    told = await server.get("version")
    if told is None:
        raise NotOfferedError("the server tunes no network")
    return loads(told, ModelVersion, what="The server's version")


def _known(version: ModelVersion) -> PlainArchitecture:
    """What is trained here is no larger than what is run here anyway."""
    known = [catalog.architecture(scale, tier) for scale in catalog.SQUEEZES for tier in _TIERS]
    found = next((each for each in known if str(each) == version.architecture), None)
    if found is None or version.values != count_values(found):
        raise FormatError(
            f"The server tunes {version.architecture!r} of {version.values} numbers; this program has no such network."
        )
    return found
