"""What asyncio leaves to its users.

Work that a cancellation must not cut short, work that nobody waits for, and results that wake a task at once.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import Task
from asyncio import _get_running_loop as _running_loop
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable


if sys.version_info >= (3, 12):

    def current_task(loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Task[Any] | None:
        """Return the task that is running in a loop, if one is; without a loop, in the running one."""
        try:
            return asyncio.current_task(loop)
        except RuntimeError:  # a thread without a loop
            return None

else:
    # What Python looks the running task up in, in three times the time; it is asked for at every change.
    _tasks: dict[Any, asyncio.Task[Any]] = asyncio.tasks._current_tasks  # type: ignore[attr-defined]

    def current_task(loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Task[Any] | None:
        """Return the task that is running in a loop, if one is; without a loop, in the running one."""
        return _tasks.get(loop or _running_loop())


#: What is about to end which loop, see `give`.
_leaving: list[tuple[asyncio.AbstractEventLoop, BaseException]] = []


def give(future: asyncio.Future[Any], result: Any) -> None:
    """Give a future its result; a task that awaits it goes on now, not in the loop's next turn.

    To be called where no task runs, see `giver`. What ends the loop does so in a turn of its own: whoever gives has
    more to give, and not every transport lets it through. Until then tasks are woken by the loop, and so after it.
    """
    waits: Any = future._callbacks  # asyncio has no other way to ask
    try:
        ((wake, context),) = waits
        at_once = wake.__self__.__class__ is Task and not (_leaving and _ends())
    except (AttributeError, TypeError, ValueError):  # nobody waits, or another callback than a task's
        at_once = False
    if not at_once:
        future.set_result(result)
        return
    future.remove_done_callback(wake)
    future.set_result(result)
    try:
        context.run(wake, future)
    except (KeyboardInterrupt, SystemExit) as error:
        _leave_soon(future, error)


def _leave_soon(future: asyncio.Future[Any], error: BaseException) -> None:
    leaving = future.get_loop(), error
    _leaving.append(leaving)
    leaving[0].call_soon(_leave, leaving)


def _leave(leaving: tuple[asyncio.AbstractEventLoop, BaseException]) -> None:
    _leaving.remove(leaving)
    raise leaving[1]


def _ends() -> bool:
    """Whether a loop is about to end: one that something else ended and closed before is not."""
    _leaving[:] = [leaving for leaving in _leaving if not leaving[0].is_closed()]
    return bool(_leaving)


def giver() -> Callable[[asyncio.Future[Any], Any], None]:
    """Return what gives futures their results here: a task cannot go on while another one runs.

    In asyncio's debug mode the loop wakes all of them, since it tells by name what took long of what it ran itself.
    """
    loop = _running_loop()
    at_once = loop is not None and not loop.get_debug() and current_task(loop) is None
    return give if at_once else asyncio.Future.set_result


def give_each(futures: Iterable[asyncio.Future[Any]], results: Iterable[Any]) -> None:
    """Give each future that is not done its result, as what `giver` returns does."""
    give_it = giver()
    wakes = give_it is give
    for future, result in zip(futures, results, strict=False):
        waits: Any = future._callbacks
        try:  # the same as `give`, written out: a call less for each caller of a group
            ((wake, context),) = waits
            at_once = wakes and wake.__self__.__class__ is Task and not (_leaving and _ends())
        except (AttributeError, TypeError, ValueError):
            at_once = False
        if at_once:
            future.remove_done_callback(wake)
            future.set_result(result)
            try:
                context.run(wake, future)
            except (KeyboardInterrupt, SystemExit) as error:
                _leave_soon(future, error)
        elif not future.done():
            give_it(future, result)


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do work in full; a cancellation that comes meanwhile is passed on after it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def a_while(task: asyncio.Task[None], seconds: float) -> None:
    """Wait for a task that goes on all the same, and not for long."""
    await asyncio.wait([task], timeout=seconds)


def heard(answer: asyncio.Future[Any]) -> None:
    """Take notice of an error that nobody may ask for; a callback of what is done."""
    if not answer.cancelled():
        answer.exception()


class Errands:
    """Tasks that go on whether somebody waits for them or not.

    Args:
        name: what each of them is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself does not keep them

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have work done."""
        task = asyncio.get_running_loop().create_task(work, name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
