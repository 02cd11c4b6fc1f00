"""A fleet as a server tells it: what is taken of it, and what is refused."""

from __future__ import annotations

import socket
from threading import Thread

import pytest

from abr.controllers.toprung.speed_classes import REFERENCE_WORK
from abr.core.enhancement import Tier
from abr.errors import FormatError, InputError, StorageError
from abr.records import dumps
from enhancers.deriving.fleet import loads_fleet, read_fleet
from enhancers.networks import catalog
from enhancers.networks.plain import parse
from server.fleet.report import report
from server.fleet.tally import count_opened


def test_what_the_server_tells_of_its_devices_is_understood():
    cells = count_opened("6fps", 100.0, {"low": 3.0}) + count_opened("unmeasured", None, {})  # type: ignore[arg-type]
    slow, fast = loads_fleet(dumps(report(cells, 7)))
    assert (slow.name, slow.reference_ms) == ("unmeasured", None)
    assert (fast.name, fast.sessions_share) == ("6fps", 0.5)
    assert fast.reference_ms == pytest.approx(100.0, rel=0.1)


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"classes":[{"name":"../x","sessions_share":1,"reference_ms":1}]}'])
def test_what_is_no_fleet_is_refused(answer):
    with pytest.raises(FormatError, match="GET /devices"):
        loads_fleet(answer)


def test_a_fleet_that_nobody_tells_of_is_refused():
    with pytest.raises(InputError, match="takes a URL"):
        read_fleet("file:///etc/passwd")
    with pytest.raises(StorageError, match="does not tell of devices"):
        read_fleet("http://127.0.0.1:1")


def test_who_answers_no_http_is_told_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            caller, _ = listener.accept()
            with caller:
                caller.recv(4096)
                caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        greeter = Thread(target=greet)
        greeter.start()
        with pytest.raises(StorageError, match="does not tell of devices"):
            read_fleet(f"http://127.0.0.1:{listener.getsockname()[1]}")
        greeter.join()


def test_classes_are_told_by_tier_low_and_its_multiplications():
    low = {str(catalog.architecture(scale, Tier.LOW)): scale for scale in catalog.SQUEEZES}
    assert set(REFERENCE_WORK) == set(low)

    def per_input_px(name: str) -> float:
        return parse(name).macs_per_output_px * low[name] ** 2

    for name, times in REFERENCE_WORK.items():
        assert times == pytest.approx(per_input_px(name) / per_input_px("plain-m2c32x2d2"), rel=0.01)
