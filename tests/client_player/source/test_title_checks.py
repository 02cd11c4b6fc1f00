"""A title's numbers come from the network: absurd ones are refused before anything is allocated for them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from titles import prepared_title

from abr.core.title import Meter, Title
from abr.errors import FormatError
from client_player.source.title_checks import check_title


def _changed(**changes: Any) -> Title:
    title, _ = prepared_title()
    return msgspec.structs.replace(title, **changes)


def _meter(crop: tuple[int, int, int, int]) -> Meter:
    title, _ = prepared_title()
    return msgspec.structs.replace(title.meter, crop=crop)


def test_a_real_title_is_trusted() -> None:
    check_title(_changed(), "title.json")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"display_width_px": 1_000_000, "display_height_px": 1_000_000}, "display size"),
        ({"frame_rate": (1_000_000, 1)}, "frame rate"),
        ({"segment_frames": (50, 50, 10**9)}, "frame counts"),
        ({"segment_frames": (50, 50)}, "differ"),
        ({"segment_duration_s": ()}, "0 segments"),
        ({"renditions": ()}, "no renditions"),
        ({"plain_quality": {}}, "quality table"),
        ({"meter": _meter((0, 0, 99_999, 10))}, "crop"),
        ({"meter": _meter((0, 0, 0, 0))}, "crop"),
    ],
)
def test_absurd_titles_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(FormatError, match=says):
        check_title(_changed(**changes), "title.json")
