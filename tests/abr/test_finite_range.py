"""Options that take a number take nothing else."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from abr.finite_range import FiniteRange


@click.command()
@click.option("--seconds", type=FiniteRange(min=0.5))
def command(seconds: float) -> None:
    """Says the number."""
    click.echo(seconds)


@pytest.mark.parametrize(("text", "exit_code"), [("1.5", 0), ("inf", 0), ("nan", 2), ("-nan", 2), ("0.1", 2), ("x", 2)])
def test_only_numbers_within_the_range_are_taken(text: str, exit_code: int) -> None:
    result = CliRunner().invoke(command, [f"--seconds={text}"])
    assert result.exit_code == exit_code, result.output
