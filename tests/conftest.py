"""How hard to fuzz, and what signals programs under test begin with.

Some of each are fuzzed in every run, with `--hypothesis-profile thorough` (make fuzz) ten thousand. No example has a
deadline: on a busy machine any of them may take a second.
"""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("usual", deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("thorough", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("usual")

# Programs inherit what is ignored: under nohup SIGHUP is, and in a shell's background SIGINT.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
