"""Make the project's virtual environment, also where Python came without `venv`'s installer (Debian's python3)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
NO_PIP = "make_venv: this Python has no pip. Remedy: install it (Debian, Ubuntu: apt install python3-pip)."


def main() -> int:
    """Make the environment named on the command line and install the project with its tools into it."""
    folder = Path(sys.argv[1])
    python = folder / "bin" / "python"
    if (pip := _pip()) is None:
        print(NO_PIP, file=sys.stderr)
        return 1
    if not python.exists():
        print(f"making {folder} with Python {sys.version.split()[0]}", flush=True)
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    print("installing rapyer and its tools", flush=True)
    own = [str(python), "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode:
        # This pip takes what lies beside itself for installed, so it brings no more than its successor.
        _install([str(python), pip], "--ignore-installed", "pip")
    return _install(own, "-e", str(ROOT), *_tools())


def _install(pip: Sequence[str], *words: str) -> int:
    """Have that pip install something; return its exit code."""
    command = [*pip, "install", "--quiet", "--disable-pip-version-check", *words]
    return subprocess.run(command, check=False).returncode


def _pip() -> str | None:
    """Return where the pip of this Python is: a folder that another environment's Python can run.

    pip's own option `--python` would do, but pip has it only from 22.3 on.
    """
    found = importlib.util.find_spec("pip")
    return next(iter(found.submodule_search_locations or ()), None) if found else None


def _tools() -> list[str]:
    """Return the `dev` group of pyproject.toml; tomllib came with Python 3.11, and the group is a plain list."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    group = text.split("\ndev = [", 1)[1].split("]\n", 1)[0]
    return [line.strip().strip('",') for line in group.splitlines() if line.strip()]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nmake_venv: stopped; the next time goes on from here")
