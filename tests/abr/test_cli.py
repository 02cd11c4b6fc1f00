"""The command line as its user meets it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def toprung(*arguments: str, code: str = "from abr.cli import main; main()") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, atexit; from abr.cli import main;"
        "atexit.register(lambda: print(sorted({'torch', 'av', 'openvino', 'numpy', 'aiohttp'} & set(sys.modules))));"
        "main()"
    )
    result = toprung("--help", code=code)
    assert result.returncode == 0
    assert result.stdout.endswith("[]\n")
    assert "prepare" in result.stdout


def test_every_listed_command_explains_itself_without_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from abr.cli import bench, root;"
        "names = [*root.lazy, *(f'bench {name}' for name in bench.lazy)];"
        "results = {name: CliRunner().invoke(root, [*name.split(), '--help']) for name in names};"
        "print([name for name, result in results.items() if result.exit_code or 'Usage:' not in result.output]);"
        "print(sorted({'torch', 'av', 'openvino'} & set(sys.modules)))"
    )
    assert toprung(code=code).stdout.splitlines() == ["[]", "[]"]


def test_an_unknown_command_is_a_usage_error() -> None:
    result = toprung("prepear")
    assert result.returncode == 2
    assert "prepear" in result.stderr
