"""The watts that a person gives for a device whose own cannot be read."""

from __future__ import annotations

import click

from abr.core.device import PowerModel


def power_of(full_w: float | None, idle_w: float | None) -> PowerModel | None:
    """None when none were given. Raises UsageError when they do not fit together."""
    if full_w is None:
        if idle_w is not None:
            raise click.UsageError("--idle-w goes with --full-w.")
        return None
    idle_w = full_w / 9 if idle_w is None else idle_w
    if idle_w >= full_w:
        raise click.UsageError(f"--idle-w is {idle_w:g} and --full-w {full_w:g}; a device at rest draws less.")
    return PowerModel(idle_w=idle_w, full_w=full_w, assumed=False)
