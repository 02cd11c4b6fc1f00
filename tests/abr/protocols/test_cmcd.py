"""CMCD and CMSD against the text of the standards, an independent RFC 8941 reader, and hostile input."""

from __future__ import annotations

import string
from urllib.parse import parse_qs

import http_sfv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abr.core.control import Download
from abr.errors import FormatError
from abr.protocols import cmcd, cmsd
from abr.protocols.cmcd import ViewerState
from abr.protocols.structured_fields import LENGTH_MAX, Token

printable = st.text(string.printable[:95], max_size=60)
tokens = st.from_regex(r"[A-Za-z][A-Za-z0-9._:/-]{0,20}", fullmatch=True).map(Token)
values = st.one_of(st.integers(-(10**15) + 1, 10**15 - 1), st.just(True), printable, tokens)
custom_keys = st.from_regex(r"com\.example-[A-Za-z0-9]{1,12}", fullmatch=True)
milliseconds = st.integers(0, 10**9).map(lambda ms: ms / 1000)


@given(st.dictionaries(custom_keys, values, max_size=8), st.integers(0, 10**6), st.booleans())
def test_custom_keys_survive_headers_and_query(own, kbps, starved):
    keys = {**own, "br": kbps, **({"bs": True} if starved else {})}
    assert cmcd.loads(cmcd.dumps(keys)) == keys
    assert cmcd.from_headers(cmcd.to_headers(keys)) == keys
    assert cmcd.from_query(parse_qs(cmcd.to_query(keys))["CMCD"][0]) == keys
    assert cmcd.from_query(cmcd.to_query(keys).removeprefix("CMCD=")) == keys


@given(st.dictionaries(custom_keys, values, min_size=1, max_size=8))
def test_types_survive(keys):
    back = cmcd.loads(cmcd.dumps(keys))
    assert {key: type(value) for key, value in back.items()} == {key: type(value) for key, value in keys.items()}


def test_reads_the_examples_of_the_standard():
    headers = {
        "CMCD-Request": 'bl=21300,dl=18500,mtp=48100,nor="..%2F300kbps%2Ftrack.m4v",su',
        "CMCD-Object": "br=3200,d=4004,ot=v,tb=6000",
        "CMCD-Status": "bs,rtp=12000",
        "CMCD-Session": 'sid="6e2fb550-c457-11e9-bb97-0800200c9a66",sf=d,st=v,pr=1.08',
    }
    keys = cmcd.from_headers(headers)
    assert keys["bl"] == 21300 and keys["su"] is True and keys["pr"] == 1.08 and keys["ot"] == "v"
    assert cmcd.from_headers(cmcd.to_headers(keys)) == keys


def test_rounds_and_leaves_out_what_the_standard_says():
    text = cmcd.dumps({"bl": 21349, "mtp": 48150, "br": 3201, "su": False, "v": 1, "pr": 1.0, "ot": "v"})
    assert text == "bl=21300,br=3201,mtp=48200,ot=v"


def test_passes_over_keys_of_later_versions():
    assert cmcd.loads("br=100,ltc=250,sn=4") == {"br": 100}


def test_version_2_lists_give_the_pictures_value():
    assert cmcd.loads("bl=(8200;v 9100;a),mtp=(3100),v=2") == {"bl": 8200, "mtp": 3100, "v": 2}
    assert cmcd.loads("bl=(9100;a 8200;v),tb=(500;x=1;av)") == {"bl": 8200, "tb": 500}
    assert cmcd.loads('nor=("a.m4s";r="0-99" "b.m4s"),br=()') == {"nor": "a.m4s"}
    assert cmcd.loads("pb=(100 200),ab=(1;v)") == {}, "keys nobody asks for"


def test_reads_an_event_of_version_2():
    line = 'e=rr,ts=1700000000123,url="https://x/a.m4s",rc=200,ttfb=52,ttlb=410,sn=3,v=2,sta=p'
    event = cmcd.loads(line)
    assert (event["e"], event["ttfb"], event["ttlb"], event["sta"]) == ("rr", 52, 410, "p")


@pytest.mark.parametrize("text", ["bl=(8200", "bl=(8200;v9)x", "bl=(1 (2))", "bl=(a b)", "ot=(v)", "bl=(1,2)", "bl=(1"])
def test_refuses_malformed_lists(text):
    with pytest.raises(FormatError):
        cmcd.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "br=",
        "br=abc",
        "br=-1",
        "br=1.5",
        'br="100"',
        "ot=zz",
        'ot="v"',
        "bl=100,bl=200",
        "bl=100,",
        ",bl=100",
        "bl=100 d=4",
        "bl==1",
        "su=1",
        'sid="open',
        "sid=bare",
        f'sid="{"x" * 65}"',
        'cid="é"',
        "br=1\r\nX: y",
        "br=1234567890123456",
        "a" * (LENGTH_MAX + 1),
        ",".join(f"com.example-{i}" for i in range(cmcd.KEYS_MAX + 1)),
        "(1 2)",
        "\x00",
    ],
)
def test_refuses_malformed_cmcd_in_one_sentence(text):
    with pytest.raises(FormatError) as caught:
        cmcd.loads(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=80))
def test_hostile_text_gives_keys_or_format_errors(text):
    for read in (cmcd.loads, cmcd.from_query, cmsd.loads_dynamic, cmsd.read_chosen):
        try:
            read(text)
        except FormatError:
            continue


@given(
    st.builds(
        ViewerState,
        buffer_s=st.none() | milliseconds,
        backlog_s=st.none() | milliseconds,
        now_s=st.none() | milliseconds,
        playing=st.none() | st.booleans(),
        owned=st.none() | st.lists(st.from_regex(r"[0-9a-f]{8}", fullmatch=True), max_size=32).map(tuple),
        download=st.none()
        | st.builds(
            Download,
            started_s=milliseconds,
            duration_s=st.just(5.0) | st.integers(5000, 10**8).map(lambda ms: ms / 1000),
            latency_s=st.integers(0, 5000).map(lambda ms: ms / 1000),
            size_bytes=st.integers(0, 10**11),
        ),
    )
)
def test_viewer_state_survives_the_wire(state):
    headers = cmcd.to_headers(cmcd.from_viewer(state))
    assert cmcd.to_viewer(cmcd.from_headers(headers)) == state


def test_a_viewer_who_says_nothing_is_unknown():
    assert cmcd.to_viewer({}) == ViewerState()


def test_a_download_without_its_start_began_when_it_took_that_long():
    state = cmcd.to_viewer({"com.toprung-d": "1000/2500/100", "com.toprung-t": 10_000})
    assert state.download == Download(started_s=7.5, duration_s=2.5, latency_s=0.1, size_bytes=1000)


@pytest.mark.parametrize(
    "own",
    ["b=-5", 'b="x"', "p=2", 'd="1/2"', 'd="1/2/3/4/5"', 'd="a/2/3"', 'w="xyz"', "t=99999999999999", "w=12345678"],
)
def test_refuses_own_keys_that_make_no_sense(own):
    with pytest.raises(FormatError, match="makes no sense"):
        cmcd.to_viewer(cmcd.loads(f"com.toprung-{own}"))


def test_refuses_to_write_what_cannot_be_carried():
    for keys in (
        {"com.example-a": "naïve"},
        {"nohyphen": 1},
        {"com.example-a": 10**15},
        {"com.example-a": float("nan")},
    ):
        with pytest.raises(FormatError):
            cmcd.dumps(keys)


hops = st.builds(
    cmsd.Hop, printable, st.dictionaries(st.from_regex(r"[a-z][a-z0-9.-]{0,12}", fullmatch=True), values, max_size=5)
)


@given(st.lists(hops, min_size=1, max_size=5))
def test_cmsd_dynamic_round_trip_and_an_independent_reader_agrees(entries):
    text = cmsd.dumps_dynamic(entries)
    assert cmsd.loads_dynamic(text) == entries
    theirs = http_sfv.List()
    theirs.parse(text.encode())
    assert [item.value for item in theirs] == [hop.server for hop in entries]
    for item, hop in zip(theirs, entries, strict=True):
        assert {key: str(value) for key, value in item.params.items()} == {k: str(v) for k, v in hop.keys.items()}


def test_cmsd_reads_the_examples_of_the_standard():
    text = '"CDNB-3ak1";etp=96;rtt=8,"CDNB-w35k";etp=76;rtt=32,"CDNA-987.343";rtt=30,"CDNA-312.663";rtt=16;mb=5000'
    assert [hop.keys["rtt"] for hop in cmsd.loads_dynamic(text)] == [8, 32, 30, 16]


def test_the_choice_rides_in_cmsd_dynamic():
    text = cmsd.chosen("240p", "content-low")
    assert text == '"toprung";com.toprung-r="240p";com.toprung-e="content-low"'
    assert cmsd.read_chosen('"cdn";rtt=3, ' + text) == ("240p", "content-low")
    assert cmsd.read_chosen('"cdn";rtt=3') is None
    assert cmsd.loads_dynamic(cmsd.chosen("240p", "none", throughput_bps=838_400.0))[0].keys["etp"] == 838


@pytest.mark.parametrize("text", ["toprung", '"a" "b"', '"a";', '"a";=1', '"a",', '"a";k="', "1;k"])
def test_refuses_malformed_cmsd(text):
    with pytest.raises(FormatError):
        cmsd.loads_dynamic(text)
