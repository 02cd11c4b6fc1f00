"""Limits on the time that commands take."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from abr.time_limit import Duration

HANGS = """
import threading
from abr.time_limit import time_limit
with time_limit({limit_s}, "Waiting"):
    threading.Event().wait({takes_s})
print("done")
"""


@pytest.mark.parametrize(("told", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("24h", 86_400), ("2 h", 7200)])
def test_durations_have_units(told, seconds):
    assert Duration().convert(told, None, None) == seconds


@pytest.mark.parametrize("told", ["", "0", "-1", "soon", "1d", "1e9", "9999999999h", "nan"])
def test_what_is_no_duration_is_refused(told):
    with pytest.raises(click.BadParameter, match="is not a time such as"):
        Duration().convert(told, None, None)


@pytest.mark.parametrize(("limit_s", "takes_s", "code"), [(0.2, 600, 1), (600, 0.2, 0)])
def test_a_block_that_takes_too_long_ends_the_process_with_a_sentence(limit_s, takes_s, code):
    program = HANGS.format(limit_s=limit_s, takes_s=takes_s)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (code, "" if code else "done\n")
    assert ("Waiting was not done after 0.2 s, the limit" in done.stderr) == bool(code)
