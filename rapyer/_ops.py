"""An operation as a value, and its arguments as the scripts take them.

Rules:
- An `Operation` names a script, a place and the text to work with. It knows neither key nor client.
- `member` is for operations that work on one member of the place: its path then leads the arguments.
- JSON values travel as `value_arguments`: the text, then how many of its doubles must be repaired, and how.
- A path that RedisJSON cannot write to becomes a `splice.apply` around the same operation (`writable`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from rapyer._path import Step, Steps, absolute, is_writable, unwritable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Argument: TypeAlias = "str | bytes"


class Operation(msgspec.Struct, frozen=True):
    """One change of one document."""

    script: str
    steps: Steps
    arguments: tuple[Argument, ...] = ()
    member: Step | None = None
    inner_member: Step | None = None  # in a splice, for the check of dependence only

    @property
    def touches(self) -> Step | None:
        """The top-level field this operation changes, or None for the whole document."""
        if self.steps:
            return self.steps[0]
        return self.member if self.member is not None else self.inner_member

    def flat(self) -> tuple[Argument, ...]:
        """Return path and arguments in the order the script takes them."""
        if self.member is None:
            return (absolute(self.steps), *self.arguments)
        return (absolute(self.steps), absolute((*self.steps, self.member)), *self.arguments)


def value_arguments(text: Argument, repairs: Sequence[tuple[Steps, str]] = ()) -> tuple[Argument, ...]:
    """Return a JSON value as the scripts take it."""
    if not repairs:
        return (text, "0")
    flat = [part for steps, amount in repairs for part in (absolute(steps)[1:], amount)]
    return (text, str(len(repairs)), *flat)


def update(script: str, steps: Steps, values: Iterable[tuple[str, tuple[Argument, ...]]]) -> list[Operation]:
    """Return the operations that set members of one object: one, and one more for each path that cannot be written."""
    plain: list[Argument] = []
    result: list[Operation] = []
    count = 0
    for name, value in values:
        if unwritable((*steps, name)) is None:
            plain += [absolute((*steps, name)), *value]
            count += 1
        else:
            result.append(Operation("map.set_item", steps, value, name))
    if count or not result:
        result.insert(0, Operation(script, steps, (str(count), *plain)))
    return result


def is_plain(operation: Operation) -> bool:
    """Whether RedisJSON can write to the operation's paths as they are."""
    return unwritable(_full(operation)) is None


def _full(operation: Operation) -> Steps:
    return operation.steps if operation.member is None else (*operation.steps, operation.member)


def splices(operation: Operation) -> int:
    """Return how many names on the operation's path cannot be written to."""
    return sum(not is_writable(step) for step in _full(operation))


def writable(operation: Operation) -> Operation:
    """Return the operation in a form whose paths RedisJSON can write to."""
    full = _full(operation)
    index = unwritable(full)
    if index is None:
        return operation
    inner_steps: Steps = () if index == len(operation.steps) else ("v", *operation.steps[index + 1 :])
    inner_member: Step | None = "v" if index == len(operation.steps) else operation.member
    inner = writable(msgspec.structs.replace(operation, steps=inner_steps, member=inner_member))
    name = json.dumps(full[index], ensure_ascii=False)
    return Operation("splice.apply", full[:index], (name, inner.script, *inner.flat()), inner_member=full[index])
