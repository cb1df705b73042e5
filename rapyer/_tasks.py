"""What asyncio leaves to its users: work that a cancellation must not cut short, and work that nobody waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


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
