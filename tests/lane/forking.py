"""A program that forks while its lane has a connection: `forking.py WAY URL`; prints the counter at the end.

fork               in the middle of calls, in the loop
multiprocessing    the same, as a pool of workers does it
between            while the loop rests; the child ends through every finalizer, with the parent's loop in its hands
"""

# ruff: noqa: E402, T201 - a program of its own

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests/lane", "tests", "scripts")]

import connections  # noqa: F401 - it may hide hiredis
from lane_world import increase
from redis.asyncio import Redis

from rapyer._loops import close_all, dispatcher

CHILDREN = 3
CLIENT = Redis.from_url(sys.argv[2])


async def work(count: int) -> None:
    """Call from many tasks at once."""
    await asyncio.gather(*(increase(dispatcher(CLIENT), "k") for _ in range(count)))


def child() -> None:
    """Work in a loop of its own, and let go of everything inherited."""
    asyncio.run(work(100))
    gc.collect()


def forked() -> int:
    """Fork as plainly as can be; the child leaves without the frames of the parent's loop."""
    pid = os.fork()
    if not pid:
        child()
        os._exit(0)
    return pid


async def ended(pid: int) -> None:
    """Wait for a child."""
    assert (await asyncio.to_thread(os.waitpid, pid, 0))[1] == 0


async def during(way: str) -> None:
    """Fork with calls under way."""
    await work(100)
    busy = [asyncio.create_task(work(50)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if way == "fork":
        pids = [forked() for _ in range(CHILDREN)]
        await asyncio.gather(*busy, *map(ended, pids))
        return
    processes = [multiprocessing.get_context("fork").Process(target=child) for _ in range(CHILDREN)]
    for process in processes:
        process.start()
    await asyncio.gather(*busy, *(asyncio.to_thread(process.join) for process in processes))
    assert [process.exitcode for process in processes] == [0] * CHILDREN


async def after() -> None:
    """Go on in the parent, at full speed."""
    began = time.monotonic()
    await work(100)
    assert time.monotonic() - began < 2, "the parent's connection was disturbed"
    print(await increase(dispatcher(CLIENT), "k") - 1)
    await close_all()


def between() -> None:
    """Fork while the loop rests."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(work(200))
    for _ in range(CHILDREN):
        pid = os.fork()
        if not pid:
            child()
            sys.exit()
        assert os.waitpid(pid, 0)[1] == 0
    loop.run_until_complete(after())
    loop.close()


async def main(way: str) -> None:
    """Fork, then go on."""
    await during(way)
    await after()


if __name__ == "__main__":
    if sys.argv[1] == "between":
        between()
    else:
        asyncio.run(main(sys.argv[1]))
