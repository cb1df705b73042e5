"""What the tests of locks share: real processes, and a look at what is left when they are done."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from connections import client_of
from lock_worker import Doc

import rapyer

WORKER = Path(__file__).parent / "lock_worker.py"


class Worker:
    """A process of its own."""

    def __init__(self, process):
        self.process = process
        self.reports = []

    async def report(self):
        """Return its next report; None when it ended."""
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        if line:
            self.reports.append(json.loads(line))
        return json.loads(line) if line else None

    async def rest(self):
        """Read what it reports until it ends, and return all of it."""
        async for line in self.process.stdout:
            self.reports.append(json.loads(line))
        self.code = await self.process.wait()
        return self.reports

    async def tell(self, words):
        """Write a line to it."""
        self.process.stdin.write(words.encode() + b"\n")
        await self.process.stdin.drain()


@pytest.fixture
async def workers(stack, bound):
    """Start processes; those that still run are killed in the end."""
    started = []

    async def start(work, doc, **orders):
        text = json.dumps({"url": stack.url, "work": work, "key": doc.key, **orders})
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(WORKER), text, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        started.append(Worker(process))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.returncode is None:
            worker.process.kill()
        await worker.process.wait()
        worker.process._transport.close()


@pytest.fixture
async def doc(bound):
    """A stored document."""
    return await Doc().save()


@pytest.fixture
async def clean(bound):
    """Check that no lock, no ticket and no subscription is left."""
    yield bound
    assert await bound.keys("rapyer:*") == []
    await rapyer.teardown_rapyer()
    for _ in range(100):
        channels = await bound.execute_command("PUBSUB", "SHARDCHANNELS")
        if not channels:
            break
        await asyncio.sleep(0.01)
    assert channels == []


@pytest.fixture
async def other(stack, bound):
    """The same documents through a client of its own, as in another process, and with other settings."""
    client = client_of(stack.url, decode_responses=True, protocol=3)

    class Other(Doc):
        """The same document."""

        class Meta:
            """Its own client."""

            redis = client

        @classmethod
        def class_key_initials(cls):
            return Doc.class_key_initials()

    yield Other
    await client.aclose()


@pytest.fixture
def calls(bound):
    """Count the scripts that were called since it was last asked."""
    last = 0

    async def count():
        nonlocal last
        now = (await bound.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"]
        since, last = now - last, now
        return since

    return count
