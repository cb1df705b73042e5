"""What is in a value, whatever it is, and what it is there as while it is written.

Rules:
- Looking into a value and putting something into it goes past whatever a document would take notice of.
- Pydantic writes numbers in the choices of a union only if they are plain ones: linked ones are, for that moment.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from rapyer._link import Linked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_ROWS = (list, tuple, deque)


def items_of(value: Any) -> Mapping[Any, Any]:
    """Return what is directly inside a value, by its place there; nothing for what is no container."""
    if isinstance(value, BaseModel) or hasattr(value, "__dataclass_fields__"):
        return dict(getattr(value, "__dict__", {}))
    if isinstance(value, dict):
        return dict(dict.items(value))
    return dict(enumerate(list.copy(value) if isinstance(value, list) else value)) if isinstance(value, _ROWS) else {}


def all_in(value: Any) -> Iterator[Any]:
    """Yield a value and everything inside, each once."""
    left, seen = [value], set()
    while left:
        value = left.pop()
        if id(value) in seen:
            continue  # as what is in itself
        seen.add(id(value))
        yield value
        left += items_of(value).values()


def put(value: Any, place: Any, item: Any) -> None:
    """Put an item into a place without anything being recorded."""
    kind = next((kind for kind in (dict, list, deque) if isinstance(value, kind)), None)
    if kind is None:
        value.__dict__[place] = item
    else:
        kind.__setitem__(value, place, item)


@contextmanager
def plain_numbers(value: Any) -> Iterator[None]:
    """Have plain numbers be in a value for linked ones."""
    numbers = list(_numbers_in(value))
    try:
        for owner, place, number in numbers:
            put(owner, place, number.clone())
        yield
    finally:
        for owner, place, number in numbers:
            put(owner, place, number)


def _numbers_in(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    for owner in all_in(value):
        if isinstance(owner, tuple):
            continue
        for place, item in items_of(owner).items():
            if isinstance(item, Linked) and isinstance(item, (int, float)):
                yield owner, place, item


def with_plain_numbers(write: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Return a writer that tries again with plain numbers where a value cannot be written as it is."""

    def writer(value: Any) -> bytes:
        try:
            return write(value)
        except PydanticSerializationError:
            pass
        with plain_numbers(value):
            return write(value)

    return writer
