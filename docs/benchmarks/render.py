"""Renders docs/BENCHMARKS.md from the results beside this file: `python docs/benchmarks/render.py`."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "BENCHMARKS.md"
MACHINES = "machines.json"
WIDTH = 98
HEADLINE_NONE = 1000
"""Behind every headline."""
NOT_RUN = "<!-- block: not run: a measurement, which takes minutes to hours of an idle machine -->"

HEAD = """\
# Benchmarks

<!-- Made from benchmarks/*.json by benchmarks/render.py: change those, then run it. -->

The current figures. Each names its peer or target, command, date and machine. A figure that is
worse than its peer says so. Earlier figures are in the history of this repository. Seeds are the
defaults of the commands.
"""


def render(results: Sequence[dict[str, Any]], machines: dict[str, str]) -> str:
    """The page as Markdown."""
    parts = [HEAD, *(f"Machine {name}: {text}.\n" for name, text in machines.items())]
    parts += ["## All claims\n", _summary(results)]
    for result in results:
        parts += _section(result)
    return "\n".join(parts)


def _summary(results: Iterable[dict[str, Any]]) -> str:
    """One row for each claim; those with a `headline` come first, by its number."""
    claims = [(claim, result) for result in results for claim in result["claims"]]
    claims.sort(key=lambda pair: pair[0].get("headline", HEADLINE_NONE))
    rows = [
        [
            claim["claim"],
            f"**{claim['figure']}**",
            claim["peer"],
            _link(result),
            claim.get("date", result["date"]),
            result["machine"],
        ]
        for claim, result in claims
    ]
    return _table(["claim", "figure", "peer or target", "command and tables", "date", "machine"], rows)


def _link(result: dict[str, Any]) -> str:
    title = result["title"]
    anchor = "".join(each for each in title.lower().replace(" ", "-") if each.isalnum() or each == "-")
    return f"[{title}](#{anchor})"


def _section(result: dict[str, Any]) -> Iterator[str]:
    yield f"## {result['title']}\n"
    yield f"{NOT_RUN}\n```sh\n{result['command']}\n```\n"
    yield f"{result['date']}, machine {result['machine']}.\n"
    for note in result.get("notes", ()):
        yield textwrap.fill(note, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"
    for table in result.get("tables", ()):
        yield textwrap.fill(table["caption"], WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"
        yield _table(table["columns"], table["rows"])
    for picture in result.get("pictures", ()):
        yield f"![{picture['caption']}]({picture['file']})\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def load_results(folder: Path = HERE) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All results in their order, and the machines that they name."""
    files = [file for file in folder.glob("*.json") if file.name != MACHINES]
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    machines: dict[str, str] = json.loads((folder / MACHINES).read_text(encoding="utf-8"))
    return sorted(results, key=lambda result: result["order"]), machines


if __name__ == "__main__":
    PAGE.write_text(render(*load_results()), encoding="utf-8")
