"""How encoders and manifests name the colours of a rung: the numbers of ITU-T H.273, and x265's words for them."""

from __future__ import annotations

from dataclasses import dataclass

from abr.core.title import HdrColour
from server.ingest.ladder import Rung


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """primaries, transfer, matrix: ITU-T H.273, tables 2 to 4. Names: those of x265."""

    primaries: int
    transfer: int
    matrix: int
    primaries_name: str
    transfer_name: str
    matrix_name: str


BT709 = Colour(primaries=1, transfer=1, matrix=1, primaries_name="bt709", transfer_name="bt709", matrix_name="bt709")
_TRANSFERS = {"pq": (16, "smpte2084"), "hlg": (18, "arib-std-b67")}


def hdr_colour(colour: HdrColour) -> Colour:
    """BT.2020 with the transfer of a film in high dynamic range."""
    number, name = _TRANSFERS[colour.transfer]
    return Colour(
        primaries=9,
        transfer=number,
        matrix=9,
        primaries_name="bt2020",
        transfer_name=name,
        matrix_name="bt2020nc",
    )


def colour_of(rung: Rung) -> Colour:
    """Of the codes that are encoded."""
    return hdr_colour(rung.hdr) if rung.hdr else BT709
