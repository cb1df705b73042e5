"""Operations on their way to a document: one by its own script, several as one batch.

Rules:
- `run` collects where the task is recording the document; everything else here sends, whatever the task is recording.
- What the task holds and the model wants goes along: fencing numbers of locks, expiry, care.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rapyer import _codec
from rapyer._batch import Batch, check_depth
from rapyer._dispatch import Where
from rapyer._loops import dispatcher
from rapyer._ops import Operation
from rapyer._path import absolute, readable_part, writable_path
from rapyer._session import (
    _held,
    bound_client,
    care_of,
    dispatcher_of,
    is_careful,
    locks_on,
    milliseconds,
    noting,
    read_ttl,
    recorded_whole,
    recording_of,
)
from rapyer._together import common
from rapyer.config import RedisConfig
from rapyer.errors import PathNotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from rapyer._link import Document, Target
    from rapyer._ops import Argument
    from rapyer._path import Step, Steps
    from rapyer._together import Common


async def run(document: Document, *operations: Operation) -> list[Any] | None:
    """Collect the operations if the task is recording this document, else run them as one script.

    Returns:
        None when they were collected; else the value at the last operation's place as JSON text, then what the
        operation answers besides.
    """
    recording = recording_of(document)
    if recording is not None:
        recording.add(document, operations)
        return None
    return await send(document, *operations)


async def write(document: Document, operation: Operation, whole: Any) -> bool:
    """Write a value as a whole, or collect that; blocks around it take notice.

    Returns:
        whether it was written.
    """
    note = noting(document, whole._steps)
    if await run(document, operation) is None:
        recorded_whole(document, whole)
        return False
    note()
    return True


def send(document: Document, *operations: Operation) -> Awaitable[list[Any]]:
    """Run operations as one script; see `run`."""
    operation = operations[0]
    if len(operation.steps) > _codec.SHALLOW:
        check_depth(document, operation)
    path = operation.writable_path
    if len(operations) > 1 or path is None:
        return _send_batch(document, *operations)
    return _call(document, document.key, operation.script, operation.flat(), path)


def change(target: Target, script: str, *arguments: Argument) -> Awaitable[list[Any]]:
    """Run an operation on a value; see `run`."""
    place, document, key, steps = target
    steps = (*steps, place)
    path = writable_path(steps)
    if path is None:
        return _send_batch(document, Operation(script, steps, arguments))
    return _call(document, key, script, (path, *arguments), path)


def increase(target: Target, amount: int) -> Awaitable[list[Any]]:
    """Add to an integer: `number.increase`, or `number.increase_each` together with others; see `run`."""
    place, document, key, steps = target
    config = document.Meta
    client = config.redis
    if client is None:
        bound_client(config, type(document))  # says what is missing
    asked = _increase_at(steps, place, config.ttl)
    if asked is None or (_held.get() and locks_on(client, key)):
        return change(target, "number.increase", str(amount))
    care = care_of(config) if RedisConfig.careful else None
    return dispatcher(client).combined(asked, key, amount, care)


@lru_cache(maxsize=4096)
def _increase_at(steps: Steps, place: Step, ttl: float | None) -> Common | None:
    """Return what calls on the same place have in common; None where they have to take another way."""
    path = writable_path((*steps, place))
    return None if path is None else common("number.increase", milliseconds(ttl), path)


def _call(document: Document, key: str, script: str, arguments: Sequence[Argument], path: str) -> Awaitable[list[Any]]:
    config = document.Meta
    client = config.redis if config.redis is not None else bound_client(config, type(document))
    ttl = "" if config.ttl is None else milliseconds(config.ttl)
    care = care_of(config) if RedisConfig.careful else None
    locks = locks_on(client, key) if _held.get() else ()
    if not locks:
        return dispatcher(client).script(script, (key,), (ttl, "0", *arguments), path, care)
    keys = (key, *[lock.lock_key for lock in locks])
    head = (ttl, str(len(locks)), *[lock.fence for lock in locks])
    return dispatcher(client).script(script, keys, (*head, *arguments), path, care)


async def _send_batch(document: Document, *operations: Operation) -> list[Any]:
    last = operations[-1]
    readable = readable_part(last.steps)
    batch = Batch([part for operation in operations for part in (document, operation)])
    batch.read(document, readable)
    texts, extra = await apply(batch)
    return [_codec.cut_out(texts[0] or None, last.steps[len(readable) :]), extra]


def apply(batch: Batch, *, skip_missing: bool = False) -> Awaitable[tuple[list[bytes], Any]]:
    """Run operations as one script, all or none, then read; 1 round trip.

    Args:
        batch: what to do, at least one operation, and what to read afterwards.
        skip_missing: whether operations on documents that are gone are left out instead of refused.

    Returns:
        the JSON texts read, empty where there is nothing, and what the last operation answered.
    """
    keys, arguments = batch.call("skip" if skip_missing else "refuse")
    care = batch.care() if is_careful() else None
    return dispatcher_of(batch.entries[0]).script("batch.apply", keys, arguments, batch, care)


async def load_text(document: Document, steps: Steps) -> bytes:
    """Read one value of a document as JSON text; 1 round trip, script `value.load`."""
    key, ttl = document.key, read_ttl(document.Meta)
    readable = readable_part(steps)
    path = absolute(readable)
    script, arguments = ("value.load_refresh", (path, ttl)) if ttl else ("value.load", (path,))
    caller = dispatcher_of(document)
    text = await caller.script(script, [key], arguments, Where(key, absolute(steps)))
    value = _codec.cut_out(text, steps[len(readable) :])
    if value is None:
        raise PathNotFound(key, absolute(steps))
    return value
