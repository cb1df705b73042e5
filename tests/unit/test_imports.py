"""What importing the package loads, and what its names are."""

import subprocess
import sys
from pathlib import Path

import pytest

import rapyer

PACKAGE = Path(rapyer.__file__).parent
MODULES = sorted(
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in PACKAGE.rglob("*.py")
    if file.stem not in {"__main__", "otel"}  # a program, and one that needs another package
)


def fresh(program):
    """Run a program in an interpreter of its own and return what it printed."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("module", ["rapyer", "rapyer.testing.plugin"])
def test_light_imports(module):
    """The package, and the plugin that every run of pytest loads, need neither Redis nor Pydantic."""
    assert fresh(f"import sys, {module}; print(*sorted({{'redis', 'pydantic', 'msgspec'}} & set(sys.modules)))") == []


def test_names_are_there():
    """Every public name and module is an attribute, and told by `dir`; another is an error."""
    names = ("config", "errors", "fields", "types", *rapyer.__all__)
    assert fresh(f"import rapyer; print(*[rapyer.__name__ for name in {names} if not getattr(rapyer, name)])") == []
    assert set(names) <= set(dir(rapyer))
    assert fresh("from rapyer import *; print(AtomicRedisModel.__name__, get.__name__)") == ["AtomicRedisModel", "get"]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rapyer.nothing  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_each_module_may_be_the_first(module):
    """Whatever is imported first, nothing is imported in a circle."""
    fresh(f"import {module}")
