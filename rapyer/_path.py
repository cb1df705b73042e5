"""JSONPath: a place inside a document as steps, and the text that RedisJSON reads back as the same place.

A step is the name of an object's member or the index of an array's element. Text is plain (`.name`) for
identifiers and bracketed for all else. RedisJSON does not unescape a path that it writes to: a name can be
written only when some kind of quote can stand around it as it is. `unwritable` finds the others. A name with a space in
front is read as the one without: such a value is cut out of what it is in (`readable_part`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

Step: TypeAlias = "str | int"
Steps: TypeAlias = "tuple[Step, ...]"

_LAST = re.compile(r"""(\.\w+|\[-?\d+]|\["([^"\\]|\\.)*"]|\['[^']*'])\Z""")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def render_step(step: Step) -> str:
    """Return the text of one step: `.name`, `[3]`, `["two words"]`."""
    if isinstance(step, int):
        return f"[{int(step)}]"
    if _IDENTIFIER.match(step):
        return f".{step}"
    if '"' not in step and "\\" not in step:
        return f'["{step}"]'
    if "'" not in step and "\\" not in step:
        return f"['{step}']"
    escaped = step.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{escaped}"]'


def render(steps: Steps) -> str:
    """Return the path from the root without the leading `$`."""
    return "".join(map(render_step, steps))


@lru_cache(maxsize=4096)
def absolute(steps: Steps) -> str:
    """Return the JSONPath as Redis takes it."""
    return "$" + render(steps)


def outer(path: str) -> str:
    """Return the path of what the value at a path, as `absolute` gives it, is in."""
    return _LAST.sub("", path)


def is_writable(step: Step) -> bool:
    """Whether RedisJSON can write to a path that goes through this step."""
    return isinstance(step, int) or not ("\\" in step or ('"' in step and "'" in step) or step.startswith(" "))


def readable_part(steps: Steps) -> Steps:
    """Return the beginning of a path up to the first name that RedisJSON misreads: it drops spaces before a name."""
    wrong = (i for i, step in enumerate(steps) if isinstance(step, str) and step.startswith(" "))
    return steps[: next(wrong, len(steps))]


@lru_cache(maxsize=4096)
def unwritable(steps: Steps) -> int | None:
    """Return the index of the first step that no path can be written through, or None."""
    return next((i for i, step in enumerate(steps) if not is_writable(step)), None)


@lru_cache(maxsize=4096)
def writable_path(steps: Steps) -> str | None:
    """Return the JSONPath as Redis takes it; None where it cannot be written through."""
    return absolute(steps) if unwritable(steps) is None else None
