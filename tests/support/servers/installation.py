"""A virtual environment that holds what an install with some extras brings, and nothing else, made without a network.

Its packages are links to those of this environment: the base install's requirements, those of the extras, and what
these require in turn. So whatever imports a package that its extra does not bring fails here as it would at a user's.
"""

from __future__ import annotations

import os
import subprocess
import venv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]


class Installation:
    """`toprung` with some extras, in `folder`. without: packages that are taken out again."""

    def __init__(self, folder: Path, *extras: str, without: Iterable[str] = ()) -> None:
        venv.create(folder, symlinks=True)
        self.python = folder / "bin" / "python"
        self._home = folder / "home"
        (packages,) = folder.glob("lib/python3*/site-packages")
        (packages / "toprung.pth").write_text(f"{ROOT}\n")
        for found in _closure("toprung", frozenset(extras), set()):
            if found.name not in without:
                _link(found, packages)

    def run(self, *arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """`toprung` with these arguments in `folder`, as its user meets it."""
        command = [str(self.python), "-m", "abr", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment(), cwd=folder, check=False)

    @contextmanager
    def running(self, *arguments: object) -> Iterator[str]:
        """The same, of a command that goes on and says its URL on stdout; yields that."""
        command = [str(self.python), "-m", "abr", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment())
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), "it did not start; stderr says why"
            yield url
        finally:
            process.terminate()
            process.communicate(timeout=120)

    def has(self, module: str) -> bool:
        code = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
        return subprocess.run([str(self.python), "-c", code], env=self.environment(), check=False).returncode == 0

    def environment(self) -> dict[str, str]:
        """Ours, with a home of its own and without settings for another Python or server."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TOPRUNG_", "PYTHON"))}
        return kept | {"HOME": str(self._home), "XDG_CACHE_HOME": str(self._home / "cache")}


def _closure(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> list[Distribution]:
    """A package and all that it requires with these extras."""
    if (name, extras) in seen:
        return []
    seen.add((name, extras))
    found = [distribution(name)]
    for requirement in map(Requirement, found[0].requires or ()):
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras | {""}):
            found += _closure(canonicalize_name(requirement.name), frozenset(requirement.extras), seen)
    return found


def _link(found: Distribution, packages: Path) -> None:
    """Links the package's top-level modules, folders and metadata into `packages`."""
    for name in {path.parts[0] for path in found.files or () if path.parts[0] not in ("..", "__pycache__", "/")}:
        link = packages / name
        if not link.exists() and not name.endswith(".pth"):
            link.symlink_to(Path(str(found.locate_file(name))).resolve())
