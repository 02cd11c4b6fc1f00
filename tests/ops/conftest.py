"""How hard to fuzz: a little in every run, `--hypothesis-profile thorough` (make fuzz) for ten thousand of each."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("brief", max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("thorough", max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
if settings.get_current_profile_name() == "default":
    settings.load_profile("brief")
