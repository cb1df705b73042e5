"""List the scripts with KEYS, ARGV and errors; with --show NAME print one as the server gets it.

The lines of a script are numbered as in the server's error messages. No server is needed.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rapyer import _registry

if TYPE_CHECKING:
    import argparse

    from rapyer._script import Script

WIDTH = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--show", metavar="NAME", help="print the composed source of this script, such as list.extend")


async def run(options: argparse.Namespace) -> str:
    """Return the list of scripts, or one script's source."""
    return listed() if options.show is None else source(options.show)


def listed() -> str:
    """Return all scripts with what they take and refuse."""
    return "\n".join(map(_entry, _registry.scripts().values()))


def _entry(script: Script) -> str:
    header = script.header
    sections = (("KEYS", header.keys), ("ARGV", header.argv), ("ERRORS", " ".join(header.errors) or "-"))
    lines = (
        textwrap.fill(text, WIDTH, initial_indent=f"  {title:8}", subsequent_indent=" " * 10)
        for title, text in sections
    )
    return "\n".join([f"{script.name}: {header.summary}", *lines, ""])


def source(name: str) -> str:
    """Return the source of a script with line numbers.

    Raises:
        ValueError: there is no such script; says which are like it.
    """
    scripts = _registry.scripts()
    if name not in scripts:
        family = [known for known in scripts if known.startswith(name.partition(".")[0] + ".")]
        msg = f"there is no script {name!r}; there are: {', '.join(family or scripts)}"
        raise ValueError(msg)
    script = scripts[name]
    lines = script.source.decode().splitlines()
    width = len(str(len(lines)))
    numbered = "\n".join(f"{number:{width}}  {line}".rstrip() for number, line in enumerate(lines, 1))
    return f"{name}, sha1 {script.sha}\n\n{numbered}\n"
