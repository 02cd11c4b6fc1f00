"""A user's own controller file, made by its path."""

from __future__ import annotations

from pathlib import Path

import pytest
from price_lists import make_prices

from abr.controllers import make_controller
from abr.simulation.simulator import simulate
from abr.simulation.traces import constant

FILE = """
from {module} import Decision

class Mine:
    def decide(self, seen):
        return Decision(option=len(seen.menu.choices) - 1, reason="the last one")
"""


@pytest.mark.parametrize("module", ["abr.core.control", "abr.control"])
def test_a_file_that_imports_the_vocabulary_by_either_address_decides(tmp_path: Path, module: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE.format(module=module))
    session = simulate(make_prices(), constant(8e6), make_controller(f"{file}:Mine"))
    assert {step.decision.reason for step in session.steps[1:]} == {"the last one"}
