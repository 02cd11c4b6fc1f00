"""The conditioned networks that ship with the program."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from abr.errors import FormatError
from enhancers.restoration.conditioned import ConditionedWeights, loads_network

SCALES = (2, 4)


def network_file(scale: int) -> str:
    """File name of the network of one scale."""
    return f"blind-x{scale}.safetensors"


@cache
def shipped_network(scale: int) -> ConditionedWeights:
    """The network of a scale in SCALES. Raises FormatError when it is not installed."""
    path = files("enhancers") / "weights" / "restoration" / network_file(scale)
    if not path.is_file():
        raise FormatError(
            f"The weights {network_file(scale)} are not installed: run python -m enhancers.restoration.train_networks."
        )
    return loads_network(path.read_bytes())


def scale_for(height_px: int, display_height_px: int) -> int:
    """The network scale for a display: the least that reaches it, or the largest there is."""
    return next((scale for scale in SCALES if height_px * scale >= display_height_px), SCALES[-1])
