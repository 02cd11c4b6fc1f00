"""The fenced code blocks of the documentation, and a folder in which those of one page run in order.

A block is run as its language says: `sh` and `console` (with the output that is expected) by bash, `python` by Python.
One with `title="FILE"` is written to that file instead. An HTML comment right before the fence changes that:

    <!-- block: background -->               starts, and goes on until the page ends; it prints a URL when it is ready
    <!-- block: exits 2 -->                  ends with that exit code
    <!-- block: needs nginx -->              run where that program is; its syntax is checked everywhere
    <!-- block: test with A instead of B --> B stands in the page, A is run: what would take too long
    <!-- block: not run: REASON -->          left out; REASON says why it cannot run here
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ports import free_port

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
SHELLS = {"sh", "console"}
DATA = {"json", "toml", "yaml", "csv", "nginx", "html"}
PROSE = {"text"}
"""Drawings and answers: nothing to run."""
PORTS = ("8080", "8081", "8443", "9091")
"""Ports that pages use; each stands for a free one."""
LIMIT_S = 300

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)$")
_NOTE = re.compile(r"^ *<!-- block: (?P<what>.+?) -->$")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block. `notes` are the comments before it."""

    page: Path
    line: int
    language: str
    file: str
    text: str
    notes: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def note(self, word: str) -> str | None:
        """What follows `word` in a note that begins with it; None without one."""
        return next((note.removeprefix(word).strip(" :") for note in self.notes if note.startswith(word)), None)

    @property
    def commands(self) -> str:
        """The shell commands, without prompts and answers."""
        if self.language != "console":
            return self.text
        lines = self.text.splitlines()
        return "\n".join(line[2:] for line in lines if line.startswith(("$ ", "> "))) + "\n"

    @property
    def answer(self) -> str:
        """The output that a console block shows; `…` stands for anything."""
        return "\n".join(line for line in self.text.splitlines() if not line.startswith(("$ ", "> ")))


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order. Fails on a fence that is not closed."""
    found: list[Block] = []
    notes: list[str] = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if note := _NOTE.match(line):
            notes.append(note["what"])
        elif fence := _FENCE.match(line):
            body = "\n".join(_body(page, number, fence["indent"], lines))
            language, _, rest = fence["info"].strip().partition(" ")
            file = title[1] if (title := _TITLE.search(rest)) else ""
            found.append(
                Block(page=page, line=number, language=language, file=file, text=body + "\n", notes=tuple(notes))
            )
            notes = []
        elif line.strip():
            assert not notes, f"{page}:{number}: a block comment without a block after it"
    return found


def _body(page: Path, number: int, indent: str, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    for _, line in lines:
        if line.strip() == "```":
            return
        yield line.removeprefix(indent)
    raise AssertionError(f"{page}:{number}: a fence without an end")


def invocations(block: Block) -> Iterator[list[str]]:
    """The arguments of each `toprung …` of a shell block."""
    joined = re.sub(r"\\\n", " ", block.commands)
    for line in joined.splitlines():
        for command in re.split(r"\s(?:\||&&|;|&)(?=\s|$)|\$\(", shell_comment_cut(line)):
            words = shlex.split(command.rstrip(")"))
            while words and re.fullmatch(r"\w+=.*", words[0]):
                words.pop(0)
            if words and words[0] == "toprung":
                yield list(_without_redirects(words[1:]))


def shell_comment_cut(line: str) -> str:
    """The line without a comment at its end."""
    return re.sub(r"(^|\s)#.*$", "", line)


def _without_redirects(words: Sequence[str]) -> Iterator[str]:
    skip = False
    for word in words:
        if skip or (skip := word in {">", "2>", "<"}):
            skip = word in {">", "2>", "<"}
            continue
        yield word


@dataclass(slots=True)
class Runner:
    """Runs a page's blocks in `folder`."""

    folder: Path
    background: ExitStack
    ports: dict[str, str] = field(default_factory=dict)

    def run(self, block: Block) -> None:
        if block.note("not run") is not None or block.language in PROSE:
            return
        for program in (block.note("needs") or "").split():
            if shutil.which(program, path=_path()) is None:
                pytest.skip(f"no {program} on this machine; what comes before {block.place} ran")
        if block.file:
            (self.folder / block.file).write_text(self._localised(block, block.text), encoding="utf-8")
        elif block.language in SHELLS and block.note("background") is not None:
            self.background.enter_context(self._started(block))
        elif block.language in SHELLS:
            said = self._call(block, ["bash", "-c", _carried(self._localised(block, block.commands))])
            _compare(block, self._localised(block, block.answer) if block.language == "console" else "", said)
        elif block.language == "python":
            self._call(block, [sys.executable, "-c", self._localised(block, block.text)])

    def _localised(self, block: Block, text: str) -> str:
        for note in block.notes:
            if note.startswith("test with "):
                given, _, instead = note.removeprefix("test with ").partition(" instead of ")
                assert instead in text, f"{block.place} has no {instead!r} to stand for"
                text = text.replace(instead, given)
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda port: self._port(port[1]), text)

    def _port(self, port: str) -> str:
        if port not in self.ports:
            self.ports[port] = str(free_port())
        return self.ports[port]

    def _call(self, block: Block, command: list[str]) -> str:
        """What it said: on stdout, or on stderr when it is meant to fail.

        Into files, since a daemon would hold pipes open.
        """
        said, told = self.folder / ".stdout", self.folder / ".stderr"
        with said.open("w") as stdout, told.open("w") as stderr:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=_environment(self.folder),
                stdout=stdout,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                timeout=LIMIT_S,
            )
        wanted = int(block.note("exits") or 0)
        assert done.returncode == wanted, (
            f"{block.place} ended with {done.returncode} instead of {wanted}:\n{block.text}\n"
            f"--- stdout\n{said.read_text()[-3000:]}\n--- stderr\n{told.read_text()[-3000:]}"
        )
        return (told if wanted else said).read_text()

    @contextmanager
    def _started(self, block: Block) -> Iterator[None]:
        errors = self.folder / f".errors-{block.line}"
        with errors.open("w") as told:
            process = subprocess.Popen(
                ["bash", "-c", _carried(self._localised(block, block.commands))],
                cwd=self.folder,
                env=_environment(self.folder),
                stdout=subprocess.PIPE,
                stderr=told,
                text=True,
                start_new_session=True,
            )
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert "http" in ready, f"{block.place} did not start: {ready}{errors.read_text()}"
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=120)


@contextmanager
def runner(folder: Path) -> Iterator[Runner]:
    with ExitStack() as background:
        try:
            yield Runner(folder, background)
        finally:
            for file in folder.glob("*.pid"):  # daemons that a page has not stopped
                os.kill(int(file.read_text()), signal.SIGTERM)


def _carried(commands: str) -> str:
    """Variables set in one block are there in the next, as in a terminal."""
    return f"set -euo pipefail; [ -f .variables ] && . ./.variables; set -a\n{commands}\nset +a; export -p > .variables"


def _path() -> str:
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"


def _environment(folder: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TOPRUNG_")}
    return ours | {
        "PATH": _path(),
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "COLUMNS": "160",
        "PYTHONWARNINGS": "ignore",
    }


def _compare(block: Block, wanted: str, said: str) -> None:
    """Fails unless the answer is the one shown; spaces count as one."""
    if not wanted.strip():
        return
    pattern = r".*?".join(re.escape(_squeezed(part)) for part in _squeezed(wanted).split("…"))
    assert re.fullmatch(pattern, _squeezed(said), re.DOTALL), f"{block.place} shows\n{wanted}\nand it said\n{said}"


def _squeezed(text: str) -> str:
    return " ".join(text.split()) if "…" not in text else "…".join(" ".join(part.split()) for part in text.split("…"))
