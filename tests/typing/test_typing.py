"""The types that users see: checked by mypy and pyright on programs that use every public call."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rapyer
from rapyer import errors, testing, types

pytestmark = [pytest.mark.slow, pytest.mark.installed]

HERE = Path(__file__).parent
PROGRAM = HERE / "typed_program.py"
PROGRAMS = ("typed_program.py", "typed_misuse.py")
#: The marks for mypy in `typed_misuse.py` are not for pyright, which would take them.
PYRIGHT = """{
  "include": ["typed_program.py", "typed_misuse.py"],
  "typeCheckingMode": "strict",
  "enableTypeIgnoreComments": false,
  "reportUnnecessaryTypeIgnoreComment": "error"
}"""


def _run(*words: str, folder: Path, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package alone in a folder, as an installer leaves it: pyright looks at nothing else."""
    shutil.copytree(Path(rapyer.__file__).parent, tmp_path / "rapyer", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PROGRAMS:
        shutil.copy(HERE / name, tmp_path)
    return tmp_path


def test_mypy_strict_accepts_every_public_call_and_finds_misuse(copy: Path) -> None:
    """With no plugin and no configuration, only the marked lines are errors."""
    said = _run("-m", "mypy", "--strict", "--config-file=", *PROGRAMS, folder=copy)
    assert "no issues found in 2 source files" in said


def test_pyright_accepts_every_public_call_and_finds_misuse(copy: Path) -> None:
    """In its strict mode, only the marked lines are errors."""
    (copy / "pyrightconfig.json").write_text(PYRIGHT, "utf-8")
    said = _run("-m", "pyright", "--pythonpath", sys.executable, folder=copy, PYTHONPATH=str(copy))
    assert "0 errors, 0 warnings" in said


def test_every_public_name_is_typed(copy: Path) -> None:
    """`pyright --verifytypes` finds no public name whose type it would have to guess."""
    words = ("--pythonpath", sys.executable, "--verifytypes", "rapyer", "--ignoreexternal")
    said = _run("-m", "pyright", *words, folder=copy, PYTHONPATH=str(copy))
    assert "Type completeness score: 100%" in said, said


def test_the_program_runs(stack, tmp_path: Path) -> None:
    """What type checkers accept also works."""
    _run("-W", "error", str(PROGRAM), stack.url, folder=tmp_path)


def test_the_program_leaves_no_public_call_out() -> None:
    """Every public method of models and types, and every public name of the package, is used in the program."""
    tree = ast.walk(ast.parse(PROGRAM.read_text("utf-8")))
    used = {getattr(node, "attr", "") or getattr(node, "id", "") or getattr(node, "name", "") for node in tree}
    offered = {name for name in vars(rapyer.AtomicRedisModel) if not name.startswith("_")}
    for module in (rapyer, types, errors, testing):
        offered |= {name for name in module.__all__ if name != "__version__"}
    for kind in map(types.__dict__.get, types.__all__):
        offered |= {name for name in vars(kind) if name.startswith("a") and name not in vars(kind.__mro__[2])}
    offered -= {"add", "append", "model_config"}  # Python's and Pydantic's own
    assert offered - used == set()
