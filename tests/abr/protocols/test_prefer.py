"""The preference to wait for a better answer, as RFC 7240 writes it."""

from __future__ import annotations

import pytest

from abr.protocols.prefer import read_wait_s, wait_preference


@pytest.mark.parametrize(
    ("field", "wait_s"),
    [
        ("", 0),
        ("wait=10", 10),
        ("respond-async, wait=10", 10),
        ("Wait = 7 ; foo=bar, handling=lenient", 7),
        ('wait="3"', 3),
        ("wait=2, wait=9", 2),
        ("await=5", 0),
        ("wait", 0),
        ("wait=", 0),
        ("wait=-1", 0),
        ("wait=1e9", 0),
        ("wait=" + "9" * 40, 0),
        ('x="a, b", wait=4', 4),
    ],
)
def test_the_wait_is_read_from_among_other_preferences(field: str, wait_s: float) -> None:
    assert read_wait_s(field) == wait_s


def test_what_is_written_is_read() -> None:
    assert read_wait_s(wait_preference(10)) == 10
