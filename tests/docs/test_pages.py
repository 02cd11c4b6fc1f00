"""What the pages promise: made from results and from the registry, no long lines, true paths, nothing fetched."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from doc_blocks import PAGES, ROOT, blocks_of

from abr.controllers import CONTROLLERS
from server.http.routes import ENDPOINTS

WIDTH = 100
DOCS = ROOT / "docs"
NOT_PROSE = re.compile(r"^\s*(\||!\[|<!--|:::)")
"""Tables, pictures and comments cannot be broken."""
ROOMS = ("abr", "server", "enhancers", "client_player", "docker", "tests", "docs", "examples")


def _module(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _prose(page: Path) -> list[tuple[int, str]]:
    """Numbered lines outside of fenced blocks."""
    lines, fenced = [], False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            lines.append((number, line))
    return lines


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_no_line_of_prose_is_wider_than_a_hundred_columns(page: Path):
    wide = [number for number, line in _prose(page) if len(line) > WIDTH and not NOT_PROSE.match(line)]
    assert not wide, f"{page}: lines {wide}"


def test_the_benchmarks_are_what_the_results_say():
    render = _module(DOCS / "benchmarks" / "render.py")
    results, machines = render.load_results()
    assert (DOCS / "BENCHMARKS.md").read_text(encoding="utf-8") == render.render(results, machines)
    for result in results:
        assert result["machine"] in machines
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", result["date"])
        for table in result.get("tables", ()):
            assert all(len(row) == len(table["columns"]) for row in table["rows"]), table["caption"]


def test_the_metrics_are_those_of_the_server():
    page = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert page == _module(DOCS / "reference" / "render_metrics.py").render()


def test_every_controller_is_explained():
    page = (DOCS / "explanation" / "deciding.md").read_text(encoding="utf-8")
    assert not [name for name in CONTROLLERS if f"`{name}`" not in page]


def test_the_five_headlines_are_the_first_claims():
    results, _ = _module(DOCS / "benchmarks" / "render.py").load_results()
    headlines = {c["headline"]: c["claim"] for result in results for c in result["claims"] if "headline" in c}
    page = (DOCS / "BENCHMARKS.md").read_text(encoding="utf-8")
    claims = re.findall(r"^\| (.+?) \|", page.partition("## All claims")[2], re.M)[2:]
    assert claims[: len(headlines)] == [headlines[rank] for rank in sorted(headlines)]
    assert sorted(headlines) == [1, 2, 3, 4, 5]


def test_the_wire_names_every_request_that_the_server_answers():
    page = (DOCS / "reference" / "wire.md").read_text(encoding="utf-8").replace("{id}", "{session}")
    for endpoint in ENDPOINTS:
        if endpoint.path.startswith("/web/"):
            continue
        path = re.sub(r"\{shown:.*?\}(?=/|$)", "{16 characters}", endpoint.path)
        path = re.sub(r"\{(\w+):.*?\}(?=[/.]|$)", r"{\1}", path)
        assert f"{endpoint.method} {path}`" in page or f"…/{path.rpartition('/')[2]}`" in page, path


@cache
def _named() -> list[tuple[str, str]]:
    """Every path or module in backticks, with where it stands."""
    found = []
    for page in PAGES:
        for number, line in _prose(page):
            for name in re.findall(r"`([\w./-]+)`", line):
                if re.match(rf"({'|'.join(ROOMS)})[./]", name) and not name.endswith(("…", "/")):
                    found.append((f"{page.name}:{number}", name))
    return found


def test_files_and_modules_that_pages_name_exist():
    assert len(_named()) > 50
    missing = [(place, name) for place, name in _named() if not _exists(name)]
    assert not missing


def _exists(name: str) -> bool:
    if name.startswith("docker/report"):  # made by the composition
        return True
    if "/" in name:
        return (ROOT / name).exists()
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file() or path.parent.with_suffix(".py").is_file()


def test_the_python_reference_names_what_modules_have():
    """A member that is no longer there is left out by the site without a word."""
    page = (DOCS / "reference" / "python.md").read_text()
    listed = re.findall(r"^::: (\S+)\n(?:    .*\n)*?      members: \[(.+)\]$", page, re.M)
    assert len(listed) >= 10
    missing = [
        f"{module}.{name}"
        for module, names in listed
        for name in names.split(", ")
        if not hasattr(import_module(module), name)
    ]
    assert not missing


def test_extras_that_pages_name_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        extra
        for page in PAGES
        for extra in re.findall(r"pip install [^\n]*?\[(\w+)\]", page.read_text(encoding="utf-8"))
    }
    assert named <= set(extras)


class _Fetched(HTMLParser):
    """Addresses that a browser fetches by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"script", "img", "iframe", "source", "video"}:
            self.addresses.append(given.get("src") or "")
        if tag == "link" and given.get("rel") != "canonical":
            self.addresses.append(given.get("href") or "")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_fetches_nothing_from_elsewhere(site: Path):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        fetched = _Fetched()
        fetched.feed(page.read_text(encoding="utf-8"))
        assert fetched.addresses, page
        assert not [address for address in fetched.addresses if "//" in address], page
    for style in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_site_holds_every_command_and_the_vocabulary(site: Path):
    from abr.cli import root

    cli = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    for command in root.lazy:
        assert f'id="toprung-{command}"' in cli, command
    assert str(ROOT) not in cli, "a path of the machine that built the site"
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in ("Controller", "Observation", "Decision", "Choice", "Enhancer", "SessionStore", "Transport", "Trace"):
        assert re.search(rf'id="[\w.]+\.{name}"', python), name


def test_pages_have_blocks_to_run():
    assert sum(len(blocks_of(page)) for page in PAGES) > 80
