"""The running task is the one that asyncio names, however it is found."""

import asyncio
import os
import sys
import threading

import pytest

from rapyer._tasks import current_task


async def here():
    """Return whether the task is the one that asyncio names."""
    await asyncio.sleep(0)
    return current_task() is asyncio.current_task() is not None


def test_one_loop_after_another():
    """The task of each is found while it runs, and none between them."""
    assert current_task() is None
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    for loop in (first, second, first):
        assert loop.run_until_complete(here())
        assert current_task() is None
    first.close()
    second.close()
    assert current_task() is None
    assert asyncio.run(here())


def test_loops_of_several_threads():
    """Each thread finds its own task, and a thread without a loop finds none."""
    barrier, found = threading.Barrier(3), []

    async def meet():
        for _ in range(50):
            barrier.wait(20)
            found.append(await here())

    threads = [threading.Thread(target=asyncio.run, args=(meet(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        barrier.wait(20)
        found.append(current_task() is None)
    for thread in threads:
        thread.join()
    assert found == [True] * 150


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio is asked, which lets no task in from Python 3.14 on")
@pytest.mark.parametrize("amid", ["task", "callback"])
def test_a_loop_inside_another(amid):
    """Programs run a loop amid another one's task or callback, in its thread: the task of each is found."""
    outer, found = asyncio.new_event_loop(), []

    def nested():
        inner = asyncio.new_event_loop()
        asyncio._set_running_loop(None)
        try:
            found.append(inner.run_until_complete(here()))
        finally:
            asyncio._set_running_loop(outer)
            inner.close()

    async def run():
        found.append(await here())
        if amid == "task":
            nested()
        else:
            outer.call_soon(nested)
            await asyncio.sleep(0.01)
        found.append(await here())

    outer.run_until_complete(run())
    outer.close()
    assert found == [True] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_was_forked_in_a_loop():
    """The task is its parent's: the child finds none until it runs one of its own."""

    async def fork():
        assert await here()
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1]  # noqa: ASYNC222 - nothing else goes on
        code = 1
        try:
            alone = current_task() is None
            asyncio._set_running_loop(None)  # as `asyncio.run` wants it
            code = int(not (alone and asyncio.run(here())))
        finally:
            os._exit(code)

    assert asyncio.run(fork()) == 0
