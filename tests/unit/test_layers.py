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
    "_log": 0.5,
    "_tasks": 0.5,
    "config": 0.5,  # errors are its words
    "_path": 1,
    "_pack": 2.1,
    "_keys": 1,
    "_script": 1,
    "_ops": 2,
    "_codec": 2.5,  # gives its values the form that operations carry
    "_registry": 2,
    "_sentinel": 2.9,
    "_vigil": 2.9,
    "_reader": 2.9,
    "_wire": 3,
    "_lane": 3.3,
    "_wake": 3.3,
    "_replicas": 3.35,
    "_trip": 3.35,
    "_nodes": 3.4,
    "_once": 3.4,
    "_refused": 3.38,
    "_sent": 3.45,
    "_together": 3.455,
    "_combine": 3.46,
    "_careful": 3.47,
    "_dispatch": 3.5,
    "_loops": 3.6,
    "_link": 4,
    "_collected": 4.2,
    "_session": 4.5,
    "_batch": 4.55,
    "_calls": 4.58,
    "_renewal": 4.6,
    "_group": 4.6,
    "_census": 4.6,
    "_protocol": 4.62,
    "_wakes": 4.63,
    "_queue": 4.65,
    "_lock": 4.7,
    "_query": 4.7,
    "_inside": 4.7,
    "_schema": 4.8,
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
    "_linked": 7.2,
    "_readable": 7.1,
    "_storable": 7.3,
    "_convert": 7.5,
    "_content": 7.5,
    "_classes": 7.8,
    "_validity": 7.95,
    "_placed": 7.9,
    "_node": 8,
    "_blocks": 8,
    "_keyed": 8.1,
    "_model": 8.5,
    "_observe": 8.2,
    "_setup": 8.8,
    "": 9,
    "otel": 9,
    "_commands": 9,
    "_commands._format": 9.1,
    "_commands._examine": 9.1,
    "_commands._client": 9.1,
    "_commands.doctor": 9.2,
    "_commands.locks": 9.2,
    "_commands.scripts": 9.2,
    "_commands.show": 9.3,
    "__main__": 9.5,
    "testing._stack_guard": 0,
    "testing._stack_fetch": 0,
    "testing._stack_url": 0.5,
    "testing._stack_server": 1,
    "testing._stack_private": 2,
    "testing._stack_cluster": 3,
    "testing._stack_sentinel": 4,
    "testing._stack": 5,
    "testing": 9,
    "testing.plugin": 9.5,
}


def _modules():
    root = files("rapyer")
    found = {}
    for folder, prefix in ((root, ""), *((root / name, f"{name}.") for name in ("types", "_commands", "testing"))):
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
    tools = {"_commands._client", "__main__", "testing.plugin"}
    assert users - tools == {
        "_sentinel",
        "_reader",
        "_wire",
        "_lane",
        "_wake",
        "_trip",
        "_nodes",
        "_sent",
        "_refused",
        "_combine",
        "_dispatch",
        "_loops",
        "_protocol",
        "_wakes",
        "_setup",
    }


def test_modules_are_small():
    """No module grows over 400 lines, docstrings included."""
    assert {name: text.count("\n") for name, text in MODULES.items() if text.count("\n") > 400} == {}
