"""All scripts of the package by name, composed once per process."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from rapyer._script import Script, compose

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.abc import Traversable


def _lua_files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _lua_files(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".lua"):
            yield prefix + entry.name.removesuffix(".lua"), entry.read_text("utf-8")


@cache
def sources() -> Mapping[str, str]:
    """Return every `.lua` file of the package: `lib/prelude` -> its text."""
    return dict(_lua_files(files("rapyer") / "lua"))


@cache
def scripts() -> Mapping[str, Script]:
    """Return every script: `list.extend` -> the script."""
    texts = sources()
    named = ((path.replace("/", "."), text) for path, text in texts.items() if not path.startswith("lib/"))
    return {name: compose(name, text, texts.__getitem__) for name, text in named}


@cache
def once_scripts() -> Mapping[str, Script]:
    """Return the variant of every script that writes which keeps its answer, so that a repetition does not run."""
    texts = sources()
    return {
        name: compose(name, texts[name.replace(".", "/")], texts.__getitem__, "lib/once")
        for name, script in scripts().items()
        if not script.repeatable
    }
