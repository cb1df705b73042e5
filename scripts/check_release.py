"""What has to hold before a version is published: `python scripts/check_release.py`, or --dist alone for files built.

Looks at the built wheel and sdist (contents, metadata, `twine check`), and for a release also at the version, its
place in CHANGELOG.md, the git tree and the tag. It publishes nothing. The exit code is 1 when something is wrong.
"""

from __future__ import annotations

import argparse
import email
import re
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

from make_venv import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: In the sdist besides the package: what its tests and its build need.
SDIST = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile",
         "docker-compose.yml", "mkdocs.yml", "tests/conftest.py", "scripts/bench.py", "docs/index.md")  # fmt: skip
EXTRAS = {"hiredis", "otel", "testing"}


def main(words: Sequence[str]) -> int:
    """Check and tell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dist", action="store_true", help="only the files in dist/")
    options = parser.parse_args(words)
    if not options.dist:
        subprocess.run([sys.executable, "-m", "build", "--outdir", "dist"], cwd=ROOT, check=True, capture_output=True)
    problems = [*dist_problems(ROOT / "dist")]
    if not options.dist:
        problems += release_problems()
    for problem in problems:
        print(f"wrong: {problem}")
    print(f"{version()}: {f'{len(problems)} problems' if problems else 'in order'}")
    return int(bool(problems))


def version() -> str:
    """Return the version: the one place is rapyer/_version.py."""
    found = re.search(r'__version__ = "([^"]+)"', (ROOT / "rapyer" / "_version.py").read_text("utf-8"))
    return found[1] if found else ""


# -- the files -------------------------------------------------------------------------------------------------------


def dist_problems(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the wheel and the sdist in a folder."""
    name = f"rapyer-{version()}"
    wheel, sdist = folder / f"{name}-py3-none-any.whl", folder / f"{name}.tar.gz"
    for file in (wheel, sdist):
        if not file.exists():
            yield f"{file.name} was not built"
            return
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", wheel, sdist], capture_output=True, text=True, check=False
    )
    if done.returncode:
        yield f"twine check: {done.stdout.strip()}"
    yield from _wheel_problems(wheel)
    yield from _sdist_problems(sdist, name)


def _wheel_problems(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        about = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(file.read(about))
        entries = file.read(about.replace("METADATA", "entry_points.txt")).decode()
    for missing in sorted({*_package(), "rapyer/testing/docker-compose.yml"} - names):
        yield f"the wheel lacks {missing}"
    for stray in sorted(name for name in names if not name.startswith(("rapyer/", "rapyer-")) or "__pycache__" in name):
        yield f"the wheel has {stray}, which is none of its business"
    if "rapyer = rapyer.testing.plugin" not in entries:
        yield "the wheel lacks the entry point of the pytest plugin"
    told = (metadata["Version"], metadata["License-Expression"], set(metadata.get_all("Provides-Extra") or ()))
    if told != (version(), "MIT", EXTRAS):
        yield f"version, licence and extras of the wheel are {told}"


def _sdist_problems(sdist: Path, name: str) -> Iterator[str]:
    with tarfile.open(sdist) as file:
        names = {member.removeprefix(f"{name}/") for member in file.getnames()}
    for missing in sorted({*_package(), *SDIST} - names):
        yield f"the sdist lacks {missing}"
    for stray in sorted(entry for entry in names if "__pycache__" in entry or entry.startswith((".venv", "site/"))):
        yield f"the sdist has {stray}"


def _package() -> set[str]:
    """Return every file of the package, scripts and py.typed among them."""
    files = (path for path in (ROOT / "rapyer").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in files}


# -- the release -----------------------------------------------------------------------------------------------------


def release_problems() -> Iterator[str]:
    """Yield what stands between this tree and a release of its version."""
    number = version()
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", number):
        yield f"{number!r} is no version to publish"
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    if not re.search(rf"^## {re.escape(number)} - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE):
        yield f"CHANGELOG.md has no section `## {number} - YYYY-MM-DD`"
    if _git("status", "--porcelain"):
        yield "the git tree has changes that are not committed"
    if _git("tag", "--list", f"v{number}"):
        yield f"the tag v{number} is there already: raise rapyer/_version.py"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
