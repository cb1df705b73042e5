"""Two views of what a model holds: put aside and brought back, and compared as JSON.

`freeze` keeps every list, dict, set, deque, dataclass and model of a tree with what was in it, and gives what puts that
back into the same objects, so that whoever holds one sees it as it was.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from contextlib import suppress
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from rapyer import _codec
from rapyer._ops import Operation
from rapyer.types import RedisBytes, RedisDatetime, RedisFloat, RedisInt, RedisStr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rapyer._path import Steps

#: Of these there is nothing to put aside.
_SCALARS = frozenset(
    {str, int, float, bool, bytes, type(None), RedisStr, RedisInt, RedisFloat, RedisBytes, RedisDatetime}
)


def freeze(model: BaseModel) -> Callable[[], None]:
    """Return what gives the model back the content it has now."""
    undo = _Undo()
    _remember_model(model, undo)
    return undo


class _Undo(list[Any]):
    """What refills, which value, with what, again and again in one flat list; called, it does that."""

    __slots__ = ()

    def __call__(self) -> None:
        steps = iter(self)
        for refill, value, content in zip(steps, steps, steps, strict=True):
            refill(value, content)


def _remember_model(value: BaseModel, undo: list[Any]) -> None:
    fields, extra = value.__dict__.copy(), value.__pydantic_extra__
    undo += (_refill_fields, value, fields, _refill_names, value, (*value.__pydantic_fields_set__,))
    if extra is not None:
        undo += (_refill_extra, value, extra.copy())
    for item in (*fields.values(), *extra.values()) if extra else fields.values():
        if item.__class__ not in _SCALARS:
            _remember(item, undo)


def _remember(value: Any, undo: list[Any]) -> None:
    items: Iterable[Any]
    content: Any
    if isinstance(value, list):
        items = content = list.copy(value)
        undo += (_refill_list, value, content)
    elif isinstance(value, dict):
        content = _plain(value).copy(value)
        undo += (_refill_dict, value, content)
        items = content.values()
    elif isinstance(value, set):
        undo += (_refill_set, value, set.copy(value))
        return  # members of a set do not change
    elif isinstance(value, BaseModel):
        _remember_model(value, undo)
        return
    else:
        items = _remember_other(value, undo)
    if not _SCALARS.issuperset(map(type, items)):
        for item in items:
            if item.__class__ not in _SCALARS:
                _remember(item, undo)


def _remember_other(value: Any, undo: list[Any]) -> Iterable[Any]:
    """Put aside a plain value that changes in place, if it is one; return what is in it."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, deque):
        items = list(value)
        undo += (_refill_deque, value, items)
        return items
    names = getattr(type(value), "__dataclass_fields__", ())
    content = {name: getattr(value, name) for name in names if hasattr(value, name)}
    if content:
        undo += (_refill_dataclass, value, content)
    return content.values()


def models_in(value: Any) -> Iterator[BaseModel]:
    """Yield the models in a plain value, itself included."""
    undo: list[Any] = []
    _remember(value, undo)
    return (found for found in undo[1::3] if isinstance(found, BaseModel))


#: Values that are looked at for a model; a large one would be gone through for each of the models in it.
MOST_LOOKED_AT = 256


def is_among(model: BaseModel, values: list[Any]) -> bool:
    """Whether a model is one of the values or in one, as far as can be told by those that were put in last."""
    left = values[::-1]
    for _ in range(MOST_LOOKED_AT):
        if not left:
            return False
        value = left.pop()
        if value is model:
            return True
        if value.__class__ not in _SCALARS:
            left += _contents(value)
    return False


def _contents(value: Any) -> Iterable[Any]:
    if isinstance(value, list):
        return list.copy(value)
    if isinstance(value, dict):
        return dict.values(value)
    if isinstance(value, (tuple, deque)):
        return value
    return getattr(value, "__dict__", {}).values() if _has_fields(value) else ()


def _has_fields(value: Any) -> bool:
    return isinstance(value, BaseModel) or hasattr(value, "__dataclass_fields__")


def _plain(value: dict[Any, Any]) -> Any:
    # A dict in a document records what its own methods do, and an ordered one has to keep its order.
    return OrderedDict if isinstance(value, OrderedDict) else dict


def _refill_list(value: list[Any], items: list[Any]) -> None:
    list.__setitem__(value, slice(None), items)


def _refill_dict(value: dict[Any, Any], entries: dict[Any, Any]) -> None:
    _plain(value).clear(value)
    _plain(value).update(value, entries)


def _refill_set(value: set[Any], members: set[Any]) -> None:
    set.clear(value)
    set.update(value, members)


def _refill_deque(value: deque[Any], items: list[Any]) -> None:
    value.clear()
    value.extend(items)


def _refill_dataclass(value: Any, content: dict[str, Any]) -> None:
    for name, item in content.items():
        object.__setattr__(value, name, item)


def _refill_fields(model: BaseModel, fields: dict[str, Any]) -> None:
    model.__dict__.clear()
    model.__dict__.update(fields)


def _refill_names(model: BaseModel, names: Iterable[str]) -> None:
    object.__setattr__(model, "__pydantic_fields_set__", set(names))


def _refill_extra(model: BaseModel, extra: dict[str, Any]) -> None:
    object.__setattr__(model, "__pydantic_extra__", dict(extra))


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])


class Baseline(msgspec.Struct, eq=False):
    """What a document is in Redis as far as this process knows, to be compared with what it has become.

    Args:
        dump: gives the document's JSON text.
        text: what it gives when the document was just read.
        stored: the text that it was made of, where members may be missing that have defaults.

    Attributes:
        sent: the document as it was when it was asked for the changes.
    """

    _dump: Callable[..., bytes]
    _text: bytes
    _stored: bytes
    sent: bytes = b""
    __repr__ = object.__repr__  # the texts are nobody's to see

    def agrees(self, steps: Steps, text: bytes | None = None, stored: bytes | None = None) -> None:
        """Take the value at this place from the document as it is now, or as it was when it was this text.

        Args:
            steps: the place.
            text: the document.
            stored: what was read there; empty where it is not known, so that it is as it was, or more.
        """
        # A value elsewhere in the document that cannot be written is told when the block saves.
        with suppress(PydanticSerializationError, msgspec.DecodeError):
            text = self._dump() if text is None else text
            self._text = _grafted(self._text, text, steps)
            if stored is None:
                self._stored = _grafted(self._stored, text, steps)
            elif stored:
                self._stored = _put(self._stored, stored, steps)

    def lacks(self, name: str) -> None:
        """Take notice that Redis has no such field."""
        self._text, self._stored = _without(self._text, name), _without(self._stored, name)

    def changes(self) -> list[Operation]:
        """Return the operations that make it what the document is now.

        Raises:
            Inexact: something of that cannot be stored.
        """
        self.sent = self._dump()
        if self.sent == self._text:
            return []
        try:
            return list(_changes(self._text, self.sent, self._stored))
        except msgspec.DecodeError:  # NaN and infinities are no JSON
            _codec.arguments(self.sent, _codec.DEEPEST)
            raise


def _grafted(old: bytes, new: bytes, steps: Steps) -> bytes:
    """Return a JSON text with the value at this place as it is in another."""
    if not steps:
        return new
    step, rest = steps[0], steps[1:]
    before: Any
    after: Any
    if old[:1] == new[:1] == b"{":
        before, after = _members.decode(old), _members.decode(new)
        if step not in after or (rest and step not in before):
            return old if rest else _without(old, step)  # a field that is not stored as it is now was taken out
        present = bytes(before[step]) if rest else b""
    elif old[:1] == new[:1] == b"[":
        before, after = _elements.decode(old), _elements.decode(new)
        # Which element is which can be told only while there are as many.
        if len(before) != len(after):
            return old
        present = bytes(before[step])
    else:
        return old
    before[step] = msgspec.Raw(_grafted(present, bytes(after[step]), rest))
    return msgspec.json.encode(before)


def _without(old: bytes, name: Any) -> bytes:
    """Return the JSON text of an object without a member."""
    before = _members.decode(old)
    return old if before.pop(name, None) is None else msgspec.json.encode(before)


def _put(old: bytes, value: bytes, steps: Steps) -> bytes:
    """Return a JSON text with this value at a place."""
    if not steps:
        return value
    for step in reversed(steps):
        value = msgspec.json.encode({step: msgspec.Raw(value)}) if isinstance(step, str) else b""
        if not value:
            return old  # in a list, whose elements are not looked at
    return _grafted(old, value, steps)


def _changes(old: bytes, new: bytes, stored: bytes, steps: Steps = ()) -> Iterator[Operation]:
    """Yield the operations that make the JSON object `new` out of `old`, at the finest paths: members, not elements.

    An object that is not there in what is stored is set as a whole.
    """
    before, after = _members.decode(old), _members.decode(new)
    names: Iterable[str] = after
    if [*before] == [*after]:  # mostly
        names = compress(after, map(ne, before.values(), after.values()))
    else:
        for name in before.keys() - after.keys():
            yield Operation("map.pop", steps, (), name)
    for name in names:
        present, raw = before.get(name), after[name]
        if present == raw:
            continue
        text = bytes(raw)
        inner = None
        if present is not None and text[:1] == b"{" and bytes(present)[:1] == b"{":
            inner = _codec.cut_out(stored, (name,))
        if present is not None and inner is not None and inner[:1] == b"{":
            yield from _changes(bytes(present), text, inner, (*steps, name))
        else:
            try:
                arguments = _codec.arguments(text)
            except _codec.Inexact as error:
                raise _codec.Inexact(error.why, (*steps, name, *error.steps)) from None
            yield Operation("value.set", steps, arguments, name)
