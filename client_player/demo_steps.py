"""The steps of a demo: each is the command that a user would type, in a process of its own."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from abr.errors import ToprungError
from client_player.server_process import build_command


@contextmanager
def step(console: Console, words: str) -> Iterator[None]:
    """A part of a demo, with a headline and how long it took."""
    started_s = time.monotonic()
    console.print(f"\n[bold]{words}[/bold]")
    yield
    console.print(f"[dim]{time.monotonic() - started_s:.0f} s[/dim]")


def run_toprung(console: Console, *arguments: object) -> None:
    """Run one subcommand; its output goes to stderr. Raises ToprungError when it fails."""
    print_command(console, *arguments)
    code = subprocess.run(build_command(*arguments), stdout=sys.stderr, check=False).returncode
    if code:
        raise ToprungError(f"`toprung {arguments[0]}` ended with exit code {code}; what went wrong is said above.")


def print_command(console: Console, *arguments: object) -> None:
    """As a user would type it."""
    console.print(f"[dim]$ toprung {shlex.join(map(str, arguments))}[/dim]", soft_wrap=True, highlight=False)
