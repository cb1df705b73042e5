"""Commands in the wire format."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rapyer._ops import Argument


def pack_slowly(arguments: tuple[Argument, ...]) -> bytes:
    """Return a command in the wire format."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        data = argument.encode() if isinstance(argument, str) else argument
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


# Recommended, not required.
pack: Callable[[tuple[Argument, ...]], bytes] = (
    import_module("hiredis").pack_command if find_spec("hiredis") else pack_slowly
)
