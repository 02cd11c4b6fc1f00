"""What CONTRIBUTING.md says of the tree is so."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_path_that_it_names_is_there() -> None:
    named = re.findall(r"`((?:abr|client_player|docker|docs|enhancers|examples|server|tests)/[\w./-]*)`", TEXT)
    assert len(named) > 50
    missing = [path for path in named if not path.endswith("NAME.py") and not (ROOT / path).exists()]
    assert missing == []


def test_every_room_is_on_the_map() -> None:
    packages = [ROOT / name for name in ("abr", "client_player", "enhancers", "server")]
    rooms = {f"{init.parent.relative_to(ROOT)}/" for package in packages for init in package.glob("*/__init__.py")}
    of_tests = {f"tests/{path.name}/" for path in (ROOT / "tests").iterdir() if any(path.glob("*.py"))}
    unexplained = {
        room for room in rooms | of_tests if f"`{room}`" not in TEXT and not room.endswith(("/bench/", "/cli/"))
    }
    assert unexplained == set()
