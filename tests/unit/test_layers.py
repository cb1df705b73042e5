"""The layers of the package: imports go down only."""

from __future__ import annotations

import ast
from importlib.resources import files

import pytest

#: Module -> its layer, lowest first. A module may import modules of lower layers only.
LAYERS = {
    "errors": 0,
    "fields": 0,
    "_version": 0,
    "config": 0.5,  # errors are its words
    "_path": 1,
    "_keys": 1,
    "_script": 1,
    "_ops": 2,
    "_codec": 2.5,  # gives its values the form that operations carry
    "_registry": 2,
    "_lane": 3,
    "_dispatch": 3.5,
    "_link": 4,
    "_session": 4.5,
    "_renewal": 4.6,
    "_lock": 4.7,
    "_query": 4.7,
    "_pipeline": 5,
    "types._base": 5,
    "types._container": 5.5,
    "types.text": 6,
    "types.number": 6,
    "types.moment": 6,
    "types.sequence": 6,
    "types.mapping": 6,
    "types.collection": 6,
    "types": 7,
    "_storable": 7.3,
    "_convert": 7.5,
    "_content": 7.5,
    "_schema": 7.5,
    "_classes": 7.8,
    "_node": 8,
    "_blocks": 8,
    "_model": 8.5,
    "_setup": 8.8,
    "": 9,
}


def _modules():
    root = files("rapyer")
    found = {}
    for folder, prefix in ((root, ""), (root / "types", "types.")):
        for entry in folder.iterdir():
            if entry.name.endswith(".py"):
                name = prefix + entry.name.removesuffix(".py")
                found[name.removesuffix("__init__").removesuffix(".")] = entry.read_text("utf-8")
    return found


MODULES = _modules()


def _imports(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "rapyer":
            base = node.module.removeprefix("rapyer").removeprefix(".")
            for alias in node.names:
                name = f"{base}.{alias.name}".removeprefix(".")
                yield name if name in MODULES else base


def test_every_module_has_a_layer():
    """A new module is put into the table, a removed one out of it."""
    assert set(MODULES) == set(LAYERS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_down(name):
    """A module imports lower layers only, also for type checking."""
    upward = [target for target in _imports(MODULES[name]) if LAYERS[target] >= LAYERS[name]]
    assert upward == []


def test_only_dispatch_talks_to_redis():
    """redis-py is imported for its connections, its errors and URLs, nowhere else."""
    users = {name for name, text in MODULES.items() if "\nfrom redis" in text or "\nimport redis" in text}
    assert users == {"_lane", "_dispatch", "_renewal", "_lock", "_setup"}


def test_modules_are_small():
    """No module grows over 400 lines, docstrings included."""
    assert {name: text.count("\n") for name, text in MODULES.items() if text.count("\n") > 400} == {}
