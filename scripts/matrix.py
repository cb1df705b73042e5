"""Run the suite on every Python 3.10 to 3.13 found, with the lowest and the newest supported redis, pydantic, msgspec.

    python scripts/matrix.py                     every Python, both ends; of the slow tests those of types and plugin
    python scripts/matrix.py --quick             the two corners, the public API only
    python scripts/matrix.py -- -k lock          options after -- are pytest's

Environments are kept in .matrix; `make clean` removes them.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from make_venv import ROOT, _tools

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = ROOT / ".matrix"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
ENDS = ("lowest", "newest")
PACKAGES = ("redis", "pydantic", "msgspec")
#: What looks at sources, not at behaviour: `make check` has it.
CHECKERS = ("build", "ruff")
SUITE = ("-q", "-m", "not slow or installed")
API = ("tests/model", "tests/docs")


class Cell(NamedTuple):
    """One environment."""

    version: str
    end: str

    def __str__(self) -> str:
        """Return its name."""
        return f"{self.version}-{self.end}"


def main(words: Sequence[str]) -> int:
    """Run the matrix; return 1 when a part of it failed or there is no Python for it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="lowest Python and packages, newest of both; the API only")
    parser.add_argument("--workers", default="auto", help="of pytest-xdist")
    parser.add_argument("pytest", nargs="*", help="options of pytest, after --")
    options = parser.parse_args(words)
    cells = _cells(quick=options.quick)
    more = ["-n", options.workers, *(API if options.quick else ()), *options.pytest]
    rows = [_run(cell, more) for cell in cells]
    print("\n".join(["", *(row for row, _ in rows)]))
    return int(not rows or not all(passed for _, passed in rows))


def _cells(*, quick: bool) -> list[Cell]:
    found = [version for version in PYTHONS if _python(version)]
    for version in PYTHONS:
        if version not in found:
            print(f"Python {version} is not here and left out", flush=True)
    if quick:
        return [Cell(found[0], "lowest"), Cell(found[-1], "newest")] if found else []
    return [Cell(version, end) for version in found for end in ENDS]


def _python(version: str) -> str | None:
    """Return a Python of this version: pyenv's, or one on the path."""
    own = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(own[-1]) if own else shutil.which(f"python{version}")


def _run(cell: Cell, more: Sequence[str]) -> tuple[str, bool]:
    began = time.monotonic()
    print(f"== {cell}", flush=True)
    python, code = _environment(cell)
    if code == 0:
        code = subprocess.run([python, "-m", "pytest", *SUITE, *more], cwd=ROOT, check=False).returncode
    seconds = time.monotonic() - began
    return f"{'ok  ' if code == 0 else 'FAIL'} Python {cell}: {_versions(python)} ({seconds:.0f} s)", code == 0


def _environment(cell: Cell) -> tuple[str, int]:
    """Make or refresh an environment; return its Python and the exit code of the installer."""
    folder = FOLDER / str(cell)
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([str(_python(cell.version)), "-m", "venv", "--without-pip", str(folder)], check=True)
    tools = [tool for tool in _tools() if re.split(r"[\[<>=]", tool)[0] not in CHECKERS]
    pins = [requirement.replace(">=", "==") for requirement in _required()] if cell.end == "lowest" else ["--upgrade"]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    return str(python), subprocess.run([*pip, "-e", str(ROOT), *tools, *pins], check=False).returncode


def _required() -> list[str]:
    """Return the package's own requirements as pyproject.toml has them."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    line = text.split("\ndependencies = [", 1)[1].split("]\n", 1)[0]
    return re.findall(r'"([^"]+)"', line)


def _versions(python: str) -> str:
    code = f"from importlib.metadata import version as v; print(', '.join(f'{{n}} {{v(n)}}' for n in {PACKAGES}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
