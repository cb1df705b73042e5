"""An operation as a value, and its arguments as the scripts take them.

Rules:
- An `Operation` names a script, a place and the text to work with. It knows neither key nor client.
- `member` is for operations that work on one member of the place: its path then leads the arguments.
- JSON values travel as `value_arguments`: the text, then how many of its doubles must be repaired, and how.
- Several in a row on one place may be sent as one (`squash`), where that makes no difference to anybody.
- A path that RedisJSON cannot write to becomes a `splice.apply` around the same operation (`writable`).
"""

from __future__ import annotations

import json
from functools import lru_cache
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from rapyer._path import Step, Steps, absolute, is_writable, readable_part, unwritable, writable_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Argument: TypeAlias = "str | bytes"
#: What is to be done to several documents, in order: a document, its operation, a document, its operation and so on. No
#: pairs: many blocks may wait for the server at the same time, and the fewer objects, the less there is to collect.
Entries: TypeAlias = "list[Any]"


class Operation(msgspec.Struct, frozen=True, gc=False):
    """One change of one document."""

    script: str
    steps: Steps
    arguments: tuple[Argument, ...] = ()
    member: Step | None = None

    @property
    def touches(self) -> Step | None:
        """The top-level field this operation changes, or None for the whole document."""
        return self.steps[0] if self.steps else self.member

    @property
    def path(self) -> str:
        """The JSONPath of the value that it changes."""
        return absolute(_full(self))

    @property
    def inside(self) -> str:
        """The JSONPath of what the member is in that it changes; empty where it changes no member."""
        return "" if self.member is None else absolute(self.steps)

    @property
    def writable_path(self) -> str | None:
        """The same as RedisJSON takes it; None where it cannot be written through."""
        return writable_path(_full(self))

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
    """Return the operations that set members of one object, in their order: one for all that stand together in it.

    A member whose path cannot be written has one of its own.
    """
    in_reach = unwritable(steps) is None
    operations: list[Operation] = []
    together: dict[str, tuple[Argument, ...]] = {}

    for name, value in values:
        if in_reach and (name.isidentifier() or is_writable(name)):
            together[name] = value
            continue
        if together:
            operations.append(Operation(script, steps, _members(steps, together)))
            together = {}
        operations.append(Operation("map.set_item", steps, value, name))
    if together or not operations:
        operations.append(Operation(script, steps, _members(steps, together)))
    return operations


def _members(steps: Steps, values: Mapping[str, tuple[Argument, ...]]) -> tuple[Argument, ...]:
    """Return members as `lib/update` takes them: a patch where a merge sets all of them as they are, else by path."""
    patch: list[bytes] = []
    for name, value in values.items():
        text = value[0]
        if len(value) != _ALONE or text[:1] in _UNMERGED:
            break
        patch.append(_label(name) + (text if text.__class__ is bytes else str(text).encode()))
    else:
        if len(patch) > 1:  # one by itself is its own check
            return (b"{%b}" % b",".join(patch),)
    flat = [part for name, value in values.items() for part in (absolute((*steps, name)), *value)]
    return ("", str(len(values)), *flat)


@lru_cache(maxsize=4096)
def _label(name: str) -> bytes:
    """Return what stands before a member's value in JSON."""
    return encode_basestring(name).encode() + b":"


#: Parts of a value whose text needs no repairs.
_ALONE = 2
#: How texts begin that a merge would not set a member to: it would mix an object with the present one, null removes it.
_UNMERGED = frozenset({"{", "n", b"{", b"n"})


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
    part = full[: index + 1]
    place = absolute(part) if readable_part(part) == part else ""
    return Operation("splice.apply", full[:index], (name, place, inner.script, *inner.flat()))


# -- several in a row ------------------------------------------------------------------------------------------------

_LAST_COUNTS = frozenset({"value.set", "map.set_item"})
_ADD_UP = frozenset({"number.increase", "number.decrease"})
_JOINED = frozenset({"text.append", "bytes.append", "list.extend", "set.add", "set.discard"})
_SQUASHED = _LAST_COUNTS | _ADD_UP | _JOINED


def pairs(entries: Entries) -> Iterator[tuple[Any, Operation]]:
    """Yield each document with its operation."""
    each = iter(entries)
    return zip(each, each, strict=True)


def squash(entries: Entries) -> Entries:
    """Make one operation of several in a row on the same place where the outcome is the same for every document.

    Members that are set in one object, several in a row, are one operation on the object.

    In a row means: no other operation on the same top-level field of the document stands between. What comes before a
    document's last `document.save` is left out, because that writes all of it.
    """
    firsts: list[tuple[Any, Operation]] = []
    groups: dict[int, list[Operation]] = {}  # by the index of their first, where there are several
    latest: dict[int, dict[Step, int]] = {}  # by the document, by the field: the index of its last among the firsts
    saved: dict[int, int] = {}  # by the document: the index of its last save among the firsts
    for entry in pairs(entries):
        document, operation = entry
        steps = operation.steps
        identity, place = id(document), steps[0] if steps else operation.touches
        if place is None:
            latest.pop(identity, None)
            if operation.script == "document.save":
                saved[identity] = len(firsts)
        else:
            fields = latest.setdefault(identity, {})
            index = fields.get(place)
            if index is not None and _fits(firsts[index][1], operation):
                group = groups.get(index)
                if group is None:
                    groups[index] = [firsts[index][1], operation]
                else:
                    group.append(operation)
                continue
            fields[place] = len(firsts)
        firsts.append(entry)
    if not groups and not saved:
        return entries
    return [
        part
        for index, entry in enumerate(firsts)
        if not saved or index >= saved.get(id(entry[0]), 0) or entry[1].script == "document.delete"
        for operation in (_merged(groups[index]) if index in groups else (entry[1],))
        for part in (entry[0], operation)
    ]


def _fits(first: Operation, second: Operation) -> bool:
    script = second.script
    if script != first.script or first.steps != second.steps or script not in _SQUASHED:
        return False
    if first.member != second.member:
        return script in _LAST_COUNTS and unwritable(first.steps) is None and _named(first) and _named(second)
    # Of one sign, the sum leaves the range exactly when one of the steps would.
    return script not in _ADD_UP or (first.arguments[0][0] != "-" and second.arguments[0][0] != "-")


def _named(operation: Operation) -> bool:
    """Whether it works on a member that can be written by its name."""
    member = operation.member
    return member.__class__ is str and is_writable(member)


def _merged(group: list[Operation]) -> list[Operation]:
    first = group[0]
    if first.script in _LAST_COUNTS:
        if len({operation.member for operation in group}) == 1:
            return group[-1:]
        return update("map.update", first.steps, [(str(each.member), each.arguments) for each in group])
    if first.script in _ADD_UP:
        total = sum(int(operation.arguments[0]) for operation in group)
        return group if total >= 2**63 else [msgspec.structs.replace(first, arguments=(str(total),))]
    return [msgspec.structs.replace(first, arguments=_joined(first.script, group))]


def _joined(script: str, group: list[Operation]) -> tuple[Argument, ...]:
    if script == "bytes.append":
        return (b"".join(bytes(operation.arguments[0]) for operation in group),)  # type: ignore[arg-type]
    if script == "text.append":
        return ('"' + "".join(str(operation.arguments[0])[1:-1] for operation in group) + '"',)
    count = sum(int(operation.arguments[0]) for operation in group)
    return (str(count), *(part for operation in group for part in operation.arguments[1:]))
