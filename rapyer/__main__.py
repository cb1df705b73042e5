"""`python -m rapyer COMMAND`: looks into a Redis that models live in. Each command is a module of `_commands`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from rapyer._commands import doctor, locks, scripts, show
from rapyer.errors import RapyerError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Each has a docstring to show, `add_arguments(parser)` and `run(options)`, which returns what is printed, and may
#: return an exit code with it.
COMMANDS: dict[str, Any] = {"doctor": doctor, "locks": locks, "scripts": scripts, "show": show}


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m rapyer", description="Look into a Redis that models live in.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = module.__doc__.strip().splitlines()[0]
        module.add_arguments(commands.add_parser(name, help=summary, description=module.__doc__))
    options = parser.parse_args(words)
    try:
        done = asyncio.run(COMMANDS[options.command].run(options))
    except (RapyerError, RedisError, OSError, ValueError) as error:
        sys.stderr.write(f"{options.command}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    text, code = done if isinstance(done, tuple) else (done, 0)
    # A terminal or pipe that has no letter for what a document holds gets it escaped.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(text)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
