"""The longer parts of the model's public methods: what a lock block does, and writing copies."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rapyer import _classes, _codec, _content, _keys, _session
from rapyer._dispatch import Where
from rapyer._path import absolute
from rapyer.errors import LockLost, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from rapyer._lock import Lock


class ByKey:
    """A document that was not loaded: its key and the options of its class."""

    def __init__(self, cls: Any, key: str) -> None:
        self.Meta = cls.Meta
        self.key = key


@asynccontextmanager
async def held(lock: Lock, cls: Any, model: Any, text: bytes, *, save: bool) -> AsyncGenerator[Any, None]:
    """Give the model as it is under the lock; save what changed, and release, however the block ends.

    Args:
        lock: acquired.
        cls: the document's class.
        model: an instance to refresh; None for a new one.
        text: the document as it is under the lock.
        save: whether to save what the body changed.
    """
    try:
        fresh = cls._read_document(lock.key, text)
        if model is None:
            model = fresh
        else:
            model._take_over(fresh)
        before = model._dump()
        yield model
        changes = list(_content.changes(before, model._dump())) if save else []
        await lock.save_and_release(model, changes)
    except asyncio.CancelledError:
        await lock.abandon()
        if lock.was_lost():
            raise LockLost(lock.key, lock.action) from None
        raise
    except BaseException:
        await lock.abandon()
        raise


async def write_copies(model: Any, text: bytes, count: int) -> list[Any]:
    """Save copies of a model under new pks as one script."""
    if count == 0:
        return []
    copies = [_copy_of(model, text)]  # a value that does not come back is found before anything is written
    name = model._key_name
    values = _keys.new_pks(count) if name is None else [_new_key(model) for _ in range(count)]
    pks = values if name is None else [_classes.pk_text(value) for value in values]
    call = asyncio.ensure_future(_write(model, text, pks, values))
    try:
        await asyncio.sleep(0)  # the script is on its way: the other copies are made while the server works
        copies += [_copy_of(model, text) for _ in range(count - 1)]
        for copy, value in zip(copies, values, strict=True):
            if name is None:
                object.__setattr__(copy, "_own_pk", value)
            else:
                copy.__dict__[name] = value
        await call
    finally:
        call.cancel()
    return copies


async def _write(model: Any, text: bytes, pks: list[str], values: list[Any]) -> None:
    name, prefix = model._key_name, model.class_key_initials()
    arguments = [_session.milliseconds(model.Meta.ttl), *_codec.arguments(text)]
    arguments.append("" if name is None else absolute((name,)))
    if name is not None:
        arguments += [model._encode(name, value)[0] for value in values]
    keys = [_keys.document_key(prefix, pk) for pk in pks]
    caller = _session.dispatcher_of(model)
    await caller.script("document.duplicate", keys, arguments, lambda index: Where(keys[index]))


def _copy_of(model: Any, text: bytes) -> Any:
    return model.__pydantic_validator__.validate_json(text, by_name=True, by_alias=False)


def _new_key(model: Any) -> Any:
    field = type(model).__pydantic_fields__[model._key_name]
    if field.default_factory is None:
        msg = (
            f"{type(model).__name__}.{model._key_name} is the key and has no default_factory to make new ones: "
            "give it one, or make the copy with model_copy(update=...) and save() it"
        )
        raise UsageError(msg)
    return field.get_default(call_default_factory=True, validated_data=dict(model.__dict__))
