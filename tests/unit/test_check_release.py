"""scripts/check_release.py: files that are not fit to be published are found, and so is a tree that is not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import version as installed
from typing import TYPE_CHECKING

import pytest

import check_release
import rapyer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

# In the wheel's own test the sources are out of sight, and there is nothing to build.
SOURCES = (check_release.ROOT / "rapyer").is_dir()


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The wheel and the sdist of this tree."""
    if not SOURCES:
        pytest.skip("no sources here")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder)]
    subprocess.run(command, cwd=check_release.ROOT, check=True, capture_output=True)
    return folder


def rewritten(wheel: Path, target: Path, change) -> None:
    """Copy a wheel, each entry as `change(name, data)` gives it, or without it for None."""
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target / wheel.name, "w") as new:
        for name in old.namelist():
            if (data := change(name, old.read(name))) is not None:
                new.writestr(name, data)


def test_what_is_built_is_in_order(dist):
    """The wheel and the sdist of this tree hold what they should, and nothing else."""
    assert list(check_release.dist_problems(dist)) == []


@pytest.mark.parametrize("lost", ["rapyer/py.typed", "rapyer/lua/list/pop.lua", "rapyer/testing/docker-compose.yml"])
def test_a_file_that_is_missing(dist, tmp_path, lost):
    """A wheel without a script or the mark of typed packages is named with the file."""
    wheel = next(dist.glob("*.whl"))
    rewritten(wheel, tmp_path, lambda name, data: None if name == lost else data)
    assert list(check_release._wheel_problems(tmp_path / wheel.name)) == [f"the wheel lacks {lost}"]


def test_a_file_too_much_and_a_wrong_version(dist, tmp_path):
    """Strays and metadata that tell another version are found."""
    wheel = next(dist.glob("*.whl"))
    change = (b"\nVersion: " + check_release.version().encode(), b"\nVersion: 9.9")
    rewritten(wheel, tmp_path, lambda _, data: data.replace(*change))
    with zipfile.ZipFile(tmp_path / wheel.name, "a") as file:
        file.writestr("tests/stray.py", "")
    stray, told = check_release._wheel_problems(tmp_path / wheel.name)
    assert stray.startswith("the wheel has tests/stray.py")
    assert "'9.9'" in told


def test_nothing_was_built(tmp_path):
    """Says so."""
    (problem,) = check_release.dist_problems(tmp_path)
    assert problem.endswith("was not built")


def test_a_tree_that_is_not_ready(tmp_path, monkeypatch):
    """Version, changelog, uncommitted changes and a tag that is taken are each named; in order means none."""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(tmp_path)]
    monkeypatch.setattr(check_release, "ROOT", tmp_path)
    (tmp_path / "rapyer").mkdir()
    (tmp_path / "rapyer" / "_version.py").write_text('__version__ = "1.2.3.dev0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert len(list(check_release.release_problems())) == 3
    (tmp_path / "rapyer" / "_version.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 - 2026-01-31\n")
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "release"], check=True)
    assert list(check_release.release_problems()) == []
    subprocess.run([*git, "tag", "v1.2.3"], check=True)
    assert ["v1.2.3" in problem for problem in check_release.release_problems()] == [True]


def test_the_version_has_one_place():
    """What the package says is what was built into its metadata."""
    assert installed("rapyer") == rapyer.__version__
