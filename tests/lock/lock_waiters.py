"""Waiters as tasks, and what the server knows of them."""

from __future__ import annotations

import asyncio
import time

import pytest

from rapyer import _keys


async def enter(cls, key, seen=None, **options):
    """Enter and leave; note when."""
    async with cls.lock_from_key(key, **options) as mine:
        if seen is not None:
            seen.append(time.monotonic())
    return mine


def start(cls, doc, count=1, **options):
    """Start waiters."""
    return [asyncio.create_task(enter(cls, doc.key, **options)) for _ in range(count)]


async def until(found, wanted, seconds=10):
    """Wait until something that is asked for again and again is as it should be."""
    end = time.monotonic() + seconds
    while (last := await found()) != wanted:
        if time.monotonic() > end:
            pytest.fail(f"{last!r} and not {wanted!r} after {seconds} s")
        await asyncio.sleep(0.005)


async def queued(client, doc, count=1):
    """Wait until so many tickets stand in the queue."""
    await until(lambda: client.llen(_keys.queue_key(doc.key, "default")), count)


async def counted(client, doc, count, action="default"):
    """Wait until so many waiters are noted on the lock."""

    async def noted():
        found = await client.hgetall(_keys.lock_key(doc.key, action))
        return sum(int(number) for name, number in found.items() if name.startswith(b"waits:"))

    await until(noted, count)
