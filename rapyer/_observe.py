"""`rapyer.observe`: an event for each script call, walk and turn at a lock, for whoever wants to count or trace them.

Rules:
- Unused it costs nothing: what is observed takes an observed method's place only while somebody observes.
- An event holds no value, no key and no argument, so it may go anywhere and its names stay few.
- An observer that raises is logged and harms no operation.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rapyer import _classes, _log, _query
from rapyer._blocks import LockBlock
from rapyer._dispatch import Dispatcher
from rapyer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from typing_extensions import Self

    from rapyer._dispatch import Locate, Where
    from rapyer._ops import Argument
    from rapyer._sent import Care
    from rapyer._together import Common

#: A helper key: lock, queue … of a document, whose key is in it.
_HELPER = re.compile(r"rapyer:\{[^}]*\}:\w+:(\d+):")
#: Scripts that do one thing to each of their keys.
_MANY = frozenset({"document.duplicate", "document.load_many", "document.load_many_refresh", "lock.renew"})
_callbacks: tuple[Callable[[Event], object], ...] = ()
_plain, _combined = Dispatcher.script, Dispatcher.combined
_enter, _leave = LockBlock.__aenter__, LockBlock.__aexit__
_find = _query.find_keys
M = TypeVar("M")


class Event(NamedTuple):
    """One operation that ended.

    Attributes:
        name: the script, such as `list.extend`; a `pipeline()` block is one `batch.apply`. Besides: `lock.enter` and
            `lock.leave`, how a `lock()` block was entered and left, with the scripts that took; `keys.find`, a walk
            of `afind_keys()` or `afind()`.
        prefix: what the document's key starts with: the model's `class_key_initials()`.
        seconds: from the call to its answer, with waiting, writing and a load of the script if one was needed; of
            `lock.enter` with the wait for the lock.
        batch: how many operations it carried out, or documents it worked on or found. Changes that a block sends as
            one, such as several increments of a field in a row, are one.
        outcome: `ok`, or the name of the error's class, such as `KeyNotFound`, `OutcomeUnknown`, `CancelledError`; of
            locks also `LockTimeout` and `LockLost`.
    """

    name: str
    prefix: str
    seconds: float
    batch: int
    outcome: str


def observe(callback: Callable[[Event], object]) -> Callable[[], None]:
    """Have a function called after every operation, in the task that asked for it; returns what ends that.

    While nobody observes, operations cost exactly what they cost without this function.

    Args:
        callback: takes an `Event`; should be quick, because the operation waits for it.

    Returns:
        a function that stops the observation; calling it again does nothing.
    """
    global _callbacks  # noqa: PLW0603 - one process, one list
    _callbacks = (*_callbacks, callback)
    _put(observed=True)

    mine = [callback]

    def stop() -> None:
        if mine:
            _remove(mine.pop())

    return stop


def _remove(callback: Callable[[Event], object]) -> None:
    global _callbacks  # noqa: PLW0603 - one process, one list
    left = list(_callbacks)
    left.remove(callback)
    _callbacks = tuple(left)
    if not left:
        _put(observed=False)


def _put(*, observed: bool) -> None:
    for owner, name, plain, watching in _OBSERVED:
        setattr(owner, name, watching if observed else plain)


class _Timed:
    """Makes an event of what runs in its block; `batch` may be set there."""

    def __init__(self, name: str, prefix: str, batch: int = 1) -> None:
        self._name = name
        self._prefix = prefix
        self.batch = batch
        self._began = perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        seconds = perf_counter() - self._began
        _tell(Event(self._name, self._prefix, seconds, self.batch, "ok" if kind is None else kind.__name__))


async def _observed(
    self: Dispatcher,
    name: str,
    keys: Sequence[str],
    arguments: Sequence[Argument],
    where: Where | Locate | str,
    care: Care | None = None,
) -> Any:
    with _Timed(name, _prefix(keys[0]), _batch(name, keys, arguments)):
        return await _plain(self, name, keys, arguments, where, care)


async def _observed_combined(self: Dispatcher, common: Common, key: str, amount: int, care: Care | None = None) -> Any:
    with _Timed(common.name, _prefix(key)):
        return await _combined(self, common, key, amount, care)


async def _entered(self: LockBlock[M]) -> M:
    with _Timed("lock.enter", self._cls.class_key_initials()):
        return await _enter(self)


async def _left(self: LockBlock[Any], *ended: Any) -> None:
    with _Timed("lock.leave", self._cls.class_key_initials()):
        await _leave(self, *ended)


async def _found(client: Any, prefix: str, belongs: Callable[[str], bool]) -> AsyncIterator[str]:
    with _Timed("keys.find", prefix, 0) as timed:
        async for key in _find(client, prefix, belongs):
            timed.batch += 1
            yield key


#: Where it is, what it is, and what takes its place while somebody observes.
_OBSERVED: tuple[tuple[object, str, object, object], ...] = (
    (Dispatcher, "script", _plain, _observed),
    (Dispatcher, "combined", _combined, _observed_combined),
    (LockBlock, "__aenter__", _enter, _entered),
    (LockBlock, "__aexit__", _leave, _left),
    (_query, "find_keys", _find, _found),
)


def _tell(event: Event) -> None:
    for callback in _callbacks:
        try:
            callback(event)
        except Exception:  # noqa: BLE001 - whatever an observer raises, the operation was carried out
            _log.observer_raised()


def _prefix(key: str) -> str:
    if (match := _HELPER.match(key)) is not None:
        key = key[match.end() : match.end() + int(match[1])]
    try:
        prefix: str = _classes.models.of_key(key).class_key_initials()
    except UsageError:  # the class is gone, or two share the prefix
        prefix = key.partition(":")[0]
    return prefix


def _batch(name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> int:
    """Return how much one call does; the arguments of `batch.apply` begin with the documents, each with its locks."""
    if name != "batch.apply":
        return len(keys) if name in _MANY else 1
    place = 1
    for _ in range(int(arguments[0])):
        place += 4 + int(arguments[place + 3]) if str(arguments[place])[-1:] == "+" else 1
    return int(arguments[place])


__all__ = ["Event", "observe"]
