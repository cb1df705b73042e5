"""Make the project's virtual environment, also where Python came without `venv`'s installer (Debian's python3)."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Make the environment named on the command line and install the project with its tools into it."""
    folder = Path(sys.argv[1])
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder} with Python {sys.version.split()[0]}", flush=True)
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    print("installing rapyer and its tools", flush=True)
    # The pip that started this can fill any environment; the new one needs none of its own.
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "pip", "-e", str(ROOT), *_tools()], check=False)
    return done.returncode


def _tools() -> list[str]:
    """Return the `dev` group of pyproject.toml; tomllib came with Python 3.11, and the group is a plain list."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    group = text.split("\ndev = [", 1)[1].split("]\n", 1)[0]
    return [line.strip().strip('",') for line in group.splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main())
