"""Build wheel and sdist, look into them, then run the suite against the installed wheel, the sources out of sight.

Of the slow tests, those run that are about the package as users have it (marked `installed`). Options are pytest's and
take the place of that: `check_wheel.py -n auto` runs everything.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from check_release import dist_problems
from make_venv import ROOT, _tools

#: What the tests need of the clone; the package itself has to come from the wheel.
NEEDED = ("tests", "scripts", "docs", "pyproject.toml", "docker-compose.yml", "README.md", "Makefile", "CHANGELOG.md",
          "CONTRIBUTING.md", "SECURITY.md", "mkdocs.yml")  # fmt: skip


def main() -> int:
    """Build, check, install into a fresh environment, test."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", "dist"], cwd=ROOT, check=True)
    if problems := [*dist_problems(ROOT / "dist")]:
        print("\n".join(problems))
        return 1
    wheel = next((ROOT / "dist").glob("*.whl"))
    with tempfile.TemporaryDirectory(prefix="rapyer-wheel-") as name:
        folder = Path(name)
        python = folder / "venv" / "bin" / "python"
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder / "venv")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*pip, str(wheel), *_tools()], check=True)
        _copy_without_sources(folder / "clone")
        options = sys.argv[1:] or ["-n", "auto", "-m", "not slow or installed"]
        return subprocess.run(
            [str(python), "-m", "pytest", "-q", *options], cwd=folder / "clone", check=False
        ).returncode


def _copy_without_sources(target: Path) -> None:
    target.mkdir()
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, target / name)


if __name__ == "__main__":
    sys.exit(main())
