"""`rapyer.observe`: an event for each script call, for whoever wants to count or trace them.

Rules:
- Unused it costs nothing: calls go through an observed method only while somebody observes.
- An event holds no value, no key and no argument, so it may go anywhere and its names stay few.
- An observer that raises is logged and harms no operation.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from rapyer import _classes
from rapyer._dispatch import Dispatcher
from rapyer._log import logger
from rapyer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rapyer._dispatch import Locate, Where
    from rapyer._ops import Argument
    from rapyer._sent import Care

#: A helper key: lock, queue … of a document, whose key is in it.
_HELPER = re.compile(r"rapyer:\{[^}]*\}:\w+:(\d+):")
#: Scripts that do one thing to each of their keys.
_MANY = frozenset({"document.duplicate", "document.load_many", "lock.renew"})
_callbacks: tuple[Callable[[Event], object], ...] = ()
_plain = Dispatcher.script


class Event(NamedTuple):
    """One operation that ended.

    Attributes:
        name: the script, such as `list.extend`; a `pipeline()` block is one `batch.apply`.
        prefix: what the document's key starts with: the model's `class_key_initials()`.
        seconds: from the call to its answer, with waiting, writing and a load of the script if one was needed.
        batch: how many operations it carried out, or documents it worked on.
        outcome: `ok`, or the name of the error's class, such as `KeyNotFound`, `OutcomeUnknown`, `CancelledError`.
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
    Dispatcher.script = _observed  # type: ignore[method-assign]

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
        Dispatcher.script = _plain  # type: ignore[method-assign]


async def _observed(
    self: Dispatcher,
    name: str,
    keys: Sequence[str],
    arguments: Sequence[Argument],
    where: Where | Locate | str,
    care: Care | None = None,
) -> Any:
    outcome = "ok"
    began = perf_counter()
    try:
        return await _plain(self, name, keys, arguments, where, care)
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        seconds = perf_counter() - began
        _tell(Event(name, _prefix(keys[0]), seconds, _batch(name, keys, arguments), outcome))


def _tell(event: Event) -> None:
    for callback in _callbacks:
        try:
            callback(event)
        except Exception:  # noqa: BLE001 - whatever an observer raises, the operation was carried out
            logger.exception("an observer raised; the operation is not affected")


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
        place += 4 + int(arguments[place + 3])
    return int(arguments[place])


__all__ = ["Event", "observe"]
