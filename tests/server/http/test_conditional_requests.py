"""Conditional and range requests, for all that a client may send."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from server.media.conditional_requests import Validators, evaluate

FILE = Validators("abc-1f", 1_700_000_000)
sizes = st.integers(0, 10_000)


@settings(deadline=None)
@given(size=sizes, first=st.integers(0, 12_000), length=st.integers(0, 12_000))
def test_a_range_is_what_slicing_gives(size, first, length):
    body = bytes(index % 251 for index in range(size))
    outcome = evaluate(CIMultiDict({"range": f"bytes={first}-{first + length}"}), FILE, size)
    wanted = body[first : first + length + 1]
    if wanted:
        assert outcome.status == 206
        assert body[outcome.offset : outcome.offset + outcome.count] == wanted
    else:
        assert outcome.status == 416


@settings(deadline=None)
@given(size=sizes, count=st.integers(0, 12_000))
def test_a_suffix_range_is_the_end_of_the_file(size, count):
    body = bytes(index % 251 for index in range(size))
    outcome = evaluate(CIMultiDict({"Range": f"bytes=-{count}"}), FILE, size)
    if size and count:
        assert (outcome.status, body[outcome.offset : outcome.offset + outcome.count]) == (206, body[-count:])
    else:
        assert outcome.status == 416


names = st.sampled_from(
    ["Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Accept"]
)
texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(['"abc-1f"', 'W/"abc-1f"', "*", '"x", "abc-1f"', "Tue, 14 Nov 2023 22:13:20 GMT", "bytes=0-1"]),
    st.from_regex(r"bytes=\d{0,25}-\d{0,25}", fullmatch=True),
)


@settings(deadline=None)
@given(headers=st.dictionaries(names, texts), size=sizes)
def test_whatever_is_asked_the_answer_lies_inside_the_file(headers, size):
    outcome = evaluate(CIMultiDict(headers), FILE, size)
    assert outcome.status in (200, 206, 304, 412, 416)
    assert 0 <= outcome.offset <= outcome.offset + outcome.count <= size
    if outcome.status == 200:
        assert (outcome.offset, outcome.count) == (0, size)
    if outcome.status == 206:
        assert outcome.count > 0
        assert "Range" in headers


def test_a_date_is_compared_to_the_second():
    date = FILE.last_modified
    assert date == "Tue, 14 Nov 2023 22:13:20 GMT"
    earlier = "Tue, 14 Nov 2023 22:13:19 GMT"
    assert evaluate(CIMultiDict({"If-Modified-Since": date}), FILE, 9).status == 304
    assert evaluate(CIMultiDict({"If-Modified-Since": earlier}), FILE, 9).status == 200
    assert evaluate(CIMultiDict({"If-Unmodified-Since": date}), FILE, 9).status == 200
    assert evaluate(CIMultiDict({"If-Unmodified-Since": earlier}), FILE, 9).status == 412
    assert evaluate(CIMultiDict({"If-Range": date, "Range": "bytes=0-0"}), FILE, 9).status == 206
    assert evaluate(CIMultiDict({"If-Range": earlier, "Range": "bytes=0-0"}), FILE, 9).status == 200


def test_only_revalidation_takes_weak_tags():
    """RFC 9110, 8.8.3.2: If-Match and If-Range compare strongly, If-None-Match weakly."""
    assert evaluate(CIMultiDict({"If-None-Match": 'W/"abc-1f"'}), FILE, 9).status == 304
    assert evaluate(CIMultiDict({"If-Match": 'W/"abc-1f"'}), FILE, 9).status == 412
    assert evaluate(CIMultiDict({"If-Match": '"abc-1f"'}), FILE, 9).status == 200
    assert evaluate(CIMultiDict({"If-Match": "*"}), FILE, 9).status == 200
    assert evaluate(CIMultiDict({"If-Range": 'W/"abc-1f"', "Range": "bytes=0-0"}), FILE, 9).status == 200
