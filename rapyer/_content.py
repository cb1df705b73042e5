"""Two views of what a model holds: put aside and brought back, and compared as JSON.

`freeze` keeps every list, dict, set and model of a tree with what was in it; `thaw` puts that back into the same
objects, so that whoever holds one sees it as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel

from rapyer import _codec
from rapyer._ops import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rapyer._path import Steps


def freeze(value: Any) -> Callable[[], Any]:
    """Return what gives the value back, with the content it has now."""
    if isinstance(value, BaseModel):
        return _freeze_model(value)
    if isinstance(value, list):
        items = [freeze(item) for item in list.__iter__(value)]
        return lambda: _refill_list(value, items)
    if isinstance(value, dict):
        entries = {key: freeze(item) for key, item in dict.items(value)}
        return lambda: _refill_dict(value, entries)
    if isinstance(value, set):
        members = set(set.__iter__(value))
        return lambda: _refill_set(value, members)
    return lambda: value


def _refill_list(value: list[Any], items: list[Callable[[], Any]]) -> list[Any]:
    list.__setitem__(value, slice(None), [item() for item in items])
    return value


def _refill_dict(value: dict[Any, Any], entries: dict[Any, Callable[[], Any]]) -> dict[Any, Any]:
    dict.clear(value)
    dict.update(value, {key: item() for key, item in entries.items()})
    return value


def _refill_set(value: set[Any], members: set[Any]) -> set[Any]:
    set.clear(value)
    set.update(value, members)
    return value


def _freeze_model(model: BaseModel) -> Callable[[], BaseModel]:
    fields = {name: freeze(value) for name, value in model.__dict__.items()}
    names, extra = set(model.__pydantic_fields_set__), dict(model.__pydantic_extra__ or {})

    def thaw() -> BaseModel:
        model.__dict__.clear()
        model.__dict__.update({name: value() for name, value in fields.items()})
        object.__setattr__(model, "__pydantic_fields_set__", set(names))
        if model.__pydantic_extra__ is not None:
            object.__setattr__(model, "__pydantic_extra__", dict(extra))
        return model

    return thaw


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def changes(old: bytes, new: bytes, steps: Steps = ()) -> Iterator[Operation]:
    """Yield the operations that make the JSON object `new` out of `old`, at the finest paths: members, not elements."""
    before, after = _members.decode(old), _members.decode(new)
    for name in before.keys() - after.keys():
        yield Operation("map.pop", steps, (), name)
    for name, raw in after.items():
        text, present = bytes(raw), before.get(name)
        if present is None:
            yield Operation("value.set", steps, _codec.arguments(text), name)
        elif bytes(present) == text:
            continue
        elif text[:1] == b"{" and bytes(present)[:1] == b"{":
            yield from changes(bytes(present), text, (*steps, name))
        else:
            yield Operation("value.set", steps, _codec.arguments(text), name)
